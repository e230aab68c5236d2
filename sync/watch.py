"""File-system notices -> dirty folders. A hint and nothing more: what is true is asked of the folder itself (sync.scan).

The door of watchdog. Notices are noted in its thread and fetched in one piece by whoever was nudged, so that a burst of thousands
costs a few wake-ups. What a notice cannot tell (a queue that overflowed, a folder that could not be watched, a root that was
moved) becomes the wish for a full rescan.

On Linux this stands on watchdog's reader of inotify, and keeps the watches itself. watchdog's own observer holds every event back
for up to half a second behind a move whose other half it waits for, tells of no failed watch below the root, and goes on naming a
folder that was moved away by its old path. Elsewhere its observer serves.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, Protocol

import msgspec
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from store.atomic import TEMP_PREFIX, Folder
from store.errors import FastestError, Unwritable
from store.types import Spot, is_ours, show_path
from sync.scan.mounts import is_out_of_descriptors, network_kind

if sys.platform == "linux":
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchDescriptor

COOKIE_PREFIX: Final = TEMP_PREFIX + b"cookie-"
NAMES_NOTED: Final = 64
"""More names of one folder than this are noted as the whole folder."""
LIMITS: Final = {
    errno.ENOSPC: "sudo sysctl fs.inotify.max_user_watches=1048576",
    errno.EMFILE: "sudo sysctl fs.inotify.max_user_instances=1024",
}
"""What raises it when the system refuses more."""


class Nudge(msgspec.Struct, frozen=True):
    """What was noticed since the last fetch. `rescan`: why everything must be looked at."""

    spots: frozenset[Spot]
    rescan: str = ""


class Eyes(Protocol):
    """What a system offers to hear of changes."""

    def open(self) -> None:
        """Begin. Raises OSError."""
        ...

    def close(self) -> None:
        """End."""
        ...

    @property
    def are_open(self) -> bool:
        """They still hear of changes."""
        ...


class Watcher:
    """Watches one root. `on_nudge` is called from another thread, once until the nudge is fetched."""

    def __init__(self, root: bytes, on_nudge: Callable[[], None]) -> None:
        self._root = root.rstrip(b"/")
        self._on_nudge = on_nudge
        self._lock = threading.Lock()
        self._noted: dict[bytes, set[bytes]] = {}
        self._rescan = ""
        self._told = False
        self._cookies: dict[bytes, threading.Event] = {}
        self._eyes: Eyes | None = None
        self.limit = ""
        """Why not all of it can be watched, with the remedy; empty while it can."""
        self.network = ""
        """The same, where what others change cannot be watched at all: it is their disk."""

    def start(self) -> bool:
        """Begin. False: not all of it can be watched (`limit` or `network` says why), so it must be polled. Raises Unwritable."""
        eyes: Eyes = Inotify(self) if sys.platform == "linux" else AnySystem(self)
        try:
            eyes.open()
        except OSError as error:
            if error.errno not in LIMITS:
                raise Unwritable(f"{show_path(self._root)} cannot be watched: {error.strerror}") from error
            self.reach_limit(error.errno)
            return False
        self._eyes = eyes
        if kind := network_kind(self._root):
            self.network = f"It is on a network disk ({kind}), which does not tell what others change; it is looked at all the time."
        return not (self.limit or self.network)

    def stop(self) -> None:
        """End; harmless when it never began."""
        eyes, self._eyes = self._eyes, None
        if eyes is not None:
            eyes.close()

    @property
    def is_alive(self) -> bool:
        """It still hears of changes."""
        return self._eyes is not None and self._eyes.are_open

    @property
    def root(self) -> bytes:
        """The path that is watched."""
        return self._root

    def fetch(self) -> Nudge:
        """What was noticed, and begin anew."""
        with self._lock:
            nudge = Nudge(frozenset(Spot(folder, name) for folder, names in self._noted.items() for name in names), self._rescan)
            self._noted, self._rescan, self._told = {}, "", False
        return nudge

    def barrier(self, timeout_seconds: float) -> bool:
        """True once every event from before this call was noted: a cookie file is made, and its own event awaited."""
        if not self.is_alive:
            return False
        cookie = COOKIE_PREFIX + secrets.token_hex(8).encode()
        heard = self._cookies[cookie] = threading.Event()
        try:
            with Folder.open_root(self._root) as folder:
                os.close(os.open(cookie, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder.fd))
                try:
                    return heard.wait(timeout_seconds)
                finally:
                    os.unlink(cookie, dir_fd=folder.fd)
        except (OSError, FastestError):
            return False
        finally:
            del self._cookies[cookie]

    def note(self, folder: bytes, name: bytes) -> None:
        """Something happened to this name; an empty one means the folder's whole content."""
        if name.startswith(TEMP_PREFIX):
            heard = self._cookies.get(name)
            if heard is not None:
                heard.set()
            return
        with self._lock:
            names = self._noted.setdefault(folder, set())
            if not name or len(names) >= NAMES_NOTED:
                self._noted[folder] = {b""}
            elif b"" not in names:
                names.add(name)
            told, self._told = self._told, True
        if not told:
            self._on_nudge()

    def want_rescan(self, reason: str) -> None:
        """Only looking at everything can tell what happened."""
        with self._lock:
            self._rescan = reason
            told, self._told = self._told, True
        if not told:
            self._on_nudge()

    def reach_limit(self, number: int) -> None:
        """The system would not watch another folder."""
        if not self.limit:
            remedy = "ulimit -n 65536" if number == errno.EMFILE and is_out_of_descriptors() else LIMITS[number]
            self.limit = f"The system's limit of watched folders is reached: raise it with `{remedy}`."
            self.want_rescan(self.limit)


class Inotify:
    """One inotify instance for one root; its events come in the order in which they happened, on one thread.

    A folder is watched before it is listed, and noted as dirty after both: whatever came into it meanwhile is found then (D14).
    """

    # inotify(7)
    MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
    DELETE_SELF, MOVE_SELF, UNMOUNT, IGNORED, IS_FOLDER = 0x400, 0x800, 0x2000, 0x8000, 0x40000000
    GONE_SELF = DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED
    ONLY_FOLDERS, NO_FOLLOW, NO_UNLINKED = 0x01000000, 0x02000000, 0x04000000
    WATCHED = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._lock = threading.RLock()
        self._paths: dict[WatchDescriptor, tuple[bytes, CallbackId]] = {}
        self._numbers: dict[bytes, WatchDescriptor] = {}
        self._ids = itertools.count(1)
        self._has_root = False
        self._device = 0
        self._reader: InotifyFD | None = None

    def open(self) -> None:
        """Begin. Raises OSError when not even the root can be watched."""
        self._device = os.lstat(self._watcher.root).st_dev
        self._reader = InotifyFD()
        self._reader.start()
        self._has_root = True
        try:
            self._watch_all()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """End."""
        self._has_root = False
        if self._reader is not None:
            self._reader.stop()
            self._reader.join()

    @property
    def are_open(self) -> bool:
        """They still hear of changes: a thread that died, or a root that is gone, hears nothing."""
        return self._has_root and self._reader is not None and self._reader.is_alive()

    # --- called by watchdog, on its thread ----------------------------------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """One event."""
        known = self._paths.get(event.wd)
        if known is None:
            return
        folder, mask = known[0], event.mask
        if not event.name:
            if not folder and mask & self.GONE_SELF:
                self._lose_root()
            return
        if event.name.startswith(TEMP_PREFIX):
            self._watcher.note(folder, event.name)  # a cookie; a folder being built is watched once it is shown
            return
        if is_ours(event.name):
            return
        if mask & self.IS_FOLDER and mask & (self.CREATE | self.DELETE | self.MOVED_FROM | self.MOVED_TO):
            path = _join(folder, event.name)
            self._forget(path)
            if mask & (self.CREATE | self.MOVED_TO):
                for below in self._watch(path):
                    self._watcher.note(below, b"")
        self._watcher.note(folder, event.name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """A watched folder was removed."""
        with self._lock:
            path, _ = self._paths.pop(wd, (None, None))
            if path is not None and self._numbers.get(path) == wd:
                del self._numbers[path]
        if path == b"":
            self._lose_root()

    def on_queue_overflow(self) -> None:
        """Events were lost, of new folders too."""
        try:
            self._forget(b"")
            self._watch_all()
        except OSError:
            self._lose_root()
        self._watcher.want_rescan("the system's queue of file events overflowed")

    # --- watches ------------------------------------------------------------------------------------------------------------------

    def _watch_all(self) -> None:
        """Raises OSError when the root cannot be watched."""
        for _ in self._watch(b""):
            pass

    def _watch(self, path: bytes) -> Iterator[bytes]:
        """Watch a folder and all below it; each is yielded once it is watched and listed."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            if not self._add(path):
                continue
            try:
                with os.scandir(self._full(path)) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False) and self._is_within(entry):
                            waiting.append(_join(path, entry.name))
            except OSError:
                pass  # gone again, or unreadable: the scanner meets it, and says so
            yield path

    def _is_within(self, entry: os.DirEntry[bytes]) -> bool:
        return (
            not is_ours(entry.name) and not entry.name.startswith(TEMP_PREFIX) and entry.stat(follow_symlinks=False).st_dev == self._device
        )

    def _add(self, path: bytes) -> bool:
        mask = Mask(self.WATCHED | self.ONLY_FOLDERS | self.NO_FOLLOW | self.NO_UNLINKED)
        assert self._reader is not None
        with self._lock:
            its_id = CallbackId(next(self._ids))
            try:
                wd = self._reader.add_callback(self._full(path), mask, self, its_id)
            except OSError as error:
                if not path:
                    raise
                if error.errno in LIMITS:
                    self._watcher.reach_limit(error.errno)
                return False
            if wd < 0:  # watchdog's answer where the system forbids it
                if not path:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return False
            before = self._paths.get(wd)
            self._paths[wd] = (path, its_id)
            self._numbers[path] = wd
            if before is not None:
                # One folder found under two names: it was moved while we walked. Each watch has one listener.
                self._reader.remove_callbacks([(wd, before[1])])
                if before[0] != path and self._numbers.get(before[0]) == wd:
                    del self._numbers[before[0]]
            return True

    def _forget(self, path: bytes) -> None:
        """Watch a folder, and what is below it, no more: it has this path no more."""
        assert self._reader is not None
        prefix = _join(path, b"")
        with self._lock:
            if path and path not in self._numbers:
                return
            gone = [each for each in self._numbers if each == path or each.startswith(prefix)]
            for each in gone:
                wd = self._numbers.pop(each)
                _, its_id = self._paths.pop(wd)
                self._reader.remove_callbacks([(wd, its_id)])

    def _lose_root(self) -> None:
        if self._has_root:
            self._has_root = False
            self._watcher.want_rescan("the root was moved, removed or unmounted")

    def _full(self, path: bytes) -> bytes:
        return self._watcher.root + b"/" + path if path else self._watcher.root


class AnySystem(FileSystemEventHandler):
    """watchdog's observer, whatever it stands on."""

    # Not that something was opened or read: the scanner does that, too.
    NOTICED: ClassVar[list[type[FileSystemEvent]]] = [
        FileCreatedEvent, FileClosedEvent, FileModifiedEvent, FileAttribEvent, FileMovedEvent, FileDeletedEvent,
        DirCreatedEvent, DirMovedEvent, DirDeletedEvent,
    ]  # fmt: skip

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._prefix = watcher.root + b"/"
        self._observer = Observer()

    def open(self) -> None:
        """Begin. Raises OSError."""
        self._observer.schedule(self, os.fsdecode(self._watcher.root), recursive=True, event_filter=self.NOTICED)
        self._observer.start()

    def close(self) -> None:
        """End."""
        self._observer.stop()
        self._observer.join()

    @property
    def are_open(self) -> bool:
        """They still hear of changes."""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event."""
        for text in (event.src_path, event.dest_path):
            path = os.fsencode(text)
            if path.startswith(self._prefix):
                folder, _, name = path[len(self._prefix) :].rpartition(b"/")
                if not any(is_ours(part) for part in (*folder.split(b"/"), name)):
                    self._watcher.note(folder, name)


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
