"""Two daemons where there should be one: on one folder, and on the copy of a machine (K4, Q5)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.compare import digests_in, tree_differences
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def fill(root: Path) -> None:
    root.mkdir()
    for at in range(40):
        (root / f"file-{at}.txt").write_text(f"{at}\n" * 20)


def test_a_folder_has_one_daemon_and_the_next_once_that_is_killed(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    before = digests_in(pair.a.root)
    other = Machine(pair.lab, "c")
    other.root = pair.a.root
    other.start()
    told = other.fst("up", str(other.root), "-y")
    assert told.code == 1 and "another daemon" in told.err and str(other.root) in told.err, str(told)
    assert other.fst("status").code == 5
    (pair.a.root / "new.txt").write_text("only the first one keeps this\n")
    pair.converge(60)
    assert other.status()["files"] == 0
    pair.a.kill()
    other.must("sync")
    assert other.status()["files"] == 41
    assert digests_in(pair.a.root).items() >= before.items()


def clone_of(machine: Machine, name: str) -> Machine:
    """The machine's disk, copied: the same ids, sign-in and history; only its folder lies elsewhere on this computer."""
    twin = Machine(machine.lab, name)
    shutil.rmtree(twin.home)
    shutil.copytree(machine.home, twin.home, ignore=lambda folder, names: [one for one in names if one.endswith(".sock")])
    shutil.copytree(machine.root, twin.root)
    (store,) = twin.home.rglob("store.db")
    seen = twin.root.stat()
    with sqlite3.connect(store) as database:
        place = (os.fsencode(twin.root), seen.st_dev, seen.st_ino)
        assert database.execute("UPDATE replicas SET root = ?, root_dev = ?, root_ino = ?", place).rowcount == 1
    database.close()
    return twin


def test_a_cloned_machine_and_its_original_lose_nothing_and_agree(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.a.stop()
    twin = clone_of(pair.a, "c")
    for machine in (pair.a, twin):
        machine.start()
    machines = (pair.a, pair.b, twin)

    def all_agree() -> bool:
        roots = [machine.root for machine in machines]
        return not tree_differences(roots[0], roots[1]) and not tree_differences(roots[0], roots[2])

    for number, machine in enumerate((twin, pair.a, twin, pair.b)):
        (machine.root / f"round-{number}.txt").write_text(f"{number}\n")
        (machine.root / "file-0.txt").write_text(f"edited in round {number}\n")
        wait_until(all_agree, 30, f"all three have what {machine.name} wrote in round {number}")
    for machine in machines:
        (machine.root / f"at-once-{machine.name}.txt").write_text(machine.name)
        (machine.root / "file-1.txt").write_text(f"{machine.name} at once\n")
    wait_until(all_agree, 60, "all three agree")
    for machine in machines:
        assert (pair.a.root / f"at-once-{machine.name}.txt").exists()
    for machine in machines:
        machine.wait_uploaded(30)
        machine.fsck()
    pair.cloud.fsck()
