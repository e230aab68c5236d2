"""Somebody saves all the time, in another process, while plans are carried out: no save is ever lost, and none is ever torn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.types import File, RelPath, digest_of
from sync.apply import apply_plan
from sync.core.plan import Action
from tests.trees import Replica, file

ROUNDS_SECONDS = 1.5
SAVER = """
import os, random, sys, time
path, how, seed = sys.argv[1:]
random.seed(int(seed))
temp = path + ".editor"
for line in sys.stdin:
    number = int(line)
    for _ in range(random.choice((0, 1, 10, 100)) * random.randrange(300)):
        pass
    for part in range(random.choice((1, 1, 2, 3))):
        data = b"save %d.%d " % (number, part) * 20
        in_place = how == "in place" or how == "both" and random.random() < 0.5
        flags = os.O_WRONLY | os.O_CREAT | random.choice((0, os.O_TRUNC))
        with open(os.open(path if in_place else temp, flags, 0o644), "wb") as stream:
            stream.write(data)
            stream.truncate()
        if not in_place:
            os.rename(temp, path)
    sys.stdout.write(data.decode() + "\\n")
    sys.stdout.flush()
"""


@pytest.fixture(params=["by rename", "in place", "both"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "w").mkdir()
    arguments = [sys.executable, "-c", SAVER, str(tmp_path / "w" / "file"), request.param, "7"]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


def wholes(number: int) -> list[bytes]:
    return [b"before %d" % number, *(b"save %d.%d " % (number, part) * 20 for part in range(3))]


@pytest.mark.parametrize("removing", [False, True])
def test_no_save_is_lost_to_a_plan_that_runs_beside_it(
    saver: subprocess.Popen[str], tmp_path: Path, removing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # the closer the race, the better
    assert saver.stdin is not None and saver.stdout is not None
    replica = Replica(tmp_path / "w")
    path = replica.path / "file"
    outcomes = {"done": 0, "stale": 0, "rescued": 0}
    deadline, number, newest = time.monotonic() + ROUNDS_SECONDS, 0, 0
    while time.monotonic() < deadline:
        number += 1
        path.write_bytes(b"before %d" % number)
        replica.settle()
        expect = file(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        ours = b"ours %d " % number * 30
        become = None if removing else File(replica.blobs.put(ours), len(ours))
        saver.stdin.write(f"{number}\n")
        saver.stdin.flush()
        applied = apply_plan([Action(RelPath(b"file"), expect, become)], replica.root, replica.blobs, replica.index, keep=replica.blobs.put)
        saved = saver.stdout.readline().removesuffix("\n").encode()
        replica.index.remember(applied.seen)
        assert applied.problems == {}
        outcomes["done"] += len(applied.done)
        outcomes["stale"] += len(applied.stale)
        outcomes["rescued"] += len(applied.rescued)
        there = path.read_bytes() if path.exists() else b""
        assert there == saved or digest_of(saved) in replica.blobs.kept, (number, applied, there)
        assert there in (ours, b"") or there in wholes(number), "torn"
        newest += there == saved
        assert [each.name for each in replica.path.iterdir() if each.name != "file"] == []
    assert outcomes["done"] and outcomes["stale"], f"the race was a race: {outcomes}"
    assert newest > 0.9 * number, f"the newest save has the name nearly always: {newest} of {number}"
