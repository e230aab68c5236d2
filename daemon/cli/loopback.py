"""A cloud of our own on 127.0.0.1, as a child process: for `fst demo` and `make run`."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from daemon.cli.launch import module_command
from daemon.login import parse_token
from store.errors import Refused, TimedOut

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02


class LoopbackCloud:
    """`python -m cloud serve` in one folder. Use it in a `with`: it starts on the way in and is stopped on the way out."""

    def __init__(self, folder: Path, env: Mapping[str, str], port: int = 0) -> None:
        self.folder = folder
        self.port = port if port and _is_free(port) else _free_port()
        self.log = folder / "cloud.log"
        self._env = env
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> LoopbackCloud:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = ["serve", "--data", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}"]
        command, env = module_command("cloud", words, self._env)
        with self.log.open("ab") as said:
            # A session of its own: Ctrl-C reaches us alone, and we stop it last.
            self._child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            self._wait_up(self._child)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def token(self, email: str) -> str:
        """A session token for this person, made if need be."""
        command, env = module_command("cloud", ["token", "--email", email, "--data", str(self.folder / "data")], self._env)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"the cloud gave no token: {done.stderr.strip()}", f"Its words are in {self.log}")
        return parse_token(done.stdout.strip().rpartition("\n")[2])

    def _wait_up(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if child.poll() is not None:
                raise Refused(f"the cloud ended with {child.returncode}", f"Its words are in {self.log}")
            if time.monotonic() >= deadline:
                raise TimedOut(f"the cloud did not answer within {START_SECONDS:g} s", f"Its words are in {self.log}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asking.request("GET", "/health")
            return asking.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None


def interrupt_on_term() -> None:
    """From now on SIGTERM ends this program as Ctrl-C does: on the way out it stops what it started."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
