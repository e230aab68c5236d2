"""The cloud's client over real sockets: whatever answers, it ends with one of our errors, soon, and holds little."""

from __future__ import annotations

import asyncio
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web

from daemon.remote import CloudRemote
from daemon.remote.inbox import MAX_BYTES, MAX_MESSAGES, Inbox
from daemon.remote.link import CloudLink
from daemon.remote.messages import EVENT_BYTES, Incoming, parse_event
from store.blobs.frames import encode_frame
from store.errors import FastestError, InvalidReply, NotSignedIn, Offline
from store.types import digest_of, new_ulid
from sync.core.wire import Beat, EventHeader, Head, PushHeader, PushStep, Section, pack_section
from tests.clouds import in_loop
from tests.hostile.rude_server import OK, SAID, RudeServer, at_loopback, chained, dripped, endless, just, whole
from tests.hostile.thorough import ALL
from tests.waiting import until

PATIENCE_SECONDS = 0.2
SOON_SECONDS = 20.0
MEMORY_BYTES = 64 * 1024 * 1024
ID, HEX = new_ulid(1), "ab" * 32
ROOT = digest_of(b"root")
FRAME = encode_frame([(digest_of(b"x"), b"x")])


async def drain(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


CALLS: dict[str, Callable[[CloudRemote], Awaitable[object]]] = {
    "workspace": lambda remote: remote.workspace(ID),
    "version": lambda remote: remote.find_version(ID, 3),
    "catch-up": lambda remote: remote.catch_up(ID, 1, ROOT),
    "push": lambda remote: remote.push(ID, PushHeader("e", 1, HEX, ID, [PushStep(HEX, 0)]), [], [FRAME]),
    "large push": lambda remote: remote.push(ID, PushHeader("e", 1, HEX, ID, [PushStep(HEX, 0)]), [], [bytes(600_000)] * 3),
    "missing": lambda remote: remote.missing([ROOT]),
    "upload": lambda remote: remote.upload([FRAME] * 50),
    "fetch": lambda remote: drain(remote.fetch([ROOT])),
    "nodes": lambda remote: drain(remote.nodes(ID, [ROOT])),
    "projects": lambda remote: remote.projects(),
    "workspaces": lambda remote: remote.workspaces(ID),
    "machines": lambda remote: remote.machines(),
    "replicas": lambda remote: remote.replicas(ID),
    "whoami": lambda remote: remote.whoami(),
    "events": lambda remote: drain(remote.events(ID, Beat, asyncio.Event())),
}
FEW = ("catch-up", "fetch")
"""One of each way to read; the others are asked too where time is given."""
ASKED = CALLS if ALL else {name: CALLS[name] for name in FEW}
LED = {name: CALLS[name] for name in ("catch-up", "events", "large push")}


@asynccontextmanager
async def remote_at(server: RudeServer) -> AsyncIterator[CloudRemote]:
    async with at_loopback(server), CloudRemote(server.url, "secret-token", PATIENCE_SECONDS) as remote:
        yield remote


@pytest.mark.parametrize("what", SAID)
@in_loop
async def test_whatever_is_said_is_an_error_of_ours(what: str) -> None:
    other = RudeServer(whole(b"{}"))
    async with at_loopback(other):
        for name, call in (LED if SAID[what].__name__ == "lead" else ASKED).items():
            server = RudeServer(SAID[what])
            server.other_url = other.url
            tracemalloc.start()
            began = time.monotonic()
            async with remote_at(server) as remote:
                try:
                    await call(remote)
                except FastestError as error:
                    assert len(error.message) < 1000 and "secret-token" not in error.message + error.hint
                else:
                    assert name in ("fetch", "nodes", "upload"), f"{name} took {what}"
            held = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert held < MEMORY_BYTES, f"{name} held {held} bytes of {what}"
            assert time.monotonic() - began < SOON_SECONDS
    assert other.asked == [], "nobody is led elsewhere"


@pytest.mark.parametrize("begin", [b"", OK, OK + b"Content-Length: 1000\r\n\r\n"], ids=["head", "headers", "body"])
@in_loop
async def test_who_drips_is_given_up(begin: bytes) -> None:
    """A byte now and then keeps a connection from being idle for ever; it is no answer all the same."""
    for name, call in ASKED.items():
        drops = OK + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000
        server = RudeServer(chained(just(begin), dripped(drops[len(begin) :])), 0.02)
        began = time.monotonic()
        async with remote_at(server) as remote:
            with pytest.raises((Offline, InvalidReply)):
                await call(remote)
        assert time.monotonic() - began < PATIENCE_SECONDS * 5, name


@in_loop
async def test_who_is_slow_but_goes_on_is_waited_for() -> None:
    sections = [pack_section(Section.FRAME, bytes(80_000)) for _ in range(11)]
    server = RudeServer(just(OK + b"\r\n", *sections), PATIENCE_SECONDS / 3)
    came = 0
    async with remote_at(server) as remote:
        async for _ in remote.fetch([ROOT]):
            came += 1
    assert came == 11, "longer than anybody may stand still, and it never stood still"


@in_loop
async def test_what_is_done_with_what_came_does_not_count() -> None:
    server = RudeServer(just(OK + b"\r\n" + pack_section(Section.FRAME, FRAME) * 4))
    async with remote_at(server) as remote:
        async for _ in remote.fetch([ROOT]):
            began = time.monotonic()
            await until(lambda began=began: time.monotonic() > began + PATIENCE_SECONDS / 2)  # type: ignore[misc]


@in_loop
async def test_sections_without_end_are_read_no_further_than_they_are_wanted() -> None:
    """Frames are handed on one at a time: who takes them counts (`sync.transfer`). A catch-up is held, so it is bounded here."""
    server = RudeServer(endless(OK + b"\r\n" + pack_section(Section.HEADER, b"{"), pack_section(Section.DELTA, bytes(1 << 16))))
    async with remote_at(server) as remote:
        with pytest.raises(InvalidReply):
            await remote.catch_up(ID, 1, ROOT)
    header = msgspec.json.encode(EventHeader("catch-up", Head(ID, "e", 2, HEX), HEX, 5))
    server = RudeServer(endless(OK + b"\r\n" + pack_section(Section.HEADER, header), pack_section(Section.DELTA, bytes(1 << 16))))
    async with remote_at(server) as remote:
        with pytest.raises(InvalidReply):
            await remote.catch_up(ID, 1, ROOT)
    assert server.sent < 16 * 1024 * 1024


@in_loop
async def test_a_token_goes_to_its_cloud_alone_and_no_cookie_comes_back() -> None:
    server = RudeServer(whole(b'{"user":{"email":"a@b.c"}}', "200 OK", "Set-Cookie: track=1; Path=/"))
    async with remote_at(server) as remote:
        await remote.whoami()
        await remote.whoami()
    assert all(b"Authorization: Bearer secret-token" in head for head in server.asked)
    assert not any(b"cookie" in head.lower() for head in server.asked)


# --- events ------------------------------------------------------------------------------------------------------------------


def event(size: int = 0) -> bytes:
    header = EventHeader("version", Head(ID, "e", 2, HEX), replica_id="r" * size)
    return pack_section(Section.HEADER, msgspec.json.encode(header))


SHOUTED: dict[str, list[bytes | str]] = {
    "no sections": [b"\xff" * 100],
    "a section cut short": [event()[:-3]],
    "no header": [pack_section(Section.FRAME, FRAME)],
    "nested": [pack_section(Section.HEADER, b'{"type":"version","x":' + b"[" * 100_000)],
    "no text": [pack_section(Section.HEADER, b'{"type":"\xff"}')],
    "numbers beyond all": [pack_section(Section.HEADER, event()[5:].replace(b'"version":2', b'"version":9223372036854775808'))],
    "an empty message": [b""],
    "too long": [event(EVENT_BYTES + 100)],
}


@pytest.mark.parametrize("what", SHOUTED if ALL else ["nested", "too long"])
@in_loop
async def test_what_is_shouted_ends_the_connection_not_the_daemon(what: str) -> None:
    async def shout(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        for said in SHOUTED[what]:
            await socket.send_bytes(said) if isinstance(said, bytes) else await socket.send_str(said)
        async for _ in socket:
            pass
        return socket

    tries = 0

    async def machine(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.json_response({})

    async with _served({"GET /v1/events": shout, "POST /v1/machines": machine}) as url:
        link = CloudLink(("m", "name", "linux", "0"), lambda: [])
        link.sign_in(url, "token")
        running = asyncio.create_task(link.run())
        await until(lambda: tries >= 2, 20, "it connects again")
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("code", ["VERSION_MOVED", "STORE_DAMAGED", "NOPE"])
@in_loop
async def test_no_refusal_ends_the_link(code: str) -> None:
    """A refusal of the Stale family once did: nobody had thought that registering a machine could be told so."""
    tries = 0

    async def refuse(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.json_response({"error": {"code": code, "message": "m" * 100_000, "details": {"self": 1, "message": []}}}, status=409)

    async with _served({"POST /v1/machines": refuse}) as url:
        link = CloudLink(("m", "name", "linux", "0"), lambda: [])
        link.sign_in(url, "token")
        running = asyncio.create_task(link.run())
        await until(lambda: tries >= 2, 20, "it tries again")
        assert not running.done() and link.state == "offline" and 0 < len(link.message) <= 530
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@in_loop
async def test_a_refused_sign_in_is_the_end_of_asking() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401, body=b"\xff")

    async with _served({"GET /v1/auth/me": refuse}) as url, CloudRemote(url, "token") as remote:
        with pytest.raises((NotSignedIn, Offline)):
            await remote.whoami()


def test_messages_that_wait_are_few_and_small() -> None:
    inbox = Inbox()
    small = parse_event(event())
    assert all(inbox.put(small) for _ in range(MAX_MESSAGES)) and len(inbox) == MAX_MESSAGES
    assert not inbox.put(small) and len(inbox) == 0, "now all is asked for"
    large = parse_event(event(1_000_000))
    kept = sum(inbox.put(large) for _ in range(8))
    assert kept * large.size_bytes <= MAX_BYTES and kept < 9
    while inbox:
        assert isinstance(inbox.take(), Incoming)
    assert all(inbox.put(small) for _ in range(MAX_MESSAGES)), "what was taken counts no more"


@asynccontextmanager
async def _served(routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]) -> AsyncIterator[str]:
    app = web.Application()
    for route, handler in routes.items():
        method, _, path = route.partition(" ")
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_the_client_is_the_one_whose_bounds_were_looked_at() -> None:
    """128 headers, 8,190 bytes a line, trailers counted with them: aiohttp's own bounds, from 3.13.4 on."""
    assert struct.pack("3H", *map(int, aiohttp.__version__.split(".")[:3])) >= struct.pack("3H", 3, 13, 4)
