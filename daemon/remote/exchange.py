"""One request to the cloud and its answer, within bounds: of bytes, of time, and of where it may lead.

Theory. A cloud may be slow, and an upload may take hours; so it is not time that is bounded but standing still: every STALL_BYTES
that move, either way, buy another PATIENCE_SECONDS. Only the waiting for the network counts, never what is done with what came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

import aiohttp

from daemon.remote.failures import check_type, failure_of, translated
from store.errors import FastestError, InvalidReply, NotFound, Offline, TooLarge
from sync.core.wire import Section, parse_section_head

MAX_JSON_BYTES: Final = 4 * 1024 * 1024
PATIENCE_SECONDS: Final = 60.0
STALL_BYTES: Final = 64 * 1024
CONNECT_SECONDS: Final = 5
IDLE_SECONDS: Final = 60
T = TypeVar("T")


def open_session(token: str | None = None) -> aiohttp.ClientSession:
    """A session (without a token for whoever has none yet) that keeps no cookies, unpacks no answer, and follows nobody elsewhere."""
    return aiohttp.ClientSession(
        headers=None if token is None else {"Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS),
        raise_for_status=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_stay_here,),
    )


async def _stay_here(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A redirect would carry a body, or a question of the cloud's choice, to a host of its choice."""
    answer = await handler(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise failure_of(answer.status, b"", answer.headers.get("Retry-After"))
    return answer


class Patience:
    """How much longer one exchange may stand still."""

    def __init__(self, seconds: float) -> None:
        self._full = self._left = seconds
        self._moved = 0
        self._waiting: asyncio.Timeout | None = None

    def move(self, count: int) -> None:
        """So many bytes went out or came in."""
        self._moved += count
        if self._moved >= STALL_BYTES:
            self._moved, self._left = 0, self._full
            if self._waiting is not None and not self._waiting.expired():
                self._waiting.reschedule(asyncio.get_running_loop().time() + self._full)

    async def wait(self, network: Awaitable[T]) -> T:
        """What the network gives. Raises TimeoutError."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._left) as self._waiting:
                return await network
        finally:
            self._waiting = None
            self._left -= asyncio.get_running_loop().time() - began

    async def count(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A body that is sent; each part has moved once the next is asked for."""
        async for part in parts:
            yield part
            self.move(len(part))


class Answer:
    """A good answer, its body still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self.origin = str(response.url.origin())

    async def read(self, limit_bytes: int) -> bytes:
        """All of it. Raises InvalidReply when it is longer."""
        parts, total = [], 0
        while part := await self._wait(self._response.content.readany()):
            total += len(part)
            if total > limit_bytes:
                raise InvalidReply(f"an answer over {limit_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    async def sections(self) -> AsyncIterator[tuple[Section, bytes]]:
        """Its sections, one at a time. Raises Offline when it is cut short, InvalidReply."""
        while head := await self._exactly(5, may_end=True):
            try:
                kind, length = parse_section_head(head)
            except TooLarge as error:
                raise InvalidReply(error.message) from None
            yield kind, await self._exactly(length)

    async def frames(self) -> AsyncIterator[bytes]:
        """The same where all are frames of blobs."""
        async for kind, payload in self.sections():
            if kind is not Section.FRAME:
                raise InvalidReply(f"a section of kind {kind} among blobs")
            yield payload

    async def _exactly(self, length: int, *, may_end: bool = False) -> bytes:
        taken = bytearray()
        while len(taken) < length:
            part = await self._wait(self._response.content.read(length - len(taken)))
            if not part and may_end and not taken:
                return b""
            if not part:
                raise Offline("an answer of the cloud was cut short")
            taken += part
        return bytes(taken)

    async def _wait(self, network: Coroutine[Any, Any, bytes]) -> bytes:
        with translated(self.origin):
            part = await self._patience.wait(network)
        self._patience.move(len(part))
        return part


class Exchange:
    """One request as a context: a good answer, or one of our errors."""

    def __init__(self, session: aiohttp.ClientSession, url: str, patience: Patience, method: str, path: str, **options: Any) -> None:
        self._url = url
        self._patience = patience
        self._context = session.request(method, url + path, **options)

    async def __aenter__(self) -> Answer:
        with translated(self._url):
            response: aiohttp.ClientResponse = await self._patience.wait(self._context.__aenter__())
        answer = Answer(response, self._patience)
        try:
            if not 200 <= response.status < 300:
                failure = failure_of(response.status, await answer.read(MAX_JSON_BYTES), response.headers.get("Retry-After"))
                if isinstance(failure, NotFound) and (epoch := response.headers.get("X-Fastest-Epoch")):
                    failure.details["epoch"] = epoch
                raise failure
            check_type(answer.origin, response.content_type)
        except BaseException:
            response.close()
            raise
        return answer

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with translated(self._url):
            await self._context.__aexit__(kind, error, trace)
            if isinstance(error, (aiohttp.ClientError, OSError)) and not isinstance(error, FastestError):
                raise error
