"""File-system notices -> dirty folders. A hint and nothing more: what is true is asked of the folder itself (sync.scan).

The door of watchdog. Its notices are noted in its own thread and fetched in one piece by whoever was nudged, so that a burst of
thousands costs a few wake-ups. What a notice cannot tell (a queue that overflowed, a watch that could not be set, a watcher that
died, a root that was replaced) becomes the wish for a full rescan.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable
from typing import Final

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
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from store.atomic import TEMP_PREFIX, Folder
from store.errors import FastestError, Unwritable

NOTICED: Final = [
    FileCreatedEvent, FileClosedEvent, FileModifiedEvent, FileAttribEvent, FileMovedEvent, FileDeletedEvent,
    DirCreatedEvent, DirMovedEvent, DirDeletedEvent,
]  # fmt: skip
COOKIE_PREFIX: Final = TEMP_PREFIX + b"cookie-"
PATHS_COUNTED: Final = 16
"""More distinct paths than this are a burst whatever their number."""
PAIRING_SECONDS: Final = 0.02
"""How long watchdog may hold a queue up to pair the two halves of a move; its own half a second would delay every save behind it."""


class Nudge(msgspec.Struct, frozen=True):
    """What was noticed since the last fetch. `rescan`: why everything must be looked at."""

    folders: frozenset[bytes]
    paths: frozenset[bytes]
    rescan: str = ""


class Watcher:
    """Watches one root. `on_nudge` is called from another thread, once until the nudge is fetched."""

    def __init__(self, root: bytes, on_nudge: Callable[[], None]) -> None:
        self._root = root
        self._prefix = root.rstrip(b"/") + b"/"
        self._on_nudge = on_nudge
        self._lock = threading.Lock()
        self._folders: set[bytes] = set()
        self._paths: set[bytes] = set()
        self._rescan = ""
        self._told = False
        self._cookies: dict[bytes, threading.Event] = {}
        self._emitter: _Emitter | None = None
        self._overflow = _OverflowListener(lambda: self._want_rescan("the system's queue of file events overflowed"))

    def start(self) -> bool:
        """Begin. False: the system cannot watch all of it (its limit is reached), so it must be polled. Raises Unwritable."""
        InotifyMoveEventGrouper.delay = PAIRING_SECONDS
        logging.getLogger("watchdog.observers.inotify_c").addHandler(self._overflow)
        emitter = _Emitter(self._root, self._note)
        try:
            emitter.start()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EMFILE):
                return False
            raise Unwritable(f"the folder cannot be watched: {error.strerror}") from error
        self._emitter = emitter
        return _has_watches_left()

    def stop(self) -> None:
        """End; harmless when it never began."""
        logging.getLogger("watchdog.observers.inotify_c").removeHandler(self._overflow)
        if self._emitter is not None:
            self._emitter.stop()
            self._emitter.join()
            self._emitter = None

    @property
    def is_alive(self) -> bool:
        """It still hears of changes."""
        return self._emitter is not None and self._emitter.is_alive()

    def fetch(self) -> Nudge:
        """What was noticed, and begin anew."""
        with self._lock:
            nudge = Nudge(frozenset(self._folders), frozenset(self._paths), self._rescan)
            self._folders, self._paths, self._rescan, self._told = set(), set(), "", False
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

    def _note(self, event: FileSystemEvent) -> None:
        for text in (event.src_path, event.dest_path):
            if text:
                self._note_path(os.fsencode(text))
        if isinstance(event, DirDeletedEvent) and os.fsencode(event.src_path) == self._root:
            self._want_rescan("the root was removed")

    def _note_path(self, full: bytes) -> None:
        if not full.startswith(self._prefix):
            return
        path = full[len(self._prefix) :]
        folder, _, name = path.rpartition(b"/")
        if name.startswith(TEMP_PREFIX):
            heard = self._cookies.get(name)
            if heard is not None:
                heard.set()
            return
        if path.startswith(b".git/") or b"/.git/" in path:
            return
        with self._lock:
            self._folders.add(folder)
            if len(self._paths) < PATHS_COUNTED:
                self._paths.add(path)
            told, self._told = self._told, True
        if not told:
            self._on_nudge()

    def _want_rescan(self, reason: str) -> None:
        with self._lock:
            self._rescan = reason
            self._told = True
        self._on_nudge()


class _Emitter(InotifyEmitter):
    """Hands each event on in its own thread, without watchdog's queue and dispatching thread in between."""

    def __init__(self, root: bytes, note: Callable[[FileSystemEvent], None]) -> None:
        watch = ObservedWatch(os.fsdecode(root), recursive=True, event_filter=NOTICED)
        super().__init__(queue.Queue(), watch, event_filter=NOTICED)  # type: ignore[arg-type]
        self._note = note

    def queue_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event it made of the system's."""
        if type(event) in _NOTICED_TYPES:
            self._note(event)


_NOTICED_TYPES: Final = frozenset(NOTICED)


class _OverflowListener(logging.Handler):
    """watchdog tells of lost events by a log line only."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_overflow = on_overflow

    def emit(self, record: logging.LogRecord) -> None:
        """A warning of that logger: events were lost."""
        if "overflow" in record.getMessage():
            self._on_overflow()


class _Probe:
    """A callback that hears nothing."""

    def on_event(self, event: InotifyEvent) -> None:
        """Nothing."""

    def on_watch_deleted(self, wd: int) -> None:
        """Nothing."""

    def on_queue_overflow(self) -> None:
        """Nothing."""


def _has_watches_left() -> bool:
    """One watch more can be set: then all of the root's were, as watchdog passes over those that could not."""
    shared = InotifyFD.get_instance()
    probe, number = _Probe(), 1
    try:
        wd = shared.add_callback(b"/proc", InotifyConstants.IN_DELETE_SELF, probe, number)  # type: ignore[arg-type]
    except OSError:
        return False
    shared.remove_callbacks([(wd, number)])  # type: ignore[list-item]
    return True
