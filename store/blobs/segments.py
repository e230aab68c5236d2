"""Segments: append-only files of frames. Bytes are on disk before the index names them (B1), and only named bytes are ever read.

A segment's row exists before its file, so a file without a row is no litter but evidence that the database was lost or put back:
nothing here removes it. What a crash leaves behind the named bytes is ignored, and that segment is not appended to again.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from store.database import Database, Tx
from store.errors import BlobDamaged, BlobMissing, Busy, NoSpace, Unwritable

SEGMENT_MAX: Final = 64 * 1024 * 1024
"""Bytes from which nothing more is appended to a segment."""
SEGMENT_MAGIC: Final = b"FSTSEG01"
OPEN_FILES: Final = 32
_SUFFIX: Final = ".seg"
_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW_SEGMENT: Final = """
    INSERT INTO segments (id, bytes)
    SELECT max($1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'segments'), 0)) + 1, 0 RETURNING id
"""


class OpenSegment:
    """A segment that one writer may append to; `kept` is how far some transaction may have named it, committed or not."""

    def __init__(self, number: int, fd: int, end: int) -> None:
        self.number = number
        self.end = end
        self.kept = end
        self._fd = fd

    def append(self, data: bytes) -> int:
        """Write behind the end; where it begins. Raises NoSpace, Unwritable. Not on disk before `sync`."""
        start = self.end
        with translate_errors("write to the store"):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self.end += len(data)
        return start

    def sync(self) -> None:
        """On disk, all that was appended."""
        with translate_errors("write to the store"):
            sync_data(self._fd)

    def close(self) -> None:
        """Cut off what no transaction names, so that a failed append leaves no dead bytes; then let the file go."""
        with translate_errors("write to the store"):
            try:
                if os.fstat(self._fd).st_size > self.kept:
                    os.ftruncate(self._fd, self.kept)
            finally:
                os.close(self._fd)


class _Handle:
    """An open file that closes when the last thread that reads it lets it go."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | _FLAGS)
        self._lock = threading.Lock()

    def read(self, start: int, length: int) -> bytes:
        if sys.platform != "win32":
            return os.pread(self._fd, length, start)
        with self._lock:
            os.lseek(self._fd, start, os.SEEK_SET)
            return os.read(self._fd, length)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class Segments:
    """The folder of segments, and which of them may be appended to. One process, any number of threads."""

    def __init__(self, db: Database, folder: Path, segment_bytes: int) -> None:
        self.folder = folder
        self.full_bytes = segment_bytes
        self._db = db
        self._lock = threading.Lock()
        self._handles_lock = threading.Lock()
        self._handles: OrderedDict[int, _Handle] = OrderedDict()
        self._leased: set[int] = set()
        self._unfit: set[int] = set()
        with translate_errors("create the store's folder"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        """Where a segment lies."""
        return self.folder / segment_name(number)

    def on_disk(self) -> list[int]:
        """The numbers of all segment files, known to the index or not."""
        with translate_errors("list the store's folder"):
            return sorted(int(file.stem) for file in self.folder.iterdir() if file.suffix == _SUFFIX and file.stem.isdecimal())

    def lease(self) -> OpenSegment:
        """A segment for one writer alone, to be given back; an unfinished one, else a new one."""
        unfinished = "SELECT id, bytes FROM segments WHERE bytes BETWEEN 1 AND $1"
        with self._lock:
            for number, named in list(self._db.read().execute(unfinished, (self.full_bytes - 1,))):
                segment = None if number in self._leased | self._unfit else self._reopen(number, named)
                if segment:
                    self._leased.add(number)
                    return segment
            segment = self._create()
            self._leased.add(segment.number)
            return segment

    def give_back(self, segment: OpenSegment) -> None:
        """End a lease."""
        try:
            segment.close()
        finally:
            with self._lock:
                self._leased.discard(segment.number)

    @contextmanager
    def hold(self, number: int) -> Iterator[bool]:
        """Keep writers off a segment; False when one is at work on it."""
        with self._lock:
            free = number not in self._leased
            if free:
                self._leased.add(number)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._leased.discard(number)

    def read(self, number: int, start: int, length: int) -> bytes:
        """Bytes of a segment. Raises BlobMissing when there is no such file, BlobDamaged when it is too short."""
        with self._handles_lock:
            handle = self._handles.get(number)
            if handle is None:
                handle = self._handles[number] = self._open(number)
            self._handles.move_to_end(number)
            if len(self._handles) > OPEN_FILES:
                self._handles.popitem(last=False)
        with translate_errors(f"read segment {number}"):
            data = handle.read(start, length)
        if len(data) != length:
            raise BlobDamaged(f"segment {number} ends before byte {start + length}")
        return data

    def remove(self, number: int) -> None:
        """Remove a file that no row needs any more; durable on return."""
        with self._handles_lock:
            self._handles.pop(number, None)
        with translate_errors(f"remove segment {number}"):
            self.path(number).unlink(missing_ok=True)
            sync_folder(self.folder)

    def forget(self) -> None:
        """The index was written anew: what was known about the files no longer holds."""
        with self._lock:
            self._unfit.clear()

    def close(self) -> None:
        """Let all files go."""
        with self._handles_lock:
            self._handles.clear()

    def _open(self, number: int) -> _Handle:
        try:
            with translate_errors(f"open segment {number}"):
                return _Handle(self.path(number))
        except FileNotFoundError:
            raise BlobMissing(f"segment {number} is not there", "Run `fst fsck --repair`.") from None

    def _reopen(self, number: int, named: int) -> OpenSegment | None:
        """None when the file is not exactly what the index names: whatever it holds besides is left alone."""
        try:
            with translate_errors(f"open segment {number}"):
                fd = os.open(self.path(number), os.O_RDWR | os.O_APPEND | _FLAGS)
        except FileNotFoundError:
            fd = -1
        if fd >= 0 and os.fstat(fd).st_size == named:
            return OpenSegment(number, fd, named)
        if fd >= 0:
            os.close(fd)
        self._unfit.add(number)
        return None

    def _create(self) -> OpenSegment:
        highest = max(self.on_disk(), default=0)

        def insert(tx: Tx) -> int:
            ((number,),) = tx.execute(_NEW_SEGMENT, (highest,))
            return int(number)

        number = self._db.write_now(insert)
        with translate_errors(f"create segment {number}"):
            fd = os.open(self.path(number), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
            sync_folder(self.folder)
        segment = OpenSegment(number, fd, 0)
        segment.append(SEGMENT_MAGIC)
        return segment


def segment_name(number: int) -> str:
    """Of its file."""
    return f"{number:08d}{_SUFFIX}"


def sync_data(fd: int) -> None:
    """The file's bytes and length reach the disk itself, as far as the system lets us ask for it."""
    if sys.platform == "darwin":
        import fcntl  # absent on Windows

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif sys.platform == "win32":
        os.fsync(fd)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """A new or removed name in `folder` reaches the disk. Windows has no such call and needs none."""
    if sys.platform != "win32":
        fd = os.open(folder, os.O_RDONLY | _FLAGS)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """OSError -> NoSpace, Busy or Unwritable. FileNotFoundError stays: what it means is the caller's to say."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no room to {what}", "Free some space; the work goes on by itself.") from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise Busy(f"too many open files to {what}") from error
        raise Unwritable(f"cannot {what}: {error.strerror}") from error
