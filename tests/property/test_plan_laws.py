"""The planner's laws (sync/core/plan.py) over correlated trees: one is made up, then perturbed twice.

Truth is the three trees as the test made them and the disk that refuses every step out of order; nothing is taken from the plan's
own account but what a law is about.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import combinations, product
from math import prod
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.manifest import EMPTY_ROOT, edit_manifest
from store.types import Dir, Entry, File, Link, RelPath, parent_of
from sync.core.plan import FILE_FOLDER, NAME_COLLISION, NAME_REFUSED, Action, Plan, plan
from tests.alphabet import FILES, D, Tree, is_tree, new_draft, path, show_tree, tree
from tests.planning import Contents, all_tracked, carry_out, plan_trees, take_step, wanted

LAWS = settings(max_examples=2 * settings().max_examples)

NAMES = ("a", "b", "A", "a!")
PLACES = [path("/".join(names)) for depth in (1, 2, 3) for names in product(NAMES, repeat=depth)]
TOPS = [place for place in PLACES if place.count(b"/") < 2]
WORDS = (b"one", b"two", b"three", b"four")

CONTENTS = Contents()
"""What the files below hold."""
TEXTS = [CONTENTS.text(words) for count in range(3) for words in combinations(WORDS, count)]
BYTES = [CONTENTS.put(word) for word in WORDS[:3]]
VALUES: list[Entry] = [
    *(File(made.digest, made.size, executable) for made in TEXTS + BYTES for executable in (False, True)),
    *(Link(word) for word in WORDS[:2]),
    *[D] * 6,
]


class Three(NamedTuple):
    """A base and two sides, and what their files hold."""

    base: Tree
    local: Tree
    remote: Tree
    contents: Contents

    def __repr__(self) -> str:
        return f"base {show_tree(self.base)} | local {show_tree(self.local)} | remote {show_tree(self.remote)}"

    def plan(self) -> Plan:
        return plan_trees(self.base, self.local, self.remote, join=self.contents.join)

    def mirrored(self) -> Three:
        return Three(self.base, self.remote, self.local, self.contents)

    def places(self) -> set[RelPath]:
        return {*self.base, *self.local, *self.remote}


def remove_below(entries: Tree, place: RelPath) -> None:
    for other in [other for other in entries if other == place or other.startswith(place + b"/")]:
        del entries[other]


def put(entries: Tree, place: RelPath, entry: Entry) -> None:
    """Whatever it takes: files in the way become folders, a folder in its place goes."""
    if not isinstance(entry, Dir):
        remove_below(entries, place)
    entries[place] = entry
    while place := parent_of(place):
        entries[place] = D


class Edit(NamedTuple):
    """One of `kind`; `which` picks among the paths there are, `place` and `entry` are what it brings."""

    kind: str
    which: int
    place: RelPath
    entry: Entry


KINDS = ("add", "add", "replace", "remove", "chmod", "move")
CHOICES = (len(KINDS), 20, len(PLACES), len(VALUES))


def edit_of(number: int) -> Edit:
    """One number an edit: drawing is what takes the time."""
    chosen = []
    for count in CHOICES:
        number, choice = divmod(number, count)
        chosen.append(choice)
    return Edit(KINDS[chosen[0]], chosen[1], PLACES[chosen[2]], VALUES[chosen[3]])


EDITS = st.integers(0, prod(CHOICES) - 1).map(edit_of)


def perturb(before: Tree, edits: list[Edit]) -> Tree:
    """A tree a few edits away."""
    entries = dict(before)
    for edit in edits:
        if edit.kind == "add" or not entries:
            put(entries, edit.place, edit.entry)
            continue
        place = sorted(entries)[edit.which % len(entries)]
        entry = entries[place]
        if edit.kind == "replace":
            put(entries, place, edit.entry)
        elif edit.kind == "remove":
            remove_below(entries, place)
        elif edit.kind == "chmod" and isinstance(entry, File):
            entries[place] = File(entry.digest, entry.size, not entry.executable)
        elif edit.kind == "move":
            move(entries, place, TOPS[PLACES.index(edit.place) % len(TOPS)])
    return entries


def move(entries: Tree, place: RelPath, target: RelPath) -> None:
    """A folder with all below it, to a name that is free and has a folder."""
    home = parent_of(target)
    if target in entries or target.startswith(place + b"/") or (home and not isinstance(entries.get(home), Dir)):
        return
    for other in [other for other in entries if other == place or other.startswith(place + b"/")]:
        entries[RelPath(target + other[len(place) :])] = entries.pop(other)


@st.composite
def three_trees(draw: st.DrawFn) -> Three:
    base = perturb({}, draw(st.lists(EDITS, max_size=8)))
    local, remote = (perturb(base, draw(st.lists(EDITS, max_size=5))) for _ in range(2))
    return Three(base, local, remote, Contents(dict(CONTENTS.kept)))


def is_new(side: Tree, base: Tree, place: RelPath) -> bool:
    return place in side and side[place] != base.get(place)


def has_new_below(folder: RelPath, side: Tree, base: Tree) -> bool:
    return any(place.startswith(folder + b"/") and is_new(side, base, place) for place in side)


# --- the laws -----------------------------------------------------------------------------------------------------------------


@LAWS
@given(three_trees())
def test_p1_agreement_needs_no_plan(three: Three) -> None:
    assert plan_trees(three.base, three.local, three.local) == Plan()
    assert plan_trees(three.local, three.local, three.local) == Plan()
    assert plan_trees(three.remote, three.local, three.remote) == Plan()


@LAWS
@given(three_trees())
def test_p2_only_the_side_that_did_not_change_is_written(three: Three) -> None:
    base, local, remote, _ = three
    after = wanted(three.plan(), local)
    for place in three.places():
        for changed, other in ((local, remote), (remote, local)):
            if other.get(place) == base.get(place) and after.get(place) != changed.get(place):
                # Only a folder that this side lost differs, and only because of something new below it on the other.
                assert isinstance(base[place], Dir) and isinstance(after[place], Dir)
                assert has_new_below(place, other, base)


@LAWS
@given(three_trees())
def test_p3_what_only_one_side_has_survives(three: Three) -> None:
    made = three.plan()
    after = wanted(made, three.local)
    told = {clash.path: (clash.ours, clash.theirs) for clash in made.clashes}
    for side, (has, lacks) in enumerate(((three.local, three.remote), (three.remote, three.local))):
        for place in has:
            if is_new(has, three.base, place) and place not in lacks and after.get(place) != has[place]:
                assert isinstance(after[place], Dir) and told[place][side] == has[place]


@LAWS
@given(three_trees(), st.randoms(use_true_random=False))
def test_p4_the_order_of_entries_does_not_matter(three: Three, random: Random) -> None:
    draft = new_draft()
    roots = []
    for side in (three.base, three.local, three.remote):
        entries, root = list(side.items()), EMPTY_ROOT
        random.shuffle(entries)
        for start in range(0, len(entries), 3):
            root = edit_manifest(root, sorted(entries[start : start + 3]), draft)
        roots.append(root)
    base, local, remote = roots
    assert plan(base, local, remote, draft, join=three.contents.join, untracked=all_tracked) == three.plan()


@LAWS
@given(three_trees())
def test_p5_a_clean_plan_reaches_the_remote(three: Three) -> None:
    made = plan_trees(three.base, three.base, three.remote)
    assert wanted(made, three.base) == three.remote
    assert (made.clashes, made.kept, made.held) == ((), (), ())


@LAWS
@given(three_trees())
def test_p6_the_planned_tree_is_a_tree(three: Three) -> None:
    assert is_tree(wanted(three.plan(), three.local))


def has_collision(entries: Tree) -> bool:
    return any(one.lower() == other.lower() for one, other in combinations(entries, 2))


def unfolded(entries: Tree) -> Tree:
    """Only one of the names that a folding disk takes for the same."""
    kept: Tree = {}
    taken: set[bytes] = set()
    for place, entry in sorted(entries.items()):
        if place.lower() not in taken and (not parent_of(place) or isinstance(kept.get(parent_of(place)), Dir)):
            kept[place] = entry
            taken.add(place.lower())
    return kept


@LAWS
@given(three_trees())
def test_p7_no_two_planned_paths_are_the_same_file_on_this_disk(three: Three) -> None:
    local = unfolded(three.local)
    made = plan_trees(three.base, local, three.remote, join=three.contents.join, fold=bytes.lower)
    free = plan_trees(three.base, local, three.remote, join=three.contents.join)
    after = wanted(made, local, fold=bytes.lower)
    everything = wanted(free, local)
    held = {problem.path for problem in made.held}

    assert not has_collision(after) and is_tree(after)
    assert after == {place: entry for place, entry in everything.items() if place not in held}
    for place in held:
        assert place in everything and place not in local
        assert parent_of(place) in held or any(place != other and place.lower() == other.lower() for other in after)


def no_exclamation(name: bytes) -> str | None:
    return "names here have no !" if b"!" in name else None


@LAWS
@given(three_trees(), st.booleans())
def test_p7_what_this_disk_cannot_hold_blocks_only_itself(three: Three, folds: bool) -> None:
    """And what is held is held again, until its name is free: planned as an addition, as the engine does, nothing else moves."""
    fold = bytes.lower if folds else None
    local = {place: entry for place, entry in (unfolded(three.local) if folds else three.local).items() if not place.count(b"!")}
    made = plan_trees(three.base, local, three.remote, join=three.contents.join, fold=fold, refuse=no_exclamation)
    free = plan_trees(three.base, local, three.remote, join=three.contents.join)
    after, everything = wanted(made, local, fold=fold), wanted(free, local)
    held = {problem.path: problem for problem in made.held}

    assert is_tree(after) and not any(place.count(b"!") for place in after)
    assert after == {place: entry for place, entry in everything.items() if place not in held}
    assert (made.clashes, made.kept) == (free.clashes, free.kept)
    for place, problem in held.items():
        if place.rpartition(b"/")[2].count(b"!"):
            assert problem.code == NAME_REFUSED
        else:
            assert problem.code == (held[parent_of(place)].code if parent_of(place) in held else NAME_COLLISION)

    head = {**{place: everything[place] for place in held}, **after}
    base = {place: entry for place, entry in head.items() if place not in held}
    again = plan_trees(base, after, head, fold=fold, refuse=no_exclamation)
    assert (again.actions, again.clashes, {problem.path for problem in again.held}) == ((), (), set(held))


@LAWS
@given(three_trees())
def test_p8_no_new_value_is_forgotten(three: Three) -> None:
    made = three.plan()
    after = wanted(made, three.local)
    told = {clash.path: (clash.ours, clash.theirs) for clash in made.clashes}
    for side, entries in enumerate((three.local, three.remote)):
        for place, entry in entries.items():
            if is_new(entries, three.base, place) and entry not in (after.get(place), told.get(place, (None, None))[side]):
                assert is_in(entry, after[place], three.base.get(place), three.contents), place


def is_in(entry: Entry, joined: Entry, base: Entry | None, contents: Contents) -> bool:
    """What this side brought to a file, its words or its executable bit, is in what became of it."""
    assert isinstance(entry, File) and isinstance(joined, File)
    if isinstance(base, File) and entry.digest == base.digest:
        return joined.executable == entry.executable
    known = contents.words(base) if isinstance(base, File) else frozenset()
    return contents.words(joined) >= contents.words(entry) - known


@LAWS
@given(three_trees())
def test_p9_a_plan_that_was_cut_short_is_found_again(three: Three) -> None:
    made = three.plan()
    after = wanted(made, three.local)
    for count in range(len(made.actions) + 1):
        half = carry_out(made.actions[:count], three.local)
        again = plan_trees(three.base, half, three.remote, join=three.contents.join)
        assert wanted(again, half) == after


@LAWS
@given(three_trees())
def test_p10_the_sides_are_mirror_images(three: Three) -> None:
    made, mirrored = three.plan(), three.mirrored().plan()
    after, before_mirror = wanted(made, three.local), wanted(mirrored, three.remote)
    assert [(clash.path, clash.kind, clash.base, clash.ours, clash.theirs) for clash in made.clashes] == [
        (clash.path, clash.kind, clash.base, clash.theirs, clash.ours) for clash in mirrored.clashes
    ]
    for clash in made.clashes:
        if clash.kind != FILE_FOLDER:
            assert (after.pop(clash.path), before_mirror.pop(clash.path)) == (clash.theirs, clash.ours)
    assert after == before_mirror


@LAWS
@given(three_trees(), st.randoms(use_true_random=False))
def test_p11_whatever_order_a_disk_accepts_leads_to_the_same_tree(three: Three, random: Random) -> None:
    made = three.plan()
    disk, waiting = dict(three.local), list(made.actions)
    while waiting:
        random.shuffle(waiting)
        waiting.remove(take_first_possible(disk, waiting))
        assert is_tree(disk)
    assert disk == wanted(made, three.local)


def take_first_possible(disk: Tree, waiting: list[Action]) -> Action:
    for action in waiting:
        with suppress(AssertionError):
            take_step(disk, action)
            return action
    pytest.fail("every step that is left is refused")


@LAWS
@given(three_trees(), st.sampled_from(NAMES))
def test_p12_what_the_remote_ignores_stays_and_is_no_edit_of_ours(three: Three, name: str) -> None:
    def untracked(place: RelPath, entry: Entry) -> bool:
        return name.encode() in place.split(b"/")

    made = plan_trees(three.base, three.local, three.remote, join=three.contents.join, untracked=untracked)
    after = wanted(made, three.local)
    for place, entry in three.local.items():
        if place not in three.remote and untracked(place, entry):
            assert after[place] == entry
            assert place not in made.kept


@LAWS
@given(three_trees())
def test_p13_what_was_only_moved_is_somewhere(three: Three) -> None:
    """A content that stands at one place in each of the three trees, wherever: both still have it, so it is not gone."""
    made = plan_trees(three.base, three.local, three.remote)  # a join takes and gives lines; here whole contents are followed
    found = [*wanted(made, three.local).values(), *(entry for clash in made.clashes for entry in (clash.ours, clash.theirs))]
    sides = [[content_of(entry) for entry in side.values()] for side in three[:3]]
    for content in set(sides[0]) - {b""}:
        if all(side.count(content) == 1 for side in sides):
            assert content in map(content_of, found)


def content_of(entry: Entry | None) -> bytes:
    """A file's bytes or a link's target, by name; nothing for a folder."""
    return bytes(entry.digest) if isinstance(entry, File) else entry.target if isinstance(entry, Link) else b""


SMALL = [tree(line) for line in ("-", "d=F1", "d=F2", "d=L1", "d=D", "d/x=F1", "d/x=F2", "d/x=F1X", "d/x=L1", "d/x=D")]
MOVED = [
    tree(line)
    for line in (
        "a/x=F1 b/y=F2", "a/x=F1", "b/y=F2", "-", "a/y=F2 b/x=F1", "a/y=F2", "c/x=F1 b/y=F2", "c/y=F2 a/x=F1", "c/x=F1 c/y=F2",
        "a/b/y=F2 a/x=F1", "b/a/x=F1 b/y=F2", "a/b/a/x=F1", "a=F1 b=F2", "a=F2 b=F1", "b=F1", "a/x=F3 b/y=F2", "a/x=F1 b/y=F3",
        "c/x=F3 b/y=F2", "b/x=F1 b/y=F2", "b/x=F3 b/y=F2", "a/x=F1X b=F2", "a/y=F1 b/y=F2", "a/x/y=F1 b=L1",
    )
]  # fmt: skip
EVERY_LAW = [
    test_p1_agreement_needs_no_plan, test_p2_only_the_side_that_did_not_change_is_written, test_p3_what_only_one_side_has_survives,
    test_p5_a_clean_plan_reaches_the_remote, test_p6_the_planned_tree_is_a_tree, test_p8_no_new_value_is_forgotten,
    test_p9_a_plan_that_was_cut_short_is_found_again, test_p10_the_sides_are_mirror_images, test_p13_what_was_only_moved_is_somewhere,
]  # fmt: skip


@pytest.mark.parametrize("law", EVERY_LAW, ids=lambda law: law.__name__)
def test_every_small_case_and_every_move_of_two_folders(law: Callable[..., None]) -> None:
    """Not drawn but listed: all of a folder and what is in it, three times; and two folders that both sides move about."""
    bases = MOVED if settings().max_examples > 1000 else MOVED[:1]
    cases = [*product(SMALL, SMALL, SMALL), *product(bases, MOVED, MOVED)]
    told = Contents({file.digest: b"%d" % number for number, file in FILES.items()})
    for base, local, remote in cases:
        law.hypothesis.inner_test(Three(base, local, remote, told))  # type: ignore[attr-defined]


@LAWS
@given(three_trees())
def test_kept_is_what_the_remote_removed_and_stays(three: Three) -> None:
    made = three.plan()
    after = wanted(made, three.local)
    assert set(made.kept) == {place for place in three.base if place not in three.remote and place in after}


@LAWS
@given(three_trees())
def test_once_agreed_only_what_is_pushed_is_left(three: Three) -> None:
    after = wanted(three.plan(), three.local)
    assert plan_trees(three.remote, after, three.remote, join=three.contents.join) == Plan()
    other = plan_trees(three.remote, three.remote, after, join=three.contents.join)
    assert wanted(other, three.remote) == after
