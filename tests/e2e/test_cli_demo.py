"""`fst demo` and what `make run` starts, with real processes; nothing of theirs is left running or lying about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
FST = [sys.executable, "-P", "-m", "daemon"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Scratch folders of the demo go below this test's own."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path), "NO_COLOR": "1"}


def left_over(folder: Path) -> list[str]:
    """Processes whose command line or home is below this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("FASTEST_HOME", "")]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found


@pytest.mark.e2e
def test_the_demo_plays_and_cleans_up(tmp_path: Path, env: dict[str, str]) -> None:
    done = subprocess.run([*FST, "demo", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == 1 and 0 < document["there_ms"] < 5000 and 0 < document["back_ms"] < 5000
    assert "both edits are on both machines" in done.stderr and "hello from ada" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert left_over(tmp_path) == []


@pytest.mark.e2e
def test_the_tryout_is_live_until_it_is_told_to_stop(tmp_path: Path, env: dict[str, str]) -> None:
    env = {name: value for name, value in env.items() if name != "FASTEST_HOME"}
    said = tmp_path / "said"
    kept = tmp_path / "kept"
    with said.open("wb") as out:
        running = subprocess.Popen([*FST, "tryout", "--kept-in", str(kept)], cwd=tmp_path, env=env, stdout=out, stderr=out)
    try:
        wait_until(lambda: "Live: save something" in said.read_text() or running.poll() is not None, 60, "it is live")
        for wanted in ("is kept safe now: 4 files", ".env", "cloud      http://127.0.0.1:", "stop       Ctrl-C"):
            assert wanted in said.read_text()
        (kept / "sample" / "more.txt").write_text("more\n")
        wait_until(lambda: "5 files" in said.read_text(), 30, "a save is told")
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)
    assert running.returncode == 0, said.read_text()
    wait_until(lambda: left_over(tmp_path) == [], 10, "nothing runs any more")
