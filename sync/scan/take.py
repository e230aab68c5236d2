"""One name in a folder that is not as recorded: does it belong to the workspace, and what is it now?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from store.atomic import TEMP_PREFIX, Folder, has_writer, translate_os_error
from store.errors import FastestError, FileMoved
from store.index import StatIndex, entry_of, make_record, pack_signature
from store.types import DIR, MAX_PATH_BYTES, Dir, Entry, File, Link, RelPath, Spot, is_ours, show_path
from sync.core.ignore import RULE_FILES
from sync.core.plan import Problem
from sync.progress import Progress
from sync.rules import FolderRules, IgnoreSource
from sync.scan.contents import Contents, Keeper, read_still
from sync.scan.notes import Notes

QUIET_NS: Final = 2_000_000_000


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
    progress: Progress
    """Told of files once they were looked at."""
    ahead: dict[RelPath, tuple[bytes, int]]
    """Files whose time is ahead of our clock: the signature, and when it was first seen."""
    wanted: set[RelPath]
    """Paths that the cloud has, and where something that no rule lets in may stand in the way."""


class Here:
    """A folder that is being listed."""

    __slots__ = ("folder", "ignored", "path", "prefix", "rules")

    def __init__(self, folder: Folder, path: bytes) -> None:
        self.folder = folder
        self.path = path
        self.prefix = path + b"/" if path else b""
        self.rules: FolderRules | None = None
        self.ignored: dict[bytes, bool] | None = None
        """Both are asked for once, when the first name has no record."""

    def join(self, name: bytes) -> RelPath:
        """A name's whole path."""
        return RelPath(self.prefix + name)


class Taker:
    """Takes names for one look."""

    def __init__(self, sources: Sources, root: Folder, notes: Notes, stack: ExitStack, bits: bool) -> None:
        self._bits = bits
        self.contents = Contents(sources.keeper, stack)
        self.disk = root.identity()[0]
        self.linked: set[int] = set()
        """Inodes with several names that are not as recorded: none of the other names had an event."""
        self._sources = sources
        self._root = root
        self._notes = notes
        began_ns = sources.now_ns()
        self._fresh_ns = began_ns - QUIET_NS
        self._young_ns = began_ns - sources.racy_ns

    def admit(self, here: Here, name: bytes) -> os.stat_result | None:
        """The status of a name without a record, if it is there and belongs to the workspace."""
        status = None if name.startswith(TEMP_PREFIX) else here.folder.stat(name)
        if status is None:
            return None
        if self._sources.wanted and here.join(name) in self._sources.wanted and not is_ours(name):
            return status
        if here.ignored is None or here.rules is None:
            here.ignored = self._sources.ignored.get(here.path, {})
            here.rules = self._sources.ignore.rules_in(self._root, here.path, here.folder)
        is_dir = stat.S_ISDIR(status.st_mode)
        if here.ignored.get(name) is is_dir:
            self._notes.ignored += 1
            return None
        if is_ours(name) or not here.rules.admit(name, is_dir):
            if name not in RULE_FILES:
                self.bar(here, name, is_dir)
            return None
        full = here.join(name)
        if len(full) > MAX_PATH_BYTES:
            sentence = f"{show_path(full[:120])}... is over {MAX_PATH_BYTES} bytes long."
            self._notes.problems.append(Problem(full, "invalid-value", sentence))
            return None
        return status

    def bar(self, here: Here, name: bytes, is_dir: bool) -> None:
        """A rule ignores this name; it is not asked again."""
        self._notes.ignored += 1
        self._sources.ignored.setdefault(here.path, {})[name] = is_dir

    def take(self, here: Here, name: bytes, record: bytes | None, status: os.stat_result) -> bool:
        """Whatever is at this name now becomes its entry. True for a folder."""
        full = here.join(name)
        if status.st_dev != self.disk:
            self._notes.problems.append(Problem(full, "mount-point", f"{show_path(full)} is another disk; it is not looked into."))
            return False
        try:
            taken = self._identify(here, name, record, status)
        except FileMoved:
            self._notes.deferred.add(Spot(here.path, name))
            return False
        except FastestError as error:
            self._notes.report(full, error)
            return False
        if taken is None:
            return False
        entry, seen_as = taken
        old = None if record is None else entry_of(record)
        if isinstance(old, Dir) and not isinstance(entry, Dir):
            self._notes.drop_below(full)
        self._notes.take(full, old, entry, seen_as)
        if isinstance(entry, Dir):
            return True
        self._sources.progress.add()
        return False

    def is_being_written(self, here: Here, name: bytes, status: os.stat_result) -> bool:
        """True for a file that changed lately and is open for writing."""
        if not stat.S_ISREG(status.st_mode) or not self._is_fresh(here.join(name), status):
            return False
        try:
            fd = here.folder.open_file(name)
        except FastestError:
            return False
        try:
            return has_writer(fd) is True
        finally:
            os.close(fd)

    def _identify(self, here: Here, name: bytes, record: bytes | None, status: os.stat_result) -> tuple[Entry, bytes] | None:
        """The entry and its record; None when it cannot be taken. Raises FileMoved when it moved meanwhile."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return self._read(here, name, record, status)
        if stat.S_ISDIR(mode):
            return DIR, make_record(DIR, status)
        if stat.S_ISLNK(mode):
            link = Link(here.folder.read_link(name))
            return link, make_record(link, status, doubted=self._is_young(here, name, status))
        full = here.join(name)
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        self._notes.problems.append(Problem(full, "special-file", f"{show_path(full)} is {kind}; it is not carried."))
        return None

    def _read(self, here: Here, name: bytes, record: bytes | None, before: os.stat_result) -> tuple[File, bytes]:
        """A regular file's digest, its bytes kept on the way. Raises FileMoved when it would not hold still."""
        fd = here.folder.open_file(name)
        try:
            if before.st_ctime_ns > self._fresh_ns and self._is_fresh(here.join(name), before) and has_writer(fd):
                raise FileMoved(f"{show_path(here.join(name))} is being written")
            digest, data, status = read_still(fd, before, self._sources.keeper)
        except OSError as error:
            raise translate_os_error(error, here.join(name)) from error
        finally:
            os.close(fd)
        if data is not None and (record is None or not record.endswith(digest)):
            self.contents.add(digest, data)
        if record is not None and status.st_nlink > 1:
            self.linked.add(status.st_ino)
        file = File(digest, status.st_size, bool(status.st_mode & stat.S_IXUSR) if self._bits else _was_executable(record))
        return file, make_record(file, status, doubted=self._is_young(here, name, status))

    def _is_fresh(self, path: RelPath, status: os.stat_result) -> bool:
        """Changed so lately that somebody may still be writing."""
        now_ns = self._sources.now_ns()
        return now_ns - self._changed_ns(path, status, now_ns) < QUIET_NS

    def _is_young(self, here: Here, name: bytes, status: os.stat_result) -> bool:
        """Too young to be trusted unread: then it is looked at once more. An mtime yet to come is no doubt: a write would move it."""
        now_ns, path = self._sources.now_ns(), here.join(name)
        if self._changed_ns(path, status, now_ns) < self._young_ns and not self._young_ns <= status.st_mtime_ns <= now_ns:
            self._sources.ahead.pop(path, None)
            return False
        self._notes.deferred.add(Spot(here.path, name))
        return True

    def _changed_ns(self, path: RelPath, status: os.stat_result, now_ns: int) -> int:
        """When it was changed, by our clock: where its own is ahead, when this status was first seen."""
        if status.st_ctime_ns <= now_ns:
            return status.st_ctime_ns
        signature = pack_signature(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
        known = self._sources.ahead.get(path)
        if known is None or known[0] != signature or known[1] > now_ns:
            known = self._sources.ahead[path] = signature, now_ns
        return known[1]


def _was_executable(record: bytes | None) -> bool:
    """What was known of a file's bit; a new one has none."""
    old = None if record is None else entry_of(record)
    return isinstance(old, File) and old.executable
