"""One machine as its user meets it: a FASTEST_HOME, a folder, the `fst` command, and signals."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from daemon.client import Client, find_socket
from store.errors import DaemonUnreachable, FastestError
from tests.lab.process import Lab, Process, Result, fst_command, log_tail, signal_all
from tests.waiting import wait_until

Status = dict[str, Any]
"""One workspace of `fst status --json`."""


class Machine:
    """`root` is the workspace's folder, `home` is FASTEST_HOME, `user_home` is what the daemon sees as $HOME.

    `through`: a command that starts the daemon with fewer rights or lower limits.
    """

    def __init__(self, lab: Lab, name: str, *, settings: dict[str, str] | None = None, through: tuple[str, ...] = ()) -> None:
        self.lab = lab
        self.through = through
        self.name = name
        self.folder = lab.base / name
        self.home = self.folder / "home"
        self.user_home = self.folder / "user"
        self.root = self.folder / "work"
        self.log = self.folder / "daemon.log"
        for made in (self.home, self.user_home):
            made.mkdir(parents=True, exist_ok=True)
        self.env = lab.environment(name, {"FASTEST_HOME": str(self.home), "HOME": str(self.user_home), **(settings or {})})
        self._daemon: subprocess.Popen[bytes] | None = None

    # --- the command ---

    def fst(self, *args: str, given: bytes = b"", cwd: Path | None = None, timeout_s: float = 120) -> Result:
        """Run `fst ARGS` in the workspace's folder (or where told)."""
        where = cwd or (self.root if self.root.is_dir() else self.folder)
        done = self.lab.run([*fst_command(), *args], self.env, cwd=where, given=given, timeout_s=timeout_s)
        return Result(args, done.code, done.out, done.err, done.seconds, done.cpu_seconds)

    def must(
        self, *args: str, given: bytes = b"", cwd: Path | None = None, timeout_s: float = 120, codes: tuple[int, ...] = (0,)
    ) -> Result:
        """`fst`, which has to end with one of `codes`."""
        done = self.fst(*args, given=given, cwd=cwd, timeout_s=timeout_s)
        assert done.code in codes, f"{self.name}: {done}\n{self.said()}"
        return done

    # --- the daemon ---

    def start(self, *, timeout_s: float = 30) -> None:
        """Start the daemon in the foreground of its own group, and wait until it answers."""
        self._daemon = self.lab.start([*self.through, *fst_command(), "daemon", "run"], self.env, cwd=self.folder, log=self.log)
        self.wait_up(timeout_s)

    def wait_up(self, timeout_s: float = 30) -> None:
        """Until a status is answered, asked for at its socket: to ask by `fst` would cost more than the daemon's own start."""

        def answers() -> bool:
            daemon = self._daemon
            assert daemon is None or daemon.poll() is None, f"{self.name}: the daemon ended with {daemon.poll()}\n{self.said()}"
            try:
                return bool(self.client().status())
            except FastestError as error:
                return not isinstance(error, DaemonUnreachable)

        wait_until(answers, timeout_s, f"{self.name}: the daemon answers")

    def daemon_processes(self) -> list[Process]:
        """The daemon and its children, however they were started."""
        return self.lab.processes(self.name)

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Signal the daemon's processes (SIGKILL: as a crash would), and wait until they are gone."""
        signal_all(self.daemon_processes(), how)
        if self._daemon is not None:
            self._daemon.wait(timeout=30)
            self._daemon = None
        wait_until(lambda: not self.daemon_processes(), 30, f"{self.name}: the daemon is gone")

    def stop(self) -> None:
        """`fst down`, as a user stops it."""
        self.must("down")
        if self._daemon is not None:
            self._daemon.wait(timeout=30)
            self._daemon = None
        wait_until(lambda: not self.daemon_processes(), 30, f"{self.name}: `fst down` leaves no process")

    def said(self) -> str:
        """The ends of its logs, for a failure's message."""
        kept = sorted(self.home.rglob("*.log"))
        return "\n".join(f"--- {log}\n{log_tail(log)}" for log in [self.log, *kept])

    # --- what it says ---

    def report(self) -> dict[str, Any]:
        """`fst status --json`: 0, or 5 and 6 when something waits for a person."""
        done = self.must("status", "--json", codes=(0, 5, 6))
        document: dict[str, Any] = json.loads(done.out)
        assert document["schema"] == 1, done
        return document

    def status(self, root: Path | None = None) -> Status:
        """This workspace's part of the report."""
        wanted = str((root or self.root).resolve())
        for workspace in self.report()["workspaces"]:
            if str(Path(workspace["path"]).resolve()) == wanted:
                found: Status = workspace
                return found
        raise AssertionError(f"{self.name}: `fst status` does not know {wanted}")

    def phase(self) -> str:
        """What it is busy with, as far as status tells; `gone` when it does not answer."""
        try:
            workspaces = self.client().status()["workspaces"]
        except FastestError:
            return "gone"
        if not workspaces:
            return "empty"
        return phase_of(workspaces[0])

    def wait_settled(self, timeout_s: float = 60) -> None:
        """`fst wait --settled`: everything seen is kept and applied here."""
        self.must("wait", "--settled", "--timeout", f"{timeout_s:g}", timeout_s=timeout_s + 30)

    def wait_uploaded(self, timeout_s: float = 60) -> None:
        """`fst wait --uploaded`: the cloud's head is this state."""
        self.must("wait", "--uploaded", "--timeout", f"{timeout_s:g}", timeout_s=timeout_s + 30)

    def has_content(self, digest: str) -> bool:
        """Whether it gives bytes with that SHA-256, asked for as `fst cat DIGEST` does."""
        try:
            return hashlib.sha256(b"".join(self.client().cat(str(self.root), digest))).hexdigest() == digest
        except FastestError:
            return False

    def prints_content(self, digest: str) -> bool:
        """Whether `fst cat DIGEST` itself gives them."""
        done = self.fst("cat", digest)
        return done.code == 0 and hashlib.sha256(done.out).hexdigest() == digest

    def client(self) -> Client:
        """What `fst` speaks through: for questions that are asked too often to start a process for each."""
        return Client(find_socket(self.env))

    def fsck(self) -> Result:
        """`fst fsck`, which has to find nothing."""
        return self.must("fsck", timeout_s=600)

    # --- the usual ways in ---

    def login(self, url: str, token: str) -> None:
        """Sign in with a token from standard input."""
        self.must("login", "--cloud", url, "--token-stdin", given=token.encode() + b"\n")

    def up(self, project: str, *, timeout_s: float = 300) -> dict[str, Any]:
        """`fst up` on the root; what it told as JSON."""
        done = self.must("up", str(self.root), "--project", project, "--json", "-y", timeout_s=timeout_s)
        document: dict[str, Any] = json.loads(done.out)
        return document

    def mirror(self, project: str, *, timeout_s: float = 300) -> None:
        """`fst clone PROJECT --mirror` into the (absent) root."""
        self.must("clone", project, str(self.root), "--mirror", "-y", cwd=self.folder, timeout_s=timeout_s)


def phase_of(status: Status) -> str:
    """import, push or apply while work is seen; else the state as it is named."""
    state = str(status["state"])
    named = {"scanning": "import", "importing": "import", "pushing": "push", "applying": "apply", "pulling": "apply", "planning": "apply"}
    if state in named:
        return named[state]
    if not status["settled"]:
        return "import"
    return state if status["uploaded"] else "push"
