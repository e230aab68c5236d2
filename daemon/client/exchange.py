"""One exchange with the daemon: HTTP/1.1 over a bare Unix socket, one request a connection, standard library only."""

from __future__ import annotations

import json
import os
import socket

from daemon.client.place import NO_DAEMON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader
    from typing import Any, NoReturn

    Document = dict[str, Any]

MAX_LINE_BYTES = 64 * 1024
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
PIECE_BYTES = 256 * 1024
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


def send(socket_path: str, method: str, target: str, body: Document | None, *, name: str, seconds: float | None) -> Reply:
    """One request; the reply's body is still to be read. `seconds` bounds each silence, not the whole. Raises DaemonUnreachable."""
    data = b"" if body is None else json.dumps(body).encode("ascii")
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {name}\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(socket_path)
        connection.sendall(head.encode("ascii") + b"\r\n" + data)
        reply = Reply(connection)
        reply.read_head()
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            raise _unreachable(error) from None
        raise
    return reply


def query_text(query: Mapping[str, str]) -> str:
    """`?key=value&...`, percent-encoded; nothing for an empty query."""
    text = "&".join(f"{key}={_quote(value)}" for key, value in query.items())
    return f"?{text}" if text else ""


def _quote(text: str) -> str:
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in os.fsencode(text))


class Reply:
    """A status, and a body that is read piece by piece. Close it, or use it in a `with`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file: BufferedReader = connection.makefile("rb")
        self.status = 0
        self.length: int | None = None
        self.chunked = False

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._connection.close()

    def read_head(self) -> None:
        """The status line and the headers. Raises InvalidReply."""
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            invalid_reply("the daemon's socket did not answer HTTP")
        self.status = int(words[1])
        while line := self._line():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self.length = _number(value, 10)
            elif name.lower() == b"transfer-encoding":
                self.chunked = value.strip().lower() == b"chunked"

    def pieces(self) -> Iterator[bytes]:
        """The body, at most PIECE_BYTES at a time. Raises InvalidReply when it is cut short."""
        if self.chunked:
            while size := _number(self._line().partition(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
        elif self.length is not None:
            yield from self._exactly(self.length)
        else:
            while piece := self._some(PIECE_BYTES):
                yield piece

    def lines(self) -> Iterator[bytes]:
        """The body's lines, as each one arrives."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def document(self) -> Document:
        """The whole body, parsed. Raises InvalidReply, or the error that the daemon answered with."""
        parts: list[bytes] = []
        room = MAX_DOCUMENT_BYTES
        for piece in self.pieces():
            parts.append(piece)
            room -= len(piece)
            if room < 0:
                invalid_reply("the daemon's answer has no end")
        document = parse_document(b"".join(parts))
        if "error" in document or self.status >= 400:
            raise error_of(document.get("error"))
        return document

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._some(size)
            if not piece:
                invalid_reply("the daemon's answer was cut short")
            size -= len(piece)
            yield piece

    def _some(self, size: int) -> bytes:
        try:
            return self._file.read1(min(size, PIECE_BYTES))
        except OSError as error:
            raise _unreachable(error) from None

    def _line(self) -> bytes:
        try:
            line = self._file.readline(MAX_LINE_BYTES)
        except OSError as error:
            raise _unreachable(error) from None
        if not line.endswith(b"\n"):
            invalid_reply("the daemon's answer was cut short")
        return line.rstrip(b"\r\n")


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        invalid_reply("the daemon's socket did not answer HTTP")


def parse_document(data: bytes) -> Document:
    """A JSON object. Raises InvalidReply."""
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        invalid_reply("the daemon answered something that is not a document")
    return document


def invalid_reply(message: str) -> NoReturn:
    """Raise InvalidReply."""
    from store.errors import InvalidReply

    raise InvalidReply(message, "Is another program listening there? `fst doctor` tells.")


def _unreachable(error: OSError) -> Exception:
    from store.errors import DaemonUnreachable

    if isinstance(error, TimeoutError):
        return DaemonUnreachable("the daemon does not answer in time", "Look at its log (`fst doctor` names it); `fst down` stops it.")
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return DaemonUnreachable("no daemon is running", NO_DAEMON)
    return DaemonUnreachable(f"the daemon cannot be reached: {error.strerror or error}", NO_DAEMON)


def error_of(answer: object) -> Exception:
    """The error class that the daemon named, with its sentences and its exit code."""
    from store.errors import FastestError

    told = answer if isinstance(answer, dict) else {}
    code = str(told.get("code", "failed"))
    details = told.get("details")
    kept = {k: v for k, v in details.items() if k not in ("self", "message", "hint")} if isinstance(details, dict) else {}
    kind = _named(FastestError, code) or type("Answered", (FastestError,), {"code": code, "exit_code": told.get("exit_code", 1)})
    error: Exception = kind(str(told.get("message") or "the daemon failed without a word"), str(told.get("hint") or ""), **kept)
    return error


def _named(family: type[Any], code: str) -> type[Any] | None:
    for kind in family.__subclasses__():
        found: type[Any] | None = kind if kind.code == code else _named(kind, code)
        if found is not None:
            return found
    return None


class Event:
    """One server-sent event: its id, what it is, and its document."""

    __slots__ = ("data", "id", "kind")

    def __init__(self, event_id: str, kind: str, data: Document) -> None:
        self.id = event_id
        self.kind = kind
        self.data = data


def read_events(lines: Iterator[bytes]) -> Iterator[Event]:
    """Server-sent events (html.spec.whatwg.org, section 9.2): fields up to an empty line; one that starts with a colon is a heartbeat."""
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.rstrip(b"\r").partition(b":")
        if name:
            fields.setdefault(name, []).append(value.removeprefix(b" "))
        elif not line.strip() and b"data" in fields:
            last_id, kind = fields.get(b"id", [b""])[-1], fields.get(b"event", [b"message"])[-1]
            yield Event(last_id.decode(), kind.decode(), parse_document(b"\n".join(fields[b"data"])))
            fields = {}
