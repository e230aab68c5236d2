"""While the cloud is waited for the lock is free; whatever comes, it is held again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from daemon.remote import CloudRemote
from daemon.remote.patience import PatientRemote
from store.errors import Offline
from store.types import Digest, digest_of
from tests.clouds import in_loop
from tests.waiting import until


class SlowCloud:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return set(digests)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        for digest in digests:
            await self.let.wait()
            yield bytes(digest)


class Bench:
    def __init__(self) -> None:
        self.cloud, self.lock, self.looks = SlowCloud(), asyncio.Lock(), 0
        self.remote = PatientRemote(cast(CloudRemote, self.cloud), self.lock, self.look)

    async def look(self) -> None:
        async with self.lock:
            self.looks += 1

    async def ask(self) -> Any:
        async with self.lock:
            answer = await self.remote.missing([digest_of(b"a")])
            assert self.lock.locked()
            return answer


@in_loop
async def test_others_have_their_turn_while_an_answer_is_waited_for() -> None:
    bench = Bench()
    asking = asyncio.create_task(bench.ask())
    await until(lambda: bench.looks >= 2)
    async with bench.lock:
        bench.cloud.let.set()
        await until(lambda: True)
        assert not asking.done(), "the answer waits until the turn is over"
    assert await asking == {digest_of(b"a")} and not bench.lock.locked()


@in_loop
async def test_an_error_comes_back_with_the_lock() -> None:
    bench = Bench()
    bench.cloud.error = Offline("cut")
    bench.cloud.let.set()
    with pytest.raises(Offline):
        await bench.ask()
    assert not bench.lock.locked()


@in_loop
async def test_who_is_told_to_stop_gives_the_lock_back_once() -> None:
    bench = Bench()
    asking = asyncio.create_task(bench.ask())
    await until(lambda: bench.looks)
    async with bench.lock:
        asking.cancel()
        await until(lambda: True)
        asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not bench.lock.locked()


@in_loop
async def test_a_stream_is_waited_for_piece_by_piece() -> None:
    bench = Bench()
    bench.cloud.let.set()
    digests = [digest_of(b"%d" % at) for at in range(3)]
    async with bench.lock:
        assert [piece async for piece in bench.remote.fetch(digests)] == [bytes(digest) for digest in digests]
        assert bench.lock.locked()
