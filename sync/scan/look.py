"""One look at a folder and what is below it: compare names with their records, read what differs, note it down."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple

from store.atomic import TEMP_PREFIX, Folder, has_writer, translate_os_error
from store.errors import FastestError, FileMoved
from store.index import StatIndex, entry_of, is_folder, is_only_doubted, is_same_folder, make_record, pack_signature
from store.types import DIR, MAX_PATH_BYTES, Change, Dir, Entry, File, Link, RelPath, is_ours, show_path
from sync.core.plan import Problem
from sync.rules import RULE_FILES, IgnoreSource
from sync.scan.contents import Contents, Keeper, read_still
from sync.scan.result import ScanResult

QUIET_NS: Final = 2_000_000_000
OPEN_FOLDERS: Final = 100
"""Folders held open on the way down; what lies deeper is opened from the root again."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a look works with; `ignored` is kept from look to look: folder -> name -> is it a folder."""

    index: StatIndex
    ignore: IgnoreSource
    ignored: dict[bytes, dict[bytes, bool]]
    keeper: Keeper
    now_ns: Callable[[], int]
    racy_ns: int
    undecided: set[bytes]
    """Folders where carried names are still to be asked about after a rule changed."""


class _Odd(NamedTuple):
    """A name that is not as recorded; `status` None: not asked yet, it has no record."""

    name: bytes
    record: bytes | None
    status: os.stat_result | None


class Look:
    """One look. `deep`: go into every folder; else only into new ones. `decide`: rules changed, ask them about carried names too."""

    def __init__(self, sources: Sources, root: Folder, stack: ExitStack) -> None:
        self._sources = sources
        self._root = root
        self._index = sources.index
        self._rules = sources.ignore
        self._device = root.identity()[0]
        self._began_ns = sources.now_ns()
        self._contents = Contents(sources.keeper, stack)
        self._later: list[tuple[bytes, bool, bool]] = []
        self._changes: list[Change] = []
        self._seen: dict[RelPath, bytes | None] = {}
        self._problems: list[Problem] = []
        self._deferred: set[bytes] = set()
        self._listed: set[bytes] = set()
        self._ignored = 0
        self._removed = 0
        self._rules_changed = False

    def result(self, everything: bool) -> ScanResult:
        """All that was found."""
        self._changes.sort(key=lambda change: change.path)
        return ScanResult(
            self._changes, self._seen, self._contents.held, self._problems, frozenset(self._deferred),
            None if everything else frozenset(self._listed), self._ignored, self._rules_changed, len(self._index), self._removed,
        )  # fmt: skip

    # --- going into folders -------------------------------------------------------------------------------------------------------

    def enter_nearest(self, path: bytes) -> None:
        """A folder that may have changed, or the nearest one above it that is carried and there."""
        while path and not self._is_known_folder(path):
            path, _, name = path.rpartition(b"/")
            if self._sources.ignored.get(path, {}).get(name):
                return
        while True:
            try:
                self.enter_from_root(path, deep=False, decide=False)
                return
            except FileMoved:
                if not path:
                    raise
                path = path.rpartition(b"/")[0]

    def enter_undecided(self) -> None:
        """Where an earlier look could not decide anew on everything a changed rule is about."""
        for path in sorted(self._sources.undecided):
            self._sources.undecided.discard(path)
            self._later.append((path, True, True))
        self.enter_later()

    def enter_later(self) -> None:
        """What was too deep to be reached with all folders above it open."""
        while self._later:
            path, deep, decide = self._later.pop()
            try:
                self.enter_from_root(path, deep=deep, decide=decide)
            except FileMoved:
                self._deferred.add(path.rpartition(b"/")[0])

    def enter_from_root(self, path: bytes, *, deep: bool, decide: bool) -> None:
        """Open and list a folder. Raises FileMoved when it is not there."""
        try:
            folder = self._root.open(path)
        except FileMoved:
            raise
        except FastestError as error:
            self._listed.add(path)
            self._report(path, error)
            return
        with folder:
            self._list(folder, path, deep, decide, 0)

    def _enter(self, outer: Folder, path: bytes, name: bytes, deep: bool, decide: bool, depth: int) -> None:
        if depth >= OPEN_FOLDERS:
            self._later.append((path, deep, decide))
            return
        try:
            folder = outer.open(name)
        except FileMoved:
            self._deferred.add(path.rpartition(b"/")[0])
        except FastestError as error:
            self._report(path, error)
        else:
            try:
                self._list(folder, path, deep, decide, depth + 1)
            finally:
                folder.close()

    def _is_known_folder(self, path: bytes) -> bool:
        record = self._index.get(path)
        return record is not None and is_folder(record)

    # --- one folder ---------------------------------------------------------------------------------------------------------------

    def _list(self, folder: Folder, path: bytes, deep: bool, decide: bool, depth: int) -> None:
        if path in self._listed:
            if decide:  # listed before the rule that changed was seen: the next look decides
                self._sources.undecided.add(path)
                self._deferred.add(path)
            return
        self._listed.add(path)
        known = self._index.folder(path)
        try:
            names = folder.names()
        except FastestError as error:
            self._report(path, error)
            return
        odd, folders, absent = self._compare(folder, path, names, known)
        # Whoever has nothing odd, nothing absent and no noted rule file is done with this: nearly every folder.
        if (odd or absent or self._rules.noted(path)) and self._have_rules_moved(folder, path, odd, absent):
            decide = deep = True
        expelled = self._expel(folder, path, known, absent) if decide else ()
        for gone in absent:
            self._drop(_join(path, os.fsencode(gone)), known[gone])
        for each in odd:
            if os.fsdecode(each.name) not in expelled and self._meet(folder, path, each):
                self._enter(folder, _join(path, each.name), each.name, True, decide, depth)
        if deep:
            for below in folders:
                if below not in expelled:
                    name = os.fsencode(below)
                    self._enter(folder, _join(path, name), name, True, decide, depth)

    def _compare(
        self, folder: Folder, path: bytes, names: list[str], known: Mapping[str, bytes]
    ) -> tuple[list[_Odd], list[str], list[str]]:
        """Names that are not as recorded, folders that are, and names that are not there.

        The hot loop: a full look at an unchanged workspace spends its time here, and most of it in `stat`.
        """
        odd: list[_Odd] = []
        folders: list[str] = []
        get, ask, pack, fd, device = known.get, os.stat, pack_signature, folder.fd, self._device
        found = 0
        for name in names:
            record = get(name)
            if record is None:
                odd.append(_Odd(os.fsencode(name), None, None))
                continue
            found += 1
            try:
                its = ask(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                self._deferred.add(path)
                continue
            except OSError as error:
                self._report(_join(path, os.fsencode(name)), translate_os_error(error, path))
                continue
            if record.startswith(pack(its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_mode)):
                continue
            if is_same_folder(record, its) and its.st_dev == device:
                folders.append(name)
            else:
                odd.append(_Odd(os.fsencode(name), record, its))
        if found == len(known):
            return odd, folders, []
        here = set(names)
        return odd, folders, [name for name in known if name not in here]

    def _have_rules_moved(self, folder: Folder, path: bytes, odd: list[_Odd], absent: list[str]) -> bool:
        """True when a rule file of this folder changed; then nothing decided before holds, here and below."""
        moved = any(os.fsencode(name) in RULE_FILES for name in absent)
        for each in odd:
            if each.name in RULE_FILES and self._has_rule_file_moved(folder, path, each):
                moved = True
        for name in self._rules.noted(path):
            if folder.stat(name) is None:
                moved = self._rules.note(path, name, None)
        if moved:
            self._rules_changed = True
            self._rules.forget(path)
            below = _join(path, b"")
            for other in [other for other in self._sources.ignored if other == path or other.startswith(below)]:
                del self._sources.ignored[other]
        return moved

    def _has_rule_file_moved(self, folder: Folder, path: bytes, odd: _Odd) -> bool:
        status = odd.status or folder.stat(odd.name)
        if status is None:
            return False
        if self._is_being_written(folder, odd.name, status):
            self._deferred.add(path)
            return False
        if odd.record is not None:
            # Until the index has the new file each look decides again: a look that was not kept must not be the only one.
            return not is_only_doubted(odd.record, status)
        if not stat.S_ISREG(status.st_mode):
            return False
        return self._rules.rules_in(self._root, path, folder).admit(odd.name, False) or self._rules.note(path, odd.name, status)

    def _is_being_written(self, folder: Folder, name: bytes, status: os.stat_result) -> bool:
        if not stat.S_ISREG(status.st_mode) or not self._is_fresh(status):
            return False
        try:
            fd = folder.open_file(name)
        except FastestError:
            return False
        try:
            return has_writer(fd) is True
        finally:
            os.close(fd)

    def _is_fresh(self, status: os.stat_result) -> bool:
        """Changed so lately that somebody may still be writing."""
        return 0 <= self._sources.now_ns() - status.st_ctime_ns < QUIET_NS

    def _expel(self, folder: Folder, path: bytes, known: Mapping[str, bytes], absent: list[str]) -> set[str]:
        """Carried names that a travelling rule ignores now: they leave the manifest and stay on disk."""
        rules = self._rules.rules_in(self._root, path, folder)
        expelled = {name for name, record in known.items() if rules.expel(os.fsencode(name), is_folder(record))} - set(absent)
        for name in expelled:
            raw, record = os.fsencode(name), known[name]
            self._drop(_join(path, raw), record)
            self._bar(path, raw, is_folder(record))
        return expelled

    # --- one name -----------------------------------------------------------------------------------------------------------------

    def _meet(self, folder: Folder, path: bytes, odd: _Odd) -> bool:
        """Take what is at an odd name. True for a folder whose names must be looked at, too."""
        full, status = _join(path, odd.name), odd.status
        if odd.record is None:
            try:
                status = self._admit(folder, path, full, odd.name)
            except FastestError as error:
                self._report(full, error)
                return False
        return status is not None and self._take(folder, full, odd.name, odd.record, status)

    def _admit(self, folder: Folder, path: bytes, full: RelPath, name: bytes) -> os.stat_result | None:
        """The status of a name without a record, if it is there and belongs to the workspace."""
        status = None if name.startswith(TEMP_PREFIX) else folder.stat(name)
        if status is None:
            return None
        is_dir = stat.S_ISDIR(status.st_mode)
        if self._sources.ignored.get(path, {}).get(name) is is_dir:
            self._ignored += 1
            return None
        if is_ours(name) or not self._rules.rules_in(self._root, path, folder).admit(name, is_dir):
            if name not in RULE_FILES:
                self._bar(path, name, is_dir)
            return None
        if len(full) > MAX_PATH_BYTES:
            self._problems.append(Problem(full, "invalid-value", f"{show_path(full[:120])}... is over {MAX_PATH_BYTES} bytes long."))
            return None
        return status

    def _take(self, folder: Folder, full: RelPath, name: bytes, record: bytes | None, status: os.stat_result) -> bool:
        """Whatever is at this name now becomes its entry. True for a folder."""
        if status.st_dev != self._device:
            self._problems.append(Problem(full, "mount-point", f"{show_path(full)} is another disk; it is not looked into."))
            return False
        try:
            taken = self._identify(folder, full, name, record, status)
        except FileMoved:
            self._deferred.add(_folder_of(full))
            return False
        except FastestError as error:
            self._report(full, error)
            return False
        if taken is None:
            return False
        entry, seen_as = taken
        old = None if record is None else entry_of(record)
        if isinstance(old, Dir) and not isinstance(entry, Dir):
            self._drop_below(full)
        self._seen[full] = seen_as
        if entry != old:
            self._changes.append(Change(full, old, entry))
        return isinstance(entry, Dir)

    def _identify(
        self, folder: Folder, full: RelPath, name: bytes, record: bytes | None, status: os.stat_result
    ) -> tuple[Entry, bytes] | None:
        """The entry and its record; None when it cannot be taken (now). Raises FileMoved when it moved meanwhile."""
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            return DIR, make_record(DIR, status)
        if stat.S_ISREG(mode):
            return self._read(folder, full, name, record, status)
        if stat.S_ISLNK(mode):
            link = Link(folder.read_link(name))
            return link, make_record(link, status, doubted=self._is_young(full, status))
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        self._problems.append(Problem(full, "special-file", f"{show_path(full)} is {kind}; it is not carried."))
        return None

    def _read(self, folder: Folder, full: RelPath, name: bytes, record: bytes | None, before: os.stat_result) -> tuple[File, bytes] | None:
        """A regular file's digest, its bytes kept on the way. Raises FileMoved when it would not hold still."""
        fd = folder.open_file(name)
        try:
            if self._is_fresh(before) and has_writer(fd):
                raise FileMoved(f"{show_path(full)} is being written")
            digest, data, status = read_still(fd, before, self._sources.keeper)
        except OSError as error:
            raise translate_os_error(error, full) from error
        finally:
            os.close(fd)
        if data is not None and (record is None or not record.endswith(digest)):
            self._contents.add(digest, data)
        file = File(digest, status.st_size, bool(status.st_mode & stat.S_IXUSR))
        return file, make_record(file, status, doubted=self._is_young(full, status))

    def _is_young(self, full: RelPath, status: os.stat_result) -> bool:
        """Too young to be trusted unread: then its folder is looked at once more."""
        young = max(status.st_mtime_ns, status.st_ctime_ns) >= self._began_ns - self._sources.racy_ns
        if young:
            self._deferred.add(_folder_of(full))
        return young

    # --- taking notes -------------------------------------------------------------------------------------------------------------

    def _bar(self, path: bytes, name: bytes, is_dir: bool) -> None:
        self._ignored += 1
        self._sources.ignored.setdefault(path, {})[name] = is_dir

    def _drop(self, full: RelPath, record: bytes) -> None:
        """Nothing is carried at this path any more, nor below it."""
        self._drop_below(full)
        self._seen[full] = None
        self._removed += 1
        self._changes.append(Change(full, entry_of(record), None))

    def _drop_below(self, full: RelPath) -> None:
        for path, record in self._index.below(full):
            self._seen[path] = None
            self._removed += 1
            self._changes.append(Change(path, entry_of(record), None))

    def _report(self, path: bytes, error: FastestError) -> None:
        self._problems.append(Problem(RelPath(path), error.code, error.message))


def _join(folder: bytes, name: bytes) -> RelPath:
    return RelPath(folder + b"/" + name if folder else name)


def _folder_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
