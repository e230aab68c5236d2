"""What goes with a row that goes: every documented reference, in both databases, with real rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from cloud.database import Database, Tx
from cloud.database.embedded import EmbeddedDatabase
from cloud.database.postgres import PostgresDatabase
from store.errors import Conflicting
from tests.clouds import in_loop
from tests.contract.test_cloud_schema import documented

REFERENCES: Final = [
    (table, name, column.refers.partition(".")[0], column.when_gone)
    for table, found in documented().items()
    for name, column in found.columns.items()
    if column.refers is not None
]
OURS: Final[dict[str, dict[str, object]]] = {"snapshots": {"version": 1}}
"""Columns that are added to the documented ones and must be filled."""
Opening = Callable[[], AbstractAsyncContextManager[Database]]


@pytest.fixture(params=["embedded", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    url = "" if request.param == "embedded" else request.getfixturevalue("postgres").new_database()

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Database]:
        db: Database = await PostgresDatabase.open(url) if url else EmbeddedDatabase.open(tmp_path)
        try:
            yield db
        finally:
            await db.close()

    return open_it


async def add(tx: Tx, table: str, tag: str, **given: str | None) -> str:
    """A row with as little as it may have, and the rows that it must refer to; its id."""
    values: dict[str, object] = dict(OURS.get(table, {}))
    for name, column in documented()[table].columns.items():
        if name in given:
            values[name] = given[name]
        elif column.refers is not None and not column.may_be_null:
            values[name] = await add(tx, column.refers.partition(".")[0], f"{tag}.{name}")
        elif not column.may_be_null and column.default is None:
            values[name] = 1 if column.kind == "integer" else f"{tag}.{table}.{name}"
    places = ", ".join(f"${at}" for at in range(1, len(values) + 1))
    await tx.run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", tuple(values.values()))
    return str(values["workspace_id" if table == "deployment_settings" else "id"])


@pytest.mark.parametrize("when_gone", ["cascade", "set null"])
def test_a_row_goes_with_what_it_belongs_to_or_forgets_it(opening: Opening, when_gone: str) -> None:
    found = [(table, column, above) for table, column, above, then in REFERENCES if then == when_gone]
    assert len(found) == {"cascade": 21, "set null": 4}[when_gone]

    @in_loop
    async def look() -> None:
        async with opening() as db:
            for table, column, above in found:

                async def work(tx: Tx, table: str = table, column: str = column, above: str = above) -> list[tuple[object, ...]]:
                    tag = f"{table}.{column}"
                    parent = await add(tx, above, f"{tag}.above")
                    row = await add(tx, table, tag, **{column: parent})
                    await tx.run(f"DELETE FROM {above} WHERE id = $1", (parent,))
                    key = "workspace_id" if table == "deployment_settings" else "id"
                    return list(await tx.rows(f"SELECT {column} FROM {table} WHERE {key} = $1", (row,)))

                assert await db.write(work) == ([] if when_gone == "cascade" else [(None,)]), (table, column)

    look()


def test_a_row_that_others_need_stays(opening: Opening) -> None:
    found = [(table, column, above) for table, column, above, then in REFERENCES if not then]

    @in_loop
    async def look() -> None:
        async with opening() as db:
            for table, column, above in found:

                async def work(tx: Tx, table: str = table, column: str = column, above: str = above) -> str:
                    parent = await add(tx, above, f"{table}.{column}.above")
                    await add(tx, table, f"{table}.{column}", **{column: parent})
                    return parent

                async def remove(tx: Tx, above: str = above, parent: str = await db.write(work)) -> None:
                    await tx.run(f"DELETE FROM {above} WHERE id = $1", (parent,))

                with pytest.raises(Conflicting):
                    await db.write(remove)

    look()
