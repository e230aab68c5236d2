"""A daemon that answers what a test tells it to: a threaded server on a Unix socket, without aiohttp, without a store."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from daemon.config import find_places, make_places, record_socket

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived."""

    method: str
    route: str
    query: dict[str, str]
    body: Document


@dataclass(frozen=True)
class Answer:
    """One answer: a document, or lines (NDJSON, chunked), or bytes as they are."""

    document: Document = field(default_factory=dict)
    status: int = 200
    lines: Sequence[Document] | None = None
    raw: bytes | None = None
    kind: str = "application/json"


class _Server(socketserver.ThreadingUnixStreamServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up early is none of the test's business, nor of its standard error."""


class FakeDaemon:
    """Use it in a `with`; FASTEST_HOME of the test then has a daemon."""

    def __init__(self, home: Path) -> None:
        self.places = find_places({"FASTEST_HOME": str(home)})
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], Callable[[Asked], Answer]] = {}
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self.on("GET", "health", {"status": "ok", "pid": os.getpid()})

    def on(self, method: str, route: str, document: Document | None = None, **more: Any) -> None:
        """Answer this route so from now on."""
        answer = Answer(document or {}, **more)
        self._answers[method, route] = lambda _: answer

    def ask_me(self, method: str, route: str, work: Callable[[Asked], Answer]) -> None:
        """Answer this route by calling `work`."""
        self._answers[method, route] = work

    def refuse(self, method: str, route: str, code: str, message: str, hint: str = "", *, status: int = 422, exit_code: int = 1) -> None:
        """Answer this route with an error."""
        self.on(method, route, {"error": {"code": code, "message": message, "hint": hint, "exit_code": exit_code}}, status=status)

    @property
    def last(self) -> Asked:
        """The newest request."""
        return self.asked[-1]

    def answer(self, asked: Asked) -> Answer:
        """What the handler sends."""
        self.asked.append(asked)
        work = self._answers.get((asked.method, asked.route))
        if work is None:
            return Answer({"error": {"code": "not-found", "message": f"no {asked.method} {asked.route}"}}, 404)
        return work(asked)

    def __enter__(self) -> FakeDaemon:
        make_places(self.places)
        server = _Server(str(self.places.socket), _handler_of(self))
        server.daemon_threads = True
        self._server = server
        record_socket(self.places)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """As after `fst down`: the socket is gone."""
        if self._server is not None:
            self.places.socket.unlink(missing_ok=True)
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _handler_of(daemon: FakeDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: Any) -> None:
            """A test needs no access log."""

        def _serve(self) -> None:
            url = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(url.query, keep_blank_values=True, errors="surrogateescape"))
            asked = Asked(self.command, url.path.removeprefix("/v1/"), query, json.loads(data) if data else {})
            self._send(daemon.answer(asked))

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if answer.lines is None:
                data = json.dumps(answer.document).encode() if answer.raw is None else answer.raw
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in answer.lines:
                data = json.dumps(line).encode() + b"\n"
                # Two chunks a line: a reader must not take a chunk for a line.
                for piece in (data[:3], data[3:]):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    return Handler


def workspace(**more: Any) -> Document:
    """One workspace of a status, in step unless told otherwise."""
    calm = {
        "id": "01JZ", "name": "main", "project": "thing", "path": "/work/thing", "state": "idle", "settled": True, "uploaded": True,
        "version": 12, "snapshot": "snap-01JZ", "files": 1204, "bytes": 3_400_000, "pending": 0, "conflicts": 0, "problems": [],
        "held_back": [],
    }  # fmt: skip
    return {**calm, **more}


def status_of(*workspaces: Document, cloud: str = "connected") -> Document:
    """A whole status."""
    return {"schema": 1, "daemon": {"pid": 4711, "version": "0.1.0", "cloud": cloud}, "workspaces": list(workspaces)}
