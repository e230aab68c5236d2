"""Servers that the scaled-out cloud stands on, real ones from Debian's packages, started for the tests on loopback or a socket."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

_numbers = itertools.count()


class Postgres:
    """A cluster of its own, reached through a socket that only we know of. Nothing is synced to disk: no test cuts its power."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = folder / "data"
        if self._user:
            shutil.chown(folder, self._user, self._user)
        self._run("initdb", "-D", str(self._data), "-U", "fastest", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Until it answers."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": "off", "max_connections": "200"}
        flags = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([_binary("postgres"), "-D", str(self._data), *flags], stdout=log, stderr=log, user=self._user)
        wait_until(self._answers, 30, "PostgreSQL answers")

    def kill(self) -> None:
        """As when its machine dies."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        """Fast, without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(30)
            self._process = None

    def url(self, name: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://fastest@/{name}?host={self.folder}"

    def new_database(self, template: str = "template1") -> str:
        """The address of a new one."""
        name = f"fastest{next(_numbers)}"
        self._run("psql", "-q", "-U", "fastest", "-h", str(self.folder), "-c", f"CREATE DATABASE {name} TEMPLATE {template}", "postgres")
        return self.url(name)

    def _answers(self) -> bool:
        return subprocess.run([_binary("pg_isready"), "-q", "-h", str(self.folder)], check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([_binary(program), *arguments], check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self.folder)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """One for as long as it is needed."""
    # Not below pytest's own folders: only root may enter those.
    with tempfile.TemporaryDirectory(prefix="fst-pg-", dir="/tmp") as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def _binary(name: str) -> str:
    """Debian keeps them off the PATH, by version."""
    found = shutil.which(name) or next(iter(sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)), None)
    if found is None:
        subprocess.run(["apt-get", "install", "-y", "-q", "postgresql"], check=True, stdout=subprocess.DEVNULL)
        return _binary(name)
    return found
