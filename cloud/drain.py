"""Stopping without cutting anybody short: no new requests, then a while for those that have begun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from store.errors import Busy

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Drain:
    """Counts the requests under way."""

    def __init__(self) -> None:
        self._open = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """How many just now."""
        return self._open

    async def finish(self, timeout_seconds: float) -> bool:
        """Refuse what comes now and wait for the rest; True when all of it was answered."""
        self._stopping = True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def count(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Answer a request as one of those that are waited for. Raises Busy once the end has begun."""
        if self._stopping:
            raise Busy("the cloud is going down", "It is asked again in a moment.")
        self._open += 1
        self._idle.clear()
        try:
            return await handler(request)
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()


def counted(drain: Drain) -> Middleware:
    """The middleware that counts; it stands inside the one that wraps errors."""

    @web.middleware
    async def count(request: web.Request, handler: Answer) -> web.StreamResponse:
        return await drain.count(request, handler)

    return count
