"""Files and disks that refuse: each is told by its path, everything else goes on, and it heals by itself."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.compare import digests_in, look, tree_differences
from tests.lab.disks import bound, immutable, resize_disk, small_disk
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root whom permission bits stop, as they stop anybody."""


def fill(root: Path) -> None:
    for at in range(20):
        path = root / f"folder-{at % 4}" / f"file-{at}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{at}\n" * 50)


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if shutil.which(NO_OVERRIDE[0]) is None:
        pytest.skip("this test needs setpriv")
    for lab in open_lab(request):
        made = Pair(lab, settings={"FASTEST_SECRETS_HOLD": "false"})
        made.a.through = made.b.through = NO_OVERRIDE
        fill(made.a.root)
        made.open()
        made.converge(90)
        yield made


def problems(machine: Machine) -> dict[str, str]:
    """Path -> code."""
    return {problem["path"]: problem["code"] for problem in machine.status()["problems"]}


def arrives(path: Path, text: str) -> None:
    wait_until(lambda: path.is_file() and path.read_text() == text, 30, f"{path} has {text!r}")


@pytest.mark.parametrize("what", ["folder-0/file-0.txt", "folder-1"])
def test_what_may_not_be_read_is_told_kept_and_read_later(pair: Pair, what: str) -> None:
    target, inside = pair.a.root / what, what if what.endswith(".txt") else f"{what}/file-1.txt"
    before = (pair.b.root / inside).read_bytes()
    (pair.a.root / inside).write_text("nobody may read this\n")
    pair.converge()
    (pair.a.root / inside).write_text("nobody may read this yet\n")
    mode = target.stat().st_mode
    target.chmod(0)
    wait_until(lambda: problems(pair.a).get(what) == "unwritable", 30, "a tells what it may not read")
    (pair.a.root / "folder-2/beside.txt").write_text(f"beside {what}\n")
    arrives(pair.b.root / "folder-2/beside.txt", f"beside {what}\n")
    assert (pair.b.root / inside).read_bytes() != before, "what was read is still there"
    target.chmod(mode)
    pair.converge()
    assert (pair.b.root / inside).read_text() == "nobody may read this yet\n"
    assert problems(pair.a) == {}


def test_a_file_nobody_may_change_is_told_and_changed_later(pair: Pair) -> None:
    kept, gone = pair.b.root / "folder-2/file-2.txt", pair.b.root / "folder-2/file-6.txt"
    before = kept.read_bytes()
    with immutable(kept), immutable(gone):
        (pair.a.root / "folder-2/file-2.txt").write_text("new\n")
        (pair.a.root / "folder-2/file-6.txt").unlink()
        (pair.a.root / "folder-2/file-10.txt").write_text("beside\n")
        arrives(pair.b.root / "folder-2/file-10.txt", "beside\n")
        wait_until(lambda: len(problems(pair.b)) == 2, 30, "b tells what it may not change")
        assert (kept.read_bytes(), gone.exists()) == (before, True)
        assert pair.a.status()["files"] >= 19 and (pair.a.root / "folder-2/file-2.txt").read_text() == "new\n"
    pair.converge(60)
    assert (kept.read_text(), gone.exists()) == ("new\n", False)


def test_a_daemon_without_descriptors_lives_and_goes_on(pair: Pair) -> None:
    (daemon,) = [process for process in pair.b.daemon_processes() if "daemon" in process.cmdline()]
    usual = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    # Below what it holds already: not one more can be opened.
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (daemon.num_fds() - 2, usual[1]))
    for at in range(10):
        (pair.a.root / f"folder-3/from-a-{at}.txt").write_text(f"{at}\n")
        (pair.b.root / f"folder-3/from-b-{at}.txt").write_text(f"{at}\n")
    (pair.a.root / "folder-3/file-3.txt").write_text("edited on a\n")
    pair.a.wait_uploaded()
    before = digests_in(pair.b.root)
    pair.a.must("sync")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, usual)
    pair.converge(90)
    assert daemon.is_running()
    assert before.keys() <= digests_in(pair.b.root).keys(), "nothing is taken away for want of descriptors"
    assert (pair.b.root / "folder-3/file-3.txt").read_text() == "edited on a\n"


def test_a_bound_folder_is_told_and_neither_read_nor_written(pair: Pair) -> None:
    outside = pair.lab.base / "outside"
    outside.mkdir()
    (outside / "private.txt").write_text("not of this workspace\n")
    (pair.a.root / "bound").mkdir()
    (pair.a.root / "folder-0/later").mkdir()
    (pair.a.root / "folder-0/later/mine.txt").write_text("mine\n")
    pair.converge()
    with bound(outside, pair.a.root / "bound"), bound(outside, pair.a.root / "folder-0/later"):
        (pair.a.root / "folder-0/beside.txt").write_text("beside\n")
        (outside / "another.txt").write_text("heard of, as if it were inside\n")
        pair.a.must("sync", "--rescan", codes=(0, 1))
        arrives(pair.b.root / "folder-0/beside.txt", "beside\n")
        assert problems(pair.a) == {"bound": "mount-point", "folder-0/later": "mount-point"}
        (pair.b.root / "folder-0/later/mine.txt").write_text("edited on b\n")
        (pair.b.root / "folder-0/later/new.txt").write_text("new on b\n")
        (pair.b.root / "bound/new.txt").write_text("new on b\n")
        pair.b.wait_uploaded()
        wait_until(lambda: "unwritable" in problems(pair.a).values(), 30, "a tells what it does not write")
        assert look(outside).keys() == {"private.txt", "another.txt"}, "nothing is written outside"
        assert not (pair.b.root / "bound/private.txt").exists(), "nothing outside is read"
    pair.a.must("sync", "--rescan", codes=(0, 1))
    pair.converge(60)
    assert (pair.a.root / "folder-0/later/mine.txt").read_text() == "edited on b\n"
    assert (pair.a.root / "bound/new.txt").read_text() == "new on b\n"


def test_what_is_moved_from_and_to_another_disk_is_whole(pair: Pair) -> None:
    with small_disk(pair.lab.base / "elsewhere", "8m"):
        elsewhere = pair.lab.base / "elsewhere"
        data = os.urandom(3_000_000)
        (elsewhere / "tree/deep").mkdir(parents=True)
        (elsewhere / "tree/deep/large.bin").write_bytes(data)
        shutil.move(elsewhere / "tree", pair.a.root / "moved-in")
        pair.converge()
        assert (pair.b.root / "moved-in/deep/large.bin").read_bytes() == data
        shutil.move(pair.b.root / "moved-in", elsewhere / "moved-out")
        pair.converge()
        assert not (pair.a.root / "moved-in").exists() and (elsewhere / "moved-out/deep/large.bin").read_bytes() == data


def test_modes_but_for_the_executable_bit_stay_here(pair: Pair) -> None:
    tool = pair.a.root / "tool.sh"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o6755)
    pair.converge()
    assert (pair.b.root / "tool.sh").stat().st_mode & 0o7777 == 0o755
    (pair.b.root / "tool.sh").chmod(0o600)
    pair.converge()
    assert tool.stat().st_mode & 0o111 == 0
    tool.chmod(0o750)
    pair.converge()
    assert (pair.b.root / "tool.sh").stat().st_mode & 0o7777 == 0o700


@pytest.mark.skipif("LARGE" not in os.environ, reason="LARGE=1: 5 GiB on each side, for minutes")
@pytest.mark.timeout(3000)
def test_a_sparse_file_of_five_gib_is_exact_and_takes_little_memory(pair: Pair) -> None:
    free = shutil.disk_usage(pair.lab.base).free
    assert free > 12 * 1024**3, "5 GiB on b, and room to spare"
    large, marks = pair.a.root / "large.img", {0: b"begin", 2**32 - 3: b"across 4 GiB", 5 * 2**30 - 3: b"end"}
    with large.open("wb") as file:
        for at, text in marks.items():
            file.seek(at)
            file.write(text)
    peak = 0

    def arrived() -> bool:
        nonlocal peak
        for machine in pair.machines:
            peak = max([peak, *(process.memory_info().rss for process in machine.daemon_processes())])
        return (pair.b.root / "large.img").exists()

    wait_until(arrived, 2400, "5 GiB arrive")
    pair.converge(600)
    assert (pair.b.root / "large.img").stat().st_size == 5 * 2**30
    with (pair.b.root / "large.img").open("rb") as arrived_file:
        for at, text in marks.items():
            arrived_file.seek(at)
            assert arrived_file.read(len(text)) == text
    print(f"peak {peak / 2**20:.0f} MiB")
    assert peak < 400 * 2**20
    large.unlink()
    pair.converge(60)


def test_a_full_disk_under_the_cloud_is_told_and_heals(lab: Lab) -> None:
    pair = Pair(lab)
    fill(pair.a.root)
    with small_disk(pair.cloud.data, "8m"):
        pair.open()
        (pair.a.root / "large.bin").write_bytes(os.urandom(16 * 1024 * 1024))
        (pair.a.root / "small.txt").write_text("small\n")
        pair.a.wait_settled()
        wait_until(lambda: "no room" in pair.a.fst("status").text, 60, "a tells that the cloud's disk is full")
        assert not pair.a.status()["uploaded"]
        assert pair.cloud.is_up()
        resize_disk(pair.cloud.data, "120m")
        pair.converge(120)
        assert not tree_differences(pair.a.root, pair.b.root)
        pair.check()
        lab.kill_all()
