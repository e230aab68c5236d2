from __future__ import annotations

import random

import pytest

from store.errors import BlobMissing, InvalidValue
from store.manifest import (
    EMPTY_ROOT,
    Draft,
    MemoryNodes,
    Totals,
    build_manifest,
    diff_manifests,
    edit_manifest,
    find_entry,
    list_folder,
    manifest_totals,
    node_digests,
    parse_node,
    walk_manifest,
)
from store.types import DIR, Change, Digest, Entry, File, Link, RelPath, digest_of, parent_of
from tests.manifests import CountingNodes, build, make_entries, make_file

F = File(digest_of(b"1"), 1)
BIG_COUNT = 100_000
READS_FOR_ONE_EDIT = 12


def paths(*names: str) -> list[tuple[RelPath, Entry]]:
    return [(RelPath(name.encode()), F) for name in names]


@pytest.fixture(scope="module")
def big() -> tuple[Digest, Draft, list[RelPath]]:
    entries = make_entries(BIG_COUNT, seed=1)
    root, draft = build(entries)
    return root, draft, [path for path, entry in entries.items() if isinstance(entry, File)]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 31, 32, 33, 128, 129, 1000, 5000])
def test_walk_gives_what_was_built(count: int) -> None:
    entries = make_entries(count, seed=count) if count else {}
    root, nodes = build(entries)
    assert dict(walk_manifest(root, nodes)) == entries
    assert list(walk_manifest(root, nodes)) == sorted(entries.items())


@pytest.mark.parametrize("bad", [("b", "a"), ("a", "a"), ("",)])
def test_build_refuses_what_is_not_sorted(bad: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue):
        build_manifest(paths(*bad), Draft(MemoryNodes()))


def test_build_refuses_disorder_between_batches() -> None:
    with pytest.raises(InvalidValue):
        build_manifest([*paths(*(f"f{i:05}" for i in range(1024))), *paths("a")], Draft(MemoryNodes()))


@pytest.mark.parametrize("bad", [("b", "a"), ("a", "a")])
@pytest.mark.parametrize("start", [(), ("m",)])
def test_edit_refuses_what_is_not_sorted(bad: tuple[str, ...], start: tuple[str, ...]) -> None:
    root, draft = build(paths(*start))
    with pytest.raises(InvalidValue):
        edit_manifest(root, paths(*bad), draft)


def test_nodes_are_of_bounded_size() -> None:
    entries = make_entries(20_000, seed=3)
    root, draft = build(entries)
    sizes = [len(node.keys) for node in map(parse_node, draft.new.values()) if node.level == 0]
    assert max(sizes) <= 128
    assert sum(1 for size in sizes if size < 8) <= 1
    assert 27 < sum(sizes) / len(sizes) < 37
    assert parse_node(draft.get_node(root)).level == 2


def test_find() -> None:
    entries = make_entries(3000, seed=5)
    root, nodes = build(entries)
    assert {path: find_entry(root, path, nodes) for path in entries} == entries
    for absent in (b"", b"a", b"src/", b"src0", b"zzz", next(reversed(entries)) + b"0"):
        assert find_entry(root, absent, nodes) is None
    assert find_entry(EMPTY_ROOT, b"a", MemoryNodes()) is None


def test_totals_and_folders_agree_with_the_entries() -> None:
    entries = make_entries(3000, seed=6)
    root, nodes = build(entries)
    files = [entry for entry in entries.values() if isinstance(entry, File)]
    counting = CountingNodes(nodes)
    assert manifest_totals(root, counting) == Totals(len(files), sum(file.size for file in files), len(entries))
    assert counting.reads == [root]
    for folder in [b"", *(path for path, entry in entries.items() if entry == DIR)]:
        assert list(list_folder(root, folder, nodes)) == [pair for pair in entries.items() if parent_of(pair[0]) == folder]
        below = [(path, entry) for path, entry in entries.items() if path == folder or path.startswith(folder + b"/") or not folder]
        assert list(walk_manifest(root, nodes, folder)) == below


def test_a_folder_and_its_neighbours() -> None:
    names = (b"a", b"a!", b"a-b", b"a/b", b"a/b!", b"a/b/c", b"a0", b"a/b0")
    root, nodes = build([(RelPath(name), DIR) for name in names])
    assert [path for path, _ in walk_manifest(root, nodes, b"a")] == [b"a", b"a/b", b"a/b!", b"a/b/c", b"a/b0"]
    assert [path for path, _ in list_folder(root, b"a", nodes)] == [b"a/b", b"a/b!", b"a/b0"]
    assert [path for path, _ in list_folder(root, b"", nodes)] == [b"a", b"a!", b"a-b", b"a0"]
    assert list(walk_manifest(root, nodes, b"nothing")) == list(list_folder(root, b"nothing", nodes)) == []


def test_listing_jumps_over_what_is_deep(big: tuple[Digest, Draft, list[RelPath]]) -> None:
    root, draft, _ = big
    counting = CountingNodes(draft)
    assert [path for path, _ in list_folder(root, b"", counting)] == [b"src"]
    assert len(counting.reads) <= 2 * 4


def test_node_digests_are_all_and_skip_the_seen() -> None:
    entries = make_entries(3000, seed=7)
    root, draft = build(entries)
    assert sorted(node_digests(root, draft, set())) == sorted(draft.new)
    before = set(draft.new)
    changed = edit_manifest(root, paths("src/zzz"), draft)
    seen = set(before)
    assert set(node_digests(changed, draft, seen)) == set(draft.new) - before
    assert seen == set(draft.new)
    assert list(node_digests(EMPTY_ROOT, MemoryNodes(), set())) == [EMPTY_ROOT]


def test_missing_nodes_are_said() -> None:
    with pytest.raises(BlobMissing):
        find_entry(digest_of(b"?"), b"a", Draft(MemoryNodes()))


def test_one_edit_reads_and_writes_little(big: tuple[Digest, Draft, list[RelPath]]) -> None:
    root, draft, files = big
    rng = random.Random(9)
    for path in rng.sample(files, 20):
        counting = CountingNodes(draft)
        step = Draft(counting)
        edit_manifest(root, [(path, make_file(rng))], step)
        assert len(step.new) == 4
        assert len(set(counting.reads)) == 4


@pytest.mark.parametrize("seed", range(10))
def test_diff_of_one_edit_reads_a_few_nodes(big: tuple[Digest, Draft, list[RelPath]], seed: int) -> None:
    root, draft, files = big
    rng = random.Random(seed)
    path = rng.choice(files)
    old = find_entry(root, path, draft)
    for new in (make_file(rng), None, Link(b"x")):
        step = Draft(draft)
        changed = edit_manifest(root, [(path, new)], step)
        counting = CountingNodes(step)
        assert list(diff_manifests(root, changed, counting)) == [Change(path, old, new)]
        assert len(counting.reads) <= 2 * READS_FOR_ONE_EDIT
    added = RelPath(path + b"~")
    step = Draft(draft)
    changed = edit_manifest(root, [(added, DIR)], step)
    counting = CountingNodes(step)
    assert list(diff_manifests(root, changed, counting)) == [Change(added, None, DIR)]
    assert len(counting.reads) <= 2 * READS_FOR_ONE_EDIT


def test_diff_of_one_root_reads_nothing(big: tuple[Digest, Draft, list[RelPath]]) -> None:
    counting = CountingNodes(big[1])
    assert list(diff_manifests(big[0], big[0], counting)) == []
    assert counting.reads == []


def test_diff_is_a_stream(big: tuple[Digest, Draft, list[RelPath]]) -> None:
    counting = CountingNodes(big[1])
    changes = diff_manifests(EMPTY_ROOT, big[0], counting)
    assert next(changes).old is None
    assert len(counting.reads) <= 5


def test_an_edit_that_changes_nothing_makes_nothing() -> None:
    entries = make_entries(3000, seed=8)
    root, below = build(entries)
    draft = Draft(below)
    some = list(entries.items())[::50]
    assert edit_manifest(root, some, draft) == root
    assert edit_manifest(root, [(RelPath(b"absent"), None)], draft) == root
    assert edit_manifest(root, [], draft) == root
    assert draft.new == {}


def test_an_edit_that_fails_leaves_the_draft_alone() -> None:
    entries = make_entries(3000, seed=8)
    root, below = build(entries)
    inner = {digest: data for digest, data in below.new.items() if parse_node(data).level}
    nodes = MemoryNodes()
    nodes.nodes.update(inner)
    draft = Draft(nodes)
    with pytest.raises(BlobMissing):
        edit_manifest(root, [(next(iter(entries)), None)], draft)
    assert draft.new == {}


@pytest.mark.parametrize("kept", [0, 1, 2, 8, 40, 130, 1100])
def test_a_tree_that_shrinks(kept: int) -> None:
    entries = make_entries(4000, seed=10)
    root, below = build(entries)
    rest = dict(random.Random(kept).sample(sorted(entries.items()), kept))
    draft = Draft(below)
    changed = edit_manifest(root, [(path, None) for path in entries if path not in rest], draft)
    assert changed == build(rest)[0]
    assert set(draft.new) <= set(node_digests(changed, draft, set()))


def test_paths_that_never_end_a_node() -> None:
    """Hostile names make full nodes, not a giant one; a change at the front moves every cut and is still right."""
    from store.manifest.build import ends_node

    names = [name for name in (b"n%06d" % i for i in range(3000)) if not ends_node(0, name)]
    entries: dict[RelPath, Entry] = {RelPath(name): F for name in names}
    root, draft = build(entries)
    leaves = [node for node in map(parse_node, draft.new.values()) if node.level == 0]
    assert sorted(len(leaf.keys) for leaf in leaves)[1:] == [128] * (len(names) // 128)
    entries[RelPath(b"a")] = F
    assert edit_manifest(root, [(RelPath(b"a"), F)], draft) == build(entries)[0]
