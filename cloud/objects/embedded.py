"""Bytes in the blob store whose tables stand in the embedded database's own file, and whose segments lie beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from cloud.database import Tx, drive
from cloud.database.embedded import EmbeddedDatabase, EmbeddedTx
from cloud.records import blobs
from store import database as engine
from store.blobs import CHUNKED_MIN, BlobStore, Bulk, Recipe, SweepPlan
from store.blobs.frames import FRAME_RAW, decode_frame, frame_digests
from store.errors import Unwritable
from store.manifest import EMPTY_NODE, EMPTY_ROOT, NodeSource
from store.types import Digest, digest_of

T = TypeVar("T")

BLOBS_FOLDER: Final = "blobs"
KEPT_FRAME_RAW: Final = 2 * FRAME_RAW
INLINE_BYTES: Final = 32 * 1024 * 1024
"""Small blobs stay in the database, where reading one is cheapest, up to so many bytes."""
MOVED_BYTES: Final = 16 * 1024 * 1024


class EmbeddedObjects:
    """`cloud.objects.Objects` over one blob store; what takes long runs in `pool`."""

    def __init__(self, database: EmbeddedDatabase, data: Path, pool: ThreadPoolExecutor) -> None:
        self.store = BlobStore(database.raw, data / BLOBS_FOLDER)
        self._db = database
        self._data = data
        self._pool = pool

    async def ping(self) -> None:
        """Raises Unwritable when the folder is gone, or can be written to no more."""
        if not os.access(self._data, os.W_OK | os.X_OK):
            raise Unwritable("the data folder cannot be written to")

    async def ready(self, contents: Mapping[Digest, bytes]) -> None:
        """Nothing: the transaction has room."""

    async def put(self, tx: Tx, contents: Mapping[Digest, bytes], nodes: Mapping[Digest, bytes]) -> None:
        """In the file's own transaction."""
        self.store.put_inline(_raw(tx), contents.items())
        self.store.put_nodes(_raw(tx), nodes)

    async def put_frames(self, frames: Sequence[bytes]) -> dict[Digest, int]:
        """Into segments."""

        def work() -> dict[Digest, int]:
            with self.store.bulk() as bulk:
                return dict(item for frame in frames for item in _take_blobs(bulk, frame))

        return await self._compute(work)

    async def put_recipe(self, recipe: Recipe) -> Recipe:
        """Checked even when the blob is here already."""

        def work() -> Recipe:
            self.store.check_recipe(recipe)
            with self.store.bulk() as bulk:
                bulk.add_recipe(recipe)
            return self.store.recipe(recipe.digest) or recipe

        return await self._compute(work)

    async def put_file(self, fd: int, size: int) -> tuple[Digest, Recipe | None]:
        """In chunks where it is large."""

        def work() -> tuple[Digest, Recipe | None]:
            if size > CHUNKED_MIN:
                os.lseek(fd, 0, os.SEEK_SET)
                digest = self.store.add_file(fd, size)
                return digest, self.store.recipe(digest)
            data = os.pread(fd, size, 0)
            digest = digest_of(data)
            with self.store.bulk() as bulk:
                bulk.add(digest, data)
            return digest, None

        return await self._compute(work)

    async def frames_for(self, digests: Sequence[Digest]) -> list[bytes]:
        """As they lie, where they fit."""
        return await self._compute(lambda: list(self.store.frames_for(digests)))

    async def stream(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Piece by piece."""
        pieces = self.store.stream(digest)
        while (piece := await self._compute(lambda: next(pieces, None))) is not None:
            yield piece

    async def nodes(self, digests: Sequence[Digest]) -> list[tuple[Digest, bytes]]:
        """From the database."""

        def work() -> list[tuple[Digest, bytes]]:
            return [(digest, EMPTY_NODE if digest == EMPTY_ROOT else self.store.get_node(digest)) for digest in digests]

        return await self._compute(work)

    async def over_nodes(self, work: Callable[[NodeSource], T], *, brief: bool = False) -> T:
        """The store is a source itself; two switches of threads take as long as a brief work."""
        return work(self.store) if brief else await self._compute(lambda: work(self.store))

    async def lacking(self, digests: Sequence[Digest]) -> set[Digest]:
        """By the catalog."""
        return await self._compute(lambda: self.store.lacking(digests))

    async def hold(self, tx: Tx, digests: Collection[Digest]) -> set[Digest]:
        """In the file's own transaction."""
        return self.store.hold(_raw(tx), digests)

    async def plan_sweep(self) -> EmbeddedSweep:
        """The store's own, of what has no row in the tables of owners."""

        def work() -> EmbeddedSweep:
            era = self.store.begin_sweep()
            keep_blobs, keep_nodes = drive(blobs.all_owned(self._db.read()))
            return EmbeddedSweep(self.store.plan_sweep(era, keep_blobs, keep_nodes), self._pool)

        return await self._compute(work)

    async def node_bytes(self, user_id: str) -> int:
        """As they lie in the database."""
        sql = "SELECT coalesce(sum(length(n.data)), 0) FROM owned_nodes o JOIN nodes n ON n.hash = o.hash WHERE o.user_id = $1"
        row = await self._db.reading(lambda reader: reader.one(sql, (user_id,)))
        return int(row[0]) if row else 0

    async def verify(self) -> list[str]:
        """Every frame, blob and node."""
        return await self._compute(lambda: [str(problem) for problem in self.store.verify()])

    async def forget_damaged(self, quarantine: Path) -> None:
        """By reading everything."""

        def work() -> None:
            damaged = {problem.digest for problem in self.store.verify() if problem.digest is not None}
            self.store.forget_damaged(damaged, quarantine)

        await self._compute(work)

    async def tidy(self) -> None:
        """Move small blobs out of the database once they are many."""
        while await self._compute(self.store.inline_bytes) > INLINE_BYTES:
            if not await self._compute(lambda: self.store.compact(MOVED_BYTES)):
                return

    async def close(self) -> None:
        """Let all files go; the database is the caller's."""
        self.store.close()

    async def _compute(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class EmbeddedSweep:
    """A plan of the store."""

    def __init__(self, plan: SweepPlan, pool: ThreadPoolExecutor) -> None:
        self._plan = plan
        self._pool = pool
        self.blobs = plan.blobs
        self.nodes = plan.nodes
        self.bytes = plan.bytes

    async def execute(self) -> None:
        """In a thread."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._plan.execute)


def _raw(tx: Tx) -> engine.Tx:
    if not isinstance(tx, EmbeddedTx):
        raise AssertionError("the blob store's tables stand in the embedded database")
    return tx.raw


def _take_blobs(bulk: Bulk, frame: bytes) -> list[tuple[Digest, int]]:
    """As it is when it is of the size we make them ourselves; a larger one is packed anew, for reading one blob expands a whole frame."""
    items = frame_digests(frame)
    if len(items) > 1 and sum(size for _, size in items) > KEPT_FRAME_RAW:
        for digest, data in decode_frame(frame):
            bulk.add(digest, data)
    else:
        bulk.add_frame(frame)
    return items
