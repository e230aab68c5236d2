"""Start our other processes: a daemon that outlives this command, and programs of ours run in its place."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from daemon.cli.session import Session
from daemon.client import Client, find_socket
from daemon.config import Places, make_places
from store.errors import DaemonUnreachable, FastestError, InvalidReply, TimedOut

START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 30.0
LEFT_SECONDS: Final = 5.0
"""After our child left, another daemon that was just starting may still answer."""
POLL_SECONDS: Final = 0.02
LOG_TAIL_BYTES: Final = 2000


def module_command(module: str, args: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command line and environment that run one of our packages with this interpreter.

    `-P`: a folder named `cloud` where the user stands must never be run in place of ours. A checkout that is not installed is
    named in PYTHONPATH instead.
    """
    ours = Path(__file__).resolve().parents[2]
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    changed = dict(env)
    if ours not in installed:
        changed["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ours), env.get("PYTHONPATH", "")]))
    return [sys.executable, "-P", "-m", module, *args], changed


def answers(env: Mapping[str, str]) -> bool:
    """True when a daemon answers now."""
    try:
        Client(find_socket(env)).health()
    except (DaemonUnreachable, InvalidReply):
        return False
    return True


def ensure_daemon(session: Session) -> Client:
    """The daemon, started if none runs. Raises DaemonUnreachable with the log's path when it does not come up in 15 s."""
    if answers(session.env):
        return session.client
    settings = session.settings()
    make_places(settings.places)
    log = settings.places.state / "daemon-start.log"
    child = start_daemon(settings.places, session.env, log)
    deadline = time.monotonic() + START_SECONDS
    while not answers(session.env):
        if child.poll() is not None:
            deadline = min(deadline, time.monotonic() + LEFT_SECONDS)
        if time.monotonic() >= deadline:
            raise _not_started(log)
        time.sleep(POLL_SECONDS)
    session.say(f"daemon started (log: {log})")
    return session.client


def start_daemon(places: Places, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """`fst daemon run` in a session of its own, so that closing the terminal leaves it running; what it says goes to `log`."""
    command, changed = module_command("daemon", ["daemon", "run"], env)
    with log.open("wb") as said:
        return subprocess.Popen(
            command, env=changed, cwd=places.state, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )


def _not_started(log: Path) -> FastestError:
    said = [line.strip() for line in log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line.removeprefix("fst: ") for line in said if line.startswith("fst: ")] or said[-1:]
    steps = [line.removeprefix("next: ") for line in said if line.startswith("next: ")]
    return DaemonUnreachable(
        "the daemon did not start" + "".join(f": {line}" for line in told), " ".join([*steps, f"Its words are in {log}"])
    )


def stop_daemon(session: Session) -> bool:
    """Ask it to stop and wait until its process has left; False when none runs. Raises TimedOut."""
    try:
        pid = session.client.status().get("daemon", {}).get("pid")
        session.client.down()
    except DaemonUnreachable:
        return False
    deadline = time.monotonic() + STOP_SECONDS
    while answers(session.env) or (isinstance(pid, int) and _is_alive(pid)):
        if time.monotonic() >= deadline:
            raise TimedOut(f"the daemon (pid {pid}) still runs after {STOP_SECONDS:g} s", "`fst status` tells what it is busy with.")
        time.sleep(POLL_SECONDS)
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the number has gone to somebody else's process
    try:
        # One that has ended, and whose parent has not looked yet, is still listed.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1] != [b"Z"]
    except OSError:
        return not Path("/proc/self").exists()
