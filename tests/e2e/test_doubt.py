"""In doubt nothing is deleted: disks that go, roots that are not the same, a cloud from a backup, somebody else on the folders (Q)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.compare import digest_of_file, digests_in, look, tree_differences
from tests.lab.disks import mount
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab, signal_all
from tests.lab.slow import slow
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def fill(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for at in range(80):
        path = root / f"folder-{at % 4}" / f"file-{at}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{at}\n" * 20)


def wait_halted(machine: Machine, code: str) -> None:
    """It stands still for this reason, told with a next step, and `fst status` ends as it should."""
    told: list[dict[str, str]] = []

    def is_halted() -> bool:
        told.append(machine.status().get("halt", {}))
        return told[-1].get("code") == code

    wait_until(is_halted, 60, f"{machine.name} tells {code}")
    assert told[-1]["message"] and told[-1]["hint"]
    codes = {machine.fst("status", cwd=machine.folder).code for _ in range(3)}
    assert codes == {6 if code == "brake-held" else 5}, codes


def test_a_disk_that_is_unmounted_and_written_under_is_left_alone_until_it_is_back(lab: Lab) -> None:
    pair = Pair(lab)
    disk = pair.a.folder / "disk"
    disk.mkdir()
    fill(disk)
    pair.a.root.mkdir()
    mount("--bind", str(disk), str(pair.a.root))
    try:
        pair.open()
        pair.converge(60)
        before = digests_in(pair.b.root)
        # Not --lazy: whoever unmounts must not be told that the disk is busy, for we hold nothing open.
        subprocess.run(["umount", str(pair.a.root)], check=True)
        (pair.a.root / "under.txt").write_text("written under the mount point\n")
        wait_halted(pair.a, "root-lost")
        (pair.b.root / "meanwhile.txt").write_text("on b\n")
        pair.b.wait_uploaded()
        assert digests_in(pair.b.root).keys() == before.keys() | {"meanwhile.txt"}
        assert sorted(digests_in(pair.a.root)) == ["under.txt"], "nothing is put under a mount point"
        mount("--bind", str(disk), str(pair.a.root))
        pair.converge(60)
        assert digests_in(pair.a.root).keys() == before.keys() | {"meanwhile.txt"}
    finally:
        lab.kill_all()
        subprocess.run(["umount", "--lazy", str(pair.a.root)], check=False)


@slow
def test_a_root_that_was_replaced_asks_twice_before_anything_goes(make_pair: Callable[..., Pair]) -> None:
    """Once whether this is the folder, and then whether all the files that it lacks are to go everywhere."""
    pair = make_pair(fill=fill)
    before = digests_in(pair.b.root)
    pair.a.root.rename(pair.a.folder / "away")
    pair.a.root.mkdir()
    (pair.a.root / "other.txt").write_text("another folder's\n")
    wait_halted(pair.a, "root-lost")
    pair.a.fst("approve")
    wait_halted(pair.a, "brake-held")
    assert digests_in(pair.b.root) == before
    pair.a.must("restore", "--from", "1")
    pair.converge(60)
    assert digests_in(pair.b.root).keys() >= before.keys()


@slow
def test_a_root_that_is_moved_while_files_come_in_is_followed_no_further(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    away = pair.a.folder / "away"
    for at in range(1500):
        (pair.b.root / f"new-{at}.txt").write_text(f"{at}\n" * 50)
    wait_until(lambda: any(pair.a.root.glob("new-*")), 60, "they come in")
    pair.a.root.rename(away)
    wait_halted(pair.a, "root-lost")
    assert not pair.a.root.exists(), "it is not made again"
    pair.b.wait_uploaded(60)
    assert len(digests_in(pair.b.root)) == 1580
    away.rename(pair.a.root)
    pair.converge(90)
    assert len(digests_in(pair.a.root)) == 1580


def test_a_cloud_from_a_backup_is_joined_on_a_persons_word_and_nothing_goes(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    backup, data = str(pair.cloud.folder / "backup"), ("--data", str(pair.cloud.data))
    assert (made := pair.cloud.fst("backup", backup, *data)).code == 0, made  # of a cloud that goes on running
    (pair.a.root / "after.txt").write_text("after the backup\n")
    (pair.b.root / "folder-0/file-0.txt").write_text("edited after the backup\n")
    pair.converge(60)
    (pair.a.root / "folder-1/file-1.txt").unlink()
    pair.converge(60)
    younger = pair.a.folder / "younger"
    younger.mkdir()
    (younger / "only.txt").write_text("a workspace that the backup never saw\n")
    pair.a.must("up", str(younger), "--project", "younger", "-y")
    pair.a.must("wait", str(younger), "--uploaded", "--timeout", "60")
    before = digests_in(pair.a.root)
    pair.cloud.stop()
    (pair.cloud.data / "key").rename(pair.cloud.folder / "key")  # what somebody kept apart
    shutil.rmtree(pair.cloud.data)
    pair.cloud.data.mkdir()
    (pair.cloud.folder / "key").rename(pair.cloud.data / "key")
    assert (put_back := pair.cloud.fst("restore", backup, *data)).code == 0, put_back
    pair.cloud.start()
    for machine in pair.machines:
        wait_halted(machine, "epoch-changed")
    (pair.a.root / "kept.txt").write_text("saves are kept meanwhile\n")
    kept = digest_of_file(pair.a.root / "kept.txt")
    wait_until(lambda: pair.a.has_content(kept), 20, "kept here")
    assert digests_in(pair.b.root) == before
    for machine in pair.machines:
        machine.must("approve")
    pair.a.must("approve", cwd=younger)
    pair.a.must("wait", str(younger), "--uploaded", "--timeout", "60")
    assert (younger / "only.txt").read_text() == "a workspace that the backup never saw\n"
    pair.converge(60)
    after = digests_in(pair.a.root)
    # What both have and differ in is a conflict: the path keeps the cloud's bytes, ours are in the record.
    assert {path for path in before if after.get(path) != before[path]} <= {"folder-0/file-0.txt"} and "kept.txt" in after
    assert all(machine.has_content(before["folder-0/file-0.txt"]) for machine in pair.machines)
    assert after.keys() - before.keys() <= {"kept.txt", "folder-1/file-1.txt"}, "what only the backup had is back, and nothing else"
    pair.check()


@contextmanager
def rsync_loop(a: Path, b: Path) -> Iterator[None]:
    """Somebody else's mirror of the same two folders, newest file wins, again and again."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            for one, other in ((a, b), (b, a)):
                subprocess.run(["rsync", "-a", "--update", f"{one}/", f"{other}/"], check=False, capture_output=True)
            ended.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")
@slow
def test_another_tool_that_mirrors_the_same_folders_makes_no_endless_game(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pace = threading.Event()
    with rsync_loop(pair.a.root, pair.b.root):
        for number in range(12):
            machine = pair.machines[number % 2]
            (machine.root / f"new-{number}.txt").write_text(f"{number}\n")
            (machine.root / "folder-0/file-0.txt").write_text(f"{number} by {machine.name}\n" * 20)
            pace.wait(0.2)
        for machine in pair.machines:
            machine.wait_uploaded(60)
        seen = [pair.a.status()["version"]]

        def has_calmed() -> bool:
            pace.wait(1.5)
            seen.append(pair.a.status()["version"])
            return bool(seen[-1] == seen[-2])

        wait_until(has_calmed, 40, f"the versions stop: {seen}")
        assert not tree_differences(pair.a.root, pair.b.root)
    for machine in pair.machines:  # the other tool carries our temporary files about; the next start takes them away
        machine.stop()
    for machine in pair.machines:
        machine.start()
    pair.converge(60)
    assert len(look(pair.a.root)) == 84 + 12, "no file of anybody's making that nobody made"
    assert pair.a.status()["conflicts"] <= 12


@slow
def test_a_machine_that_stood_still_for_long_takes_up_what_is_true_then(make_pair: Callable[..., Pair]) -> None:
    """A plan that was made before is void: while b stands still in mid apply, a goes on and b's person edits what was to be replaced."""
    pair = make_pair(fill=fill)
    for at in range(400):
        (pair.a.root / f"new-{at}.txt").write_text(f"{at}\n" * 50)
    wait_until(lambda: any(pair.b.root.glob("new-*")), 60, "they come in")
    stopped = pair.b.daemon_processes()
    signal_all(stopped, signal.SIGSTOP)
    here = sorted(path.name for path in pair.b.root.glob("new-*"))
    (pair.b.root / here[0]).unlink()
    (pair.b.root / "new-399.txt").write_text("b's own, while its daemon stood still\n")
    (pair.a.root / "folder-0/file-0.txt").write_text("a went on\n")
    (pair.a.root / "folder-1/file-1.txt").unlink()
    pair.a.wait_uploaded(60)
    threading.Event().wait(float(os.environ.get("STOP_SECONDS", "2")))
    signal_all(stopped, signal.SIGCONT)
    pair.converge(90)
    assert (pair.b.root / "folder-0/file-0.txt").read_text() == "a went on\n"
    assert not (pair.b.root / "folder-1/file-1.txt").exists()
    assert pair.b.status()["conflicts"] == 1 or (pair.b.root / "new-399.txt").read_text().startswith("b's own")
