"""What the cloud stands on goes away in the middle of requests: its disk is full, its database or Redis is killed. Nobody is lied to."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from store.types import digest_of
from tests.clouds import Caller, Line, Reply, in_loop
from tests.lab.disks import resize_disk, small_disk
from tests.lab.place import Place
from tests.lab.services import Postgres, RedisServer
from tests.waiting import until

ANSWER_SECONDS = 45
PUSHERS = 4


@asynccontextmanager
async def calling(place: Place, token: str) -> AsyncIterator[Caller]:
    with place.serving() as url:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as http:
            yield Caller(http, url, token)


def check_refusal(reply: Reply, *codes: str) -> None:
    """Come again: in the envelope, and nothing of what is inside."""
    assert reply.status == 503 and reply.code in codes, reply
    assert int(reply.headers["Retry-After"]) >= 1 and reply.json["error"]["message"]


@in_loop
async def test_a_full_disk_under_the_embedded_cloud(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m"):
        place = Place(tmp_path / "disk" / "data")
        token = place.must("token", "--email", "ada@example.org").strip()
        async with calling(place, token) as ada:
            line = await ada.line()
            rng, kept = random.Random(1), {}
            while (reply := await line.push({"a": (data := rng.randbytes(60_000))})).status == 200:
                kept[line.head.version] = data
            check_refusal(reply, "NO_SPACE")
            large = rng.randbytes(3_000_000)
            for ask in writes(ada, line, large):
                if (reply := await ask()).status not in (200, 201):
                    check_refusal(reply, "NO_SPACE")
            shown = await ada.workspace(line.workspace_id)
            assert (shown.version, shown.root) == (line.head.version, line.head.root), "the head is one that was acknowledged"
            resize_disk(tmp_path / "disk", "60m")
            assert (await line.push({"a": data})).status == 200, "the same, once there is room"
            assert (await ada.ask("PUT", f"/v1/blobs/upload/{digest_of(large).hex()}", data=large)).status in (200, 201)
            digests = [digest_of(each) for each in kept.values()]
            assert (await ada.fetch("/v1/blobs/fetch", digests))[1] == {digest_of(each): each for each in kept.values()}
        assert place.must("fsck") == ""


def writes(ada: Caller, line: Line, large: bytes) -> list[Callable[[], Awaitable[Reply]]]:
    """One of each kind."""
    project = f"/v1/projects/{line.project_id}"
    return [
        lambda: ada.ask("PUT", f"/v1/blobs/upload/{digest_of(large).hex()}", data=large),
        lambda: line.push({f"f{at}": large[at * 60_000 : (at + 1) * 60_000] for at in range(20)}),
        lambda: ada.ask("POST", "/v1/projects", {"name": "another"}),
        lambda: ada.ask("POST", f"{project}/workspaces", {"name": "another"}),
        lambda: ada.ask("POST", "/v1/auth/api-keys", {"provider": "openai", "key_value": "sk-12345678901234567890"}),
        lambda: ada.ask("POST", "/v1/oauth/device", {"client_id": "fst"}),
        lambda: ada.ask("GET", "/v1/projects"),
    ]


async def keep_pushing(line: Line, seed: int, answered: dict[str, int], ended: asyncio.Event) -> None:
    """The same push again until it is taken; what is refused is refused as it should be."""
    rng, number = random.Random(seed), 0
    while not ended.is_set():
        number += 1
        edits, before = {"a": rng.randbytes(rng.choice([10, 90_000])), "n": b"%d" % number}, line.head
        while True:
            line.head = before
            reply = await line.push(dict(edits))  # no snapshot: its time would make it another push
            if reply.status == 200:
                break
            check_refusal(reply, "BUSY")
            answered["refused"] += 1
            await asyncio.sleep(0)
        answered[line.workspace_id] = line.head.version


async def keep_reading(ada: Caller, line: Line, ended: asyncio.Event) -> None:
    paths = ["/v1/projects", f"/v1/workspaces/{line.workspace_id}", f"/v1/projects/{line.project_id}/events", "/v1/machines"]
    while not ended.is_set():
        for path in paths:
            reply = await ada.ask("GET", path)
            if reply.status != 200:
                check_refusal(reply, "BUSY")


async def in_trouble(place: Place, token: str, trouble: Callable[[dict[str, int]], Awaitable[None]]) -> dict[str, int]:
    """Pushes and readings meanwhile, each of which is answered; how often one was refused."""
    answered, ended = {"refused": 0}, asyncio.Event()
    async with calling(place, token) as ada:
        lines = [await ada.line(f"w{at}") for at in range(PUSHERS)]
        tasks = [asyncio.create_task(keep_pushing(line, at, answered, ended)) for at, line in enumerate(lines)]
        tasks += [asyncio.create_task(keep_reading(ada, lines[0], ended))]
        making = asyncio.ensure_future(trouble(answered))
        await asyncio.wait([making, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ended.set()
        await asyncio.gather(*tasks)
        await making
        for line in lines:
            shown = await ada.workspace(line.workspace_id)
            assert (shown.version, shown.root) == (line.head.version, line.head.root)
    assert place.must("fsck") == ""
    return answered


def pushed(answered: dict[str, int]) -> int:
    return sum(version for name, version in answered.items() if name != "refused")


@in_loop
async def test_a_database_that_is_killed_in_mid_request(mortal_postgres: Postgres, tmp_path: Path) -> None:
    place = Place(tmp_path / "data", mortal_postgres.new_database())
    token = place.must("token", "--email", "ada@example.org").strip()

    async def trouble(answered: dict[str, int]) -> None:
        for _ in range(int(os.environ.get("OUTAGES", "2"))):
            before, refused = pushed(answered), answered["refused"]
            await until(lambda before=before: pushed(answered) > before + 20, 60)  # type: ignore[misc]
            await asyncio.to_thread(mortal_postgres.kill)
            await until(lambda refused=refused: answered["refused"] > refused + PUSHERS, 60)  # type: ignore[misc]
            await asyncio.to_thread(mortal_postgres.start)
        before = pushed(answered)
        await until(lambda: pushed(answered) > before + 20, 60)

    assert (await in_trouble(place, token, trouble))["refused"] > 0


@in_loop
async def test_redis_that_is_killed_in_mid_request(postgres: Postgres, mortal_redis: RedisServer, tmp_path: Path) -> None:
    """It carries messages and nothing that lasts: pushes are taken all the same."""
    place = Place(tmp_path / "data", postgres.new_database(), {"FASTEST_CLOUD_REDIS": mortal_redis.url})
    token = place.must("token", "--email", "ada@example.org").strip()

    async def trouble(answered: dict[str, int]) -> None:
        for act in (mortal_redis.kill, mortal_redis.start):
            before = pushed(answered)
            await until(lambda before=before: pushed(answered) > before + 20, 60)  # type: ignore[misc]
            await asyncio.to_thread(act)
        before = pushed(answered)
        await until(lambda: pushed(answered) > before + 20, 60)

    assert (await in_trouble(place, token, trouble))["refused"] == 0


@pytest.mark.parametrize("gone", ["database", "redis"])
def test_a_server_that_starts_without_what_it_needs_says_so(gone: str, tmp_path: Path, postgres: Postgres) -> None:
    nowhere = {"database": "postgresql://me:hush@127.0.0.1:1/x", "redis": "redis://:hush@127.0.0.1:1/0"}
    if gone == "database":
        code, out, err = Place(tmp_path, nowhere["database"]).run("token", "--email", "ada@example.org")
        assert code == 1 and out == "" and "does not answer" in err and "hush" not in err
        return
    place = Place(tmp_path, postgres.new_database(), {"FASTEST_CLOUD_REDIS": nowhere["redis"]})
    with place.serving():
        assert place.must("fsck") == ""
