"""The ignore rules of a workspace as they stand in the folder on disk (those in a manifest: `sync.core.ignore.carried_rules`).

A folder's rules are read once and kept until the scanner, which sees every change there is, says that they changed.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from store.atomic import Folder
from store.errors import FastestError
from store.types import RelPath, Spot, spot_of
from sync.core.ignore import MAX_RULE_BYTES, RULE_FILES, Rules

UNSEEN: Final = (0, 0, 0, 0)
"""The signature of a rule file that no look has seen as it is."""


class FolderRules(NamedTuple):
    """The rules in one folder. `barred`: it lies in an ignored folder that is carried all the same, so nothing new belongs to it."""

    rules: Rules
    barred: bool

    def admit(self, name: bytes, is_dir: bool) -> bool:
        """True when a new name here belongs to the workspace."""
        return not (self.barred or self.rules.decide(name, is_dir).ignored)

    def expel(self, name: bytes, is_dir: bool) -> bool:
        """True when a name that is carried must leave: every replica reads the rule that says so."""
        verdict = self.rules.decide(name, is_dir)
        return verdict.ignored and verdict.travels


class IgnoreSource:
    """The rules of each folder of one workspace, read from disk."""

    def __init__(self, global_excludes: bytes = b"", info_exclude: bytes = b"") -> None:
        self._outside = (global_excludes, info_exclude)
        self._start = Rules.start(global_excludes=global_excludes, info_exclude=info_exclude)
        self._folders: dict[bytes, FolderRules] = {}
        self._notes: dict[bytes, dict[bytes, tuple[int, int, int, int]]] = {}
        self._written: set[Spot] = set()
        self.ignored: dict[bytes, dict[bytes, bool]] = {}
        """Folder -> names in it that were asked about and do not belong to the workspace; True: a folder."""

    def note_written(self, path: RelPath, *, is_gone: bool) -> None:
        """We made, changed or removed this rule file: the next look at it decides anew. For the plan that does it, it is as it was."""
        folder, name = spot_of(path)
        self._written.add(Spot(folder, name))
        if is_gone:  # nothing else remembers that there was one
            self._notes.setdefault(folder, {})[name] = UNSEEN

    def take_written(self) -> set[Spot]:
        """Rule files that we wrote since this was last asked; what they say is read anew from here on."""
        written, self._written = self._written, set()
        for folder in {spot.folder for spot in written}:
            self.forget(folder)
        return written

    def set_outside(self, global_excludes: bytes, info_exclude: bytes) -> bool:
        """Take over git's files that do not travel. True when they changed: then look at everything again.

        What is carried stays, only new names are kept out, or let in.
        """
        if self._outside == (global_excludes, info_exclude):
            return False
        self._outside = (global_excludes, info_exclude)
        self._start = Rules.start(global_excludes=global_excludes, info_exclude=info_exclude)
        self._folders.clear()
        return True

    def rules_in(self, root: Folder, path: bytes, here: Folder | None = None) -> FolderRules:
        """The rules for the names in a folder; `here` is the folder itself where it is open already."""
        found = self._folders.get(path)
        if found is not None:
            return found
        unread = []
        while path and path not in self._folders:
            unread.append(path)
            path = path.rpartition(b"/")[0]
        found = self._folders.get(path)
        if found is None:
            found = self._folders[b""] = FolderRules(self._start.enter(b"", *self._read(b"", root)), False)
        for path in reversed(unread):
            barred = not found.admit(path.rpartition(b"/")[2], is_dir=True)
            texts = self._read(path, here) if here and path == unread[0] else self._read_below(root, path)
            found = self._folders[path] = FolderRules(found.rules.enter(path, *texts), barred)
        return found

    def _read_below(self, root: Folder, path: bytes) -> tuple[bytes | None, bytes | None]:
        try:
            with root.open(path) as folder:
                return self._read(path, folder)
        except FastestError:
            return None, None

    def _read(self, path: bytes, folder: Folder) -> tuple[bytes | None, bytes | None]:
        """The texts of its rule files. One may be gone before any look records it, and what it said must go with it."""
        git, own = (_read_rule_file(folder, name) for name in RULE_FILES)
        for name, text in zip(RULE_FILES, (git, own), strict=True):
            if text is not None:
                self._notes.setdefault(path, {}).setdefault(name, UNSEEN)
        return git, own

    def forget(self, path: bytes) -> None:
        """A rule file of this folder changed: read the rules again, here and below, when they are next asked for."""
        below = path + b"/" if path else b""
        for other in [other for other in self._folders if other == path or other.startswith(below)]:
            del self._folders[other]
        for other in [other for other in self.ignored if other == path or other.startswith(below)]:
            del self.ignored[other]

    def begin_folder(self, path: bytes) -> None:
        """This folder is new: what was known of one that had its name is not of it."""
        self._folders.pop(path, None)
        self.ignored.pop(path, None)

    def note(self, path: bytes, name: bytes, status: os.stat_result | None) -> bool:
        """How a rule file that is itself ignored is now, as nothing else remembers it. True when that is news."""
        signature = None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        notes = self._notes.setdefault(path, {})
        known = notes.get(name)
        if signature is None:
            notes.pop(name, None)
        else:
            notes[name] = signature
        return known != signature

    def noted(self, path: bytes) -> tuple[bytes, ...]:
        """The rule files of a folder that were noted."""
        return tuple(self._notes[path]) if path in self._notes else ()


def _read_rule_file(folder: Folder, name: bytes) -> bytes | None:
    """Its bytes; None when there is no such regular file (git follows no link either) or the system does not let us."""
    try:
        fd = folder.open_file(name)
    except FastestError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RULE_BYTES:
            return None
        return os.read(fd, status.st_size + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
