"""A TCP proxy on loopback that counts the bytes of each direction: what a network would have carried."""

from __future__ import annotations

import contextlib
import socket
import threading

BLOCK = 256 * 1024


class CountingProxy:
    """Forwards `port` to `target` on 127.0.0.1, any number of connections, until closed."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.up = 0
        """bytes from whoever connects to the target"""
        self.down = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def moved(self) -> int:
        """Both directions."""
        return self.up + self.down

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._listening.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for ends in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_up: bool) -> None:
        buffer = bytearray(BLOCK)
        view = memoryview(buffer)
        try:
            while count := source.recv_into(buffer):
                with self._lock:
                    if is_up:
                        self.up += count
                    else:
                        self.down += count
                sink.sendall(view[:count])
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR if end is sink else socket.SHUT_RD)
