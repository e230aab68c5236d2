"""Real processes that cannot outlive their test: each in a group of its own, each marked in its environment."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
_MARK = "FSTLAB"
_ROLE = "FSTLAB_ROLE"

Process = Any
"""A psutil.Process, which has no published types here."""


def fst_command() -> list[str]:
    """The console script beside this interpreter, or the module when it is not installed."""
    script = Path(sys.executable).with_name("fst")
    return [str(script)] if script.exists() else [sys.executable, "-m", "daemon"]


def free_port() -> int:
    """A loopback port that nobody held a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command said."""

    args: tuple[str, ...]
    code: int
    out: bytes
    err: str
    seconds: float
    cpu_seconds: float

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        shown = self.text if len(self.text) < 4000 else self.text[:4000] + " ..."
        return f"`fst {' '.join(self.args)}` ended with {self.code} after {self.seconds:.2f} s\nstdout: {shown}\nstderr: {self.err[-4000:]}"


class Lab:
    """A scratch folder, and every process that was started for it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.mark = secrets.token_hex(8)
        self._started: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def environment(self, role: str, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process in this lab: ours, without what would steer the product or have each process compile it anew."""
        steering = ("FASTEST_", "DBUS_", "XDG_", "PYTEST_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
        return {**kept, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", _MARK: self.mark, _ROLE: role, **extra}

    def run(self, argv: Sequence[str], env: Mapping[str, str], *, cwd: Path, given: bytes = b"", timeout_s: float = 120) -> Result:
        """Run to the end; a command that outlives its bound is killed with its group and told as an assertion."""
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env=dict(env), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        before = os.times()
        try:
            out, err = process.communicate(given, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            raise AssertionError(f"{' '.join(argv)} was still running after {timeout_s} s\n{out!r}\n{err!r}") from None
        after = os.times()
        cpu = after.children_user - before.children_user + after.children_system - before.children_system
        seconds = time.perf_counter() - began
        return Result(tuple(argv), process.returncode, out, err.decode("utf-8", "backslashreplace"), seconds, cpu)

    def start(self, argv: Sequence[str], env: Mapping[str, str], *, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a server; what it says is appended to `log`. Should this process be killed, the guard ends it."""
        self._set_guard()
        with log.open("ab") as sink:
            process = subprocess.Popen(
                argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._started.append(process)
        return process

    def processes(self, *roles: str) -> list[Process]:
        """Every living process of this lab (of these roles), detached ones and grandchildren too."""
        return marked(self.mark, *roles)

    def _set_guard(self) -> subprocess.Popen[bytes]:
        if self._guard is None:
            guard = [sys.executable, "-m", "tests.lab.guard", self.mark]
            self._guard = subprocess.Popen(guard, cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True)
        return self._guard

    def below(self, name: str) -> Lab:
        """The same lab in a folder of its own, with the same guard: a second one would kill for both when it is let go."""
        folder = self.base / name
        folder.mkdir()
        inner = Lab(folder)
        inner.mark, inner._started, inner._guard = self.mark, self._started, self._set_guard()
        return inner

    def close(self) -> None:
        """Kill everything, the guard too."""
        self.kill_all()
        if self._guard is not None:
            self._guard.communicate()

    def kill_all(self) -> None:
        """Kill whatever still lives, and wait until it is gone."""
        signal_all(self.processes(), signal.SIGKILL)
        for started in self._started:
            started.wait(timeout=10)
        wait_until(lambda: not self.processes(), 10, "every process of the lab is gone")


def marked(mark: str, *roles: str) -> list[Process]:
    """Every living process that was started with this mark (and one of these roles) in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if env.get(_MARK) == mark and (not roles or env.get(_ROLE) in roles) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def signal_all(processes: Sequence[Process], how: int) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        try:
            process.send_signal(how)
        except psutil.NoSuchProcess:
            continue


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the whole group of a process that was started in its own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def log_tail(path: Path, lines: int = 30) -> str:
    """The last lines of a log, for a failure's message."""
    if not path.exists():
        return f"({path} was never written)"
    told = path.read_text("utf-8", "backslashreplace").splitlines()[-lines:]
    # A broken cycle is one long line whose end names the error.
    return "\n".join(line if len(line) <= 1200 else f"{line[:400]} ... {line[-800:]}" for line in told)
