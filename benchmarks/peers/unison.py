"""Unison over a local socket. Debian's 2.52 has no file watcher, so it repeats by `-repeat 1`: a walk of both trees each second."""

from __future__ import annotations

import socket
from pathlib import Path

from benchmarks.trees import copy_tree
from tests.lab.process import Lab, Process, Result, free_port
from tests.waiting import wait_until


class Unison:
    """A server on a socket, and clients that mirror A into the server's B."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.name = "Unison, -repeat 1"
        self.port = free_port()
        self.state = lab.base / "unison"
        self.state.mkdir()
        self.env = lab.environment("unison", {"HOME": str(self.state), "UNISON": str(self.state)})

    def serve(self) -> None:
        """Start the server, and wait until it listens."""
        self.lab.start(
            ["unison", "-socket", str(self.port), "-listen", "127.0.0.1"], self.env, cwd=self.lab.base, log=self.lab.base / "unison.log"
        )
        wait_until(self._listens, 10, "unison listens")

    def sync_once(self, a: Path, b: Path, *, port: int | None = None) -> Result:
        """One synchronization, as its user runs it in batch mode."""
        done = self.lab.run(self._client(a, b, port), self.env, cwd=self.lab.base, timeout_s=900)
        assert done.code == 0, str(done)
        return done

    def start(self, a: Path, b: Path) -> None:
        """Mirror continuously; B begins as a copy."""
        if not b.exists():
            copy_tree(a, b)
        self.serve()
        self.sync_once(a, b)
        self.lab.start([*self._client(a, b, None), "-repeat", "1"], self.env, cwd=self.lab.base, log=self.lab.base / "unison-client.log")

    def processes(self) -> list[Process]:
        return self.lab.processes("unison")

    def _client(self, a: Path, b: Path, port: int | None) -> list[str]:
        where = f"socket://127.0.0.1:{port or self.port}/{b}"
        return ["unison", str(a), where, "-batch", "-auto", "-silent", "-ui", "text", "-dumbtty", "-log=false", "-confirmbigdel=false"]

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
