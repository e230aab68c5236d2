"""`fst cloud migrate` on both engines: numbered, whole or not at all, told, and done once however many begin."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Final

import pytest

from cloud.database.embedded import FILE, versions_in
from cloud.database.postgres import PostgresDatabase
from cloud.database.schema import tables
from store import database as engine
from store.blobs import BLOBS
from tests.crash.test_cloud_kill import started
from tests.lab.place import Place
from tests.lab.services import Postgres

NEWEST: Final = len(tables().migrations)
OLD: Final = 2


@pytest.fixture(params=["embedded", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path / "data", "" if request.param == "embedded" else request.getfixturevalue("postgres").new_database())


def test_it_tells_what_it_did_and_does_nothing_twice(place: Place) -> None:
    place.make(OLD)
    code, out, err = place.run("token", "--email", "ada@example.org")
    assert code == 1 and out == "" and "older schema" in err and "fst cloud migrate" in err
    code, out, err = place.run("migrate")
    assert (code, err) == (0, "") and f"cloud: {OLD} -> {NEWEST}" in out.splitlines(), out
    code, out, err = place.run("migrate")
    assert (code, err) == (0, "") and f"cloud: {NEWEST}, nothing to do" in out.splitlines() and "->" not in out
    assert place.run("token", "--email", "ada@example.org")[0] == 0


def test_a_newer_schema_is_refused_and_left_alone(place: Place) -> None:
    assert place.run("migrate")[0] == 0, "into nothing it makes all"
    place.change(f"UPDATE schema_versions SET version = {NEWEST + 1} WHERE component = 'cloud'")
    for verb, *words in (["migrate"], ["serve", "--listen", "127.0.0.1:0"]):
        code, out, err = place.run(verb, *words)
        assert code == 1 and out == "" and "newer Fastest" in err and "Update Fastest" in err


def test_begun_twice_at_once_one_does_it(place: Place) -> None:
    place.make(OLD)
    children = [place.start("migrate") for _ in range(3)]
    said = [(*child.communicate(timeout=60), child.returncode) for child in children]
    did = [out for out, _, _ in said if "->" in out]
    assert len(did) == 1, said
    for out, err, code in said:
        # Who comes while a folder is being migrated is told so; at a database it waits.
        assert code == 0 or ("another cloud holds" in err and not place.url and out == ""), said


def test_servers_that_start_at_once_make_the_tables_once(postgres: Postgres, tmp_path: Path) -> None:
    place = Place(tmp_path / "data", postgres.new_database())
    children = [place.start("serve", "--listen", "127.0.0.1:0") for _ in range(3)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline().startswith("listening")
    for child in children:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        assert child.returncode == 0


def test_a_server_brings_its_own_folder_up_but_no_database_that_others_use(place: Place) -> None:
    place.make(OLD)
    if place.url:
        code, _, err = place.run("serve", "--listen", "127.0.0.1:0")
        assert code == 1 and "older schema" in err and "fst cloud migrate" in err
        return
    with started(place.folder) as process:
        assert versions_in(place.folder)["cloud"] == NEWEST
        assert place.run("migrate")[:2] == (0, f"blobs: {len(BLOBS.migrations)}, nothing to do\ncloud: {NEWEST}, nothing to do\n")
        assert process.end(signal.SIGTERM) == 0
    before = engine.peek(place.folder / (FILE + ".before-upgrade"))
    assert before.one("SELECT version FROM schema_versions WHERE component = 'cloud'") == (OLD,), "the file as it was is kept beside"
    before.close()


def test_a_migration_that_fails_leaves_all_as_it_was(postgres: Postgres, tmp_path: Path) -> None:
    """The last step meets a table that is there already: the steps before it are undone with it."""
    place = Place(tmp_path, postgres.new_database())
    place.make(1)
    place.change("CREATE TABLE workspace_merges (x TEXT)")
    child = place.start("migrate")
    child.communicate(timeout=60)
    assert child.returncode == 1

    async def look() -> list[tuple[object, ...]]:
        db = await PostgresDatabase.connect(place.url)
        found = await db.read().rows("SELECT version FROM schema_versions WHERE component = 'cloud'")
        await db.close()
        return found

    assert asyncio.run(look()) == [(1,)]
    place.change("DROP TABLE workspace_merges")
    assert place.run("migrate")[0] == 0
