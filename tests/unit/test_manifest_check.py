from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import pytest

from store.errors import BlobMissing, InvalidManifest
from store.manifest import (
    EMPTY_NODE,
    EMPTY_ROOT,
    Draft,
    EntryRecord,
    MemoryNodes,
    Node,
    check_manifest,
    check_node,
    check_tree_after,
    edit_manifest,
    parse_node,
    record_of,
)
from store.manifest.build import ends_node
from store.manifest.node import Child, child_of, encode_inner, encode_leaf, sum_children, sum_entries
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of
from tests.manifests import build, make_entries

F = File(digest_of(b"1"), 1)
GOOD = b'{"level":0,"entries":[{"path":"a","type":"dir"},{"path":"a/b","type":"file","hash":"%s","size":1}]}' % (b"ab" * 32)
QUIET = [name for name in (b"q%05d" % i for i in range(2000)) if not any(ends_node(level, name) for level in range(4))]
"""Names that end no node."""
LOUD = next(name for name in (b"z%05d" % i for i in range(2000)) if ends_node(0, name))


def check_bytes(data: bytes) -> Node:
    return check_node(digest_of(data), data)


def records(*names: bytes, entry: Entry = F) -> list[EntryRecord]:
    return [record_of(RelPath(name), entry) for name in names]


class Hand:
    """Nodes put together by hand."""

    def __init__(self) -> None:
        self.nodes = MemoryNodes()

    def leaf(self, entries: Sequence[EntryRecord]) -> Child:
        digest = self.nodes.put(encode_leaf(entries))
        key = (entries[0].path or "").encode() if entries else b"?"
        return child_of(key, digest, sum_entries(entries))

    def inner(self, level: int, children: Sequence[Child]) -> Child:
        digest = self.nodes.put(encode_inner(level, children))
        return child_of((children[0].path or "").encode(), digest, sum_children(children))

    def check(self, root: Child) -> None:
        check_manifest(Digest(bytes.fromhex(root.hash)), self.nodes)


def test_good_nodes_pass() -> None:
    assert encode_leaf(check_bytes(GOOD).entries) == GOOD
    assert check_bytes(EMPTY_NODE).keys == []
    _, draft = build(make_entries(5000, seed=1))
    for digest, data in draft.new.items():
        assert check_node(digest, data) == parse_node(data)


def test_a_node_under_another_name() -> None:
    with pytest.raises(InvalidManifest):
        check_node(EMPTY_ROOT, GOOD)


def leaf_text(*entries: bytes) -> bytes:
    return b'{"level":0,"entries":[%s]}' % b",".join(entries)


def at(path: bytes) -> bytes:
    return leaf_text(b'{"path":"%s","type":"dir"}' % path)


SUMS = b'"entries":2,"files":1,"bytes":9'


def inner_text(level: bytes = b"1", path: bytes = b'"path":"a"', sums: bytes = SUMS, hash: bytes = b"ab" * 32) -> bytes:
    return b'{"level":%s,"children":[{%s,"hash":"%s",%s}]}' % (level, path, hash, sums)


FILE_TEXT = b'{"path":"a","type":"file","hash":"%s",%s}'


@pytest.mark.parametrize(
    "data",
    [
        GOOD + b"\n",
        b" " + GOOD,
        GOOD.replace(b":", b": ", 1),
        GOOD[:-1],
        GOOD.replace(b'{"level":0,', b"{").replace(b"]}", b'],"level":0}'),
        GOOD.replace(b'"level":0,', b'"level":0,"level":0,'),
        GOOD.replace(b'"level":0', b'"level":0.0'),
        GOOD.replace(b'"level":0', b'"level":-0'),
        GOOD.replace(b'"size":1', b'"size":1.0'),
        GOOD.replace(b'"size":1', b'"size":1,"exec":false'),
        GOOD.replace(b'"size":1', b'"size":1,"mtime":5'),
        GOOD.replace(b'"size":1', b'"size":1,"target":null'),
        GOOD.replace(b'"path":"a",', b'"path":"\\u0061",'),
        GOOD.replace(b'"path":"a","type":"dir"', b'"type":"dir","path":"a"'),
        GOOD.replace(b"ab" * 32, b"AB" * 32),
        leaf_text(b'{"path":"b","type":"dir"}', b'{"path":"a","type":"dir"}'),
        leaf_text(b'{"path":"a","type":"dir"}', b'{"path":"a","type":"dir"}'),
        leaf_text(b'{"path":"a","type":"none"}'),
        leaf_text(b'{"path":"a","type":"pipe"}'),
        leaf_text(b'{"path_b64":"%s","type":"dir"}' % b64encode(b"utf-8")),
        leaf_text(b'{"path_b64":"/x==","type":"dir"}'),
        leaf_text(b'{"path":"a","path_b64":"/w==","type":"dir"}'),
        leaf_text(b'{"type":"dir"}'),
        leaf_text(FILE_TEXT % (b"ab" * 31, b'"size":1')),
        leaf_text(FILE_TEXT % (b"ab" * 32, b'"size":-1')),
        leaf_text(FILE_TEXT % (b"ab" * 32, b'"size":9223372036854775808')),
        leaf_text(FILE_TEXT % (b"ab" * 32, b'"size":1,"target":"x"')),
        leaf_text(b'{"path":"a","type":"dir","size":1}'),
        leaf_text(b'{"path":"a","type":"link"}'),
        leaf_text(b'{"path":"a","type":"link","target":""}'),
        *map(at, [b"", b"/a", b"a/", b"a//b", b".", b"..", b"a/../b", b".git", b"a/.GIT/b", b".fst", b"git~1", b"a\\u0000b", b"n" * 256]),
        at(b"/".join([b"d" * 100] * 42)),
        encode_leaf(records(*QUIET[:129])),
        encode_leaf(records(*QUIET[:10], LOUD, LOUD + b"~")),
        inner_text(level=b"0"),
        inner_text(level=b"-1"),
        inner_text(level=b"17"),
        inner_text(level=b"true"),
        inner_text(hash=b"AB" * 32),
        inner_text(hash=b"ab" * 31),
        inner_text(path=b'"path":""'),
        inner_text(path=b'"path":"../a"'),
        inner_text(path=b'"path_b64":"YQ=="'),
        inner_text(sums=b'"entries":0,"files":0,"bytes":0'),
        inner_text(sums=b'"entries":1,"files":2,"bytes":0'),
        inner_text(sums=b'"entries":1,"files":-1,"bytes":0'),
        inner_text(sums=b'"entries":1,"files":1,"bytes":-1'),
        inner_text(sums=b'"entries":1,"files":1,"bytes":9223372036854775808'),
        inner_text(sums=b'"files":1,"entries":1,"bytes":1'),
        b'{"level":1,"children":[]}',
        b"x" * (8 * 1024 * 1024 + 1),
    ],
)
def test_malformed_nodes_are_refused(data: bytes) -> None:
    assert check_bytes(inner_text()).level == 1
    with pytest.raises(InvalidManifest):
        check_bytes(data)


def two_leaves(hand: Hand) -> tuple[Child, Child]:
    """A right pair: the first is full, the second is the rest."""
    return hand.leaf(records(*QUIET[:128])), hand.leaf(records(*QUIET[128:140]))


def resized(child: Child, **sums: int) -> Child:
    kept = {name: sums.get(name, getattr(child, name)) for name in ("entries", "files", "bytes")}
    return Child(path=child.path, hash=child.hash, **kept)


def wrong_sum(name: str) -> Callable[[Hand], Child]:
    def make(hand: Hand) -> Child:
        first, second = two_leaves(hand)
        return hand.inner(1, [first, resized(second, **{name: 11})])

    return make


def wrong_first_path(hand: Hand) -> Child:
    first, second = two_leaves(hand)
    return hand.inner(1, [first, Child(path=QUIET[128].decode() + "~", hash=second.hash, entries=12, files=12, bytes=12)])


def order_across_leaves(hand: Hand) -> Child:
    first, second = hand.leaf(records(*QUIET[:127], b"z")), hand.leaf(records(*QUIET[128:140]))
    return hand.inner(1, [first, second])


def a_leaf_twice(hand: Hand) -> Child:
    first, _ = two_leaves(hand)
    return hand.inner(1, [first, Child(path="z", hash=first.hash, entries=128, files=128, bytes=128)])


def a_level_left_out(hand: Hand) -> Child:
    return hand.inner(2, two_leaves(hand))


def a_level_too_many(hand: Hand) -> Child:
    return hand.inner(2, [hand.inner(1, two_leaves(hand))])


def an_only_child(hand: Hand) -> Child:
    return hand.inner(1, [two_leaves(hand)[0]])


def an_empty_leaf(hand: Hand) -> Child:
    first, _ = two_leaves(hand)
    return hand.inner(1, [first, Child(path="z", hash=hand.leaf([]).hash, entries=1, files=0, bytes=0)])


def cut_too_early(hand: Hand) -> Child:
    return hand.inner(1, [hand.leaf(records(*QUIET[:20])), hand.leaf(records(*QUIET[20:40]))])


def inner_cut_too_early(hand: Hand) -> Child:
    first, second = two_leaves(hand)
    return hand.inner(2, [hand.inner(1, [first]), hand.inner(1, [second])])


def no_parent(hand: Hand) -> Child:
    return hand.leaf(records(b"a", entry=DIR) + records(b"a/b/c"))


def a_file_for_a_parent(hand: Hand) -> Child:
    return hand.leaf(records(b"a", b"a/b"))


def a_link_for_a_parent(hand: Hand) -> Child:
    return hand.leaf(records(b"a", entry=Link(b"b")) + records(b"a/b"))


def a_parent_after(hand: Hand) -> Child:
    return hand.leaf(records(b"a", b"a-b", entry=DIR) + records(b"a-b/x", b"a/b/x", b"a0"))


@pytest.mark.parametrize(
    "make",
    [
        wrong_sum("entries"),
        wrong_sum("files"),
        wrong_sum("bytes"),
        wrong_first_path,
        order_across_leaves,
        a_leaf_twice,
        a_level_left_out,
        a_level_too_many,
        an_only_child,
        an_empty_leaf,
        cut_too_early,
        inner_cut_too_early,
        no_parent,
        a_file_for_a_parent,
        a_link_for_a_parent,
        a_parent_after,
    ],
)
def test_malformed_trees_are_refused(make: Callable[[Hand], Child]) -> None:
    hand = Hand()
    hand.check(hand.inner(1, two_leaves(hand)))
    with pytest.raises(InvalidManifest):
        hand.check(make(hand))


def test_a_missing_node_is_no_malformed_one() -> None:
    hand = Hand()
    root = hand.inner(1, two_leaves(hand))
    del hand.nodes.nodes[next(iter(hand.nodes.nodes))]
    with pytest.raises(BlobMissing):
        hand.check(root)


def test_a_tree_that_names_itself_is_left_quickly() -> None:
    """Each level names the one below 128 times: 128 ** 9 leaves, were they all visited."""
    hand = Hand()
    child = hand.leaf(records(*QUIET[:8]))
    for level in range(1, 10):
        lines = [Child(path=name.decode(), hash=child.hash, entries=1, files=1, bytes=1) for name in QUIET[:128]]
        child = hand.inner(level, lines)
    with pytest.raises(InvalidManifest):
        hand.check(child)


@pytest.mark.parametrize("count", [0, 1, 40, 5000])
def test_built_trees_pass(count: int) -> None:
    root, draft = build(make_entries(count, seed=count) if count else {})
    check_manifest(root, draft)


def test_folders_between_neighbours_pass() -> None:
    names = [b"a", b"a!", b"a!/x", b"a-b", b"a-b/c", b"a/b", b"a/b!", b"a/b/c", b"a/c", b"a0"]
    root, draft = build([(RelPath(name), DIR) for name in names])
    check_manifest(root, draft)


START = "a/ a-b/ a/f a/g/ a/g/h link@ z"


def tree(text: str) -> dict[RelPath, Entry]:
    kinds: dict[str, Entry] = {"/": DIR, "@": Link(b"x")}
    return {RelPath(word.rstrip("/@").encode()): kinds.get(word[-1], F) for word in text.split()}


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ("+a/new", True),
        ("+a/f", True),
        ("-z", True),
        ("-a/g -a/g/h", True),
        ("-a -a/f -a/g -a/g/h", True),
        ("+a -a/f -a/g -a/g/h", True),
        ("+z/ +z/y", True),
        ("+a-b/x -a/f", True),
        ("+b/ +b/c/ +b/c/d", True),
        ("+b/c", False),
        ("+z/y", False),
        ("+link/y", False),
        ("-a/g", False),
        ("-a -a/f", False),
        ("+a", False),
        ("+a@", False),
        ("+a -a-b", False),
        ("+a-b -a/g", False),
        ("+a -a/f -a/g +a/g/h", False),
        ("-a/g +a/g/i -a/g/h", False),
        ("+b/ +b/c/d", False),
    ],
)
@pytest.mark.parametrize("around", [0, 3000])
def test_p6_around_changes(changes: str, good: bool, around: int) -> None:
    """The quick check says what the whole check says."""
    old, below = build(tree(START) | (make_entries(around, seed=2) if around else {}))
    edit: list[tuple[RelPath, Entry | None]] = []
    for word in changes.split():
        ((path, entry),) = tree(word[1:]).items()
        edit.append((path, entry if word[0] == "+" else None))
    edit.sort()
    draft = Draft(below)
    new = edit_manifest(old, edit, draft)
    with nullcontext() if good else pytest.raises(InvalidManifest):
        check_manifest(new, draft)
    with nullcontext() if good else pytest.raises(InvalidManifest):
        check_tree_after(new, edit, draft)


def test_p6_looks_left_again() -> None:
    """`m/` stands after `m-d/`, though `m` stands before `m-d`."""
    entries = tree("m m-d/ z") | {RelPath(b"m-d/%04d" % number): F for number in range(500)}
    old, below = build(entries)
    edit: list[tuple[RelPath, Entry | None]] = [(RelPath(b"m"), None), (RelPath(b"m-d"), F)]
    draft = Draft(below)
    with pytest.raises(InvalidManifest):
        check_tree_after(edit_manifest(old, edit, draft), edit, draft)
