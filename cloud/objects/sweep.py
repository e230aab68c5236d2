"""Let go of bytes beside PostgreSQL that nobody owns: rows first, objects of the bucket after a while.

Theory. Whoever comes to own a blob or node holds its row locked until the owner's row is committed (`hold`, `put`). So this locks the
rows it would delete, and only then, in a statement that sees what was committed meanwhile, asks who owns them. An object has no row to
lock while it is on its way: it is written down as loose before it is sent, and one that is still loose after LOOSE_SECONDS goes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final, TypeVar

from cloud.database import Database, Reader, Row, Tx
from cloud.objects.bucket import Bucket
from store.types import Digest

T = TypeVar("T")

ROWS_AT_ONCE: Final = 1_000
PAGE_ROWS: Final = 10_000
"""Looked at in one statement: over a whole table it would outlast its time once there are some tens of millions."""
LOOSE_SECONDS: Final = 24 * 60 * 60
"""Far longer than an upload takes: a client that sends nothing for a minute is given up."""


class RemoteSweep:
    """A plan, and how it is done."""

    def __init__(
        self, db: Database, bucket: Bucket, dead_blobs: Sequence[Digest], dead_nodes: Sequence[Digest], size: int, loose_seconds: int
    ) -> None:
        self._db = db
        self._bucket = bucket
        self._dead_blobs = dead_blobs
        self._dead_nodes = dead_nodes
        self._loose_seconds = loose_seconds
        self.blobs = len(dead_blobs)
        self.nodes = len(dead_nodes)
        self.bytes = size

    async def execute(self) -> None:
        """Blobs and nodes, then frames without a blob, then objects without a frame."""
        for batch in _batches(self._dead_blobs):
            await self._db.write(lambda tx, batch=batch: _drop_blobs(tx, batch))  # type: ignore[misc]
        for batch in _batches(self._dead_nodes):
            await self._db.write(lambda tx, batch=batch: _drop_nodes(tx, batch))  # type: ignore[misc]
        async for frames in _unnamed(self._db.read(), "kept_frames", "key", "kept_blobs o WHERE o.frame = p.key"):
            for batch in _batches([row[0] for row in frames]):
                await self._db.write(lambda tx, batch=batch: _drop_frames(tx, batch))  # type: ignore[misc]
        sql = "SELECT key FROM loose_frames WHERE since <= extract(epoch FROM now()) - $1 ORDER BY key"
        for (key,) in await self._db.read().rows(sql, (self._loose_seconds,)):
            await self._db.write(lambda tx, key=key: self._drop_loose(tx, key))  # type: ignore[misc]

    async def _drop_loose(self, tx: Tx, key: bytes) -> None:
        """Whoever sends the same object again waits for this row, and then sends it."""
        sql = "SELECT 1 FROM loose_frames WHERE key = $1 AND since <= extract(epoch FROM now()) - $2 FOR UPDATE"
        if await tx.one(sql, (key, self._loose_seconds)) is None:
            return
        if await tx.one("SELECT 1 FROM kept_frames WHERE key = $1", (key,)) is None:
            await self._bucket.delete([path_of(key)])
        await tx.run("DELETE FROM loose_frames WHERE key = $1", (key,))


async def plan(db: Database, bucket: Bucket, loose_seconds: int) -> RemoteSweep:
    """What has no owner now."""
    blobs: dict[Digest, int] = {}
    async for rows in _unnamed(db.read(), "kept_blobs", "hash, size", "owned_blobs o WHERE o.hash = p.hash"):
        blobs |= {Digest(row[0]): row[1] for row in rows}
    nodes: set[Digest] = set()
    async for rows in _unnamed(db.read(), "kept_nodes", "hash", "owned_nodes o WHERE o.hash = p.hash"):
        nodes |= {Digest(row[0]) for row in rows}
    return RemoteSweep(db, bucket, sorted(blobs), sorted(nodes), sum(blobs.values()), loose_seconds)


async def _unnamed(reader: Reader, table: str, columns: str, named: str) -> AsyncGenerator[list[Row], None]:
    """Rows of a table, its key first, of which `named` (`p` being the row) finds nothing; those of one page at a time.

    What comes or goes meanwhile may be missed: the next run finds it.
    """
    key, last = columns.partition(",")[0], b""
    page = f"FROM {table} WHERE {key} > $1 ORDER BY {key}"
    while True:
        end = await reader.one(f"SELECT {key} {page} LIMIT 1 OFFSET {PAGE_ROWS - 1}", (last,))
        # A number, no parameter: only so does the planner know that few rows have to be looked for, and looks for each.
        sql = f"SELECT {columns} FROM (SELECT {columns} {page} LIMIT {PAGE_ROWS}) p WHERE NOT EXISTS (SELECT 1 FROM {named})"
        yield await reader.rows(sql, (last,))
        if end is None:
            return
        last = end[0]


async def _drop_blobs(tx: Tx, digests: Sequence[Digest]) -> None:
    keys = tx.keys(digests)
    await tx.rows("SELECT 1 FROM kept_blobs WHERE hash IN (SELECT value FROM carray($1)) ORDER BY hash FOR UPDATE", (keys,))
    await tx.run(
        "DELETE FROM kept_blobs WHERE hash IN (SELECT value FROM carray($1))"
        " AND NOT EXISTS (SELECT 1 FROM owned_blobs o WHERE o.hash = kept_blobs.hash)",
        (keys,),
    )


async def _drop_nodes(tx: Tx, digests: Sequence[Digest]) -> None:
    keys = tx.keys(digests)
    await tx.rows("SELECT 1 FROM kept_nodes WHERE hash IN (SELECT value FROM carray($1)) ORDER BY hash FOR UPDATE", (keys,))
    await tx.run(
        "DELETE FROM kept_nodes WHERE hash IN (SELECT value FROM carray($1))"
        " AND NOT EXISTS (SELECT 1 FROM owned_nodes o WHERE o.hash = kept_nodes.hash)",
        (keys,),
    )


async def _drop_frames(tx: Tx, frames: Sequence[bytes]) -> None:
    """Those of them in which still no blob lies."""
    keys = tx.keys(frames)
    await tx.rows("SELECT 1 FROM kept_frames WHERE key IN (SELECT value FROM carray($1)) ORDER BY key FOR UPDATE", (keys,))
    gone = await tx.rows(
        "DELETE FROM kept_frames WHERE key IN (SELECT value FROM carray($1))"
        " AND NOT EXISTS (SELECT 1 FROM kept_blobs b WHERE b.frame = kept_frames.key) RETURNING key, data IS NULL",
        (keys,),
    )
    await loosen(tx, [key for key, in_bucket in gone if in_bucket])


async def loosen(tx: Tx, keys: Sequence[bytes]) -> None:
    """Write down objects that no frame's row stands for, or not yet; again renews them."""
    sql = "INSERT INTO loose_frames (key) VALUES ($1) ON CONFLICT (key) DO UPDATE SET since = excluded.since"
    await tx.run_many(sql, [(key,) for key in sorted(keys)])


async def fasten(tx: Tx, keys: Sequence[bytes]) -> None:
    """These have their rows now."""
    await tx.run_many("DELETE FROM loose_frames WHERE key = $1", [(key,) for key in sorted(keys)])


def path_of(key: bytes) -> str:
    """Where in the bucket a frame lies."""
    return f"frames/{key[:1].hex()}/{key.hex()}"


def _batches(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(keys), ROWS_AT_ONCE):
        yield keys[at : at + ROWS_AT_ONCE]
