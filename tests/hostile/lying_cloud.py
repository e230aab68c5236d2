"""Somebody between a machine and its cloud: what passes is honest, until a lie is told to take its place."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

import aiohttp
from aiohttp import web

Honest = bytes
Endless = Callable[[], Iterable[bytes]]


class Lie(NamedTuple):
    """What is answered on the routes that `route` (a pattern over `METHOD /path`) names."""

    route: str
    say: Callable[[Honest], bytes | Iterable[bytes]]
    """The honest body -> another, or pieces of one, as many as are taken."""
    status: int = 200


class LyingCloud:
    """On loopback, on a thread of its own, before the cloud at `real_url`."""

    def __init__(self, real_url: str) -> None:
        self._real_url = real_url
        self.lie: Lie | None = None
        self.told = 0
        """How often the lie was told."""
        self.sent_bytes = 0
        self.url = ""
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def tell(self, lie: Lie | None) -> None:
        """From now on; None: the truth."""
        self.lie, self.told, self.sent_bytes = lie, 0, 0

    def shout(self, message: bytes) -> None:
        """An event to whoever listens."""

        async def send() -> None:
            for socket in list(self._sockets):
                await socket.send_bytes(message)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    async def _start(self) -> None:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/events", self._relay)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        assert self._http is not None and self._runner is not None
        await self._runner.cleanup()
        await self._http.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        body = await request.read()
        async with self._http.request(request.method, self._real_url + request.path_qs, data=body, headers=_kept(request)) as answer:
            honest = await answer.read()
            lie = self.lie
            if lie is None or not re.fullmatch(lie.route, f"{request.method} {request.path}") or answer.status >= 400:
                return web.Response(status=answer.status, body=honest)
        self.told += 1
        said = lie.say(honest)
        if isinstance(said, bytes):
            return web.Response(status=lie.status, body=said)
        return await self._pour(request, said, lie.status)

    async def _pour(self, request: web.Request, pieces: Iterable[bytes], status: int) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            for piece in pieces:
                await response.write(piece)
                self.sent_bytes += len(piece)
        except ConnectionError:
            return response
        return response

    async def _relay(self, request: web.Request) -> web.WebSocketResponse:
        assert self._http is not None
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        async with self._http.ws_connect(self._real_url + request.path_qs, headers=_kept(request)) as theirs:
            self._sockets.add(ours)
            up = asyncio.create_task(_forward(ours, theirs))
            try:
                await _forward(theirs, ours)
            finally:
                self._sockets.discard(ours)
                up.cancel()
        await ours.close()
        return ours


def _kept(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name in ("Authorization", "Content-Type")}


async def _forward(source: AsyncIterator[aiohttp.WSMessage], target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
    try:
        async for message in source:
            if message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
    except (ConnectionError, aiohttp.ClientError):
        return
