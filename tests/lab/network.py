"""A network between a machine and its cloud that can be stalled, cut, or somebody else's: a TCP relay on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import StrEnum

BLOCK = 64 * 1024
PAGE = b"<!DOCTYPE html><html><body>Welcome to the Grand Hotel! Please sign in.</body></html>"


class Mode(StrEnum):
    """What becomes of what is sent."""

    OPEN = "open"
    STALLED = "stalled"
    """Connections are accepted and stay; nothing moves on them."""
    PORTAL = "portal"
    """What was open is cut; whatever is asked is answered with a page and 200."""
    DOWN = "down"
    """What was open is cut, and so is what comes."""


class BadNetwork:
    """Relays `port` to `target` on 127.0.0.1 until closed; `port` stays while cloud and mode change."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.up = 0
        """Bytes that went to the cloud."""
        self.down = 0
        self.cut_after: int | None = None
        """A connection dies once so many bytes went over it; None: never."""
        self.cuts = 0
        self._mode = Mode.OPEN
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where a machine finds the cloud over this network."""
        return f"http://127.0.0.1:{self.port}"

    def become(self, mode: Mode) -> None:
        """From now on."""
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
            doomed = list(self._open) if mode in (Mode.PORTAL, Mode.DOWN) else []
        for one in doomed:
            _cut(one)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._listening.close()
        self.become(Mode.DOWN)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._wait_while_stalled()
        if self._mode is Mode.PORTAL:
            with contextlib.suppress(OSError):
                near.recv(BLOCK)
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE))
        if self._mode is not Mode.OPEN:
            _cut(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _cut(near)
            return
        with self._changed:
            self._open |= {near, far}
        carried = [0]
        for source, sink, is_up in ((near, far, True), (far, near, False)):
            threading.Thread(target=self._pump, args=(source, sink, is_up, carried), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_up: bool, carried: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BLOCK):
                self._wait_while_stalled()
                sink.sendall(data)
                with self._changed:
                    self.up += len(data) if is_up else 0
                    self.down += 0 if is_up else len(data)
                    carried[0] += len(data)
                if self.cut_after is not None and carried[0] > self.cut_after:
                    self.cuts += 1
                    break
        _cut(source)
        _cut(sink)
        with self._changed:
            self._open -= {source, sink}

    def _wait_while_stalled(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._mode is not Mode.STALLED)


def _cut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
