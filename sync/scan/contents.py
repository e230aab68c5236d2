"""Contents on their way from a folder to the store: read without tearing, held back while they are few."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Protocol

from store.blobs import CHUNKED_MIN
from store.errors import FileMoved
from store.types import Digest

BULK_FILES: Final = 200
BULK_BYTES: Final = 8 * 1024 * 1024
"""New files, or bytes of them, from which on contents go to the store in bulk and not with the result."""


class Sink(Protocol):
    """Takes many contents (store.blobs.Bulk)."""

    def add(self, digest: Digest, data: bytes) -> None:
        """Keep these bytes."""
        ...


class Keeper(Protocol):
    """Where contents go (store.blobs.BlobStore)."""

    def bulk(self) -> AbstractContextManager[Sink]:
        """On leaving, all that was added is durable."""
        ...

    def add_file(self, fd: int, size: int) -> Digest:
        """Keep a large file, piece by piece, from where the descriptor stands. Raises FileMoved when it shrank."""
        ...

    def has(self, digest: Digest) -> bool:
        """True when the content is kept."""
        ...


class Contents:
    """New contents: held back while they are few, else sent on in bulk, which ends with `stack`."""

    def __init__(self, keeper: Keeper, stack: ExitStack) -> None:
        self.held: list[tuple[Digest, bytes]] = []
        self._keeper = keeper
        self._stack = stack
        self._bytes = 0
        self._sink: Sink | None = None

    def add(self, digest: Digest, data: bytes) -> None:
        """One content more."""
        if self._sink is not None:
            self._sink.add(digest, data)
            return
        self.held.append((digest, data))
        self._bytes += len(data)
        if len(self.held) > BULK_FILES or self._bytes > BULK_BYTES:
            self._sink = self._stack.enter_context(self._keeper.bulk())
            for each in self.held:
                self._sink.add(*each)
            self.held = []


def read_still(fd: int, before: os.stat_result, keeper: Keeper) -> tuple[Digest, bytes | None, os.stat_result]:
    """Digest, bytes and status of an open file that did not change while it was read (D6); None for bytes that are kept already.

    Raises FileMoved when it changed twice, and OSError.
    """
    for _ in range(2):
        if before.st_size >= CHUNKED_MIN:
            os.lseek(fd, 0, os.SEEK_SET)
            data, digest = None, keeper.add_file(fd, before.st_size)
        else:
            data = os.pread(fd, before.st_size + 1, 0)
            digest = Digest(hashlib.sha256(data).digest())
        after = os.fstat(fd)
        if _is_still(before, after) and (data is None or len(data) == after.st_size):
            return digest, data, after
        before = after
    raise FileMoved("it changes while it is read")


def _is_still(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_size == after.st_size
        and before.st_ino == after.st_ino
        and before.st_mode == after.st_mode
    )
