"""`fst login` against a cloud that answers what it is told to: how it waits, what ends it, what it believes (AUTH-3)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon.cli.browser import browser_command, open_page
from daemon.remote.sign_in import GRANT, Asked, sign_in
from store.errors import FastestError, InvalidReply, NotSignedIn, Offline, RateLimited, Refused, TimedOut
from tests.clouds import in_loop
from tests.waiting import until

ASKED = {
    "device_code": "secret", "user_code": "ABCD-1234", "verification_uri": "https://x.org/device",
    "verification_uri_complete": "https://x.org/device?user_code=ABCD-1234", "expires_in": 900, "interval": 5,
}  # fmt: skip
Reply = tuple[int, object, dict[str, str]]


def word(text: str) -> Reply:
    return 400, {"error": text}, {}


GOOD: Reply = (200, {"access_token": "token", "token_type": "Bearer"}, {})
PENDING = word("authorization_pending")


class ScriptedCloud:
    """Says the one thing for a code, and the others in turn for polls."""

    def __init__(self, asked: Reply, polls: list[Reply]) -> None:
        self._asked = asked
        self._polls = polls
        self.url = ""
        self.machines: list[object] = []
        self.forms: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []

    async def start(self, request: web.Request) -> web.Response:
        self.machines.append((await request.json())["machine"])
        return self._say(request, self._asked)

    async def token(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        return self._say(request, self._polls.pop(0) if len(self._polls) > 1 else self._polls[0])

    def _say(self, request: web.Request, reply: Reply) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        status, body, headers = reply
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def scripted(*polls: Reply, asked: Reply = (200, ASKED, {})) -> AsyncIterator[ScriptedCloud]:
    cloud = ScriptedCloud(asked, list(polls))
    app = web.Application()
    app.add_routes([web.post("/v1/oauth/device", cloud.start), web.post("/v1/oauth/token", cloud.token)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cloud.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield cloud
    finally:
        await runner.cleanup()


class Person:
    """Sees the code, and has all the time in the world."""

    def __init__(self) -> None:
        self.seen: list[Asked] = []
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def login(self, cloud: ScriptedCloud) -> str:
        return await sign_in(cloud.url, "ada-laptop", self.seen.append, self.sleep)


async def outcome(*polls: Reply, asked: Reply = (200, ASKED, {})) -> tuple[str | FastestError, list[float]]:
    person = Person()
    async with scripted(*polls, asked=asked) as cloud:
        try:
            return await person.login(cloud), person.waited
        except FastestError as error:
            return error, person.waited


@in_loop
async def test_a_machine_shows_its_code_and_waits_for_its_token() -> None:
    person = Person()
    async with scripted(PENDING, PENDING, GOOD) as cloud:
        assert await person.login(cloud) == "token"
    assert [asked.user_code for asked in person.seen] == ["ABCD-1234"] and cloud.machines == ["ada-laptop"]
    assert cloud.forms == [{"grant_type": GRANT, "device_code": "secret"}] * 3 and person.waited == [5, 5, 5]
    assert set(cloud.authorizations) == {None}


@in_loop
async def test_who_is_told_to_slow_down_does_for_good() -> None:
    assert await outcome(PENDING, word("slow_down"), PENDING, word("slow_down"), GOOD) == ("token", [5, 5, 10, 10, 15])
    assert await outcome((429, {"error": "slow_down"}, {"Retry-After": "20"}), PENDING, GOOD) == ("token", [5, 20, 20])


@in_loop
async def test_a_cloud_that_is_away_for_a_while_is_waited_for() -> None:
    assert await outcome((502, b"<html>proxy", {}), PENDING, GOOD) == ("token", [5, 5, 5])
    assert await outcome((503, {"error": {"code": "BUSY", "message": "down"}}, {}), GOOD) == ("token", [5, 5])


@pytest.mark.parametrize(
    ("reply", "error", "exit_code"),
    [
        (word("access_denied"), NotSignedIn, 4),
        (word("expired_token"), TimedOut, 7),
        (word("invalid_grant"), NotSignedIn, 4),
        (PENDING, TimedOut, 7),
        ((200, {"access_token": ""}, {}), InvalidReply, 1),
        ((200, {"access_token": "two words"}, {}), InvalidReply, 1),
        ((200, {"access_token": 7}, {}), InvalidReply, 1),
        ((200, b"x" * 100_000, {}), InvalidReply, 1),
        ((200, b"<html>", {}), InvalidReply, 1),
        ((302, b"", {"Location": "https://evil.example/"}), TimedOut, 7),  # a portal in between: it may be gone in a moment
        ((404, {"error": {"code": "NOT_FOUND", "message": "no such page"}}, {}), Refused, 1),
        ((201, {}, {}), InvalidReply, 1),
    ],
)
@in_loop
async def test_what_ends_the_waiting(reply: Reply, error: type[FastestError], exit_code: int) -> None:
    told, waited = await outcome(reply)
    assert isinstance(told, error) and told.exit_code == exit_code
    assert sum(waited) <= 960 and told.message


def but(**changed: object) -> Reply:
    return 200, {**ASKED, **changed}, {}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ((429, {"error": {"code": "RATE_LIMITED", "message": "too many"}}, {"Retry-After": "3"}), RateLimited),
        ((500, b"", {}), Offline),
        ((401, {"error": {"code": "UNAUTHORIZED", "message": "an old cloud"}}, {}), NotSignedIn),
        ((200, b"<html>", {}), InvalidReply),
        ((200, {}, {}), InvalidReply),
        (but(user_code=""), InvalidReply),
        (but(user_code="\x1b[2J"), InvalidReply),
        (but(user_code="A" * 100), InvalidReply),
        (but(device_code=""), InvalidReply),
        (but(verification_uri="file:///etc/passwd"), InvalidReply),
        (but(verification_uri_complete="javascript:alert(1)"), InvalidReply),
        (but(verification_uri_complete="--new-window"), InvalidReply),
        (but(verification_uri_complete="https://x.org/\n"), InvalidReply),
        (but(verification_uri="https://[bad"), InvalidReply),
        (but(expires_in=-1), TimedOut),
    ],
)
@in_loop
async def test_what_is_not_believed_at_the_start(asked: Reply, error: type[FastestError]) -> None:
    told, waited = await outcome(PENDING, asked=asked)
    assert isinstance(told, error) and waited == []


@in_loop
async def test_intervals_and_lives_have_bounds() -> None:
    assert (await outcome(GOOD, asked=but(interval=0)))[1] == [1]
    assert (await outcome(GOOD, asked=but(interval=1e9)))[1] == [60]
    told, waited = await outcome(PENDING, asked=but(expires_in=1e12, interval=60))
    assert isinstance(told, TimedOut) and sum(waited) == 1800


@in_loop
async def test_a_cloud_that_is_not_there_is_named() -> None:
    with pytest.raises(Offline, match=r"127\.0\.0\.1:9"):
        await sign_in("http://127.0.0.1:9", "x", lambda _: None)


URL = "https://x.org/device?user_code=ABCD-1234"


@pytest.mark.parametrize(
    ("env", "command"),
    [
        ({"BROWSER": "firefox"}, ["firefox", URL]),
        ({"BROWSER": "firefox --new-tab:w3m", "SSH_CONNECTION": "x"}, ["firefox", "--new-tab", URL]),
        ({"BROWSER": "'my browser' --url=%s"}, ["my browser", f"--url={URL}"]),
        ({"BROWSER": "'"}, None),
        ({}, None),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, None),
        ({"DISPLAY": ":0", "CI": "true"}, None),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="each system opens pages in its own way")
def test_which_browser_opens(env: dict[str, str], command: list[str] | None) -> None:
    assert browser_command(URL, env) == command


@in_loop
async def test_a_browser_is_started_and_not_waited_for(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho noise\nprintf %s "$1" > {told}.part && mv {told}.part {told}\n')
    script.chmod(0o755)
    assert open_page(URL, {"BROWSER": str(script), "PATH": "/bin:/usr/bin"})
    await until(told.exists, what="the browser was told")
    assert await asyncio.to_thread(told.read_text) == URL
    assert not open_page(URL, {"BROWSER": str(tmp_path / "none")})
