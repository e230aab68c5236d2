"""One open folder of a plan: look at what is there, make what comes, and give back what came out unexpectedly."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from store.atomic import Folder, TempName, Written, has_writer, translate_os_error
from store.errors import BlobDamaged, Busy, FastestError, FileMoved, Unwritable
from store.index import StatIndex, entry_of, make_record, pack_signature
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath, show_path
from sync.scan.contents import Keeper, read_still
from sync.scan.mounts import check_room

SWAPS: Final = 16
"""Exchanges with somebody who saves faster than we look, at most."""
_READ_BYTES = 128 * 1024


class Blobs(Keeper, Protocol):
    """Where contents come from (store.blobs.BlobStore)."""

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """A content, piece by piece. Raises BlobMissing, and BlobDamaged at its end at the latest."""
        ...


Keep = Callable[[bytes], Digest]
"""Keeps bytes that are about to lose their place; durable on return."""


class Held(NamedTuple):
    """What was looked at. `fd` where it is a file; `unproven`: its status alone does not tell its bytes, they were read."""

    status: os.stat_result
    fd: int = -1
    unproven: File | None = None

    def close(self) -> None:
        """Let the descriptor go."""
        if self.fd >= 0:
            os.close(self.fd)


class _InHand(NamedTuple):
    """A temporary that lost its name to something newer. `ours`: what we had made for that name, which it may be."""

    temp: TempName
    name: bytes
    path: RelPath
    ours: Written | None


class Site:
    """What a plan does in one open folder."""

    def __init__(
        self,
        folder: Folder,
        path: RelPath,
        index: StatIndex,
        blobs: Blobs,
        keep: Keep,
        rescued: list[tuple[RelPath, Digest]],
        *,
        bits: bool = True,
    ) -> None:
        self.folder = folder
        self.path = path
        self.touched = False
        self._rescued = rescued
        self._in_hand: list[_InHand] = []
        self._names: set[bytes] = set()
        self._index = index
        self._blobs = blobs
        self._keep = keep
        self._bits = bits

    def look(self, name: bytes, path: RelPath, expect: File | Link) -> Held:
        """Raises FileMoved unless exactly this is there and nobody is writing to it."""
        moved = FileMoved(f"{show_path(path)} changed")
        status = self.folder.stat(name)
        if status is None or stat.S_IFMT(status.st_mode) != (stat.S_IFLNK if isinstance(expect, Link) else stat.S_IFREG):
            raise moved
        if isinstance(expect, Link):
            if self.folder.read_link(name) != expect.target:
                raise moved
            return Held(status)
        fd = self.folder.open_file(name)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or has_writer(fd):
                raise moved
            unproven = None if self._is_recorded(path, expect, status) else expect
            if unproven and not self._holds(fd, status, expect):
                raise moved
            held, fd = Held(status, fd, unproven), -1
            return held
        except OSError as error:
            raise translate_os_error(error, path) from error
        finally:
            if fd >= 0:
                os.close(fd)

    def _is_recorded(self, path: RelPath, expect: File, status: os.stat_result) -> bool:
        record = self._index.get(path)
        if record is None or entry_of(record) != expect:
            return False
        return record.startswith(pack_signature(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode))

    def has_name(self, name: bytes) -> bool:
        """True when a name that is there is spelt so; a disk that folds names finds it under others, too."""
        if name not in self._names:
            self._names = set(map(os.fsencode, self.folder.names()))
        return name in self._names

    def is_still(self, temp: TempName, held: Held) -> bool:
        """True when the temporary is what was looked at, unchanged and out of everybody's hands."""
        status = self.folder.stat(temp)
        if status is None or not _is_same(status, held.status):
            return False
        if held.fd < 0:
            return True
        return not has_writer(held.fd) and (held.unproven is None or self._holds(held.fd, held.status, held.unproven))

    def _holds(self, fd: int, status: os.stat_result, expect: File) -> bool:
        if status.st_size != expect.size or (self._bits and bool(status.st_mode & stat.S_IXUSR) != expect.executable):
            return False
        whole, start = hashlib.sha256(), 0
        while piece := os.pread(fd, _READ_BYTES, start):
            whole.update(piece)
            start += len(piece)
        return whole.digest() == expect.digest and _content_marks(os.fstat(fd)) == _content_marks(status)

    def swap_in(self, ours: Written, name: bytes, path: RelPath, become: Entry) -> None:
        """Exchange; what came out has the temporary's name. Raises FileMoved when there was nothing to come out."""
        try:
            self.folder.exchange(ours.name, name)
        except FastestError as error:
            self.discard_ours(ours.name, become)
            aside = error.details.get("aside")
            if isinstance(aside, bytes):
                self._in_hand.append(_InHand(TempName(aside), name, path, None))
            raise

    def put_back(self, temp: TempName, name: bytes, path: RelPath, ours: Written, become: Entry) -> None:
        """Swap what came out back in, until the newest has the name; what stays in hand is settled later."""
        went_in: os.stat_result | None = None
        for _ in range(SWAPS):
            going = self.folder.stat(temp)
            try:
                self.folder.exchange(temp, name)
            except FileMoved:
                break  # the name was removed or moved away since: newer than what is in hand
            came_out = self.folder.stat(temp)
            if ours.is_at(came_out) and not isinstance(become, File):
                self.discard_ours(temp, become)
                return
            is_older = ours.is_at(came_out) or came_out is None or (went_in is not None and _is_same(came_out, went_in))
            if is_older and not self._is_being_written(temp):
                break
            went_in = going
        self._in_hand.append(_InHand(temp, name, path, ours))

    def give_back(self, temp: TempName, name: bytes, path: RelPath) -> None:
        """Give what was taken aside its name again, unless somebody has taken that: then it is the older one."""
        try:
            self.folder.place(temp, name)
        except FileMoved:
            self._in_hand.append(_InHand(temp, name, path, None))

    def settle(self) -> Iterator[tuple[RelPath, FastestError]]:
        """Let go of what stayed in hand, kept where nobody else may have it. Yields what could not be: it stays a temporary."""
        while self._in_hand:
            each = self._in_hand.pop()
            try:
                self._settle(each)
            except FastestError as error:
                yield each.path, error

    def _settle(self, each: _InHand) -> None:
        for _ in range(SWAPS):
            status = self.folder.stat(each.temp)
            if each.ours is not None and each.ours.is_at(status) and not self._is_being_written(each.temp):
                self.folder.discard(each.temp)
                return
            if status is None or self._rescue(each.temp, status, each.path):
                return
            # Somebody writes to it at this moment, so it is the newest: it gets the name, and what has that comes into our hand.
            try:
                self.folder.exchange(each.temp, each.name)
            except FileMoved:
                self.folder.place(each.temp, each.name)
        raise Busy(f"{show_path(each.path)} is being written by several at once; one stays as {show_path(each.temp)}")

    def _rescue(self, temp: TempName, status: os.stat_result, path: RelPath) -> bool:
        """Keep bytes that nobody else may have, then discard them. False when they are being written."""
        if stat.S_ISLNK(status.st_mode):
            digest = self._keep(self.folder.read_link(temp))
        elif not stat.S_ISREG(status.st_mode):
            raise Unwritable(f"{show_path(path)} changed its kind meanwhile; it stays as {show_path(temp)}.")
        else:
            fd = self.folder.open_file(temp)
            try:
                if has_writer(fd):
                    return False
                digest, data, status = read_still(fd, status, self._blobs)
                if data is not None:
                    self._keep(data)
                if has_writer(fd) or not _is_same(os.fstat(fd), status):
                    return False
            except FileMoved:
                return False
            except OSError as error:
                raise translate_os_error(error, path) from error
            finally:
                os.close(fd)
        self.folder.discard(temp)
        self._rescued.append((path, digest))
        return True

    def _is_being_written(self, temp: TempName) -> bool:
        status = self.folder.stat(temp)
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        fd = self.folder.open_file(temp)
        try:
            return has_writer(fd) is True
        finally:
            os.close(fd)

    def make(self, name: bytes, become: Entry, like: os.stat_result | None, *, fsync: bool) -> Written:
        """A temporary that holds the new entry. Raises BlobMissing, BlobDamaged, NoSpace."""
        self.touched = True
        match become:
            case File():
                check_room(self.folder.fd, name, become.size)
                like = like if self._bits else None
                return self.folder.write_temp(name, checked(self._blobs, become), become.executable, fsync=fsync, like=like)
            case Link():
                return self.folder.make_temp_link(name, become.target)
            case Dir():
                return self.folder.make_temp_dir(name)

    def discard_ours(self, temp: TempName, become: Entry) -> None:
        """Remove a temporary that holds what was to come."""
        if not isinstance(become, Dir):
            self.folder.discard(temp)
        elif not self.folder.remove_dir(temp):
            raise Unwritable(f"something was put into a folder that is not there any more; it stays as {show_path(temp)}.")

    def record_dir(self, name: bytes) -> bytes:
        """The record of a folder that was just made."""
        status = self.folder.stat(name)
        return make_record(DIR, status if status is not None and stat.S_ISDIR(status.st_mode) else None)

    def record(self, name: bytes, become: Entry, ours: Written) -> bytes:
        """The record of what was just put there; doubted when somebody was there since, or its time is not its own."""
        status = self.folder.stat(name)
        if status is None or not ours.is_at(status):
            return make_record(become, None)
        return make_record(become, status, doubted=not isinstance(become, File) or status.st_mtime_ns % 1000 == 0)


def checked(blobs: Blobs, file: File) -> Iterator[bytes]:
    """A file's bytes: whoever keeps them proves them (B2), here it is seen that they are as many as the entry says.

    Raises BlobMissing, and BlobDamaged: for a large file only after its last piece, which is before it is placed.
    """
    size = 0
    for piece in blobs.stream(file.digest):
        size += len(piece)
        yield piece
    if size != file.size:
        raise BlobDamaged(f"the bytes kept as {file.digest.hex()} are others", "Run `fst fsck`.")


def _content_marks(status: os.stat_result) -> tuple[int, int, int]:
    """What a write changes and a rename does not."""
    return status.st_size, status.st_mtime_ns, status.st_mode


def _is_same(status: os.stat_result, other: os.stat_result) -> bool:
    """True when both are of one file, and nothing was written to it in between."""
    return (status.st_dev, status.st_ino, *_content_marks(status)) == (other.st_dev, other.st_ino, *_content_marks(other))
