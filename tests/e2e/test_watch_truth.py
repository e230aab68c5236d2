"""What the watcher could not tell is found all the same, told, and nothing is looked at for ever. Real daemons, real limits.

STORM=30000 (`make soak`) files are written while the daemon stands still; LONG=1 waits for the looks of a daemon that polls.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.compare import digests_in, shown, tree_differences
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab, signal_all
from tests.waiting import wait_until

STORM = int(os.environ.get("STORM", "7000"))
WATCHES = 6
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 + STORM // 50)]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    for lab in open_lab(request):
        made = Pair(lab, settings={"FASTEST_SECRETS_HOLD": "false"})
        for at in range(10):
            (made.a.root / f"folder-{at}").mkdir(parents=True)
            (made.a.root / f"folder-{at}" / "first").write_text(f"{at}\n")
        made.open()
        made.converge(90)
        yield made


def logged(machine: Machine, wanted: str) -> int:
    """How many lines of its logs hold this."""
    return sum(line.count(wanted) for log in machine.home.rglob("*.log") for line in log.read_text("utf-8", "replace").splitlines())


def test_a_queue_that_overflowed_loses_nothing(pair: Pair) -> None:
    if int(QUEUE.read_text()) >= STORM * 3:
        pytest.skip(f"{QUEUE} is larger than this storm")
    signal_all(pair.a.daemon_processes(), signal.SIGSTOP)
    for at in range(STORM):
        (pair.a.root / f"folder-{at % 10}" / f"{at}.txt").write_text(f"{at}\n")
    (pair.a.root / "unheard/of").mkdir(parents=True)
    (pair.a.root / "unheard/of/x").write_text("x\n")
    (pair.a.root / "folder-0/first").unlink()
    (pair.a.root / "folder-1/first").rename(pair.a.root / "unheard/first")
    signal_all(pair.a.daemon_processes(), signal.SIGCONT)
    pair.converge(120 + STORM / 100)
    assert logged(pair.a, "overflowed"), "the queue was to overflow"
    assert len(digests_in(pair.b.root)) == STORM + 10
    (pair.a.root / "unheard/of/y").write_text("heard\n")
    wait_until((pair.b.root / "unheard/of/y").exists, 20, "a folder that was made unheard is watched now")


def test_times_to_come_are_settled_and_their_edits_arrive(pair: Pair) -> None:
    future = pair.a.root / "future.txt"
    for text in ("one\n", "two\n"):  # of one size and one mtime
        future.write_text(text)
        os.utime(future, (4e9, 4e9))
        pair.a.wait_settled(20)
        pair.b.wait_settled(20)
        pair.converge(30)
        assert (pair.b.root / "future.txt").read_text() == text
    for at, mtime in enumerate((0, -1, 2**31 - 1, 2**31, 2**33)):
        (pair.a.root / f"odd-{at}").write_text(f"{at}\n")
        os.utime(pair.a.root / f"odd-{at}", (mtime, mtime))
    pair.converge(30)


def test_a_write_under_one_name_of_a_hard_link_arrives_under_all(pair: Pair) -> None:
    (pair.a.root / "folder-2/one").write_text("old\n")
    (pair.a.root / "folder-3/two").hardlink_to(pair.a.root / "folder-2/one")
    pair.converge()
    (pair.a.root / "folder-2/one").write_text("new\n")
    wait_until(lambda: (pair.b.root / "folder-3/two").read_text() == "new\n", 20, "the other name has the new bytes")
    # On the other side they are two files; an edit there is one of one name, and the link here ends (docs/scenarios-files.md, D11).
    (pair.b.root / "folder-2/one").write_text("newer\n")
    pair.converge()
    assert (pair.a.root / "folder-2/one").read_text() == "newer\n"
    assert (pair.a.root / "folder-3/two").read_text() == "new\n"


def test_a_log_that_always_grows_keeps_nobody_waiting(pair: Pair) -> None:
    log, ends = pair.a.root / "app.log", threading.Event()

    def grow() -> None:
        number = 0
        while not ends.wait(0.01):
            with log.open("a") as file:
                file.write(f"line {number}\n")
            number += 1

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        for number in range(4):
            (pair.a.root / "folder-4/other.txt").write_text(f"{number}\n")
            wait_until(lambda at=number: _text(pair.b.root / "folder-4/other.txt") == f"{at}\n", 10, "an edit beside it arrives")  # type: ignore[misc]
    finally:
        ends.set()
        growing.join()
    pair.converge(30)
    kept = json.loads(pair.a.must("history", str(log), "--json").out)["history"]
    assert len(kept) < len(log.read_text().splitlines()) / 5 + 5, "many appends are one state"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_limit_of_watches_is_told_and_all_arrives(lab: Lab) -> None:
    limit = f'echo {WATCHES} > /proc/sys/user/max_inotify_watches && exec "$@"'
    machine = Machine(lab, "a", through=("unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"))
    if lab.run([*machine.through, "true"], machine.env, cwd=lab.base).code != 0:
        pytest.skip("this test needs a user namespace, and may not have one here")
    for at in range(2 * WATCHES):
        (machine.root / f"folder-{at}").mkdir(parents=True)
    machine.start()
    machine.must("up", str(machine.root), "-y")
    machine.wait_settled()
    (told,) = machine.status()["problems"]
    assert told["code"] == "polled" and "`sudo sysctl fs.inotify.max_user_watches=" in told["message"]
    assert "max_user_watches" in machine.fst("status").text and machine.fst("status").code == 0
    assert "max_user_watches" in machine.fst("doctor").text
    (machine.root / "seen.txt").write_text("seen\n")
    machine.must("sync", "--rescan", codes=(0, 1))
    machine.wait_settled()
    assert machine.status()["files"] == 1
    if os.environ.get("LONG"):
        for at in range(2 * WATCHES):
            (machine.root / f"folder-{at}" / "x").write_text("x\n")
        wait_until(lambda: machine.status()["files"] == 1 + 2 * WATCHES, 40, "a look at everything finds what no event told")
    machine.stop()


def test_a_checkout_of_another_branch_arrives_as_the_last_of_its_states(pair: Pair) -> None:
    root = pair.a.root / "repo"
    root.mkdir()

    def git(*args: str) -> None:
        done = pair.lab.run(["git", *args], {**pair.a.env, "HOME": str(pair.a.user_home), **IDENTITY}, cwd=root)
        assert done.code == 0, str(done)

    git("init", "-q", "-b", "main")
    for branch, count in (("main", 300), ("other", 240)):
        git("checkout", "-q", "-B", branch)
        shutil.rmtree(root / "src", ignore_errors=True)
        for at in range(count):
            (root / f"src/{at % 9}").mkdir(parents=True, exist_ok=True)
            (root / f"src/{at % 9}/{at}.txt").write_text(f"{branch} {at}\n")
        git("add", "-A")
        git("commit", "-q", "-m", branch)
    for _ in range(3):
        for branch in ("main", "other"):
            git("checkout", "-q", branch)
    pair.converge(60)
    differences = [told for told in tree_differences(root, pair.b.root / "repo") if ".git" not in told]
    assert not differences, shown(differences)
    assert len(digests_in(pair.b.root / "repo")) == 240
    assert not (pair.b.root / "repo/.git").exists(), "a repository is never mirrored file by file"


def test_a_rule_that_comes_and_goes_deletes_nothing_on_any_side(pair: Pair) -> None:
    (pair.a.root / "made").mkdir()
    (pair.a.root / "made/out.bin").write_text("made\n")
    pair.converge()
    (pair.a.root / ".gitignore").write_text("made/\n")
    pair.converge()
    assert (pair.a.root / "made/out.bin").exists() and (pair.b.root / "made/out.bin").exists()
    # Each side's own from now on.
    (pair.b.root / "made/out.bin").write_text("made on b\n")
    shutil.rmtree(pair.a.root / "made")
    (pair.a.root / "beside").write_text("beside\n")
    wait_until((pair.b.root / "beside").exists, 20, "an edit beside it arrives")
    pair.b.wait_settled()
    assert (pair.b.root / "made/out.bin").read_text() == "made on b\n" and not (pair.a.root / "made").exists()
    (pair.a.root / ".gitignore").unlink()
    pair.converge()
    assert (pair.a.root / "made/out.bin").read_text() == "made on b\n"


IDENTITY = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def test_the_stores_are_sound_after_all_that(pair: Pair) -> None:
    pair.check()
