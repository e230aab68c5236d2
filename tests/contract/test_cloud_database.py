"""What every engine behind `cloud.database` promises, asked of both: the embedded file and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from cloud.database import KEYS_AT_ONCE, Database, Tx, Work
from cloud.database.embedded import EmbeddedDatabase
from cloud.database.postgres import PostgresDatabase
from cloud.database.schema import epoch_of, renew_epoch, tables
from cloud.records import blobs
from cloud.records.people import accounts
from cloud.records.work import activity, projects, workspaces
from cloud.records.work.workspaces import HeadMove, Workspace
from store.errors import Busy, Conflicting, NewerStore, Unwritable, VersionMoved
from store.types import digest_of
from sync.core.wire import Head
from tests.clouds import EMPTY, in_loop
from tests.lab.services import Postgres

Opening = Callable[[], AbstractAsyncContextManager[Database]]
ENGINES: Final = ["embedded", "postgresql"]


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the same database as often as it is called."""
    url = "" if request.param == "embedded" else request.getfixturevalue("postgres").new_database()

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Database]:
        db: Database = await PostgresDatabase.open(url) if url else EmbeddedDatabase.open(tmp_path)
        try:
            yield db
        finally:
            await db.close()

    return open_it


async def begin(tx: Tx) -> None:
    await accounts.add_user(tx, "ada", "ada@example.org", "t")
    await accounts.add_user(tx, "eve", "eve@example.org", "t")
    await projects.add_project(tx, "ada", "p", "p", "2026-01-01T00:00:00.000Z")
    await workspaces.add_workspace(tx, Workspace("w", "p", "w", None, None, None, EMPTY, None, None, "t", 1, None), "cli")


def move(version: int, root: str = EMPTY) -> Work[int]:
    return lambda tx: workspaces.advance_head(tx, "ada", HeadMove("w", version, root, None, None, "cli"), "t")


@in_loop
async def test_what_is_written_is_read_in_any_way(opening: Opening) -> None:
    async with opening() as db:
        await db.write(begin)
        assert await db.read().one("SELECT email FROM users WHERE id = $1", ("ada",)) == ("ada@example.org",)
        assert await db.read().one("SELECT email FROM users WHERE id = $1", ("nobody",)) is None
        assert await db.reading(lambda reader: reader.rows("SELECT id FROM users ORDER BY id")) == [("ada",), ("eve",)]
    async with opening() as db:
        assert len(await db.read().rows("SELECT 1 FROM users")) == 2, "it outlives its process"


@in_loop
async def test_a_work_that_fails_leaves_nothing(opening: Opening) -> None:
    async def fail(tx: Tx) -> None:
        await begin(tx)
        raise Busy("half way")

    async with opening() as db:
        with pytest.raises(Busy):
            await db.write(fail)
        assert await db.read().rows("SELECT 1 FROM users") == []


@in_loop
async def test_a_statement_tells_how_many_rows_it_changed(opening: Opening) -> None:
    async def work(tx: Tx) -> list[int]:
        await begin(tx)
        sql = "UPDATE users SET name = $1 WHERE email LIKE $2"
        return [await tx.run(sql, ("x", pattern)) for pattern in ("%", "ada%", "nobody%")]

    async with opening() as db:
        assert await db.write(work) == [2, 1, 0]


@in_loop
async def test_what_must_be_one_of_a_kind_is_refused_twice(opening: Opening) -> None:
    async with opening() as db:
        await db.write(begin)
        for work in (
            begin,
            lambda tx: tx.run("INSERT INTO sessions (id, user_id, token_hash, expires_at) VALUES ('s', 'nobody', 'h', 't')"),
        ):
            with pytest.raises(Conflicting):
                await db.write(work)


@in_loop
async def test_many_keys_in_one_question(opening: Opening) -> None:
    sizes = {digest_of(b"%d" % number): number for number in range(KEYS_AT_ONCE + 100)}
    asked = [*list(sizes)[::2], digest_of(b"unknown")]

    async def work(tx: Tx) -> None:
        await begin(tx)
        await blobs.add_owned(tx, "ada", sizes, "t1")
        await blobs.touch_owned(tx, "ada", asked, "t2", "t2")
        await blobs.add_nodes(tx, "ada", asked)
        await blobs.add_nodes(tx, "ada", asked)

    async with opening() as db:
        await db.write(work)
        assert await blobs.owned_sizes(db.read(), "ada", asked) == {digest: sizes[digest] for digest in asked[:-1]}
        assert await blobs.owned_sizes(db.read(), "eve", asked) == {}
        assert await blobs.owned_nodes(db.read(), "ada", [*asked, digest_of(b"x")]) == set(asked)
        assert await db.read().one("SELECT count(*) FROM owned_blobs WHERE touched_at = 't2'") == (len(asked) - 1,)


@in_loop
async def test_text_is_sorted_byte_by_byte(opening: Opening) -> None:
    names = ["a", "B", "ä", "Z", "_", "~", "10", "9"]

    async def work(tx: Tx) -> None:
        await tx.run_many("INSERT INTO users (id, email) VALUES ($1, $2)", [(name, name) for name in names])

    async with opening() as db:
        await db.write(work)
        assert [row[0] for row in await db.read().rows("SELECT id FROM users ORDER BY id")] == sorted(names, key=str.encode)
        assert [row[0] for row in await db.read().rows("SELECT id FROM users WHERE id > $1 ORDER BY id", ("a",))] == ["~", "ä"]


@in_loop
async def test_a_default_time_is_written_as_documented(opening: Opening) -> None:
    async with opening() as db:
        await db.write(lambda tx: tx.run("INSERT INTO users (id, email) VALUES ('a', 'a')"))
        row = await db.read().one("SELECT created_at FROM users")
        assert row is not None and len(row[0]) == len("2026-11-25 12:00:00") and row[0][10] == " "


@in_loop
async def test_a_version_has_one_winner(opening: Opening) -> None:
    """H1, whoever else writes at the same time, through as many processes as there are."""
    async with opening() as one:
        await one.write(begin)
        writers = 8

        async def climb(db: Database, name: int) -> list[int]:
            won: list[int] = []
            while (row := await db.read().one("SELECT version FROM workspaces")) and row[0] < 40:
                try:
                    won.append(await db.write(move(row[0], f"{name:064x}")))
                except VersionMoved as moved:
                    assert isinstance(head := moved.details["head"], Head) and head.version > row[0]
            return won

        won = [version for each in await asyncio.gather(*(climb(one, name) for name in range(writers))) for version in each]
        assert sorted(won) == list(range(2, max(won) + 1)), "each version was won once"
        logged = await one.read().rows("SELECT version FROM workspace_versions ORDER BY version")
        assert [row[0] for row in logged] == list(range(1, max(won) + 1))


@in_loop
async def test_activity_of_a_project_keeps_its_order(opening: Opening) -> None:
    async def note(tx: Tx) -> None:
        await projects.touch_project(tx, "p", None, "2026-01-01T00:00:00.000Z")
        await activity.add_activity(tx, 1_800_000_000_000, "p", "snapshot.pushed", "cli")

    async with opening() as db:
        await db.write(begin)
        await asyncio.gather(*(db.write(note) for _ in range(20)))
        times = [row[0] for row in await db.read().rows("SELECT created_at FROM activity_events")]
        assert len(set(times)) == 20


@in_loop
async def test_a_newer_schema_is_refused_and_left_alone(opening: Opening) -> None:
    async with opening() as db:
        await db.write(lambda tx: tx.run("UPDATE schema_versions SET version = version + 1 WHERE component = 'cloud'"))
    for _ in range(2):
        with pytest.raises(NewerStore):
            async with opening():
                pass


@in_loop
async def test_it_is_migrated_once_and_by_one_at_a_time(opening: Opening) -> None:
    async def look() -> str:
        async with opening() as db:
            row = await db.read().one("SELECT version FROM schema_versions WHERE component = 'cloud'")
            assert row == (len(tables().migrations),)
            return await epoch_of(db.read())

    assert len({await look(), *await asyncio.gather(look(), look(), look())}) == 1


@in_loop
async def test_an_epoch_is_renewed(opening: Opening) -> None:
    async with opening() as db:
        epoch = await epoch_of(db.read())
        assert len(epoch) == 32
        assert await db.write(renew_epoch) == await epoch_of(db.read()) != epoch


# --- PostgreSQL alone -----------------------------------------------------------------------------------------------------------------


def test_a_copied_database_begins_a_new_epoch(postgres: Postgres) -> None:
    async def epoch_at(url: str) -> str:
        db = await PostgresDatabase.open(url)
        try:
            return await epoch_of(db.read())
        finally:
            await db.close()

    url = postgres.new_database()
    epoch = asyncio.run(epoch_at(url))
    name = url.partition("@/")[2].partition("?")[0]
    copied = asyncio.run(epoch_at(postgres.new_database(template=name)))
    assert asyncio.run(epoch_at(url)) == epoch != copied


@pytest.mark.parametrize("url", ["postgresql://me:hush@127.0.0.1:1/x", "http://hush", "postgresql://me:hush@[bad", ""])
def test_an_address_that_leads_nowhere_is_told_without_its_password(url: str) -> None:
    with pytest.raises((Busy, Unwritable)) as refused:
        asyncio.run(PostgresDatabase.open(url))
    assert "hush" not in str(refused.value) + refused.value.hint


def test_a_database_that_dies_is_waited_for(mortal_postgres: Postgres) -> None:
    """What was answered is there; what was not may be asked again."""

    async def run() -> None:
        db = await PostgresDatabase.open(url)
        await db.write(begin)
        mortal_postgres.kill()
        for ask in (lambda: db.read().rows("SELECT 1"), lambda: db.write(move(1))):
            with pytest.raises(Busy):
                await ask()
        mortal_postgres.start()
        assert await db.write(move(1)) == 2
        await db.close()

    url = mortal_postgres.new_database()
    asyncio.run(run())


def test_a_deadlock_is_tried_again(postgres: Postgres) -> None:
    async def run() -> None:
        db = await PostgresDatabase.open(url)
        await db.write(begin)
        met = asyncio.Barrier(2)

        async def rename(first: str, second: str) -> None:
            waited = False

            async def work(tx: Tx) -> None:
                nonlocal waited
                await tx.run("UPDATE users SET name = 'x' WHERE id = $1", (first,))
                if not waited:
                    waited = True
                    await met.wait()
                await tx.run("UPDATE users SET name = 'x' WHERE id = $1", (second,))

            await db.write(work)

        await asyncio.gather(rename("ada", "eve"), rename("eve", "ada"))
        await db.close()

    url = postgres.new_database()
    asyncio.run(run())


@in_loop
async def test_two_pushes_of_a_project_do_not_wait_for_each_other(postgres: Postgres) -> None:
    held, free = asyncio.Event(), asyncio.Event()

    async def first(tx: Tx) -> None:
        await projects.note_push(tx, "p", "2026-01-02T00:00:00.000Z")
        held.set()
        await free.wait()

    db = await PostgresDatabase.open(postgres.new_database())
    try:
        await db.write(begin)
        holding = asyncio.create_task(db.write(first))
        await held.wait()
        async with asyncio.timeout(10):
            await db.write(lambda tx: projects.note_push(tx, "p", "2026-01-02T00:00:00.001Z"))
        free.set()
        await holding
        assert (await projects.get_project(db.read(), "ada", "p")).updated_at == "2026-01-02T00:00:00.000Z"
        await db.write(lambda tx: projects.note_push(tx, "p", "2026-01-03T00:00:00.000Z"))
        assert (await projects.get_project(db.read(), "ada", "p")).updated_at == "2026-01-03T00:00:00.000Z"
    finally:
        free.set()
        await db.close()
