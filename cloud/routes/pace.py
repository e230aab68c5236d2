"""Who is slow is bounded: in time for each body, in number for each account or address, and in connections as a whole.

Theory. A connection that never ends its head is closed after KEEP_SECONDS (aiohttp's own clock for idle ones, which runs from its
beginning). A body has READ_SECONDS, and a second more for every LEAST_RATE bytes that came; only waiting for the client counts. Beyond
MOST_CONNECTIONS a connection is told to come back, so that files can still be opened for those that are at work.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import StreamReader, web
from aiohttp.typedefs import Middleware

from store.errors import Busy, RateLimited, TimedOut, wire_code
from sync.core.wire import ErrorBody

READ_SECONDS: Final = 60
"""A client that sends nothing for so long is given up."""
LEAST_RATE: Final = 4 * 1024
"""Bytes a second, on the whole."""
BODIES_AT_ONCE: Final = 256
"""Of one account, or one address without any."""
KEEP_SECONDS: Final = 75
"""An idle connection; longer than a proxy keeps its own."""
RESERVED_FILES: Final = 256
RETRY_SECONDS: Final = 2
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pace:
    """Of one body."""

    def __init__(self) -> None:
        self._left: float = READ_SECONDS

    async def read(self, body: StreamReader, most: int) -> bytes:
        """What is there, at most `most` bytes; nothing at the end. Raises TimedOut, and what aiohttp raises for a cut."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(min(READ_SECONDS, self._left)):
                piece = await body.read(most)
        except TimeoutError:
            raise TimedOut(f"a body that is slower than {LEAST_RATE} bytes a second, or stands still for {READ_SECONDS} s") from None
        self._left += len(piece) / LEAST_RATE - (loop.time() - began)
        return piece


async def read_whole(request: web.Request) -> bytes:
    """A body within the application's bound, at once. Raises TimedOut, and what aiohttp raises for a cut."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.read()
    except TimeoutError:
        raise TimedOut(f"the body took over {READ_SECONDS} s") from None


def bounded(who_asks: Callable[[web.Request], str]) -> Middleware:
    """The middleware that lets nobody have more than BODIES_AT_ONCE requests with a body under way."""
    under_way: Counter[str] = Counter()

    @web.middleware
    async def count(request: web.Request, handler: Answer) -> web.StreamResponse:
        if not request.can_read_body:
            return await handler(request)
        who = who_asks(request)
        if under_way[who] >= BODIES_AT_ONCE:
            raise RateLimited(
                f"{BODIES_AT_ONCE} requests are under way already", "Let some of them end.", retry_after_seconds=RETRY_SECONDS
            )
        under_way[who] += 1
        try:
            return await handler(request)
        finally:
            under_way[who] -= 1
            if not under_way[who]:
                del under_way[who]

    return count


class Door(web.BaseSite):
    """Listens, and lets in as many as there are files for."""

    def __init__(self, runner: web.AppRunner, address: str, port: int, most: int) -> None:
        super().__init__(runner)
        self._address = address
        self._port = port
        self._most = most

    @property
    def name(self) -> str:
        """For aiohttp's lists."""
        return f"http://{self._address}:{self._port}"

    async def start(self) -> None:
        """Raises OSError."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._admit, self._address, self._port, backlog=self._backlog, reuse_address=True)

    def _admit(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None:
            raise AssertionError("a door opens after its runner was set up")
        if len(server.connections) >= self._most:
            return _Full()
        protocol = server()
        protocol.__class__ = _Speaking  # aiohttp takes no other class, and has no option for what it says itself
        return protocol


class _Speaking(web.RequestHandler):
    """What is no HTTP never reaches a route: it is refused in the one envelope all the same, and nothing that was sent is said back."""

    __slots__ = ()

    def _refuse(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp's, which logs, with a body of ours."""
        super().handle_error(request, status, exc, message)
        code, told = ("BAD_REQUEST", "this is no HTTP") if status < 500 else ("INTERNAL_ERROR", "The cloud failed.")
        error = ErrorBody(code, told, request_id=secrets.token_hex(8))
        body = msgspec.json.encode({"error": error})
        response = web.Response(status=status, body=body, content_type="application/json", headers={"X-Request-Id": error.request_id})
        response.force_close()
        return response

    handle_error = _refuse


class _Full(asyncio.Protocol):
    """Says so, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            error = ErrorBody(wire_code(Busy.code), "the cloud has as many connections as it can hold", "Try again in a moment.")
            body = msgspec.json.encode({"error": error})
            head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_SECONDS}\r\nConnection: close\r\n"
            transport.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        transport.close()


def most_connections() -> int:
    """As many files as this process may open, all that the system allows, but for those of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(16, soft - RESERVED_FILES)
