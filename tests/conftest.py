"""No test can reach the real home or another computer; Hypothesis runs in one of two profiles."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.lab.databases import Databases
from tests.lab.services import Postgres, RedisServer, S3Server, postgres_server, redis_server

SLOW_TO_MAKE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("fast", max_examples=60, deadline=None, print_blob=True, suppress_health_check=SLOW_TO_MAKE)
settings.register_profile("soak", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=SLOW_TO_MAKE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# A shell ignores Ctrl-C for what it runs in the background, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEAR_SECONDS = {"unit": 20.0, "e2e": 120.0}
"""Of processor, for one test and all that it started: three times what the dearest took (docs/TESTING.md)."""

LOOPBACK = ("127.", "::1", "localhost")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that got dear fails, before the suite takes an hour. Whoever gives --timeout (`make soak`) has time."""
    before = sum(os.times()[:4])
    yield
    spent, most = sum(os.times()[:4]) - before, DEAR_SECONDS["e2e" if item.get_closest_marker("e2e") else "unit"]
    has_time = item.config.getoption("timeout") is not None
    assert has_time or spent < most, f"{spent:.0f} s of processor: do the same with less, or put what is more into `make soak`"


@pytest.fixture(scope="session", autouse=True)
def no_real_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For the session, so that wider fixtures are covered too; each test then gets a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        leave_home(patch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's home folder; never inside its `tmp_path`, which may be a workspace."""
    folder = tmp_path_factory.mktemp("home")
    leave_home(monkeypatch, folder)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test process's own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def mortal_postgres() -> Iterator[Postgres]:
    """One of this test's own, to be killed: the work of a shared one's whole life would be booked to whoever kills it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    """Migrated databases, to be lent."""
    made = Databases(postgres)
    yield made
    made.close()


@pytest.fixture
def lend_database(databases: Databases) -> Iterator[Callable[[], str]]:
    """The address of an empty, migrated database; of another one each time."""
    lent: list[str] = []

    def lend() -> str:
        lent.append(databases.lend())
        return lent[-1]

    yield lend
    databases.take_back(lent)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis of this test process's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """One of this test's own, to be killed."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server of this test process's own."""
    server = S3Server()
    yield server
    server.stop()


def leave_home(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point everything that finds a person's files at an empty folder."""
    for name in [name for name in os.environ if name.startswith(("FASTEST_", "XDG_", "GIT_"))]:
        patch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        patch.setenv(name, str(folder))
    patch.setenv("FASTEST_HOME", str(folder / "fastest"))
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    patch.setenv("GIT_AUTHOR_NAME", "A Test")
    patch.setenv("GIT_AUTHOR_EMAIL", "test@example.invalid")
    patch.setenv("GIT_COMMITTER_NAME", "A Test")
    patch.setenv("GIT_COMMITTER_EMAIL", "test@example.invalid")
    # A desktop's keyring is somebody's too.
    patch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture(scope="session", autouse=True)
def no_real_network() -> Iterator[None]:
    """A connection that leaves this computer fails at once."""
    really_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test reached out to {address}")
        really_connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield
