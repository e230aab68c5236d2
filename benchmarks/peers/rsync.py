"""rsync to a daemon on loopback, with its delta (an unencrypted rsync:// module)."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.lab.process import Lab, Process, free_port
from tests.waiting import wait_until


class Rsync:
    """A daemon that serves B, and runs that make B equal to A."""

    def __init__(self, lab: Lab, b: Path) -> None:
        self.lab = lab
        self.port = free_port()
        self.env = lab.environment("rsync", {"HOME": str(lab.base)})
        settings = lab.base / "rsyncd.conf"
        who = "uid = 0\ngid = 0\n" if b.owner() == "root" else ""
        settings.write_text(f"use chroot = no\n{who}[b]\npath = {b}\nread only = no\n")
        argv = ["rsync", "--daemon", "--no-detach", f"--config={settings}", f"--port={self.port}", "--address=127.0.0.1"]
        lab.start(argv, self.env, cwd=lab.base, log=lab.base / "rsync.log")
        wait_until(self._listens, 10, "rsync listens")

    def sync(self, a: Path, port: int) -> tuple[float, float]:
        """One run: wall and CPU seconds of the client."""
        argv = ["rsync", "-a", "--no-whole-file", f"{a}/", f"rsync://127.0.0.1:{port}/b/"]
        done = self.lab.run(argv, self.env, cwd=self.lab.base, timeout_s=300)
        assert done.code == 0, str(done)
        return done.seconds, done.cpu_seconds

    def processes(self) -> list[Process]:
        return self.lab.processes("rsync")

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
