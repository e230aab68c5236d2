"""The steps of a push, over random pairs of trees and tiny bounds: they chain from one to the other, and each is a tree in bounds.

Truth is the two trees as the test made them; what the steps lead to is followed by hand, as a cloud would.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from store.manifest import Draft, edit_manifest
from store.types import Dir, Entry, File, Link, RelPath, digest_of, parent_of, parse_digest
from sync.core.wire import WireSnapshot, parse_delta
from sync.outgoing.steps import Bounds, Steps
from tests.alphabet import D, Tree, file, is_tree, manifest, new_draft, path, show_tree

LAWS = settings(max_examples=4 * settings().max_examples)
PLACES = [path("/".join(names)) for depth in (1, 2, 3) for names in product(("a", "b", "a!", "a0"), repeat=depth)]
VALUES: list[Entry] = [file(b"1"), file(b"2"), file(b"3", True), Link(b"to"), *[D] * 4]
SNAPSHOT = WireSnapshot("snap", "p", "w", "m", [], "cli", "", "", "", "", 1)
ENOUGH_BYTES = 1 << 20


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Whatever is put, it is a tree: files in the way become folders, a folder in its place goes."""
    entries: Tree = {}
    for place, value in draw(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), max_size=25)):
        if not isinstance(value, Dir):
            for below in [other for other in entries if other.startswith(place + b"/")]:
                del entries[below]
        entries[place] = value
        above = parent_of(place)
        while above:
            entries[above] = D
            above = parent_of(above)
    return entries


bounds = st.builds(Bounds, changes=st.integers(1, 6), steps=st.integers(1, 5), delta_bytes=st.integers(50, 1500) | st.just(ENOUGH_BYTES))


def pushes(old: Tree, new: Tree, bounds: Bounds, draft: Draft) -> Iterator[Steps]:
    """Push after push, until `new` is reached."""
    root, goal = manifest(old, draft), manifest(new, draft)
    while True:
        push = Steps(root, draft, bounds, set)
        is_there = push.lead_to(goal, SNAPSHOT)
        assert is_there == (push.root == goal) and (push.root != root or root == goal), "each push is a way nearer"
        yield push
        root = push.root
        if is_there:
            return


def follow(old: Tree, push: Steps, bounds: Bounds) -> Iterator[Tree]:
    """What each step leads to, as the cloud checks it."""
    entries, draft, waiting = dict(old), new_draft(), list(push.deltas)
    root = manifest(entries, draft)
    for step in push.steps:
        delta = [change for _ in range(step.sections) for change in parse_delta(waiting.pop(0))]
        assert all(one < other for (one, _), (other, _) in pairwise(delta))
        assert len(delta) <= bounds.changes
        root = edit_manifest(root, delta, draft)
        assert root == parse_digest(step.root)
        for place, entry in delta:
            if entry is None:
                del entries[place]
            else:
                entries[place] = entry
        assert root == manifest(entries, draft)
        yield dict(entries)
    assert not waiting


def changes_in(push: Steps) -> list[RelPath]:
    return [place for payload in push.deltas for place, _ in parse_delta(payload)]


@LAWS
@given(trees(), trees(), bounds)
def test_steps_chain_from_old_to_new_over_trees_and_each_is_in_bounds(old: Tree, new: Tree, bounds: Bounds) -> None:
    at, chain = old, list(pushes(old, new, bounds, new_draft()))
    for push in chain:
        assert 1 <= len(push.steps) <= bounds.steps
        assert sum(map(len, push.deltas)) <= bounds.delta_bytes or len(changes_in(push)) == 1, "one change alone always goes"
        for after in follow(at, push, bounds):
            assert is_tree(after), show_tree(after)
            at = after
    assert at == new, f"{show_tree(at)} is not {show_tree(new)}"
    marked = [step.snapshot for push in chain for step in push.steps]
    assert marked == [None] * (len(marked) - 1) + [SNAPSHOT], "the snapshot is of the last root alone"


@LAWS
@given(trees(), trees(), bounds)
def test_nothing_goes_before_all_that_comes_is_there(old: Tree, new: Tree, bounds: Bounds) -> None:
    at = old
    for push in pushes(old, new, bounds, new_draft()):
        for after in follow(at, push, bounds):
            assert old.keys() & new.keys() <= after.keys()
            if old.keys() - new.keys() - after.keys():
                late = {place for place in new if after.get(place) != new[place]}
                assert all(isinstance(old.get(place), Dir) for place in late), "only what takes the name of a folder waits for it"
            at = after


@LAWS
@given(trees(), trees(), bounds)
def test_a_push_names_the_files_it_brings_and_no_others(old: Tree, new: Tree, bounds: Bounds) -> None:
    at = old
    for push in pushes(old, new, bounds, new_draft()):
        brought: dict[object, int] = {}
        for after in follow(at, push, bounds):
            brought |= {one.digest: one.size for place, one in after.items() if isinstance(one, File) and at.get(place) != one}
            at = after
        assert push.sizes == brought


@LAWS
@given(trees(), trees())
def test_a_change_in_bounds_is_one_step_and_streamed_in_order(old: Tree, new: Tree) -> None:
    (push,) = pushes(old, new, Bounds(), new_draft())
    assert len(push.steps) == 1


@LAWS
@given(trees(), trees(), bounds, st.integers(1, 5))
def test_several_roots_fill_one_push_in_their_order(old: Tree, new: Tree, bounds: Bounds, middle: int) -> None:
    """What was added before stays; a push that is full says so and stands at a root it can go on from."""
    draft = new_draft()
    first, second = manifest(old, draft), manifest(new, draft)
    push = Steps(first, draft, bounds, set)
    for goal in ([second, first] * middle)[:middle]:
        known = list(push.steps)
        is_there = push.lead_to(goal)
        assert push.steps[: len(known)] == known and len(push.steps) <= bounds.steps
        assert push.root == goal or not is_there
        if not is_there:
            break
    at = old
    for at in follow(old, push, bounds):
        assert is_tree(at)
    assert manifest(at, draft) == push.root


def test_long_names_fill_a_push_before_many_changes_do() -> None:
    names = [b"".join(digest_of(b"%d %d" % (number, part)).hex().encode() for part in range(3)) for number in range(64)]
    new: Tree = {RelPath(name): file(name) for name in names}
    chain = list(pushes({}, new, Bounds(delta_bytes=3_000), new_draft()))
    assert len(chain) > 1 and all(sum(map(len, push.deltas)) <= 3_000 for push in chain)
    assert all(sum(map(len, push.deltas)) > 1_000 for push in chain[:-1]), "and each takes what it can"
