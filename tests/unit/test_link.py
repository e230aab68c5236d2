"""The link to the cloud, for somebody who asks for it while it is down: tried at once, whatever it would have waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from daemon.remote import link as module
from daemon.remote.link import CloudLink
from store.errors import NotSignedIn, Offline
from tests.clouds import Caller, Served, in_loop, serving
from tests.waiting import until

A_LONG_TIME = 3600.0


@asynccontextmanager
async def linked(url: str = "", token: str = "") -> AsyncIterator[CloudLink]:
    link = CloudLink(("01J00000000000000000000000", "ada-laptop", "linux", "0"), lambda: [])
    if url:
        link.sign_in(url, token)
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def token_of(caller: Caller) -> str:
    return caller.auth["Authorization"].removeprefix("Bearer ")


async def cut_off(served: Served, link: CloudLink) -> None:
    """Its connection ends, and by itself it would not try again."""
    await until(lambda: link.remote is not None, what="it is connected")
    served.cloud.hub.end_all()
    await until(lambda: link.remote is None, what="it is cut off")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_RETRY_SECONDS", "MAX_RETRY_SECONDS"):
        monkeypatch.setattr(module, name, A_LONG_TIME)


@in_loop
async def test_who_asks_for_a_cloud_that_was_lost_has_it_tried_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, linked(served.url, token_of(served.user())) as link:
        for _ in range(3):
            await cut_off(served, link)
            assert await link.reach() is not None
            assert (await (await link.need()).whoami())["email"] == "ada@example.org"


@in_loop
async def test_who_was_signed_out_meanwhile_is_told_that_and_not_that_nobody_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, linked(served.url, token_of(ada := served.user())) as link:
        await until(lambda: link.remote is not None, what="it is connected")
        await ada.ask("POST", "/v1/auth/logout")
        await until(lambda: link.remote is None, what="it is cut off")
        with pytest.raises(NotSignedIn):
            await link.need()


@in_loop
async def test_a_cloud_that_is_not_there_is_told_as_that() -> None:
    async with linked("http://127.0.0.1:1", "token") as link:
        with pytest.raises(Offline):
            await link.need()
        assert await link.reach() is None


@in_loop
async def test_nobody_signed_in_has_no_cloud() -> None:
    async with linked() as link:
        assert await link.reach() is None
        with pytest.raises(NotSignedIn):
            await link.need()
