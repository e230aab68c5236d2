"""Three server processes behind the packaged reverse proxies: streams, large bodies, shared limits, and a server that leaves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import aiohttp
import pytest

from tests.clouds import Caller, next_message
from tests.e2e.test_cloud_operated import Operated, token_of
from tests.lab.proxies import caddy, nginx
from tests.lab.services import Postgres, RedisServer
from tests.waiting import until

pytestmark = pytest.mark.e2e
PIECES = [os.urandom(1024 * 1024)] * 24
Proxy = Callable[[Path, Sequence[int]], AbstractContextManager[str]]


@pytest.fixture(params=[(nginx, 0), (caddy, 7)], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> tuple[Proxy, int]:
    """And how long a server serves on that is told to leave: nginx asks nobody, Caddy every two seconds."""
    found: tuple[Proxy, int] = request.param
    return found


@pytest.fixture
def env(proxy: tuple[Proxy, int], postgres: Postgres, redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    return {
        "FASTEST_CLOUD_DATABASE": postgres.new_database(), "FASTEST_CLOUD_REDIS": f"{redis.url}?db={proxy[1] + 1}",
        "FASTEST_CLOUD_OBJECTS": (tmp_path / "bucket").as_uri(), "FASTEST_CLOUD_KEY": b64encode(bytes(32)).decode(),
    }  # fmt: skip


@pytest.fixture
def servers(proxy: tuple[Proxy, int], env: dict[str, str], tmp_path: Path) -> Iterator[list[Operated]]:
    folders = [tmp_path / f"s{number}" for number in range(3)]
    for folder in (*folders, tmp_path / "proxy"):
        folder.mkdir()
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda folder: Operated(folder, env, "--proxy", "127.0.0.1", "--notice", str(proxy[1])), folders))
    yield made
    for each in made:
        each.process.kill()
        each.process.wait(30)


async def slowly() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece


async def streams_and_bodies_go_through(ada: Caller) -> None:
    line = await ada.line()
    async with ada.listening() as socket:
        assert (await line.push({"a": b"hello"})).status == 200
        heard = await next_message(socket)
        assert heard.header.head == line.head
    digest = hashlib.sha256(b"".join(PIECES)).hexdigest()
    reply = await ada.ask("PUT", f"/v1/blobs/upload/{digest}", data=slowly())
    assert reply.status in (200, 201), reply
    back = await ada.ask("GET", f"/v1/blobs/download/{digest}")
    assert hashlib.sha256(back.body).hexdigest() == digest
    for path in ("/metrics", "/ready"):
        assert (await ada.ask("GET", path)).status == 404, "not for the world"


async def all_count_as_one(ada: Caller, straight: list[Caller]) -> None:
    """Through the proxy and past it: whom a proxy brings is known by the address that it tells."""
    limited: set[str] = set()
    tried = 0
    async with asyncio.timeout(30):
        while not limited:
            reply = await ada.ask("POST", "/v1/oauth/device", data=b"", **{"X-Forwarded-For": f"192.0.2.{tried}"})
            tried += 1
            if reply.status == 429:
                limited.add(reply.headers["Retry-After"])
    assert 18 <= tried <= 23, "one burst for all three, however many addresses the asker makes up"
    for each in straight:
        reply = await each.ask("POST", "/v1/oauth/device", data=b"")
        assert reply.status == 429 and 1 <= int(reply.headers["Retry-After"]) <= 3


async def ask_without_end(ada: Caller, statuses: list[int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        statuses.append((await ada.ask("GET", "/v1/auth/me")).status)


def test_three_servers_behind_a_proxy(proxy: tuple[Proxy, int], env: dict[str, str], servers: list[Operated], tmp_path: Path) -> None:
    async def run(url: str) -> None:
        token = token_of(env, tmp_path / "s0")
        async with aiohttp.ClientSession() as http:
            ada, straight = Caller(http, url, token), [Caller(http, each.url, token) for each in servers]
            await streams_and_bodies_go_through(ada)
            await all_count_as_one(ada, straight)
            statuses: list[int] = []
            stop = asyncio.Event()
            asking = [asyncio.create_task(ask_without_end(ada, statuses, stop)) for _ in range(4)]
            servers[0].process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(servers[0].process.wait, 60) == 0
            enough = len(statuses) + 100
            await until(lambda: len(statuses) >= enough, 30)
            stop.set()
            await asyncio.gather(*asking)
            assert set(statuses) == {200}, "nobody notices that a server left"

    with proxy[0](tmp_path / "proxy", [int(each.url.rpartition(":")[2]) for each in servers]) as url:
        asyncio.run(run(url))
