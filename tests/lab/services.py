"""Servers that the scaled-out cloud stands on, real ones from Debian's packages, started for the tests on loopback or a socket."""

from __future__ import annotations

import fcntl
import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.waiting import wait_until

PACKAGES = ("postgresql", "redis-server", "nginx-light", "caddy", "systemd")
PROGRAMS = ("postgres", "redis-server", "nginx", "caddy", "systemd-analyze")
_numbers = itertools.count()


class Postgres:
    """A cluster of its own, reached through a socket that only we know of. Nothing is synced to disk: no test cuts its power."""

    def __init__(self, folder: Path, *, syncs: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if syncs else "off"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = folder / "data"
        if self._user:
            shutil.chown(folder, self._user, self._user)
        self._run("initdb", "-D", str(self._data), "-U", "fastest", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Until it answers."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": self._fsync, "max_connections": "200"}
        flags = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([binary("postgres"), "-D", str(self._data), *flags], stdout=log, stderr=log, user=self._user)
        wait_until(self._answers, 30, "PostgreSQL answers")

    def kill(self) -> None:
        """As when its machine dies."""
        if self._process is not None:
            # Its children too: they hold its memory, and nobody else may start while they do.
            family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
            for each in family:
                each.kill()
            self._process.wait(30)
            psutil.wait_procs(family, 30)
            self._process = None

    def stop(self) -> None:
        """At once: nobody will read its files again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
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
        return subprocess.run([binary("pg_isready"), "-q", "-h", str(self.folder)], check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([binary(program), *arguments], check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self.folder)


@contextmanager
def postgres_server(*, syncs: bool = False) -> Iterator[Postgres]:
    """One for as long as it is needed; `syncs`: as it comes, for who measures it."""
    # Not below pytest's own folders: only root may enter those.
    with tempfile.TemporaryDirectory(prefix="fst-pg-", dir="/tmp") as folder:
        server = Postgres(Path(folder), syncs=syncs)
        try:
            yield server
        finally:
            server.stop()


class RedisServer:
    """One of its own, on a socket; nothing is kept on disk."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self.start()

    def start(self) -> None:
        """Until it answers."""
        flags = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no", "--dir", str(self._socket.parent)]
        self._process = subprocess.Popen([binary("redis-server"), *flags], stdout=subprocess.DEVNULL)
        wait_until(self._answers, 30, "Redis answers")

    def kill(self) -> None:
        """As when its machine dies."""
        self._process.kill()
        self._process.wait(30)
        self._socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """One for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="fst-redis-", dir="/tmp") as folder:
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.kill()


class S3Server:
    """Something that speaks S3 on loopback, in this process."""

    def __init__(self) -> None:
        # Only here: it is a third of a second, for every process of a test run.
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._host, self._port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{self._host}:{self._port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }  # fmt: skip

    def new_bucket(self) -> str:
        """The address of a new, empty one."""
        name = f"fastest{next(_numbers)}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200
        connection.close()
        return f"s3://{name}/kept"

    def stop(self) -> None:
        """No more answers."""
        self._server.stop()


def binary(name: str) -> str:
    """Where it is, installed if need be: once, however many test processes want it."""
    if (found := _find(name)) is None:
        with (Path(tempfile.gettempdir()) / "fst-apt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _find(name) is None:
                _install()
        found = _find(name)
    assert found is not None, f"{name} is not here and could not be installed. Next: apt-get install {' '.join(PACKAGES)}"
    return found


def _find(name: str) -> str | None:
    """Debian keeps PostgreSQL's off the PATH, by version."""
    by_version = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or next(iter(by_version), None)


def _install() -> None:
    """A machine that is new has no lists of packages yet."""
    # At this run level no service is started for having been installed.
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=300", *words], check=False, stdout=subprocess.DEVNULL, env=env)


if __name__ == "__main__":
    for program in PROGRAMS:
        print(binary(program))
