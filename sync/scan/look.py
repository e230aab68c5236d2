"""One look at a folder and what is below it: compare names with their records, and take what differs."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Set
from contextlib import ExitStack
from typing import Final, NamedTuple

from store.atomic import Folder, sync_file_system, translate_os_error
from store.errors import FastestError, FileMoved
from store.index import is_folder, is_only_doubted, is_same_folder, make_record, pack_signature
from store.types import DIR, RelPath, Spot, folders_above, show_path, spot_of
from sync.core.ignore import RULE_FILES
from sync.core.plan import Problem
from sync.scan.mounts import mount_of
from sync.scan.notes import Notes, ScanResult
from sync.scan.take import Here, Sources, Taker

OPEN_FOLDERS: Final = 100
"""Folders held open on the way down; what lies deeper is opened from the root again."""
SMALL_FOLDER: Final = 8
"""A folder with fewer carried names than this for each one that is asked for is listed whole: that costs as little and tells more."""
_ALL: Final[frozenset[bytes]] = frozenset()


class _Odd(NamedTuple):
    """A name that is not as recorded; `status` None: not asked yet, it has no record."""

    name: bytes
    record: bytes | None
    status: os.stat_result | None


def _is_of_another_kind(odd: _Odd) -> bool:
    """A folder where something else was, or the other way round: a rule may be about one of the two alone."""
    return odd.record is not None and odd.status is not None and is_folder(odd.record) != stat.S_ISDIR(odd.status.st_mode)


def _above(path: bytes) -> list[bytes]:
    return [*folders_above(path)[1:], b""] if path else []


class Look:
    """One look. `deep`: go into every folder; else only into new ones. `decide`: rules changed, ask them about carried names too."""

    def __init__(self, sources: Sources, root: Folder, stack: ExitStack, bits: bool) -> None:
        self._sources = sources
        self._root = root
        self._bits = bits
        self._mount = mount_of(root.fd)
        self._index = sources.index
        self._rules = sources.ignore
        self._notes = Notes(sources.index)
        self._taker = Taker(sources, root, self._notes, stack, bits)
        self._later: list[tuple[bytes, bool, bool]] = []
        self._glanced: set[bytes] = set()

    def settle_expelled(self) -> None:
        """No sweep looks where nothing is carried: a temporary that we removed there must not be back after a power cut."""
        if self._notes.has_expelled:
            sync_file_system(self._root.fd)

    def result(self, *, everything: bool) -> ScanResult:
        """All that was found."""
        return self._notes.result(self._taker.contents.held, everything=everything)

    # --- going into folders -------------------------------------------------------------------------------------------------------

    def enter_nearest(self, path: bytes, names: Set[bytes] = _ALL) -> None:
        """A folder in which these names may have changed, or the nearest one above it that is carried and there."""
        asked = path
        while path and not self._is_known_folder(path):
            path, _, name = path.rpartition(b"/")
            if self._sources.ignored.get(path, {}).get(name):
                return
        if any(self._notes.seen.get(above, b"") is None for above in folders_above(path)):
            return  # it left in this very look
        while True:
            try:
                self.enter_from_root(path, deep=False, decide=False, names=names if path == asked else _ALL)
                return
            except FileMoved:
                if not path:
                    raise
                path = path.rpartition(b"/")[0]

    def enter_undecided(self) -> None:
        """Where an earlier look could not decide anew on everything a changed rule is about.

        A folder's look goes into all that is below it, but for what leaves: that is not looked into, as it would leave twice.
        """
        asked = set(self._sources.undecided)
        self._sources.undecided.clear()
        self._later += [(path, True, True) for path in asked if asked.isdisjoint(_above(path))]
        self.enter_later()

    def enter_later(self) -> None:
        """What was too deep to be reached with all folders above it open."""
        while self._later:
            path, deep, decide = self._later.pop()
            try:
                self.enter_from_root(path, deep=deep, decide=decide)
            except FileMoved:
                self._notes.deferred.add(spot_of(path))

    def defer_other_names(self) -> None:
        """Hard links: a write under one name changes what is at the others, of which no event tells."""
        if self._taker.linked:
            spots = {spot_of(path) for path in self._index.names_of(self._taker.linked)}
            self._notes.deferred.update(spot for spot in spots if not {spot, Spot(spot.folder, b"")} & self._notes.looked)

    def enter_from_root(self, path: bytes, *, deep: bool, decide: bool, names: Set[bytes] = _ALL) -> None:
        """Open a folder, and list it or ask for a few names. Raises FileMoved when it is not there."""
        try:
            folder = self._root.open(path)
        except FileMoved:
            raise
        except FastestError as error:
            self._notes.looked.add(Spot(path, b""))
            self._refuse(Problem(RelPath(path), error.code, error.message))
            return
        with folder:
            if not self._is_elsewhere(folder, path) and not (names and self._glance(Here(folder, path), names)):
                self._list(folder, path, deep, decide, 0)

    def _enter(self, outer: Here, name: bytes, deep: bool, decide: bool, depth: int) -> None:
        path = outer.join(name)
        if depth >= OPEN_FOLDERS:
            self._later.append((path, deep, decide))
            return
        try:
            folder = outer.folder.open(name)
        except FileMoved:
            self._notes.deferred.add(Spot(outer.path, name))
        except FastestError as error:
            self._refuse(Problem(RelPath(path), error.code, error.message))
        else:
            try:
                if not self._is_elsewhere(folder, path):
                    self._list(folder, path, deep, decide, depth + 1)
            finally:
                folder.close()

    def _refuse(self, why: Problem) -> None:
        """A folder that cannot be looked into. What happens in it until it can is told to nobody: then all below is looked at."""
        self._notes.problems.append(why)
        if self._is_known_folder(why.path):
            self._notes.seen[why.path] = make_record(DIR, None)

    def _is_elsewhere(self, folder: Folder, path: bytes) -> bool:
        """True for what is mounted there: another disk, or a folder from outside bound into ours."""
        if mount_of(folder.fd) == self._mount:
            return False
        self._notes.looked.add(Spot(path, b""))
        self._refuse(Problem(RelPath(path), "mount-point", f"{show_path(path)} is mounted there from elsewhere; it is not looked into."))
        return True

    def _is_known_folder(self, path: bytes) -> bool:
        record = self._index.get(path)
        return record is not None and is_folder(record)

    # --- one folder ---------------------------------------------------------------------------------------------------------------

    def _glance(self, here: Here, asked: Set[bytes]) -> bool:
        """Ask for these names alone. False where the folder must be listed: it is small, a rule file is among them, or a name is
        new and spelt another way than it was asked for (a disk that folds case).
        """
        if Spot(here.path, b"") in self._notes.looked:
            return True
        known = self._index.folder(here.path)
        if len(asked) * SMALL_FOLDER > len(known) or not asked.isdisjoint(RULE_FILES):
            return False
        its = {name: known[name] for name in map(os.fsdecode, asked) if name in known}
        try:
            there = [os.fsdecode(name) for name in asked if here.folder.stat(name) is not None]
            if any(name not in its for name in there) and not set(there) <= set(here.folder.names()):
                return False
        except FastestError:
            return False
        self._notes.looked.update(Spot(here.path, name) for name in asked)
        self._glanced.add(here.path)
        self._visit(here, there, its, deep=False, decide=False, depth=0)
        return True

    def _list(self, folder: Folder, path: bytes, deep: bool, decide: bool, depth: int) -> None:
        whole = Spot(path, b"")
        if whole in self._notes.looked or path in self._glanced:
            if decide:  # looked at before the rule that changed was seen: the next look decides
                self._sources.undecided.add(path)
            if decide or path in self._glanced:
                self._notes.deferred.add(whole)
            return
        self._notes.looked.add(whole)
        try:
            names = folder.names()
        except FastestError as error:
            self._refuse(Problem(RelPath(path), error.code, error.message))
            return
        self._visit(Here(folder, path), names, self._index.folder(path), deep=deep, decide=decide, depth=depth)

    def _visit(self, here: Here, names: list[str], known: Mapping[str, bytes], *, deep: bool, decide: bool, depth: int) -> None:
        """Names that are there, beside the records of all that might be."""
        odd, folders, absent = self._compare(here, names, known)
        self._sources.progress.add(len(names) - len(odd) - len(folders))
        # Whoever has nothing odd, nothing absent and no noted rule file is done with this: nearly every folder.
        if (odd or absent or self._rules.noted(here.path)) and self._have_rules_moved(here, odd, absent):
            decide = deep = True
        expelled = self._expel(here, known, absent) if decide else set()
        for gone in absent:
            self._notes.drop(here.join(os.fsencode(gone)), known[gone])
        for each in odd:
            if expelled and os.fsdecode(each.name) in expelled:
                if _is_of_another_kind(each):  # the rule was about what was there
                    self._notes.deferred.add(Spot(here.path, each.name))
            elif self._meet(here, each):
                self._enter(here, each.name, True, decide, depth)
        if deep:
            for below in folders:
                if below not in expelled:
                    self._enter(here, os.fsencode(below), True, decide, depth)

    def _compare(self, here: Here, names: list[str], known: Mapping[str, bytes]) -> tuple[list[_Odd], list[str], list[str]]:
        """Names that are not as recorded, folders that are, and names that are not there.

        The hot loop: a full look at an unchanged workspace spends its time here, and most of it in `stat`.
        """
        odd: list[_Odd] = []
        folders: list[str] = []
        get, ask, pack, fd, device = known.get, os.stat, pack_signature, here.folder.fd, self._taker.disk
        found, no_bits = 0, not self._bits
        for name in names:
            record = get(name)
            if record is None:
                odd.append(_Odd(os.fsencode(name), None, None))
                continue
            found += 1
            try:
                its = ask(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                self._notes.deferred.add(Spot(here.path, os.fsencode(name)))
                continue
            except OSError as error:
                self._notes.report(here.join(os.fsencode(name)), translate_os_error(error, here.path))
                continue
            if record.startswith(pack(its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_mode)):
                continue
            if no_bits and record.startswith(pack(its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_mode ^ stat.S_IXUSR)):
                continue
            if is_same_folder(record, its) and its.st_dev == device:
                folders.append(name)
            else:
                odd.append(_Odd(os.fsencode(name), record, its))
        if found == len(known):
            return odd, folders, []
        there = set(names)
        return odd, folders, [name for name in known if name not in there]

    def _meet(self, here: Here, odd: _Odd) -> bool:
        """Take what is at an odd name. True for a folder whose names must be looked at, too."""
        status = odd.status
        if odd.record is None:
            try:
                status = self._taker.admit(here, odd.name)
            except FastestError as error:
                self._notes.report(here.join(odd.name), error)
                return False
        elif status is not None and _is_of_another_kind(odd):
            is_dir = stat.S_ISDIR(status.st_mode)
            if self._rules.rules_in(self._root, here.path, here.folder).expel(odd.name, is_dir):
                self._notes.expel(here.join(odd.name), odd.record)
                self._taker.bar(here, odd.name, is_dir)
                return False
        is_folder_now = status is not None and self._taker.take(here, odd.name, odd.record, status)
        if is_folder_now and (odd.record is None or not is_folder(odd.record)):
            self._rules.begin_folder(here.join(odd.name))
        return is_folder_now

    # --- rules ----------------------------------------------------------------------------------------------------------------------

    def _have_rules_moved(self, here: Here, odd: list[_Odd], absent: list[str]) -> bool:
        """True when a rule file of this folder changed; then nothing decided before holds, here and below."""
        moved = any(os.fsencode(name) in RULE_FILES for name in absent)
        for each in odd:
            if each.name in RULE_FILES and self._has_rule_file_moved(here, each):
                moved = True
        for name in self._rules.noted(here.path):
            if here.folder.stat(name) is None:
                moved = self._rules.note(here.path, name, None)
        if moved:
            self._notes.rules_changed = True
            self._rules.forget(here.path)
        return moved

    def _has_rule_file_moved(self, here: Here, odd: _Odd) -> bool:
        status = odd.status or here.folder.stat(odd.name)
        if status is None:
            return False
        if self._taker.is_being_written(here, odd.name, status):
            self._notes.deferred.add(Spot(here.path, odd.name))
            return False
        if odd.record is not None:
            # Until the index has the new file each look decides again: a look that was not kept must not be the only one.
            return not is_only_doubted(odd.record, status)
        if not stat.S_ISREG(status.st_mode):
            return False
        rules = self._rules.rules_in(self._root, here.path, here.folder)
        return rules.admit(odd.name, False) or self._rules.note(here.path, odd.name, status)

    def _expel(self, here: Here, known: Mapping[str, bytes], absent: list[str]) -> set[str]:
        """Carried names that a travelling rule ignores now: they leave the manifest and stay on disk."""
        rules = self._rules.rules_in(self._root, here.path, here.folder)
        expelled = {name for name, record in known.items() if rules.expel(os.fsencode(name), is_folder(record))} - set(absent)
        for name in expelled:
            raw, record = os.fsencode(name), known[name]
            self._notes.expel(here.join(raw), record)
            self._taker.bar(here, raw, is_folder(record))
        return expelled
