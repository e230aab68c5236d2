"""What goes wrong is told in a sentence with a next step, ends with its exit code, and loses nothing."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.compare import digests_in, look, tree_differences
from tests.lab.disks import own_mount, resize_disk, set_read_only, small_disk
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab, Result, fst_command, log_tail
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def assert_clear(done: Result, codes: tuple[int, ...], *mentions: str) -> None:
    """An error for a person: what, to what, next step; never a traceback."""
    assert done.code in codes, str(done)
    said = done.err + done.text
    assert "Traceback" not in said, str(done)
    assert len(done.err.split()) >= 5, f"no sentence on stderr: {done}"
    for mention in mentions:
        assert mention in said, f"{mention!r} is not named: {done}"


def fill(root: Path) -> None:
    root.mkdir()
    for at in range(80):
        path = root / f"folder-{at % 4}" / f"file-{at}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{at}\n" * 50)


@pytest.fixture
def machine(lab: Lab) -> Machine:
    """One machine with a running daemon, a filled folder, and no account."""
    made = Machine(lab, "a")
    fill(made.root)
    made.start()
    return made


@pytest.fixture(scope="module")
def standing(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One for all that only ask it something wrong."""
    for lab in open_lab(request):
        made = Machine(lab, "a")
        fill(made.root)
        made.start()
        made.must("up", str(made.root), "-y")
        yield made


# --- sign-in and cloud ------------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    stranger = Machine(pair.lab, "c")
    stranger.start()
    assert_clear(stranger.fst("login", "--cloud", pair.cloud.url, "--token-stdin", given=b"not-a-token\n"), (4,))
    assert_clear(stranger.fst("whoami"), (4,))
    assert_clear(stranger.fst("clone", "pair", str(stranger.root), "--mirror", cwd=stranger.folder), (4,))
    assert not stranger.root.exists() or not any(stranger.root.iterdir())


def test_a_cloud_that_is_down_at_login_is_named(machine: Machine, lab: Lab) -> None:
    with socket.socket() as held:  # bound but not listening: a connection is refused
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert_clear(machine.fst("login", "--cloud", url, "--token-stdin", given=b"any\n"), (1,), url)


def test_while_the_cloud_is_down_work_is_kept_and_sent_later(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.cloud.kill()
    (pair.a.root / "alone.txt").write_text("kept here\n")
    pair.a.wait_settled()
    wait_until(lambda: pair.a.report()["daemon"]["cloud"] == "offline", 60, "status tells that the cloud is away")
    assert pair.a.fst("status").code == 0
    assert_clear(pair.a.fst("wait", "--uploaded", "--timeout", "1"), (7,))
    (pair.a.root / "alone.txt").unlink()
    pair.a.wait_settled()
    assert pair.a.has_content(hashlib.sha256(b"kept here\n").hexdigest()), "a settled content outlives its removal"
    pair.cloud.start()
    pair.converge(90)


def test_plain_http_to_another_computer_is_refused(machine: Machine) -> None:
    assert_clear(machine.fst("login", "--cloud", "http://cloud.example.invalid", "--token-stdin", given=b"any\n"), (1, 2), "https")


# --- disks ------------------------------------------------------------------------------------------------------------------


def test_a_read_only_folder_is_told_and_heals(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.b.stop()
    with own_mount(pair.b.root):
        pair.b.start()
        set_read_only(pair.b.root, True)
        (pair.a.root / "folder-0/file-0.txt").write_text("edited on a\n")
        (pair.a.root / "new.txt").write_text("new on a\n")
        pair.a.wait_uploaded()
        wait_until(lambda: pair.b.status()["problems"], 30, "b tells that it cannot write")
        assert pair.b.fst("status").code == 5
        assert (pair.b.root / "folder-0/file-0.txt").read_text() == "0\n" * 50
        set_read_only(pair.b.root, False)
        pair.converge(60)
        pair.b.stop()
    assert pair.a.status()["files"] == 81


def test_a_full_disk_under_the_store_is_told_and_heals(lab: Lab) -> None:
    machine = Machine(lab, "a")
    fill(machine.root)
    with small_disk(machine.home, "6m"):
        machine.start()
        machine.must("up", str(machine.root), "-y")
        machine.wait_settled()
        large = machine.root / "large.bin"
        large.write_bytes(os.urandom(20 * 1024 * 1024))
        small = machine.root / "small.txt"
        small.write_text("small\n")
        before = digests_in(machine.root)
        wait_until(lambda: machine.status()["problems"] or machine.status()["state"] == "waiting", 60, "status tells of the full disk")
        told = machine.fst("status")
        assert told.code == 5 and "no room" in told.text, str(told)
        assert digests_in(machine.root) == before
        resize_disk(machine.home, "80m")
        machine.wait_settled(90)
        assert all(machine.has_content(digest) for digest in (before["large.bin"], before["small.txt"]))
        machine.fsck()
        machine.kill()


def test_a_full_disk_under_the_folder_is_told_and_heals(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.b.stop()
    with small_disk(pair.b.folder / "disk", "4m"):
        # A folder on the small disk takes the mirror's place by a second mirror.
        small = Machine(pair.lab, "c")
        small.root = pair.b.folder / "disk" / "work"
        small.start()
        small.login(pair.cloud.url, pair.cloud.token())
        small.mirror("pair")
        small.wait_settled()
        (pair.a.root / "large.bin").write_bytes(os.urandom(12 * 1024 * 1024))
        (pair.a.root / "folder-1/file-1.txt").write_text("edited on a\n")
        pair.a.wait_uploaded()
        wait_until(lambda: small.status()["problems"], 60, "c tells of the full disk")
        assert small.fst("status").code == 5
        assert not (small.root / "large.bin").exists(), "never a torn file under its name"
        resize_disk(pair.b.folder / "disk", "60m")
        wait_until(lambda: not tree_differences(pair.a.root, small.root), 90, "c has caught up by itself")
        small.stop()


# --- roots ------------------------------------------------------------------------------------------------------------------


def test_a_root_that_vanishes_halts_and_deletes_nothing(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    before = digests_in(pair.b.root)
    away = pair.a.folder / "away"
    pair.a.root.rename(away)
    wait_until(lambda: pair.a.fst("status", cwd=pair.a.folder).code == 5, 60, "a tells that its root is gone")
    assert str(pair.a.root) in pair.a.fst("status", cwd=pair.a.folder).text
    (pair.b.root / "meanwhile.txt").write_text("on b\n")
    pair.b.wait_uploaded()
    assert digests_in(pair.b.root).keys() == before.keys() | {"meanwhile.txt"}
    away.rename(pair.a.root)
    pair.converge(90)


def test_a_root_that_is_emptied_waits_for_approval(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    before = digests_in(pair.b.root)
    for path in sorted(look(pair.a.root), reverse=True):
        target = pair.a.root / path
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()
    wait_until(lambda: pair.a.fst("status").code == 6, 60, "the brake holds")
    assert digests_in(pair.b.root) == before
    assert_clear(pair.a.fst("wait", "--uploaded", "--timeout", "2"), (5, 6, 7))
    pair.a.must("approve")
    wait_until(lambda: pair.b.fst("status").code == 6, 60, "the brake holds on the other side too")
    assert digests_in(pair.b.root) == before
    pair.b.must("approve")
    pair.converge(60)
    assert digests_in(pair.b.root) == {}
    assert pair.b.has_content(before["folder-0/file-0.txt"])


def test_a_nested_root_is_refused(machine: Machine) -> None:
    machine.must("up", str(machine.root), "-y")
    assert_clear(machine.fst("up", str(machine.root / "folder-0")), (2,), str(machine.root))
    assert_clear(machine.fst("up", str(machine.root.parent)), (2,))
    assert len(machine.report()["workspaces"]) == 1


def test_home_and_the_top_are_refused(machine: Machine) -> None:
    assert_clear(machine.fst("up", str(machine.user_home)), (2,), str(machine.user_home))
    assert_clear(machine.fst("up", "/"), (2,))
    assert_clear(machine.fst("up", str(machine.home)), (2,))
    assert machine.report()["workspaces"] == []


def test_a_folder_that_is_not_there_and_one_that_is_no_workspace(machine: Machine) -> None:
    assert_clear(machine.fst("up", str(machine.folder / "nowhere")), (1, 2), "nowhere")
    machine.must("up", str(machine.root), "-y")
    assert_clear(machine.fst("snapshot", "-m", "x", cwd=machine.folder), (9,))


# --- processes and stores ---------------------------------------------------------------------------------------------------


def test_no_daemon_is_told(lab: Lab) -> None:
    machine = Machine(lab, "a")
    assert_clear(machine.fst("status"), (3,), "fst up")


def test_a_second_daemon_steps_back(machine: Machine) -> None:
    machine.must("up", str(machine.root), "-y")
    first = machine.report()["daemon"]["pid"]
    assert_clear(machine.fst("daemon", "run", timeout_s=30), (1,))
    assert machine.report()["daemon"]["pid"] == first


def test_a_lock_left_by_a_killed_daemon_does_not_block(machine: Machine) -> None:
    machine.must("up", str(machine.root), "-y")
    machine.kill()
    machine.start()
    assert machine.status()["files"] == 80


def test_a_port_in_use_is_named(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    other = pair.lab.base / "other-cloud"
    listen = f"127.0.0.1:{pair.cloud.port}"
    done = pair.cloud.fst("serve", "--data", str(other), "--listen", listen, timeout_s=30)
    assert_clear(done, (1,), str(pair.cloud.port))
    done = pair.cloud.fst("serve", "--data", str(pair.cloud.data), "--listen", "127.0.0.1:0", timeout_s=30)
    assert_clear(done, (1,))
    assert pair.cloud.is_up()


def stores_below(folder: Path) -> list[Path]:
    """Every SQLite file that knows schema versions."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path.open("rb").read(16) == b"SQLite format 3\0":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                if database.execute("select 1 from sqlite_master where name = 'schema_versions'").fetchone():
                    found.append(path)
    return found


def test_a_newer_store_is_left_alone(machine: Machine) -> None:
    machine.must("up", str(machine.root), "-y")
    machine.stop()
    (store,) = stores_below(machine.home)
    with sqlite3.connect(store) as database:
        database.execute("update schema_versions set version = version + 100")
    database.close()
    before = store.read_bytes()
    done = machine.lab.run([*fst_command(), "daemon", "run"], machine.env, cwd=machine.folder, timeout_s=30)
    assert_clear(done, (1,), store.name, "Update")
    assert store.read_bytes() == before
    done = machine.fst("up", str(machine.root), "-y")
    assert_clear(done, (1, 3))
    assert "Update" in done.err + log_tail(machine.log)


def test_a_damaged_store_is_told_by_fsck(machine: Machine) -> None:
    (machine.root / "large.bin").write_bytes(os.urandom(3 * 1024 * 1024))
    machine.must("up", str(machine.root), "-y")
    machine.wait_settled()
    machine.must("fsck")
    machine.stop()
    kept = max((path for path in machine.home.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with kept.open("r+b") as file:
        file.seek(kept.stat().st_size // 2)
        file.write(b"\xaa" * 4096)
    done = machine.fst("fsck")
    assert done.code not in (0, 3), str(done)
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "args",
    [("no-such-verb",), ("status", "--no-such-flag"), ("cat", "zz"), ("resolve", "x"), ("wait", "--timeout", "soon")],
)
def test_wrong_usage_ends_with_2(standing: Machine, args: tuple[str, ...]) -> None:
    assert_clear(standing.fst(*args), (2,))


def test_content_nobody_keeps_is_told(standing: Machine) -> None:
    assert_clear(standing.fst("cat", "0" * 64), (1,))


def test_odd_files_are_problems_and_nothing_hangs(machine: Machine) -> None:
    os.mkfifo(machine.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(machine.root / "socket"))
        (machine.root / "plain.txt").write_text("plain\n")
        machine.must("up", str(machine.root), "-y")
        machine.wait_settled()
    assert machine.status()["files"] == 81
    problems = machine.status()["problems"]
    assert (len(problems) if isinstance(problems, list) else problems) == 2
