"""Laws of the bucket tree, on trees of three levels: edits are made by a seeded hand so that an example is cheap to draw and to shrink."""

from __future__ import annotations

import random
from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st

from store.errors import InvalidValue
from store.manifest import (
    EMPTY_ROOT,
    Draft,
    MemoryNodes,
    Totals,
    build_manifest,
    check_manifest,
    diff_manifests,
    edit_manifest,
    find_entry,
    manifest_totals,
    node_digests,
    walk_manifest,
)
from store.types import DIR, Change, Digest, Entry, File, Link, RelPath, digest_of, parent_of, parse_path
from sync.core.wire import pack_delta, parse_delta
from tests.manifests import build, make_entries, make_file

Tree = dict[RelPath, Entry]
Edit = tuple[str, int, int]
UNIVERSE = 2600

names = st.binary(min_size=1, max_size=6).map(lambda raw: raw.replace(b"\0", b"0"))
odd_names = st.one_of(
    names,
    st.text(alphabet="aé\u0301\u017f😀\n\"\\'\u2028 \x7f\x1f", min_size=1, max_size=8).map(str.encode),
    st.binary(min_size=255, max_size=255).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"1")),
)
entry_values = st.one_of(
    st.builds(File, st.binary(min_size=32, max_size=32).map(Digest), st.integers(0, (1 << 53) - 1), st.booleans()),
    st.just(DIR),
    st.binary(min_size=1, max_size=9).map(lambda raw: Link(raw.replace(b"\0", b"0"))),
)
edit_kinds = st.sampled_from(["one", "some", "most", "range", "all", "grow"])
edits = st.lists(st.tuples(edit_kinds, st.integers(0, 2**32), st.integers(1, 400)), max_size=5)


@cache
def universe() -> tuple[tuple[RelPath, Entry], ...]:
    return tuple(make_entries(UNIVERSE, seed=77).items())


def is_legal(raw: bytes) -> bool:
    try:
        parse_path(raw)
    except InvalidValue:
        return False
    return True


def draw_changes(tree: Tree, edit: Edit) -> list[tuple[RelPath, Entry | None]]:
    kind, seed, count = edit
    rng = random.Random(seed)
    every = [path for path, _ in universe()]
    picked = {
        "one": lambda: rng.sample(every, 1),
        "some": lambda: rng.sample(every, count),
        "most": lambda: rng.sample(every, len(every) - count),
        "range": lambda: every[(start := rng.randrange(len(every))) : start + 3 * count],
        "all": lambda: every,
        "grow": lambda: rng.sample(every, count),
    }[kind]()
    remove = {"one": 0.5, "some": 0.4, "most": 0.5, "range": 0.9, "all": 0.97, "grow": 0.0}[kind]
    return [(path, None if rng.random() < remove else make_file(rng)) for path in sorted(picked)]


def apply(tree: Tree, changes: list[tuple[RelPath, Entry | None]]) -> Tree:
    result = dict(tree)
    for path, entry in changes:
        if entry is None:
            result.pop(path, None)
        else:
            result[path] = entry
    return dict(sorted(result.items()))


def difference(old: Tree, new: Tree) -> list[Change]:
    return [Change(path, old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]


@given(st.booleans(), edits)
@example(False, [("one", 0, 1), ("range", 769, 29)])
def test_an_edit_is_a_build_of_the_result(full: bool, sequence: list[Edit]) -> None:
    tree = dict(universe()) if full else {}
    root, draft = build(tree)
    for edit in sequence:
        changes = draw_changes(tree, edit)
        before, tree = tree, apply(tree, changes)
        step = Draft(draft)
        old_root, root = root, edit_manifest(root, changes, step)
        assert root == build(tree)[0]
        assert set(step.new) <= set(node_digests(root, step, set())), "a node that nobody needs"
        assert not set(step.new) & set(node_digests(old_root, draft, set())), "a node that was there"
        assert [*diff_manifests(old_root, root, step)] == difference(before, tree)
        draft.new.update(step.new)
    assert dict(walk_manifest(root, draft)) == tree
    check_totals(root, draft, tree)


@given(edits, edits)
def test_a_diff_leads_from_one_to_the_other(first: list[Edit], second: list[Edit]) -> None:
    """Two trees from far apart: the changes are the dict difference, and applying them to one gives the other."""
    old, new = dict(universe()), dict(universe())
    for edit in first:
        old = apply(old, draw_changes(old, edit))
    for edit in second:
        new = apply(new, draw_changes(new, edit))
    nodes = MemoryNodes()
    roots = []
    for tree in (old, new):
        root, draft = build(tree)
        roots.append(root)
        nodes.nodes.update(draft.new)
    changes = list(diff_manifests(roots[0], roots[1], nodes))
    assert changes == difference(old, new)
    assert list(diff_manifests(roots[1], roots[0], nodes)) == difference(new, old)
    delta = [(change.path, change.new) for change in changes]
    assert [change for payload in pack_delta(delta) for change in parse_delta(payload)] == delta
    assert edit_manifest(roots[0], delta, Draft(nodes)) == roots[1]


@given(st.dictionaries(odd_names.filter(is_legal).map(RelPath), entry_values, max_size=200))
def test_odd_names_come_back(tree: Tree) -> None:
    root, nodes = build(tree)
    assert list(walk_manifest(root, nodes)) == sorted(tree.items())
    assert all(find_entry(root, path, nodes) == entry for path, entry in tree.items())
    assert edit_manifest(EMPTY_ROOT, sorted(tree.items()), Draft(MemoryNodes())) == root
    delta = sorted(tree.items())
    assert [change for payload in pack_delta(delta) for change in parse_delta(payload)] == delta
    check_totals(root, nodes, tree)


@given(st.sets(odd_names.filter(is_legal).map(RelPath), max_size=150))
def test_every_built_tree_passes_the_check(names: set[RelPath]) -> None:
    tree: Tree = {name: File(digest_of(name), len(name)) for name in names}
    for name in names:
        folder = parent_of(name)
        while folder:
            tree[folder] = DIR
            folder = parent_of(folder)
    root, nodes = build(tree)
    check_manifest(root, nodes)


def check_totals(root: Digest, nodes: Draft, tree: Tree) -> None:
    files = [entry for entry in tree.values() if isinstance(entry, File)]
    assert manifest_totals(root, nodes) == Totals(len(files), sum(file.size for file in files), len(tree))


def test_one_shape_for_any_order_of_edits() -> None:
    entries = list(universe())
    expected = build_manifest(entries, Draft(MemoryNodes()))
    for seed in range(5):
        rng = random.Random(seed)
        shuffled = rng.sample(entries, len(entries))
        root, draft, at = EMPTY_ROOT, Draft(MemoryNodes()), 0
        while at < len(shuffled):
            size = rng.choice([1, 3, 40, 500])
            root = edit_manifest(root, sorted(shuffled[at : at + size]), draft)
            at += size
        assert root == expected
