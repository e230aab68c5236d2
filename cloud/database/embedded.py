"""The embedded database: one SQLite file behind `store.database`, written in grouped transactions by its one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, TypeVar, cast

from cloud.database import Load, Params, Reading, Row, Tx, Work, drive
from cloud.database.schema import begin_epoch, is_behind, refuse_older, renew_epoch, tables
from store import database as engine
from store.blobs import BLOBS
from store.database import array_of

T = TypeVar("T")
THREADS = 2
FILE = "cloud.db"


COMPONENTS: Final = (BLOBS, tables())


def versions_in(data: Path) -> dict[str, int]:
    """How far the tables in a data folder have come; none without a file. Raises StoreDamaged, Unwritable."""
    path = data / FILE
    if not path.exists() or not path.stat().st_size:
        return {}
    reader = engine.peek(path)
    try:
        if reader.one("SELECT 1 FROM sqlite_schema WHERE name = 'schema_versions'") is None:
            return {}
        return {str(name): int(version) for name, version in reader.execute("SELECT component, version FROM schema_versions")}
    finally:
        reader.close()


class EmbeddedReader:
    """A read connection of the calling thread."""

    def __init__(self, reader: engine.Reader) -> None:
        self._reader = reader

    async def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of one statement."""
        return list(self._reader.execute(sql, cast(engine.Params, params)))

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        return self._reader.one(sql, cast(engine.Params, params))

    def keys(self, values: Iterable[bytes]) -> object:
        """A parameter for `carray`."""
        return array_of(values)


class EmbeddedTx(EmbeddedReader):
    """The writer's transaction. `raw` is for the blob store, whose tables stand in the same file."""

    UNLOCKED: ClassVar[str] = ""

    def __init__(self, raw: engine.Tx) -> None:
        super().__init__(raw)
        self.raw = raw

    async def run(self, sql: str, params: Params = ()) -> int:
        """Run one statement; how many rows it changed."""
        self.raw.execute(sql, cast(engine.Params, params))
        return self.raw.changes()

    async def run_many(self, sql: str, rows: Iterable[Params]) -> None:
        """Run one statement for each of `rows`."""
        self.raw.execute_many(sql, cast(Iterable[engine.Params], rows))


class EmbeddedDatabase:
    """`cloud.database.Database` over one file. `raw` is for what stands in the same file: the blob store, its check, its backup."""

    def __init__(self, raw: engine.Database) -> None:
        self.raw = raw
        self._pool = ThreadPoolExecutor(THREADS, "read")

    @classmethod
    def open(cls, data: Path, *, threaded: bool = True, upgrade: bool = True) -> EmbeddedDatabase:
        """The file in a data folder, created if need be.

        `upgrade`: migrated, too, for which nobody else may serve it. Raises OlderStore, NewerStore, StoreDamaged, Unwritable, Busy.
        """
        path = data / FILE
        if not upgrade and is_behind(found := versions_in(data), COMPONENTS, FILE):
            raise refuse_older(found)
        database = cls(engine.Database.open(path, COMPONENTS, threaded=threaded))
        database.write_now(lambda tx: _note_file(tx, str(path.stat().st_ino)))
        return database

    def read(self) -> EmbeddedReader:
        """This thread's."""
        return EmbeddedReader(self.raw.read())

    async def reading(self, work: Reading[T]) -> T:
        """In a thread, so that the loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: drive(work(self.read())))

    async def write(self, work: Work[T]) -> T:
        """In the writer's thread, with others in one commit."""
        return await asyncio.wrap_future(self.raw.write(lambda raw: drive(work(EmbeddedTx(raw)))))

    def write_now(self, work: Work[T]) -> T:
        """`write`, waited for in the calling thread."""
        return self.raw.write_now(lambda raw: drive(work(EmbeddedTx(raw))))

    def load(self) -> Load:
        """Of the writer."""
        return Load(self.raw.unfinished, engine.QUEUE_WORKS)

    async def close(self) -> None:
        """Finish what was begun."""
        self.close_now()

    def close_now(self) -> None:
        """`close`, without a loop."""
        self._pool.shutdown()
        self.raw.close()


async def _note_file(tx: Tx, inode: str) -> None:
    """A database file that is not the one we last wrote to was copied back from somewhere: its newest versions may be gone."""
    await begin_epoch(tx)
    row = await tx.one("SELECT value FROM meta WHERE key = 'inode'")
    if row is not None and row[0] != inode:
        await renew_epoch(tx)
    await tx.run("INSERT INTO meta (key, value) VALUES ('inode', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (inode,))
