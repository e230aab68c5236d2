"""Who is slow on purpose: heads and bodies that never end, many at once. Each is given up in time, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from cloud.app import build, running
from cloud.routes import pace
from store.types import new_ulid
from tests.clouds import Caller, Line, Reply, Route, Served, in_loop, serving
from tests.waiting import until

BOUND_SECONDS = 20.0
READ_SECONDS = 0.3


class Slow:
    """A connection of somebody who takes all the time there is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str, sent: bytes) -> Slow:
        slow = cls(*await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])))
        slow.writer.write(sent)
        await slow.writer.drain()
        return slow

    async def answer(self) -> Reply:
        """Within the bound."""
        async with asyncio.timeout(BOUND_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.title(): value for name, value in re.findall(r"^([A-Za-z-]+): (.*)\r$", head, re.MULTILINE)}
            body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        self.writer.transport.abort()
        return Reply(int(head.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """By the other side, within the bound."""
        async with asyncio.timeout(BOUND_SECONDS):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


def begun(method: str, path: str, caller: Caller) -> bytes:
    """A request whose body has only begun."""
    auth = "".join(f"{name}: {value}\r\n" for name, value in caller.auth.items())
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode()


def path_of(route: Route, line: Line) -> str:
    """With ids that are really there, so that the body is what it waits for."""
    known = {"workspace": line.workspace_id, "project": line.project_id, "hash": "0" * 64}
    return re.sub(r"{([a-z_]+)}", lambda found: known.get(found[1], new_ulid(1)), route.path)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "READ_SECONDS", READ_SECONDS)


@in_loop
async def test_a_body_that_stands_still_is_given_up_on_every_route(tmp_path: Path, hurried: None) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line, other = await ada.line(), await ada.line()  # some routes need no body, and do to the first what they say
        routes = [route for route in served.cloud_routes() if route.method in ("POST", "PUT", "PATCH") and "logout" not in route.path]
        opened = [(route, await Slow.open(served.url, begun(route.method, path_of(route, line), ada))) for route in routes]
        replies = {f"{route.method} {route.path}": await slow.answer() for route, slow in opened}
        assert not {name: reply for name, reply in replies.items() if reply.status in (500, 503)}
        waited = [name for name, reply in replies.items() if reply.status == 504]
        assert len(waited) > 25, ("most of them wait for a body", replies)
        for name in waited:
            assert replies[name].headers["Retry-After"], name
            if name.split()[1].startswith("/v1/"):
                assert replies[name].code == "TIMED_OUT", name
        await check_whole(served, other)


@pytest.mark.parametrize("path", ["workspaces/{workspace}/push", "blobs/batch", "blobs/upload/{hash}", "projects"])
@in_loop
async def test_a_body_that_drips_is_given_up(tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A byte now and then, for ever: each wait is short, and the whole is too slow."""
    monkeypatch.setattr(pace, "LEAST_RATE", 100_000)
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        method = "PUT" if "upload" in path else "POST"
        head = (
            f"{method} {path_of(Route(method, '/v1/' + path), line)} HTTP/1.1\r\nHost: x\r\nAuthorization: {ada.auth['Authorization']}\r\n"
        )
        slow = await Slow.open(served.url, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        answer = asyncio.create_task(slow.answer())
        section = iter(b"\x01\x00\x00\x40\x00")  # the head of a section, then what may be its content
        while not answer.done():
            with suppress(ConnectionError):
                slow.writer.write(b"1\r\n%c\r\n" % next(section, 32))
                await slow.writer.drain()
            await asyncio.wait([answer], timeout=READ_SECONDS / 10)
        reply = await answer
        assert (reply.status, reply.code) == (504, "TIMED_OUT") and reply.headers["Retry-After"]
        await check_whole(served, line)


@in_loop
async def test_nobody_has_more_than_so_many_bodies_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "BODIES_AT_ONCE", 3)
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        held = [await Slow.open(served.url, begun("POST", "/v1/projects", ada)) for _ in range(3)]
        await until(lambda: served.drain.under_way == 3)
        refused = await ada.ask("POST", "/v1/projects", {"name": "one too many"})
        assert (refused.status, refused.code) == (429, "RATE_LIMITED") and int(refused.headers["Retry-After"]) >= 1
        assert (await ada.ask("GET", "/v1/projects")).status == 200
        assert (await eve.ask("POST", "/v1/projects", {"name": "mine"})).status == 201
        for slow in held:
            slow.writer.transport.abort()
        await until(lambda: not served.drain.under_way)
        assert (await ada.ask("POST", "/v1/projects", {"name": "now"})).status == 201


@in_loop
async def test_a_head_that_never_ends_and_too_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "KEEP_SECONDS", 1)
    asked = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(tmp_path / "cloud") as served:
        runner = running(build(served.cloud))
        await runner.setup()
        try:
            door: web.BaseSite = pace.Door(runner, "127.0.0.1", 0, 3)
            await door.start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            held = [await Slow.open(url, sent) for sent in (b"GET /health HT", b"", asked[:-2] + b"X: ")]
            full = await (await Slow.open(url, asked)).answer()
            assert (full.status, full.code) == (503, "BUSY") and int(full.headers["Retry-After"]) >= 1
            assert all([await slow.is_closed() for slow in held])
            assert (await (await Slow.open(url, asked)).answer()).status in (200, 401, 404)
        finally:
            await runner.cleanup()


async def check_whole(served: Served, line: Line) -> None:
    """The head is as it was, and can be moved."""
    await until(lambda: not served.drain.under_way)
    shown = await line.caller.workspace(line.workspace_id)
    assert (shown.version, shown.root) == (line.head.version, line.head.root)
    assert (await line.push({"a": b"after all"})).status == 200 and line.head.version == shown.version + 1
