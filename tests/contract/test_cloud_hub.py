"""What a hub promises, asked of the one in a process and of two that meet in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from cloud.hub import Hub, Telling
from cloud.hub.local import Listener, LocalHub
from cloud.hub.redis import RedisHub
from store.errors import Busy, Unwritable
from tests.clouds import in_loop
from tests.lab.services import RedisServer

Pair = Callable[[], AbstractAsyncContextManager[tuple[Hub, Hub]]]


@pytest.fixture(params=["one process", "two processes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Two hubs that are to behave as one: where it is told, and where it is heard."""
    url = request.getfixturevalue("redis").url if request.param == "two processes" else ""

    @asynccontextmanager
    async def open_them() -> AsyncIterator[tuple[Hub, Hub]]:
        if not url:
            hub = LocalHub()
            yield hub, hub
            return
        one, two = await RedisHub.open(url), await RedisHub.open(url)
        try:
            yield one, two
        finally:
            await one.close()
            await two.close()

    return open_them


def listener(user: str = "ada", machine: str = "m1", session: str = "s1") -> Listener:
    return Listener(user, session, machine)


async def hears(who: Listener) -> bytes | None:
    async with asyncio.timeout(10):
        return await who.take()


@in_loop
async def test_what_is_told_is_heard_in_order(pair: Pair) -> None:
    async with pair() as (here, there):
        who = listener()
        await there.join(who)
        for number in range(100):
            await here.tell("ada", Telling(b"%d" % number))
        assert [await hears(who) for _ in range(100)] == [b"%d" % number for number in range(100)]
        await there.ping()


@in_loop
async def test_each_hears_what_is_for_them(pair: Pair) -> None:
    async with pair() as (here, there):
        sender, other, person, stranger = listener(machine="m1"), listener(machine="m2"), listener(machine=""), listener("eve", "m1")
        outside = listener(machine="m3")
        for who in (sender, other, person, stranger, outside):
            await there.join(who)
        await here.tell("ada", Telling(b"full", frozenset({"m1", "m2"}), "m1", b"lean"))
        await here.tell("ada", Telling(b"all"))
        await here.tell("eve", Telling(b"hers"))
        assert [await hears(who) for who in (sender, other, person)] == [b"lean", b"full", b"full"]
        assert [await hears(who) for who in (sender, other, person, outside, stranger)] == [b"all"] * 4 + [b"hers"]


@in_loop
async def test_who_left_hears_no_more(pair: Pair) -> None:
    async with pair() as (here, there):
        gone, left = listener(machine="m1"), listener(machine="m2")
        await there.join(gone)
        await there.join(left)
        await there.leave(gone)
        await here.tell("ada", Telling(b"x"))
        assert await hears(left) == b"x"
        gone.end()
        assert await hears(gone) is None
        await there.leave(left)
        back = listener()
        await there.join(back)
        await here.tell("ada", Telling(b"y"))
        assert await hears(back) == b"y"


@in_loop
async def test_online_is_who_listens_anywhere(pair: Pair) -> None:
    async with pair() as (here, there):
        who, person = listener("zoe", machine="m1"), listener("zoe", machine="")
        await there.join(who)
        await there.join(person)
        assert await here.online("zoe") == await there.online("zoe") == {"m1"}
        assert await here.online("nobody") == set()
        await there.leave(who)
        assert await here.online("zoe") == set()


@in_loop
async def test_a_revoked_session_is_cut_off_everywhere(pair: Pair) -> None:
    async with pair() as (here, there):
        revoked, other = listener(session="s1"), listener(session="s2")
        await there.join(revoked)
        await there.join(other)
        await here.end_session("s1")
        assert await hears(revoked) is None
        await here.tell("ada", Telling(b"x"))
        assert await hears(other) == b"x" and not other.cut


# --- Redis alone ----------------------------------------------------------------------------------------------------------------------


def test_when_redis_dies_all_who_listen_ask_again(mortal_redis: RedisServer) -> None:
    async def run() -> None:
        one, two = await RedisHub.open(mortal_redis.url), await RedisHub.open(mortal_redis.url)
        near, far = listener(machine="m1"), listener(machine="m2")
        await one.join(near)
        await two.join(far)
        mortal_redis.kill()
        try:
            assert await hears(near) is None and await hears(far) is None, "something may have been missed"
            while_away = listener()
            await one.join(while_away)
            assert await hears(while_away) is None, "who comes while nothing can be heard is sent away, to come again"
            await one.tell("ada", Telling(b"lost"))
            with pytest.raises(Busy):
                await one.ping()
        finally:
            mortal_redis.start()
        for who in (near, far, while_away):
            await one.leave(who)
            await two.leave(who)
        async with asyncio.timeout(20):
            while True:
                back = listener()
                await two.join(back)
                await one.tell("ada", Telling(b"again"))
                if await hears(back) == b"again":
                    break
                await two.leave(back)
        await one.close()
        await two.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["http://hush", "", "redis://:hush@[bad"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Unwritable) as refused:
        asyncio.run(RedisHub.open(url))
    assert "hush" not in str(refused.value)
