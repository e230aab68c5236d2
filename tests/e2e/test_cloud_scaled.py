"""Three server processes on one PostgreSQL, one Redis and one bucket, behind a balancer: one is killed again and again in mid-push."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from sync.core.wire import Head
from tests.clouds import Caller, Line, next_message
from tests.lab.services import Postgres, RedisServer, S3Server
from tests.waiting import until

PUSHERS = 6
PUSHES = 25
KILLS = 4


class Server:
    """One `fst cloud serve`."""

    def __init__(self, data: Path, env: dict[str, str]) -> None:
        self._data = data
        self._env = env
        self.port = 0
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-m", "cloud", "serve", "--data", str(self._data), "--listen", "127.0.0.1:0"]
        self._process = subprocess.Popen(words, env=self._env, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("listening"), said
        self.port = int(said.rpartition(":")[2])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)


class Balancer:
    """Takes connections in turn to whichever server takes them."""

    def __init__(self, servers: list[Server]) -> None:
        self._turns = itertools.cycle(servers)
        self._count = len(servers)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self._count):
            try:
                ahead, back = await asyncio.open_connection("127.0.0.1", next(self._turns).port)
            except OSError:
                continue
            await asyncio.gather(self._pass(reader, back), self._pass(ahead, writer))
            return
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
def cloud_env(postgres: Postgres, redis: RedisServer, s3: S3Server) -> dict[str, str]:
    engines = {
        "FASTEST_CLOUD_DATABASE": postgres.new_database(), "FASTEST_CLOUD_OBJECTS": s3.new_bucket(), "FASTEST_CLOUD_REDIS": redis.url,
        "FASTEST_CLOUD_KEY": b64encode(bytes(range(32))).decode(),
    }  # fmt: skip
    return dict(os.environ) | s3.environment | engines


@pytest.fixture
def servers(cloud_env: dict[str, str], tmp_path: Path) -> Iterator[list[Server]]:
    made = [Server(tmp_path / f"data{number}", cloud_env) for number in range(3)]
    yield made
    for server in made:
        server.kill()


@asynccontextmanager
async def balanced(servers: list[Server]) -> AsyncIterator[str]:
    door = await asyncio.start_server(Balancer(servers).take, "127.0.0.1", 0)
    async with door:
        yield f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"


async def push_for_sure(line: Line, edits: dict[str, bytes]) -> Head:
    """The same push again until it is answered."""
    before = line.head
    while True:
        line.head = before
        with suppress(aiohttp.ClientError):
            reply = await line.push(edits, message=None)
            assert reply.status in (200, 503), reply
            if reply.status == 200:
                return line.head
        await asyncio.sleep(0)


async def work(line: Line, seed: int, answered: list[Head]) -> None:
    rng = random.Random(seed)
    for number in range(PUSHES):
        size = rng.choice([10, 1_000, 100_000, 300_000])
        answered.append(await push_for_sure(line, {f"f{number % 7}": rng.randbytes(size), "n": b"%d" % number}))


async def trouble(servers: list[Server], answered: list[Head]) -> None:
    for kill in range(KILLS):
        enough = (kill + 1) * PUSHERS * PUSHES // (KILLS + 1)
        await until(lambda enough=enough: len(answered) >= enough, 60)  # type: ignore[misc]
        victim = servers[kill % len(servers)]
        victim.kill()
        await asyncio.to_thread(victim.start)


@pytest.mark.e2e
def test_a_server_killed_in_mid_push_loses_nothing(cloud_env: dict[str, str], servers: list[Server], tmp_path: Path) -> None:
    def run_verb(*words: str) -> str:
        command = [sys.executable, "-m", "cloud", *words, "--data", str(tmp_path / "data0")]
        return subprocess.run(command, env=cloud_env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    token = run_verb("token", "--email", "ada@example.org")

    async def run() -> list[Head]:
        answered: list[Head] = []
        async with balanced(servers) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            ada = Caller(http, url, token)
            lines = [await ada.line(f"w{number}") for number in range(PUSHERS)]
            await asyncio.gather(trouble(servers, answered), *(work(line, seed, answered) for seed, line in enumerate(lines)))
            for line in lines:
                for server in servers:
                    straight = Caller(http, f"http://127.0.0.1:{server.port}", token)
                    shown = await straight.get(f"/v1/workspaces/{line.workspace_id}")
                    assert (shown["version"], shown["root"]) == (line.head.version, line.head.root)
                logged = (await ada.get(f"/v1/workspaces/{line.workspace_id}/versions/list?limit=1000"))["versions"]
                known = {(each["version"], each["root"]) for each in logged}
                assert known >= {(head.version, head.root) for head in answered if head.workspace_id == line.workspace_id}
                assert len(logged) == PUSHES + 1, "each push counted once, however often it was sent"
        return answered

    assert len(asyncio.run(run())) == PUSHERS * PUSHES
    assert run_verb("fsck") == ""


@pytest.mark.e2e
def test_a_push_at_one_server_is_heard_at_the_others(cloud_env: dict[str, str], servers: list[Server], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloud", "token", "--email", "ada@example.org", "--data", str(tmp_path / "data0")]
    token = subprocess.run(command, env=cloud_env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    async def run() -> None:
        async with aiohttp.ClientSession() as http:
            one, two, three = (Caller(http, f"http://127.0.0.1:{server.port}", token) for server in servers)
            line = await one.line()
            machine = await two.machine("other")
            await two.mirror((await three.workspace(line.workspace_id)), machine)
            async with two.listening(machine) as far, three.listening() as person:
                assert (await line.push({"a": b"hello"})).status == 200
                for socket in (far, person):
                    heard = await next_message(socket)
                    assert heard.header.head == line.head and list(heard.contents.values()) == [b"hello"]
                online = {each["name"]: each["online"] for each in (await one.get("/v1/machines"))["machines"]}
                assert online["other"] is True

    asyncio.run(run())
