"""Whole tables of PostgreSQL as files, and back: COPY, in its binary form, out of one snapshot and into one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from cloud.database import Load, Reading, Work
from cloud.database.postgres import (
    COMPONENTS,
    DRIVER,
    UPGRADE_SECONDS,
    PostgresDatabase,
    PostgresReader,
    PostgresTx,
    begin_migration,
    run_migrations,
    translated,
)
from cloud.database.schema import Versions, up_to
from store.errors import Conflicting, Refused

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"

_COLUMNS: Final = """
    SELECT table_name, column_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position
"""
_PARENTS: Final = """
    SELECT c.relname, p.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid
    WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace
"""


class Snapshot:
    """`cloud.database.Database` as it was at one moment, to be read by one task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reader = PostgresReader(connection)

    def read(self) -> PostgresReader:
        """Always the same moment."""
        return self._reader

    async def reading(self, work: Reading[T]) -> T:
        """The same."""
        return await work(self._reader)

    async def write(self, work: Work[T]) -> T:
        """Never: nothing is written to the past."""
        raise AssertionError("a snapshot is only read")

    def load(self) -> Load:
        """One connection."""
        return Load(1, 1)

    async def close(self) -> None:
        """Nothing: it ends with its transaction."""

    async def columns(self) -> dict[str, list[str]]:
        """Of every table."""
        return await columns_of(self._reader)

    async def copy_out(self, table: str, columns: Sequence[str], target: Path) -> None:
        """All rows as a new file. Raises Busy, Unwritable, NoSpace."""
        with _translating():
            await self._connection.copy_from_table(table, columns=columns, output=target, format="binary", timeout=UPGRADE_SECONDS)


@asynccontextmanager
async def at_one_moment(db: PostgresDatabase) -> AsyncIterator[Snapshot]:
    """Raises Busy."""
    with _translating():
        async with db.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield Snapshot(connection)


@asynccontextmanager
async def filled(db: PostgresDatabase, versions: Versions, columns: Mapping[str, list[str]], files: Path) -> AsyncIterator[PostgresTx]:
    """An empty database with these tables' rows, brought up to today's schema; it is so once the transaction that is given has ended.

    Raises Conflicting when there are tables already, Refused for rows that do not fit, Busy.
    """
    with _translating():
        async with db.pool.acquire() as connection, connection.transaction():
            tx = PostgresTx(connection)
            if await columns_of(tx):
                raise Conflicting("the database is not empty", "A backup is restored into a new one: CREATE DATABASE.")
            await begin_migration(tx)
            for component in COMPONENTS:
                await run_migrations(tx, up_to(component, versions.get(component.name, 0)), 0)
            if await columns_of(tx) != columns:
                raise Refused("the backup's tables are not those of its schema")
            await tx.run(f"TRUNCATE {', '.join(sorted(columns))}")  # some rows come with the migrations
            for table in await _parents_first(tx, columns):
                await connection.copy_to_table(
                    table, columns=columns[table], source=files / table, format="binary", timeout=UPGRADE_SECONDS
                )  # fmt: skip
            for component in COMPONENTS:
                await run_migrations(tx, component, versions.get(component.name, 0))
            yield tx


async def columns_of(reader: PostgresReader) -> dict[str, list[str]]:
    """Of every table of ours."""
    found: dict[str, list[str]] = {}
    for table, column in await reader.rows(_COLUMNS):
        found.setdefault(table, []).append(column)
    return found


async def _parents_first(tx: PostgresTx, tables: Mapping[str, object]) -> list[str]:
    """A row is there before one that names it."""
    named: dict[str, set[str]] = {table: set() for table in tables}
    for child, parent in await tx.rows(_PARENTS):
        if child != parent:
            named[child].add(parent)
    order: list[str] = []
    while rest := sorted(named.keys() - set(order)):
        free = [table for table in rest if named[table] <= set(order)]
        if not free:
            raise AssertionError(f"tables name each other in a circle: {rest}")
        order += free
    return order


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except DRIVER as error:
        raise translated(error) from error
