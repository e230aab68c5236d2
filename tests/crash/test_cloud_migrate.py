"""`fst cloud migrate` on both engines: numbered, whole or not at all, told, and done once however many begin."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cloud.database import Tx
from cloud.database.embedded import FILE, EmbeddedDatabase, versions_in
from cloud.database.postgres import COMPONENTS, PostgresDatabase, begin_migration, run_migrations
from cloud.database.schema import tables, up_to
from store import database as engine
from store.blobs import BLOBS
from tests.crash.test_cloud_kill import ROOT, cloud_command, started
from tests.lab.services import Postgres

NEWEST: Final = len(tables().migrations)
OLD: Final = 2
KEY: Final = {"FASTEST_CLOUD_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}


class Place(msgspec.Struct):
    """Where a cloud keeps what it has: a folder, or a database."""

    folder: Path
    url: str = ""

    @property
    def env(self) -> Mapping[str, str]:
        return os.environ | KEY | ({"FASTEST_CLOUD_DATABASE": self.url} if self.url else {})

    def start(self, verb: str, *words: str) -> subprocess.Popen[str]:
        command = [*cloud_command(verb, *words), "--data", str(self.folder)]
        return subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, verb: str, *words: str) -> tuple[int, str, str]:
        child = self.start(verb, *words)
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err

    def make(self, version: int) -> None:
        """As a program left it that knew the cloud's tables so far; with a user."""
        if self.url:
            asyncio.run(self._make_remote(version))
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        raw = engine.Database.open(self.folder / FILE, (BLOBS, up_to(tables(), version)), threaded=False)
        db = EmbeddedDatabase(raw)
        db.write_now(_add_user)
        db.close_now()

    async def _make_remote(self, version: int) -> None:
        db = await PostgresDatabase.connect(self.url)

        async def work(tx: Tx) -> None:
            await begin_migration(tx)
            for component in COMPONENTS:
                await run_migrations(tx, up_to(component, version if component.name == "cloud" else 1), 0)
            await _add_user(tx)

        await db.write(work)
        await db.close()

    def change(self, sql: str) -> None:
        async def elsewhere() -> None:
            db = await PostgresDatabase.connect(self.url)
            await db.write(lambda tx: tx.run(sql))
            await db.close()

        if self.url:
            asyncio.run(elsewhere())
            return
        db = EmbeddedDatabase.open(self.folder)
        db.write_now(lambda tx: tx.run(sql))
        db.close_now()


async def _add_user(tx: Tx) -> None:
    await tx.run("INSERT INTO users (id, email) VALUES ('u', 'ada@example.org')")


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
    assert place.run("migrate")[0] == 1

    async def look() -> list[tuple[object, ...]]:
        db = await PostgresDatabase.connect(place.url)
        found = await db.read().rows("SELECT version FROM schema_versions WHERE component = 'cloud'")
        await db.close()
        return found

    assert asyncio.run(look()) == [(1,)]
    place.change("DROP TABLE workspace_merges")
    assert place.run("migrate")[0] == 0
