"""Large files: cut where their content says, so that an insertion moves no boundary but its own.

FastCDC 2020 as pyfastcdc has it (https://ieeexplore.ieee.org/document/9055082). The parameters decide only how well files
deduplicate: any list of chunks that makes the whole is a valid recipe.

A file is read once, never mapped: a mapped file that shrinks kills the process. One thread reads a window ahead and hashes the
whole, the other cuts and hashes the chunks; both hash the same bytes, so a file that changes meanwhile cannot make a false recipe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from typing import Final

from pyfastcdc import FastCDC

from store.blobs.frames import Recipe
from store.blobs.segments import translate_errors
from store.errors import FileMoved
from store.types import Digest, digest_of

CHUNK_AVERAGE: Final = 256 * 1024
CHUNK_MIN: Final = 64 * 1024
CHUNK_MAX: Final = 1024 * 1024
WINDOW_BYTES: Final = 8 * 1024 * 1024
Known = Callable[[Iterable[Digest]], Set[Digest]]
Keep = Callable[[Digest, bytes], None]


def cut_file(file: FileIO, size: int, known: Known, keep: Keep) -> Recipe:
    """Cut the next `size` bytes of a file into chunks: those that are not `known` are given to `keep`. How they make the whole.

    Raises FileMoved when there are fewer bytes, Unwritable when it cannot be read.
    """
    whole = hashlib.sha256()
    chunks: list[tuple[Digest, int]] = []
    with _Windows(file, size, whole) as windows:
        for views in windows.cut():
            found = [(digest_of(view), view) for view in views]
            here = known([digest for digest, _ in found])
            for digest, view in found:
                chunks.append((digest, len(view)))
                if digest not in here:
                    keep(digest, bytes(view))
    return Recipe(Digest(whole.digest()), size, tuple(chunks))


class _Windows:
    """Two buffers in turn: one is filled and goes into the whole's hash while the other is cut."""

    def __init__(self, file: FileIO, size: int, whole: hashlib._Hash) -> None:
        self._file = file
        self._size = size
        self._whole = whole
        # Before each window there is room for the piece that the one before it left over.
        window_bytes = min(WINDOW_BYTES, size)
        self._buffers = [memoryview(bytearray(CHUNK_MAX + window_bytes)) for _ in range(2 if size > WINDOW_BYTES else 1)]
        self._ahead = ThreadPoolExecutor(1, "read ahead")

    def __enter__(self) -> _Windows:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.shutdown()

    def cut(self) -> Iterator[list[memoryview]]:
        """The chunks in order, a window's worth at a time; valid until the next is asked for."""
        cutter = FastCDC(CHUNK_AVERAGE, min_size=CHUNK_MIN, max_size=CHUNK_MAX)
        starts = range(0, self._size, WINDOW_BYTES)
        filling = self._ahead.submit(self._fill, 0)
        left = 0
        for turn, start in enumerate(starts):
            filling.result()
            is_last = turn == len(starts) - 1
            if not is_last:
                filling = self._ahead.submit(self._fill, turn + 1)
            end = CHUNK_MAX + min(WINDOW_BYTES, self._size - start)
            views = [chunk.data for chunk in cutter.cut_buf(self._buffer(turn)[CHUNK_MAX - left : end])]
            # The last piece ends at the window's end, not at a boundary of the content: the next window begins with it.
            rest = None if is_last else views.pop()
            yield views
            if rest is not None:
                left = len(rest)
                self._buffer(turn + 1)[CHUNK_MAX - left : CHUNK_MAX] = rest

    def _buffer(self, turn: int) -> memoryview:
        return self._buffers[turn % len(self._buffers)]

    def _fill(self, turn: int) -> None:
        view = self._buffer(turn)[CHUNK_MAX : CHUNK_MAX + min(WINDOW_BYTES, self._size - turn * WINDOW_BYTES)]
        filled = 0
        while filled < len(view):
            with translate_errors("read a file"):
                count = self._file.readinto(view[filled:])
            if not count:
                raise FileMoved("a file shrank while it was read")
            filled += count
        self._whole.update(view)
