"""Where a cloud keeps what it has, a folder or a database, and the verbs of `fst cloud` as processes at it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import msgspec
import pytest

from cloud.app import main
from cloud.database import Tx
from cloud.database.embedded import FILE, EmbeddedDatabase
from cloud.database.postgres import COMPONENTS, PostgresDatabase, begin_migration, run_migrations
from cloud.database.schema import tables, up_to
from store import database as engine
from store.blobs import BLOBS
from tests.lab.process import REPOSITORY

KEY: Final = {"FASTEST_CLOUD_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}


class Place(msgspec.Struct):
    """Where a cloud keeps what it has: a folder, or a database."""

    folder: Path
    url: str = ""
    extra: Mapping[str, str] = {}
    """More of the environment: where the bucket is, and which key."""

    @property
    def env(self) -> dict[str, str]:
        return dict(os.environ) | KEY | ({"FASTEST_CLOUD_DATABASE": self.url} if self.url else {}) | dict(self.extra)

    def start(self, verb: str, *words: str, log: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cloud", verb, *words, "--data", str(self.folder)]
        return subprocess.Popen(command, cwd=REPOSITORY, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True)

    def run(self, verb: str, *words: str) -> tuple[int, str, str]:
        """In this process, for a new one takes a second to begin: exit code, stdout, stderr."""
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), ThreadPoolExecutor(1) as apart:
            for name, value in self.env.items():
                patch.setenv(name, value)
            code = apart.submit(main, [verb, *words, "--data", str(self.folder)]).result()  # a loop may be running here
        return code, out.getvalue(), err.getvalue()

    def must(self, verb: str, *words: str) -> str:
        """What it says on stdout; it has to end well."""
        code, out, err = self.run(verb, *words)
        assert code == 0, (verb, code, out, err)
        return out

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of a server; it must end well, and log no mistake of ours."""
        with TemporaryFile("w+") as log:  # a pipe that nobody reads would fill, and the server stand still
            child = self.start("serve", "--listen", "127.0.0.1:0", log=log)
            assert child.stdout is not None
            said = child.stdout.readline()
            try:
                assert said.startswith("listening on "), (said, child.communicate(timeout=30))
                yield said.split()[-1]
            finally:
                child.send_signal(signal.SIGTERM)
                child.communicate(timeout=60)
                log.seek(0)
                err = log.read()
                print(err)  # shown where the test fails
        # The driver tells of every try to connect again, with a traceback; a mistake of ours is told otherwise.
        assert child.returncode == 0 and "request failed" not in err and "never retrieved" not in err, err

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
