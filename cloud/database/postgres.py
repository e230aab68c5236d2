"""PostgreSQL as the cloud's database, for any number of server processes.

Theory. Transactions run at READ COMMITTED. A head moves by one `UPDATE ... WHERE version = $n`: whoever comes second waits for the
row, finds its condition false, and changes nothing (H1). What a deadlock or a serialization failure undid is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, Final, TypeVar

import asyncpg

from cloud.database import Load, Params, Reading, Row, Tx, Work
from cloud.database.schema import begin_epoch, bytes_tables, in_postgres_words, is_behind, refuse_older, renew_epoch, tables
from store.database import Component
from store.errors import Busy, Conflicting, FastestError, InvalidValue, NoSpace, StoreDamaged, Unwritable

T = TypeVar("T")

CONNECTIONS: Final = 16
TRIES: Final = 5
OPEN_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 60
UPGRADE_SECONDS: Final = 60 * 60
"""Of one statement that changes, copies or fills whole tables."""
_MIGRATION_LOCK: Final = 0x46617374
_SETTINGS: Final = {"application_name": "fastest", "jit": "off", "timezone": "UTC"}
_FIRST: Final = (
    "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version BIGINT NOT NULL)",
    "CREATE OR REPLACE FUNCTION carray(bytea[]) RETURNS TABLE (value bytea) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT unnest($1)'",
)
COMPONENTS: Final = (tables(), bytes_tables())
DRIVER: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What the driver raises. `InternalClientError` is how it meets a connection that broke while it prepared a statement."""


class PostgresReader:
    """Over the pool (each statement for itself), or over one connection."""

    def __init__(self, connection: asyncpg.Pool[Any] | asyncpg.pool.PoolConnectionProxy[Any]) -> None:
        self._connection = connection

    async def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of one statement."""
        try:
            return [tuple(row) for row in await self._connection.fetch(sql, *params)]
        except DRIVER as error:
            raise translated(error) from error

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        try:
            row = await self._connection.fetchrow(sql, *params)
        except DRIVER as error:
            raise translated(error) from error
        return None if row is None else tuple(row)

    def keys(self, values: Iterable[bytes]) -> object:
        """A parameter for `carray`."""
        return list(values)


class PostgresTx(PostgresReader):
    """One connection in a transaction."""

    UNLOCKED: ClassVar[str] = " FOR NO KEY UPDATE SKIP LOCKED"

    async def run(self, sql: str, params: Params = ()) -> int:
        """Run one statement; how many rows it changed."""
        try:
            status = await self._connection.execute(sql, *params)
        except DRIVER as error:
            raise translated(error) from error
        changed = status.rpartition(" ")[2]
        return int(changed) if changed.isdigit() else 0

    async def run_many(self, sql: str, rows: Iterable[Params]) -> None:
        """Run one statement for each of `rows`, in one round trip."""
        try:
            await self._connection.executemany(sql, rows)
        except DRIVER as error:
            raise translated(error) from error


class PostgresDatabase:
    """`cloud.database.Database` over a pool of connections."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self.pool = pool
        self.found: dict[str, int] = {}
        """How far the tables had come when it was opened."""
        self._reader = PostgresReader(pool)

    @classmethod
    async def open(cls, url: str, *, upgrade: bool = False) -> PostgresDatabase:
        """Connect; the tables are made if there are none, and migrated with `upgrade`.

        Raises Busy when it does not answer, OlderStore, NewerStore, Unwritable.
        """
        database = await cls.connect(url, UPGRADE_SECONDS if upgrade else STATEMENT_SECONDS)
        try:
            database.found = await database._migrate(upgrade=upgrade)
            await database.write(_note_cluster)
        except BaseException:
            await database.pool.close()
            raise
        return database

    @classmethod
    async def connect(cls, url: str, statement_seconds: int = STATEMENT_SECONDS) -> PostgresDatabase:
        """Over whatever is there. Raises Busy, Unwritable."""
        try:
            pool = await asyncpg.create_pool(
                url, min_size=1, max_size=CONNECTIONS, timeout=OPEN_SECONDS, command_timeout=statement_seconds,
                server_settings=_SETTINGS, reset=_leave,
            )  # fmt: skip
        except DRIVER as error:
            raise translated(error) from error
        except ValueError as error:
            # asyncpg's sentence may hold the address with its password.
            raise Unwritable("the address of the database cannot be read", "It looks like postgresql://user@host/name.") from error
        return cls(pool)

    def read(self) -> PostgresReader:
        """Each statement for itself."""
        return self._reader

    async def reading(self, work: Reading[T]) -> T:
        """Waiting holds up nobody here."""
        return await work(self._reader)

    async def write(self, work: Work[T]) -> T:
        """In a transaction; again when the database undid it for the sake of another one."""
        for tries_left in reversed(range(TRIES)):
            try:
                async with self.pool.acquire() as connection, connection.transaction():
                    return await work(PostgresTx(connection))
            except FastestError as error:
                if not (tries_left and isinstance(error.__cause__, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)):
                    raise
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
                if not tries_left:
                    raise translated(error) from error
            except DRIVER as error:
                raise translated(error) from error
        raise AssertionError("the last try returns or raises")

    def load(self) -> Load:
        """Of the pool."""
        return Load(self.pool.get_size() - self.pool.get_idle_size(), CONNECTIONS)

    async def close(self) -> None:
        """Give the connections back, waiting for what they do."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self.pool.close()
        except TimeoutError:
            self.pool.terminate()

    async def _migrate(self, *, upgrade: bool) -> dict[str, int]:
        """In one transaction, by one process at a time; how far the tables had come before."""

        async def work(tx: Tx) -> dict[str, int]:
            await begin_migration(tx)
            found = {str(name): int(version) for name, version in await tx.rows("SELECT component, version FROM schema_versions")}
            if is_behind(found, COMPONENTS, "the database") and not upgrade:
                raise refuse_older(found)
            for component in COMPONENTS:
                await run_migrations(tx, component, found.get(component.name, 0))
            return found

        return await self.write(work)


async def _leave(connection: asyncpg.Connection[Any]) -> None:
    """Nothing of ours outlives its statement or transaction, so a connection goes back to the pool without a question of its own."""
    if connection.is_in_transaction():
        await connection.reset()


async def begin_migration(tx: Tx) -> None:
    """Nobody else migrates until this transaction has ended."""
    await tx.rows("SELECT pg_advisory_xact_lock($1)", (_MIGRATION_LOCK,))
    for sql in _FIRST:
        await tx.run(sql)


async def run_migrations(tx: Tx, component: Component, version: int) -> None:
    """From a version on."""
    for migration in component.migrations[version:]:
        await tx.run(in_postgres_words(migration.sql))
        await tx.run(
            "INSERT INTO schema_versions VALUES ($1, $2) ON CONFLICT (component) DO UPDATE SET version = excluded.version",
            (component.name, migration.number),
        )


async def _note_cluster(tx: Tx) -> None:
    """Tables that stand in another cluster or database than they were last written in came from a backup: their newest rows may be gone."""
    await begin_epoch(tx)
    here = await tx.one(
        "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid FROM pg_database WHERE datname = current_database()"
    )
    identity = str(here[0]) if here else ""
    known = await tx.one("SELECT value FROM meta WHERE key = 'cluster'")
    if known is not None and known[0] != identity:
        await renew_epoch(tx)
    await tx.run("INSERT INTO meta (key, value) VALUES ('cluster', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (identity,))


def translated(error: BaseException) -> Exception:
    """The error as ours where the world is at fault; wrong SQL is our own mistake and stays what it is. No address is ever told."""
    match error:
        case asyncpg.IntegrityConstraintViolationError():
            return Conflicting("it exists already, or names what does not")
        case asyncpg.CharacterNotInRepertoireError():
            return InvalidValue("a text holds what no text may")
        case asyncpg.DiskFullError():
            return NoSpace("no room for the database", "Free some space; the work goes on by itself.")
        case asyncpg.DataCorruptedError() | asyncpg.IndexCorruptedError():
            return StoreDamaged("the database cannot be read")
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError() | asyncpg.InsufficientPrivilegeError():
            return Unwritable(f"the database lets nobody in under this address: {type(error).__name__}")
        case asyncpg.SyntaxOrAccessError() | asyncpg.DataError():
            return error
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | asyncpg.InternalClientError() | OSError() | TimeoutError():
            return Busy(f"the database does not answer: {type(error).__name__}")
    raise AssertionError("only what the driver raises comes here") from error
