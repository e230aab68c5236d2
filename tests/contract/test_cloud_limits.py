"""What limits promise, asked of those of one process and of three that share a Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from cloud.limits import Limit, Limits
from cloud.limits.local import MOST_KNOWN, LocalLimits
from cloud.limits.redis import KEY, RedisLimits
from store.errors import Unwritable
from tests.clouds import in_loop
from tests.lab.services import RedisServer

NOW = 1_800_000_000_000
Servers = Callable[[], AbstractAsyncContextManager[list[Limits]]]
_names = itertools.count()


def limit(burst: int = 3, seconds: float = 2) -> Limit:
    """One that nobody has taken from, in a Redis that keeps what other tests took."""
    return Limit(f"test{next(_names)}", burst, seconds)


@pytest.fixture(params=["one process", "three processes"])
def servers(request: pytest.FixtureRequest) -> Servers:
    """They are to count as one."""
    url = request.getfixturevalue("redis").url if request.param == "three processes" else ""

    @asynccontextmanager
    async def open_them() -> AsyncIterator[list[Limits]]:
        found: list[Limits] = [RedisLimits.open(url) for _ in range(3)] if url else [LocalLimits()]
        yield found
        for each in found:
            await each.close()

    return open_them


@in_loop
async def test_a_burst_goes_through_and_then_one_in_so_many_seconds(servers: Servers) -> None:
    async with servers() as found:
        one, turns = limit(), itertools.cycle(found)
        assert [await next(turns).take(one, "ada", NOW) for _ in range(5)] == [0, 0, 0, pytest.approx(2), pytest.approx(2)]
        assert await next(turns).take(one, "ada", NOW + 1500) == pytest.approx(0.5), "how long to wait is told"
        assert [await next(turns).take(one, "ada", NOW + 2000) for _ in range(2)] == [0, pytest.approx(2)]
        assert [await next(turns).take(one, "ada", NOW + 60_000) for _ in range(4)] == [0, 0, 0, pytest.approx(2)]


@in_loop
async def test_each_who_and_each_limit_counts_alone(servers: Servers) -> None:
    async with servers() as found:
        one, other = limit(burst=1), limit(burst=1)
        for who in ("ada", "eve", "\udcff"):
            assert [await found[0].take(one, who, NOW), await found[-1].take(other, who, NOW)] == [0, 0]
            assert await found[-1].take(one, who, NOW) > 0


@in_loop
async def test_many_at_once_get_no_more_than_the_burst(servers: Servers) -> None:
    async with servers() as found:
        one = limit(burst=10)
        waits = await asyncio.gather(*(each.take(one, "ada", NOW) for each in found for _ in range(30)))
        assert waits.count(0) == 10


@in_loop
async def test_a_clock_that_was_set_back_shuts_nobody_out_for_long(servers: Servers) -> None:
    async with servers() as found:
        one, past = limit(), NOW - 86_400_000
        assert [await found[0].take(one, "ada", NOW) for _ in range(3)] == [0, 0, 0]
        assert 0 < await found[-1].take(one, "ada", past) <= 2
        assert await found[-1].take(one, "ada", past + 2000) == 0


# --- each alone -----------------------------------------------------------------------------------------------------------------------


@in_loop
async def test_memory_is_bounded_and_who_still_waits_is_forgotten_last() -> None:
    limits, slow, fast = LocalLimits(), Limit("slow", 1, 3600), Limit("fast", 1, 1)
    assert await limits.take(slow, "eve", NOW) == 0
    for number in range(MOST_KNOWN):
        await limits.take(fast, str(number), NOW + number)
    assert await limits.take(slow, "eve", NOW + MOST_KNOWN) > 0


@in_loop
async def test_without_redis_each_process_goes_on_counting_alone(mortal_redis: RedisServer) -> None:
    one, two, tried = RedisLimits.open(mortal_redis.url), RedisLimits.open(mortal_redis.url), limit(burst=3)
    assert [await one.take(tried, "ada", NOW) for _ in range(2)] == [0, 0]
    mortal_redis.kill()
    try:
        async with asyncio.timeout(5):
            assert await one.take(tried, "ada", NOW) == 0
            assert await one.take(tried, "ada", NOW) == pytest.approx(2), "what Redis counted here is not forgotten"
            assert [await two.take(tried, "ada", NOW) > 0 for _ in range(4)] == [False, False, False, True], "nor is anybody shut out"
    finally:
        mortal_redis.start()
    one._again_at = two._again_at = 0
    assert [await each.take(tried, "eve", NOW) for each in (one, two, one)] == [0, 0, 0]
    assert await two.take(tried, "eve", NOW) > 0, "shared again"
    await one.close()
    await two.close()


@in_loop
async def test_what_redis_keeps_names_nobody_and_ends_by_itself(redis: RedisServer) -> None:
    limits, tried = RedisLimits.open(redis.url), limit(burst=2, seconds=30)
    await limits.take(tried, "ada@example.org", NOW)
    keys = [key async for key in limits._redis.scan_iter(f"{KEY}{tried.name}:*")]
    assert len(keys) == 1 and b"ada" not in keys[0]
    assert 0 < await limits._redis.pttl(keys[0]) <= 31_000
    await limits.close()


@pytest.mark.parametrize("url", ["http://hush", "", "redis://:hush@[bad"])
def test_an_address_of_redis_that_is_none(url: str) -> None:
    with pytest.raises(Unwritable) as refused:
        RedisLimits.open(url)
    assert "hush" not in str(refused.value)
