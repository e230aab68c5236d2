"""Three manifests -> what this replica does: the one table of cases.

Theory. `base` is what this replica and its remote last agreed on, `local` what the replica has now, `remote` the remote's head.
For every path the plan fixes one *wanted* entry; carrying it out turns `local` into the tree of wanted entries, and what then
still differs from `remote` is what will be pushed. Only paths that differ from `base` on some side are ever looked at.

    local        remote       wanted                                                    told as
    unchanged    changed      remote (a path the remote ignores is not removed: local)
    changed      unchanged    local
    the same change           that
    removed      changed      remote: an edit outlives a deletion
    changed      removed      local: an edit outlives a deletion                        kept
    file         file         executable bit and content join apart; else remote        clash edit-edit, add-add
    folder       file, link   the folder keeps the name                                 clash file-folder
    link         file, link   remote                                                    clash edit-edit, add-add

Then a folder that one side lost (removed, or made a file) comes back if something wanted lies below it; and a new name that
this disk cannot hold, or that is another's in disguise to it, is held, with what lies below.

Laws, proven over random trees in tests/property/test_plan_laws.py:
P1 agreement needs no plan. P2 only the side that did not change is written. P3 what only one side has survives.
P4 the order of entries does not matter. P5 a clean plan reaches the remote. P6 the planned tree is a tree.
P7 no two planned paths are the same file on this disk, and it can hold each new name. P8 no new value of either side is
forgotten: it is wanted, clashes, is held, or went into a join. P9 a plan that was cut short is found again: after any first part
of it, planning leads to the same tree. P10 the sides are mirror images, but for the content of an undecided path. P11 each
action can be carried out in order on a disk that refuses a name in use, a missing folder and a folder in use. P12 what the remote
ignores stays. P13 what was only moved, by either side or by both, is somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

import msgspec

from store.manifest import NodeSource, diff_manifests, list_folder
from store.types import DIR, Change, Digest, Dir, Entry, File, RelPath, parent_of, show_path

Join = Callable[[File | None, File, File], File | None]
"""(base, local, remote) -> the joined file, its bytes already kept by the caller; None when they cannot be joined."""
Untracked = Callable[[RelPath, Entry], bool]
"""True where the remote's own ignore rules cover this path: then its absence there is no deletion."""
Fold = Callable[[bytes], bytes]
"""A name -> its collision key on this replica's disk."""
Refuse = Callable[[bytes], str | None]
"""Why this replica's disk cannot hold a name, as the end of a sentence; None when it can."""

EDIT_EDIT: Final = "edit-edit"
ADD_ADD: Final = "add-add"
FILE_FOLDER: Final = "file-folder"
NAME_COLLISION: Final = "name-collision"
NAME_REFUSED: Final = "name-refused"


class Action(msgspec.Struct, frozen=True, gc=False):
    """One step on disk: `path` goes from `expect` to `become`, None where there is nothing."""

    path: RelPath
    expect: Entry | None
    become: Entry | None


class Clash(msgspec.Struct, frozen=True, gc=False):
    """Two people disagree about `path`: the stuff of a conflict record. `ours` is the local entry, `theirs` the remote's."""

    path: RelPath
    kind: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


class Problem(msgspec.Struct, frozen=True, gc=False):
    """The world refuses `path`: a stable code, and a sentence for the person."""

    path: RelPath
    code: str
    message: str


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What to do, in an order that is safe: removals deepest first, then everything else from the top."""

    actions: tuple[Action, ...] = ()
    clashes: tuple[Clash, ...] = ()
    kept: tuple[RelPath, ...] = ()
    """What the remote removed and stays all the same: local edits, and the folders they need."""
    held: tuple[Problem, ...] = ()
    """What the remote has and this disk cannot take (P7)."""


def plan(
    base: Digest,
    local: Digest,
    remote: Digest,
    nodes: NodeSource,
    *,
    join: Join,
    untracked: Untracked,
    fold: Fold | None = None,
    refuse: Refuse | None = None,
) -> Plan:
    """The plan that brings `remote` into `local`, in time proportional to what changed since `base`.

    A path held before must be left out of `base` and `local`: it then comes as an addition, and is held again or, once its name
    is free, written. `fold` is the disk's folding, None where names are kept apart; `refuse` tells what it cannot hold, None where it
    holds all. Raises what `nodes` and `join` raise.
    """
    table = _Table(
        {change.path: change for change in diff_manifests(base, local, nodes)},
        {change.path: change for change in diff_manifests(base, remote, nodes)},
    )
    table.decide_paths(join, untracked)
    table.restore_folders()
    if refuse is not None:
        table.hold_refused(refuse)
    if fold is not None:
        table.hold_taken(fold, lambda folder: list_folder(local, folder, nodes))
    return table.draw_plan()


class _Table:
    """Each changed path's wanted entry, while it is being decided."""

    def __init__(self, here: dict[RelPath, Change], there: dict[RelPath, Change]) -> None:
        self.here = here
        self.there = there
        self.wanted: dict[RelPath, Entry | None] = {}
        """Where the wanted entry may differ from the local one; every other path wants what local has."""
        self.clashes: dict[RelPath, Clash] = {}
        self.kept: set[RelPath] = set()
        self.held: dict[RelPath, Problem] = {}

    def local_entry(self, path: RelPath) -> Entry | None:
        """What local has at a path that changed on some side: unless changed here, it is the base's."""
        mine = self.here.get(path)
        return self.there[path].old if mine is None else mine.new

    def remote_entry(self, path: RelPath) -> Entry | None:
        """What remote has at a path that changed on some side: unless changed there, it is the base's."""
        other = self.there.get(path)
        return self.here[path].old if other is None else other.new

    def wanted_entry(self, path: RelPath) -> Entry | None:
        """What is wanted at a path that changed on some side."""
        return self.wanted[path] if path in self.wanted else self.local_entry(path)

    def decide_paths(self, join: Join, untracked: Untracked) -> None:
        """Each path by itself, as if it had no folder. A path the remote did not change keeps what local has (P2), so only these."""
        for path, change in self.there.items():
            mine, theirs = self.here.get(path), change.new
            ours = change.old if mine is None else mine.new
            if theirs is None and ours is not None:
                # Removed there, here still. Ignored there means not removed but not looked at: whatever is here stays.
                if untracked(path, ours):
                    continue
                if mine is not None:
                    self.kept.add(path)
                    continue
            if mine is None:
                self.wanted[path] = theirs
            elif ours != theirs:
                # Both changed it, and differently; a removal there has been dealt with, so `theirs` is an entry.
                self.wanted[path], kind = _choose_entry(change.old, ours, theirs, join)
                if kind is not None:
                    self.clashes[path] = Clash(path, kind, change.old, ours, theirs)

    def restore_folders(self) -> None:
        """P6: every folder above a wanted entry is wanted.

        Something wanted exists on one side at least, and on that side all folders above it exist: a tree came in. So a folder
        above it that is not wanted was there in the base and on that side, and the *other* side lost it.
        """
        # A folder has nothing but its being one that could change.
        lost = {path for path, change in chain(self.here.items(), self.there.items()) if isinstance(change.old, Dir)}
        if not lost:
            return
        seen: set[bytes] = set()
        # What changed on neither side cannot be in trouble: both sides have it, so neither lost a folder above it.
        for path in chain(self.here, self.there):
            if self.wanted_entry(path) is None:
                continue
            folder = parent_of(path)
            while folder not in seen:  # once seen, everything above it has been seen too
                seen.add(folder)
                if folder in lost:
                    self.restore_folder(folder)
                folder = parent_of(folder)

    def restore_folder(self, folder: RelPath) -> None:
        """A folder that one side lost is wanted again; what took its name clashes with it, a removal just does not happen."""
        if isinstance(self.wanted_entry(folder), Dir):
            return
        self.wanted[folder] = DIR
        ours, theirs = self.local_entry(folder), self.remote_entry(folder)
        if theirs is None:
            self.kept.add(folder)
        elif ours is not None:
            self.clashes[folder] = Clash(folder, FILE_FOLDER, DIR, ours, theirs)

    def hold_refused(self, refuse: Refuse) -> None:
        """A new path whose name this disk cannot hold is not written; nor is anything below it."""
        for path in self.newcomers():
            if not self.hold_below(path) and (reason := refuse(_name_of(path))) is not None:
                self.hold(path, Problem(path, NAME_REFUSED, f"{show_path(path)} is not written here: {reason}."))

    def hold_taken(self, fold: Fold, list_local: Callable[[RelPath], Iterator[tuple[RelPath, Entry]]]) -> None:
        """P7: a new path whose name is taken, in some spelling, is not written; nor is anything below it.

        Who is here keeps the name; among newcomers the first in order of bytes has it. Folders come before what they hold, so
        below a folder that is not held all names stand for themselves, and only siblings can collide.
        """
        takers: dict[RelPath, dict[bytes, RelPath]] = {}
        for path in self.newcomers():
            folder = parent_of(path)
            if self.hold_below(path):
                continue
            if folder not in takers:
                takers[folder] = self.names_kept(folder, fold, list_local)
            holder = takers[folder].setdefault(fold(_name_of(path)), path)
            if holder != path:
                told = f"{show_path(path)} is not written here: on this disk it would be the same file as {show_path(holder)}."
                self.hold(path, Problem(path, NAME_COLLISION, told))

    def newcomers(self) -> list[RelPath]:
        """What is to be written where nothing is, folders first."""
        return [path for path in sorted(self.wanted) if self.local_entry(path) is None]

    def hold_below(self, path: RelPath) -> bool:
        """Hold what lies in a folder that is held."""
        above = self.held.get(parent_of(path))
        if above is not None:
            self.hold(path, Problem(path, above.code, f"{show_path(path)} is not written here: its folder is not."))
        return above is not None

    def hold(self, path: RelPath, problem: Problem) -> None:
        """Not here, and told."""
        del self.wanted[path]
        self.held[path] = problem

    def names_kept(
        self, folder: RelPath, fold: Fold, list_local: Callable[[RelPath], Iterator[tuple[RelPath, Entry]]]
    ) -> dict[bytes, RelPath]:
        """Collision key -> path, of everything in a folder that is there now and stays."""
        if folder in self.wanted:
            return {}  # it is new itself: nothing comes into a folder that the remote changed otherwise
        return {fold(_name_of(path)): path for path, entry in list_local(folder) if self.wanted.get(path, entry) is not None}

    def draw_plan(self) -> Plan:
        """The wanted tree as steps.

        Removals run deepest first, so a folder is empty when it goes, and every name is free before someone takes it. The rest
        runs from the top, so a folder is there before what it holds; a file that becomes a folder, or the other way round, is
        one step in its place: nothing below it is left by then, or nothing is there yet.
        """
        removals: list[Action] = []
        writes: list[Action] = []
        for path in sorted(self.wanted):
            entry, ours = self.wanted[path], self.local_entry(path)
            if entry != ours:
                (removals if entry is None else writes).append(Action(path, ours, entry))
        removals.reverse()
        return Plan(
            (*removals, *writes),
            tuple(self.clashes[path] for path in sorted(self.clashes)),
            tuple(sorted(self.kept)),
            tuple(self.held[path] for path in sorted(self.held)),
        )


def _choose_entry(base: Entry | None, ours: Entry | None, theirs: Entry | None, join: Join) -> tuple[Entry | None, str | None]:
    """The wanted entry where both sides made different changes and the remote did not remove, and the kind of clash if it is one."""
    if ours is None:
        # Removed here, edited there: the edit stays (P3).
        return theirs, None
    # Both sides have an entry, neither has the base's, and they differ. So at most one of them is a folder.
    if isinstance(ours, Dir) or isinstance(theirs, Dir):
        return DIR, FILE_FOLDER
    # Neither is a folder.
    if isinstance(ours, File) and isinstance(theirs, File):
        joined = _join_files(base if isinstance(base, File) else None, ours, theirs, join)
        if joined is not None:
            return joined, None
    # Two contents that do not join, or a link: undecided. The path takes the remote's, the record keeps ours.
    return theirs, ADD_ADD if base is None else EDIT_EDIT


def _join_files(base: File | None, ours: File, theirs: File, join: Join) -> File | None:
    """Two different files as one, the executable bit apart from the content; None when the contents do not join."""
    if ours.digest == theirs.digest:
        content: File | None = theirs
    elif base is not None and ours.digest == base.digest:
        content = theirs
    elif base is not None and theirs.digest == base.digest:
        content = ours
    else:
        # Both sides have a content of their own.
        content = join(base, ours, theirs)
    return None if content is None else File(content.digest, content.size, join_executable(base, ours, theirs))


def join_executable(base: File | None, ours: File, theirs: File) -> bool:
    """The side that changed the bit has it. Without a base it is set if either set it: a script that lost it would not run."""
    if base is None:
        return ours.executable or theirs.executable
    return theirs.executable if ours.executable == base.executable else ours.executable


def _name_of(path: RelPath) -> bytes:
    return path.rpartition(b"/")[2]
