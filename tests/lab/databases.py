"""Databases of one PostgreSQL, lent to a test and emptied behind it: to make and migrate one costs thirty times as much."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

from cloud.database.postgres import PostgresDatabase
from tests.lab.services import Postgres

_SECONDS: Final = 10
_SHAPE: Final = """
SELECT (SELECT array_agg(c.relname || '.' || a.attname || ' ' || a.atttypid ORDER BY c.relname, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace),
       (SELECT array_agg(tgname ORDER BY tgname, oid) FROM pg_trigger WHERE NOT tgisinternal),
       (SELECT array_agg(conname ORDER BY conname, oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
       (SELECT array_agg(proname ORDER BY proname, oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
       (SELECT array_agg(version ORDER BY component) FROM schema_versions)
"""
"""What a test may have changed besides rows."""


class Databases:
    """Each is as one that was just migrated and never served: no epoch, no note of its cluster."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._free: list[str] = []
        url = postgres.new_database()
        self._template = url.removeprefix("postgresql://fastest@/").partition("?")[0]
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(_migrate(url))
        self._tables, self._shape = self._loop.run_until_complete(_look(url))
        self._behind: dict[str, asyncpg.Connection[Any]] = {}
        """What empties each. It stays, for a new connection has to learn all tables first."""
        self._loop.run_until_complete(self._empty(url))
        self._loop.run_until_complete(self._behind.pop(url).close())

    def lend(self) -> str:
        """The address of an empty one, for this test alone. Blocks for some 50 ms when there is none yet."""
        return self._free.pop() if self._free else self._postgres.new_database(self._template)

    def take_back(self, urls: list[str]) -> None:
        """The test is over. One that it cut up or holds on to is never lent again."""
        for url in urls:
            if self._loop.run_until_complete(self._empty(url)):
                self._free.append(url)

    def close(self) -> None:
        """Before the server stops."""
        for connection in self._behind.values():
            connection.terminate()
        self._loop.close()

    async def _empty(self, url: str) -> bool:
        try:
            if url not in self._behind:
                self._behind[url] = await asyncpg.connect(url, timeout=_SECONDS, command_timeout=_SECONDS)
            connection = self._behind[url]
            if await _shape(connection) != self._shape:
                return False
            # The order of foreign keys does not matter when all goes.
            emptied = [f'DELETE FROM "{table}"' for table in self._tables]
            await connection.execute(";".join(["SET session_replication_role = replica", *emptied]))
            return True
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False


async def _migrate(url: str) -> None:
    await (await PostgresDatabase.open(url)).close()


async def _look(url: str) -> tuple[list[str], tuple[Any, ...]]:
    """Which tables hold rows of a cloud's; and the shape of everything."""
    connection = await asyncpg.connect(url, timeout=_SECONDS)
    try:
        found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions'")
        return [str(row[0]) for row in found], await _shape(connection)
    finally:
        await connection.close()


async def _shape(connection: asyncpg.Connection[Any]) -> tuple[Any, ...]:
    row = await connection.fetchrow(_SHAPE)
    assert row is not None
    return tuple(row)
