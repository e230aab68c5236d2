"""What comes over a network that is not the cloud's: told apart from the cloud's own word, and waited for as long as asked (N5, N8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from aiohttp import web

from daemon.remote import CloudRemote
from daemon.remote.failures import MAX_WAIT_SECONDS, failure_of, wait_seconds
from store.errors import FastestError, InvalidReply, NoSpace, NotSignedIn, Offline, RateLimited, TooLarge, Transient
from store.types import digest_of, new_ulid
from sync.core.wire import ErrorBody
from tests.clouds import in_loop

PORTAL = b"<!DOCTYPE html><html><body>Welcome to the Grand Hotel! Please sign in.</body></html>"
ID = new_ulid(1)


def said(code: str) -> bytes:
    return msgspec.json.encode({"error": ErrorBody(code, "a sentence")})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0.0), ("7", 7.0), ("0", 0.0), ("1.5", 1.5), ("-3", 0.0), ("soon", 0.0), ("nan", 0.0), ("1e99", MAX_WAIT_SECONDS), ("", 0.0)],
)
def test_how_long_to_wait_is_read_whatever_it_says(text: str | None, seconds: float) -> None:
    assert wait_seconds(text) == seconds


def test_a_date_to_wait_for_is_read() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < wait_seconds(format_datetime(at, usegmt=True)) <= 90


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"", RateLimited), (429, said("RATE_LIMITED"), RateLimited), (503, PORTAL, Offline), (502, said("BUSY"), Offline),
        (507, said("NO_SPACE"), NoSpace), (401, said("UNAUTHORIZED"), NotSignedIn), (401, PORTAL, Offline), (407, PORTAL, Offline),
        (413, said("TOO_LARGE"), TooLarge), (413, PORTAL, TooLarge), (302, PORTAL, Offline), (404, PORTAL, Offline),
    ],
)  # fmt: skip
def test_a_failure_is_the_error_it_stands_for(status: int, body: bytes, kind: type[FastestError]) -> None:
    error = failure_of(status, body, "9")
    assert type(error) is kind
    assert isinstance(error, Transient) is (error.details.get("retry_after_seconds") == 9.0)


@asynccontextmanager
async def answering(answer: web.Response) -> AsyncIterator[CloudRemote]:
    """Something at the cloud's address that says this to whatever it is asked."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with CloudRemote(f"http://127.0.0.1:{port}", "token") as remote:
            yield remote
    finally:
        await runner.cleanup()


async def ask_everything(remote: CloudRemote) -> list[FastestError]:
    """Every kind of question, each of which has to fail."""
    digest = digest_of(b"a")

    async def fetch() -> None:
        assert [frame async for frame in remote.fetch([digest])] == [b""]

    async def nodes() -> None:
        assert [pair async for pair in remote.nodes(ID, [digest])] == []

    asked = [
        remote.workspace(ID), remote.find_version(ID, 1), remote.catch_up(ID, 1, digest), remote.missing([digest]), remote.upload([b"x"]),
        fetch(), nodes(), remote.send_conflicts(ID, []), remote.add_machine(ID, "m", "linux", "1"), remote.replicas(ID),
    ]  # fmt: skip
    errors = []
    for question in asked:
        with pytest.raises(FastestError) as caught:
            await question
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", "application/xhtml+xml"])
@in_loop
async def test_a_portals_page_is_no_answer_of_the_clouds(content_type: str) -> None:
    async with answering(web.Response(body=PORTAL, headers={"Content-Type": content_type})) as remote:
        for error in await ask_everything(remote):
            assert isinstance(error, Offline) and "network" in error.hint, error


@in_loop
async def test_a_redirect_is_not_followed() -> None:
    async with answering(web.Response(status=302, headers={"Location": "http://127.0.0.1:9/login"})) as remote:
        assert all(isinstance(error, Offline) for error in await ask_everything(remote))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"replicas": 3}'])
@in_loop
async def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    async with answering(web.Response(body=body, headers={"Content-Type": "application/json"})) as remote:
        digest = digest_of(b"a")
        for question in (remote.workspace(ID), remote.find_version(ID, 1), remote.catch_up(ID, 1, digest), remote.replicas(ID)):
            with pytest.raises((InvalidReply, Offline)):
                await question
