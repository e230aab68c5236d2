"""A real cloud in a process of its own, on loopback."""

from __future__ import annotations

import http.client
import signal
import subprocess

from cloud.accounts.session import sign_in
from cloud.app import wall_ms
from tests.clouds import opened
from tests.lab.process import Lab, Result, free_port, fst_command, log_tail, signal_all
from tests.waiting import wait_until


class Cloud:
    """One folder, one port; stopped, killed and started again at the same address."""

    def __init__(self, lab: Lab, name: str = "cloud") -> None:
        self.lab = lab
        self.name = name
        self.folder = lab.base / name
        self.data = self.folder / "data"
        self.home = self.folder / "home"
        self.log = self.folder / "cloud.log"
        for made in (self.data, self.home):
            made.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.env = lab.environment(name, {"FASTEST_HOME": str(self.home), "HOME": str(self.home)})
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the machines find it."""
        return f"http://127.0.0.1:{self.port}"

    def fst(self, *args: str, timeout_s: float = 120) -> Result:
        """`fst cloud ARGS` on this cloud's machine."""
        done = self.lab.run([*fst_command(), "cloud", *args], self.env, cwd=self.folder, timeout_s=timeout_s)
        return Result(("cloud", *args), done.code, done.out, done.err, done.seconds, done.cpu_seconds)

    def start(self, *, timeout_s: float = 30) -> None:
        """Serve, and wait until `GET /health` answers."""
        argv = [*fst_command(), "cloud", "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        server = self._server = self.lab.start(argv, self.env, cwd=self.folder, log=self.log)

        def healthy() -> bool:
            assert server.poll() is None, f"the cloud ended with {server.poll()}\n{log_tail(self.log)}"
            return self.is_up()

        wait_until(healthy, timeout_s, f"the cloud answers at {self.url}")

    def is_up(self) -> bool:
        """Whether it answers now."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asking.request("GET", "/health")
            return asking.getresponse().status == 200
        except OSError:
            return False
        finally:
            asking.close()

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Signal it (SIGKILL: as a crash would), and wait until it and its children are gone."""
        signal_all(self.lab.processes(self.name), how)
        if self._server is not None:
            self._server.wait(timeout=30)
            self._server = None
        wait_until(lambda: not self.lab.processes(self.name), 30, "the cloud is gone")

    def stop(self) -> None:
        """SIGTERM, as a service manager stops it."""
        self.kill(signal.SIGTERM)

    def token(self, email: str = "ann@example.org") -> str:
        """A session token for this user, made if need be: as `fst cloud token` does, but for its start, which costs more than all else."""
        if "FASTEST_CLOUD_DATABASE" in self.env:
            return self.fst("token", "--email", email, "--data", str(self.data)).text.strip()
        with opened(self.data) as db:
            return db.write_now(lambda tx: sign_in(tx, email, wall_ms()))

    def fsck(self) -> Result:
        """`fst cloud fsck` with the server stopped or running, which has to find nothing."""
        done = self.fst("fsck", "--data", str(self.data), timeout_s=600)
        assert done.code == 0, f"{done}\n{log_tail(self.log)}"
        return done
