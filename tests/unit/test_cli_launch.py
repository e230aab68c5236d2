"""Starting the daemon from a command, and our programs in its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from daemon.cli import launch
from daemon.cli.launch import module_command
from tests.cli import Fst, fastest_home, make_fst
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SERVING = """
import os, sys, threading
from pathlib import Path
from tests.fake_daemon import FakeDaemon
home = Path(os.environ["FASTEST_HOME"])
with FakeDaemon(home) as fake:
    fake.on("POST", "up", lines=[{"result": {"project": "thing", "workspace": "main", "created": True}}])
    (home / "pid").write_text(str(os.getpid()))
    threading.Event().wait(60)
"""
FAILING = "import sys; print('fst: the store is newer\\n  next: take a newer Fastest', file=sys.stderr); sys.exit(1)"
CRASHING = "raise RuntimeError('a mistake of ours')"


@pytest.fixture
def fst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fst:
    return make_fst(capfd, monkeypatch)


def play(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """From now on a started daemon is this script."""

    def command(_module: str, _args: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", script], {**env, "PYTHONPATH": str(REPOSITORY)}

    monkeypatch.setattr(launch, "module_command", command)
    monkeypatch.setattr(launch, "LEFT_SECONDS", 0.2)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    play(monkeypatch, SERVING)
    yield
    pid = fastest_home() / "pid"
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.usefixtures("serving")
def test_up_starts_a_daemon_that_outlives_it(fst: Fst, tmp_path: Path) -> None:
    said = fst("up", str(tmp_path))
    assert said.code == 0 and "thing/main is kept safe now" in said.out
    assert "daemon started" in said.err and "daemon-start.log" in said.err
    pid = int((fastest_home() / "pid").read_text())
    assert os.getsid(pid) == pid, "it has a session of its own"
    assert Path(f"/proc/{pid}/cwd").readlink() == fastest_home() / "state"
    again = fst("up", str(tmp_path))
    assert again.code == 0 and again.err == ""


def test_a_daemon_that_refuses_is_quoted_with_its_next_step_and_log(fst: Fst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, FAILING)
    said = fst("up", str(tmp_path))
    log = fastest_home() / "state" / "daemon-start.log"
    assert said.code == 3
    assert said.err == f"fst: the daemon did not start: the store is newer\n  next: take a newer Fastest Its words are in {log}\n"


def test_a_daemon_that_crashes_is_told_by_its_last_line(fst: Fst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, CRASHING)
    said = fst("up", str(tmp_path))
    assert said.code == 3
    assert "RuntimeError: a mistake of ours" in said.err and "Traceback" not in said.err


def test_down_does_not_wait_for_a_process_that_has_ended(fst: Fst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    wait_until(lambda: Path(f"/proc/{done.pid}/stat").read_text().split()[2] == "Z", 10, "it has ended, and nobody has looked")
    assert not launch._is_alive(done.pid)
    done.wait()
    assert not launch._is_alive(done.pid)
    assert launch._is_alive(os.getpid())


def test_a_checkout_is_named_and_the_present_folder_is_not_searched() -> None:
    command, env = module_command("cloud", ["serve"], {"PYTHONPATH": "/x"})
    assert command[1:] == ["-P", "-m", "cloud", "serve"]
    assert env["PYTHONPATH"] == f"{REPOSITORY}{os.pathsep}/x"


def test_a_folder_named_cloud_is_never_run_in_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    (tmp_path / "cloud" / "__main__.py").write_text("print('somebody else')")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "daemon", "cloud", "--help"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "somebody else" not in done.stdout
    assert done.returncode == 0 and "serve" in done.stdout, done.stderr


def test_the_reader_of_a_pipe_may_leave(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    script = f"{sys.executable} -P -m daemon config list; echo $? >&2"
    done = subprocess.run(["sh", "-c", f"({script}) | true"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0"
