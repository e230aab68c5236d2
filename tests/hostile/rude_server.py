"""Somebody at the cloud's address who does not keep to HTTP: it reads a request's head and answers with whatever bytes it is told."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

Say = Callable[["RudeServer"], Iterator[bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MOST_BYTES = 256 * 1024 * 1024
"""What is called endless ends here, so that a reader without bounds fails instead of filling the memory."""


class RudeServer:
    """On loopback. `drip_seconds`: how long it waits before each piece."""

    def __init__(self, say: Say, drip_seconds: float = 0.0) -> None:
        self._say = say
        self._drip_seconds = drip_seconds
        self.url = ""
        self.other_url = ""
        self.asked: list[bytes] = []
        """The heads of all requests."""
        self.sent = 0
        self._pace = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in self._say(self):
                if self._drip_seconds:
                    await asyncio.wait([asyncio.ensure_future(self._pace.wait())], timeout=self._drip_seconds)
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def at_loopback(server: RudeServer) -> AsyncIterator[RudeServer]:
    """Serve until the end of the block."""
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def endless(begin: bytes, piece: bytes) -> Say:
    """A beginning, and then the same for ever (almost)."""

    def say(server: RudeServer) -> Iterator[bytes]:
        yield begin
        while server.sent < MOST_BYTES:
            yield piece

    return say


def just(*pieces: bytes) -> Say:
    """These bytes, and good-bye."""
    return lambda _: iter(pieces)


def whole(body: bytes, status: str = "200 OK", *headers: str) -> Say:
    """A proper answer."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return just("\r\n".join(lines).encode() + body)


def redirect(status: int, target: str) -> Say:
    """Elsewhere. `{other}` is the address of another server."""

    def lead(server: RudeServer) -> Iterator[bytes]:
        yield f"HTTP/1.1 {status} Go\r\nLocation: {target.format(other=server.other_url)}\r\nContent-Length: 0\r\n\r\n".encode()

    return lead


def dripped(answer: bytes) -> Say:
    """Byte by byte."""
    return lambda _: (answer[at : at + 1] for at in range(len(answer)))


def chained(*parts: Say) -> Say:
    """One after the other."""
    return lambda server: (piece for part in parts for piece in part(server))


ZEROS = b"\0" * (1 << 20)
LINE = b"x" * (1 << 16)
SAID: dict[str, Say] = {
    "a status line without end": endless(b"HTTP/1.1 200 ", LINE),
    "a header without end": endless(OK + b"X-Long: ", LINE),
    "headers without end": endless(OK, b"X-More: and more\r\n" * 1000),
    "cookies without end": endless(OK, b"Set-Cookie: a=" + b"b" * 4000 + b"\r\n"),
    "continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "a body without end": endless(OK + b"\r\n", ZEROS),
    "JSON without end": endless(OK + b"\r\n[", b"[" * (1 << 20)),
    "chunks without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + ZEROS + b"\r\n"),
    "a chunk of petabytes": endless(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n", ZEROS),
    "a chunk's size without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * (1 << 16)),
    "a chunk's extension without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n5;", LINE),
    "trailers without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: and more\r\n" * 1000),
    "a length that is no number": just(OK + b"Content-Length: many\r\n\r\n{}"),
    "a length below nothing": just(OK + b"Content-Length: -5\r\n\r\n{}"),
    "a length beyond all": just(OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}"),
    "two lengths": just(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a body cut short": just(OK + b"Content-Length: 1000\r\n\r\n{"),
    "nothing": just(b""),
    "no HTTP": just(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a packed bomb": whole(zlib.compress(b"[" * (64 * 1024 * 1024)), "200 OK", "Content-Encoding: deflate"),
    "a page": whole(b"<html><script>alert(1)</script></html>", "200 OK", "Content-Type: text/html; charset=no-such-charset"),
    "an empty answer": whole(b"", "204 No Content"),
    "not modified": whole(b"", "304 Not Modified"),
    "a status of its own": whole(b"{}", "299 Fine"),
    "switching protocols": just(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: nonsense\r\nConnection: upgrade\r\n\r\n" + ZEROS),
    "nested without end": whole(b"[" * 1_000_000),
    "a nested refusal": whole(b'{"error":{"code":"X","message":"m","details":' + b"[" * 500_000, "422 No"),
    "a refusal of another's": whole(b'{"error":{"code":"STORE_DAMAGED","message":"m","details":{"self":1}}}', "422 No"),
    "a refusal that is no text": whole(b'{"error":{"code":"\xff","message":"m"}}', "409 No"),
    "slow down, some day": whole(b"", "429 Slow", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
    "an error of gigabytes": endless(b"HTTP/1.1 500 Oh\r\n\r\n", ZEROS),
    "elsewhere for good": redirect(301, "{other}/steal"),
    "elsewhere": redirect(302, "{other}/steal"),
    "elsewhere, with the body": redirect(307, "{other}/steal"),
    "elsewhere for good, with the body": redirect(308, "{other}/steal"),
    "a file": redirect(302, "file:///etc/passwd"),
    "here again": redirect(302, "/v1/again"),
}
