"""Three machines, one head, and people who edit whenever they like: nothing is lost, and in the end all are equal.

Truth is kept here, from what the people did: every word somebody wrote, until somebody who saw it took it away. A word that is
nowhere (no folder, not the head, no record of a clash) was lost by us.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from store.types import Dir, File, Link, RelPath, parent_of
from tests.alphabet import D, Tree, is_tree, path, show_tree
from tests.machines import Cloud, Machine, words_of
from tests.planning import Contents

PLACES = [path(name) for name in ("a", "b", "A", "a/a", "a/b", "a/A", "b/a", "A/a")]
VERBS = ("pull", "pull", "pull, cut short", "pull, cut short", "pull amid an edit", "push", "push", "push", "push unanswered", "work alone")
KINDS = ("create", "create", "edit", "edit", "edit", "strike", "chmod", "link", "make_folder", "remove", "remove", "swap", "rename")


class Edit(NamedTuple):
    """What a person does: `kind`, to the path `which` of those there are, or to `place`."""

    kind: str
    which: int
    place: RelPath
    flag: bool


ALL_EDITS = [Edit(*choice) for choice in product(KINDS, range(8), PLACES, (False, True))]


def edit_of(number: int) -> Edit:
    """One number an edit: drawing is what takes the time."""
    return ALL_EDITS[number]


machines = st.integers(0, 2)
edits = st.integers(0, len(ALL_EDITS) - 1).map(edit_of)
steps = st.integers(0, 3)


class TwoMachines(RuleBasedStateMachine):
    """Two machines, and a third whose disk folds names."""

    def __init__(self) -> None:
        super().__init__()
        self.contents = Contents()
        self.cloud = Cloud()
        self.machines = [Machine(self.contents), Machine(self.contents), Machine(self.contents, fold=bytes.lower)]
        self.wanted: set[bytes] = set()
        """The truth: what somebody wrote and nobody who saw it took away."""
        self.written = 0

    @initialize(edits=st.lists(edits, max_size=8))
    def begin_alike(self, edits: list[Edit]) -> None:
        for edit in edits:
            self.edit(0, edit)
        self.come_home()

    # --- what people do ---------------------------------------------------------------------------------------------------------

    def edit(self, which: int, edit: Edit) -> None:
        """One edit of one folder; what was there and is gone was taken away knowingly."""
        disk = self.machines[which].disk
        before, after = dict(disk), dict(disk)
        if edit.kind in ("create", "make_folder", "link") or not disk:
            self.create(after, edit)
        else:
            files = [place for place in sorted(disk) if isinstance(disk[place], File)]
            there = files if files and edit.kind in ("edit", "strike", "chmod") else sorted(disk)
            place = there[edit.which % len(there)]
            self.alter(after, place, edit)
        if self.is_possible(after, self.machines[which]):
            disk.clear()
            disk.update(after)
            old, new = self.words_in(before), self.words_in(after)
            self.wanted = (self.wanted - (old - new)) | (new - old)

    def create(self, disk: Tree, edit: Edit) -> None:
        """Something at a place, with the folder it needs."""
        if edit.place in disk:
            return
        if parent_of(edit.place):
            disk.setdefault(parent_of(edit.place), D)
        if edit.kind == "link":
            disk[edit.place] = Link(self.new_word())
        else:
            disk[edit.place] = D if edit.kind == "make_folder" else self.new_file(edit.flag)

    def alter(self, disk: Tree, place: RelPath, edit: Edit) -> None:
        """A change of what is there."""
        old = disk[place]
        if edit.kind == "remove":
            remove_below(disk, place)
        elif edit.kind == "rename":
            rename(disk, place, edit.place)
        elif edit.kind == "swap":
            remove_below(disk, place)
            disk.update(
                {place: self.new_file(edit.flag)} if isinstance(old, Dir) else {place: D, RelPath(place + b"/a"): self.new_file(True)}
            )
        elif isinstance(old, File):
            disk[place] = self.altered(old, edit.kind)

    def altered(self, old: File, kind: str) -> File:
        """The other executable bit; a word more or less in a text; other bytes in anything else."""
        if kind == "chmod":
            return File(old.digest, old.size, not old.executable)
        words = self.contents.words(old)
        if old != self.contents.text(words, old.executable):
            return self.contents.put(self.new_word(), old.executable)
        return self.contents.text(sorted(words)[1:] if kind == "strike" else [*words, self.new_word()], old.executable)

    def new_file(self, joins: bool) -> File:
        return self.contents.text([self.new_word()]) if joins else self.contents.put(self.new_word())

    def new_word(self) -> bytes:
        self.written += 1
        return b"w%03d" % self.written

    def is_possible(self, disk: Tree, machine: Machine) -> bool:
        return is_tree(disk) and (machine.fold is None or len({machine.fold(place) for place in disk}) == len(disk))

    def words_in(self, entries: Tree) -> set[bytes]:
        return {word for entry in entries.values() for word in words_of(entry, self.contents)}

    # --- what we do -------------------------------------------------------------------------------------------------------------

    @rule(meanwhile=st.lists(st.tuples(machines, edits), max_size=4), which=machines, verb=st.sampled_from(VERBS), edit=edits, most=steps)
    def turn(self, meanwhile: list[tuple[int, Edit]], which: int, verb: str, edit: Edit, most: int) -> None:
        """People edit here and there; then one machine moves."""
        for where, other in meanwhile:
            self.edit(where, other)
        machine = self.machines[which]
        if verb == "pull":
            machine.pull(self.cloud)
        elif verb == "pull, cut short":
            machine.pull(self.cloud, most)
        elif verb == "pull amid an edit":
            machine.pull(self.cloud, amid=lambda: self.edit(which, edit))
        elif verb == "work alone":
            self.work_alone(which, edit)
        else:
            machine.push(self.cloud, answered=verb == "push")

    # --- what holds -------------------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        found = self.words_in(self.cloud.head) | {
            word for record in self.cloud.records for entry in (record.ours, record.theirs) for word in words_of(entry, self.contents)
        }
        for machine in self.machines:
            found |= self.words_in(machine.disk)
        assert self.wanted <= found, f"lost: {sorted(self.wanted - found)}"

    @invariant()
    def every_tree_is_a_tree(self) -> None:
        assert is_tree(self.cloud.head), show_tree(self.cloud.head)
        assert all(self.is_possible(machine.disk, machine) for machine in self.machines)

    def come_home(self) -> None:
        """With the edits stopped, a few rounds make all equal, and nothing is only on a machine any more."""
        for _ in range(2 * len(self.machines)):
            version = self.cloud.version
            for machine in self.machines:
                machine.pull(self.cloud)
                machine.push(self.cloud)
            if self.cloud.version == version:
                break
        for machine in self.machines:
            assert machine.shared() == self.cloud.head, f"{show_tree(machine.disk)} is not {show_tree(self.cloud.head)}"
            assert machine.agreed_version == self.cloud.version
            assert not (machine.held and machine.fold is None)
            assert not machine.held & set(machine.disk)

    def work_alone(self, which: int, edit: Edit) -> None:
        """While nobody else works, everyone ends with exactly what one person made: what was removed too stays away."""
        self.come_home()
        self.edit(which, edit)
        machine = self.machines[which]
        made = machine.shared()
        self.come_home()
        if not machine.fold:
            assert self.cloud.head == made, f"{show_tree(self.cloud.head)} is not {show_tree(made)}"

    def teardown(self) -> None:
        self.come_home()
        self.nothing_is_lost()
        self.every_tree_is_a_tree()


def remove_below(disk: Tree, place: RelPath) -> None:
    for other in [other for other in disk if other == place or other.startswith(place + b"/")]:
        del disk[other]


def rename(disk: Tree, place: RelPath, goal: RelPath) -> None:
    if goal not in disk and not goal.startswith(place + b"/"):
        for other in [other for other in disk if other == place or other.startswith(place + b"/")]:
            disk[RelPath(goal + other[len(place) :])] = disk.pop(other)


TestTwoMachines = TwoMachines.TestCase
TestTwoMachines.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=30)


# --- what random people rarely hit ------------------------------------------------------------------------------------------------


def test_a_clash_is_on_record_before_its_bytes_lose_their_place() -> None:
    cloud, contents = Cloud(), Contents()
    here, there = Machine(contents), Machine(contents)
    there.disk = {path("a"): contents.put(b"theirs"), path("b"): contents.put(b"more")}
    there.push(cloud)
    here.disk = {path("a"): contents.put(b"ours")}
    here.pull(cloud, most=1)
    assert here.disk == {path("a"): contents.put(b"theirs")} and here.agreed_version == 0
    here.pull(cloud)
    assert here.disk == cloud.head
    assert [clash.ours for clash in cloud.records] == [contents.put(b"ours")]


def test_a_held_name_that_is_made_here_clashes_before_it_is_pushed() -> None:
    cloud, contents = Cloud(), Contents()
    here, there = Machine(contents, fold=bytes.lower), Machine(contents)
    there.disk = {path("A"): contents.put(b"one"), path("a"): contents.put(b"two")}
    there.push(cloud)
    here.pull(cloud)
    assert (here.disk, here.held) == ({path("A"): contents.put(b"one")}, {path("a")})
    here.disk = {path("a"): contents.put(b"three")}
    here.push(cloud)
    assert cloud.head == here.disk == {path("a"): contents.put(b"two")}
    assert [(clash.ours, clash.theirs) for clash in cloud.records] == [(contents.put(b"three"), contents.put(b"two"))]


def test_a_held_path_is_written_once_its_name_is_free() -> None:
    cloud, contents = Cloud(), Contents()
    here, there = Machine(contents, fold=bytes.lower), Machine(contents)
    there.disk = {path("A"): contents.put(b"one"), path("a"): contents.put(b"two")}
    there.push(cloud)
    here.pull(cloud)
    here.disk.clear()
    here.push(cloud)
    assert cloud.head == here.disk == {path("a"): contents.put(b"two")}
    assert not here.held
