"""Real stores with real damage under real daemons: told with a next step, repaired where anybody has it, never spread.

With `DAMAGE` in the environment (as `make soak` has it) all of it; else the few that a person would meet first.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab.compare import digests_in
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab, Result, fst_command, signal_all
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
thorough = pytest.mark.skipif("DAMAGE" not in os.environ, reason="slow: DAMAGE=1 asks for it")
MakePair = Callable[..., Pair]


def fill(root: Path) -> None:
    for number in range(40):
        file = root / f"d{number % 5}" / f"f{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n" * (number + 1))
    (root / "big.bin").write_bytes(os.urandom(200_000))
    (root / "huge.bin").write_bytes(os.urandom(4_500_000))


def store_of(machine: Machine) -> Path:
    return machine.home / "data" / "store.db"


def change_byte(file: Path, at: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ 0x10]))


def is_told(done: Result) -> None:
    assert done.code == 1 and "fsck --repair" in done.err and "Traceback" not in done.err, str(done)


def killed(machine: Machine) -> bool:
    """Kill what runs; True once nothing does: what dies may just have started another."""
    signal_all(machine.daemon_processes(), signal.SIGKILL)
    return not machine.daemon_processes()


def repair(machine: Machine) -> Result:
    done = machine.must("fsck", "--repair")
    machine.fsck()
    return done


def test_a_lost_database_joins_both_sides_and_deletes_nothing(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    a, b = pair.machines
    b.stop()
    (b.root / "d0/f0.txt").write_text("edited on b\n")
    (b.root / "d1/f1.txt").write_text("ours\n")
    (a.root / "d1/f1.txt").write_text("theirs\n")
    (b.root / "d2/f2.txt").unlink()
    (a.root / "d3/f3.txt").unlink()
    a.wait_uploaded()
    before = digests_in(b.root)
    store_of(b).unlink()
    is_told(b.fst("fsck"))
    done = b.lab.run([*fst_command(), "daemon", "run"], b.env, cwd=b.folder, timeout_s=30)
    assert done.code == 1 and "fsck --repair" in done.err, str(done)
    assert digests_in(b.root) == before
    b.must("fsck", "--repair")
    pair.converge()
    assert (a.root / "d2/f2.txt").exists() and (a.root / "d3/f3.txt").exists(), "a lost base deletes nothing"
    # Without a base nobody can tell who edited: each of two texts is in the folder or in a record.
    told = b.must("conflicts", codes=(0, 5)).text
    assert "d0/f0.txt" in told and "d1/f1.txt" in told
    for text in ("edited on b\n", "ours\n", "theirs\n"):
        assert b.has_content(hashlib.sha256(text.encode()).hexdigest())
    pair.check()


def test_damage_of_each_kind_is_told_and_repaired(make_pair: MakePair) -> None:
    """A torn page and a missing segment; thorough: flipped bits in segment and header, a cut-off file and garbage, too."""
    pair = make_pair(fill=fill)
    b = pair.b

    def segment() -> Path:
        return max((b.home / "data/segments").glob("*.seg"), key=lambda file: file.stat().st_size)

    def tear_page() -> None:
        with closing(sqlite3.connect(store_of(b))) as reader:
            ((page,),) = reader.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'stat_index'")
        with store_of(b).open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xaa" * 4096)

    kinds: list[Callable[[], object]] = [tear_page, lambda: segment().unlink()]
    more: list[Callable[[], object]] = [
        lambda: change_byte(segment(), segment().stat().st_size // 2),
        lambda: change_byte(store_of(b), 3),
        lambda: os.truncate(store_of(b), store_of(b).stat().st_size // 2),
        lambda: store_of(b).write_bytes(os.urandom(60_000)),
    ]
    for hurt in kinds + more * ("DAMAGE" in os.environ):
        b.stop()
        before = digests_in(b.root)
        hurt()
        told = b.fst("fsck")
        assert told.code == 1 and "fsck --repair" in told.text + told.err, str(told)
        repair(b)
        assert digests_in(b.root) == before
    (pair.a.root / "after.txt").write_text("after")
    pair.converge()
    pair.check()


@thorough
def test_a_log_that_vanished_with_a_crash_costs_nothing(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    a, b = pair.machines
    (a.root / "d0/f0.txt").unlink()
    (a.root / "new.txt").write_text("new")
    pair.converge()
    b.kill()
    (b.root / "mine.txt").write_text("mine")
    store_of(b).with_name("store.db-wal").unlink()
    before = digests_in(b.root)
    if b.fst("fsck").code:
        b.must("fsck", "--repair")
    else:
        b.wait_up()
    pair.converge()
    assert digests_in(a.root).items() >= before.items(), "nothing that was on b is gone"
    repair(b)
    pair.check()


@thorough
def test_killed_in_the_middle_of_a_repair_it_is_done_again(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    b = pair.b
    b.stop()
    before = digests_in(b.root)
    change_byte(store_of(b), 3)
    data = b.home / "data"
    for seen in (data / "damaged-1", data / "store.db.rescued", data / "damaged-1/reading.db", data / "store.db"):
        going = b.lab.start([*fst_command(), "fsck", "--repair"], b.env, cwd=b.folder, log=b.folder / "fsck.log")
        wait_until(lambda seen=seen, going=going: seen.exists() or going.poll() is not None, 30, f"{seen.name} is made")  # type: ignore[misc]
        wait_until(lambda: killed(b), 30, "the repair and the daemon it started are gone")
        going.wait(timeout=30)
    assert digests_in(b.root) == before
    repair(b)
    assert (data / "damaged-1/store.db").exists(), "the evidence is kept"
    pair.converge()
    pair.check()


def test_what_nobody_has_any_more_is_named_and_never_given_out(lab: Lab) -> None:
    machine = Machine(lab, "m")
    machine.root.mkdir()
    text = "only in the history\n" * 100
    (machine.root / "a.txt").write_text(text)
    machine.start()
    machine.up("alone")
    machine.must("snapshot", "-m", "one")
    (machine.root / "a.txt").write_text("now\n")
    machine.must("sync")
    machine.must("snapshot", "-m", "two")
    machine.stop()
    with closing(sqlite3.connect(store_of(machine))) as db:
        db.execute("UPDATE blobs SET data = CAST(replace(data, 'only', 'ONLY') AS BLOB) WHERE data IS NOT NULL AND size = ?", (len(text),))
        db.commit()
    told = machine.fst("fsck", "--repair")
    assert told.code == 1 and "a.txt in snap-" in told.text, str(told)
    (kept,) = (machine.home / "data/quarantine").iterdir()
    assert kept.read_text().startswith("ONLY")
    assert machine.fst("cat", kept.name).code == 1
    snapshot = told.text.split("a.txt in ")[1].split(":")[0]
    restored = machine.fst("restore", "--from", snapshot, "a.txt")
    assert restored.code != 0 and "Traceback" not in restored.err, str(restored)
    assert (machine.root / "a.txt").read_text() == "now\n"
    (machine.root / "a.txt").write_text(text)
    machine.must("sync")
    machine.fsck()


def test_what_the_cloud_lost_is_sent_again(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    with closing(sqlite3.connect(next(pair.cloud.data.glob("*.db")))) as db:
        lost = db.execute("DELETE FROM blobs WHERE size BETWEEN 20 AND 60").rowcount
        hurt = db.execute("UPDATE blobs SET data = zeroblob(size) WHERE data IS NOT NULL AND size BETWEEN 61 AND 90").rowcount
        hurt += db.execute("UPDATE blobs SET start = start + 1 WHERE start IS NOT NULL AND size BETWEEN 61 AND 90").rowcount
        db.commit()
    assert lost > 0 and hurt > 0
    checked = pair.cloud.fst("fsck", "--repair", "--data", str(pair.cloud.data))
    assert checked.code == 1 and checked.text.count("owned, and not here") == lost + hurt
    done = pair.a.must("fsck", "--cloud")
    assert f"sent {lost + hurt} blobs" in done.text, str(done)
    assert "sent" not in pair.a.must("fsck", "--cloud").text
    pair.check()


def test_damage_that_is_met_at_work_is_mended_unasked(make_pair: MakePair) -> None:
    """What was to be sent is read from the file again; what was to be placed comes from the cloud."""
    pair = make_pair(fill=fill)
    a, b = pair.machines
    pair.cloud.stop()
    sent = os.urandom(4_500_000)
    (a.root / "sent.bin").write_bytes(sent)
    a.wait_settled()
    a.stop()
    b.stop()
    newest = max((a.home / "data/segments").glob("*.seg"), key=lambda file: file.stat().st_size)
    change_byte(newest, newest.stat().st_size - 2_000_000)
    with closing(sqlite3.connect(store_of(b))) as db:
        hurt = db.execute("UPDATE blobs SET data = zeroblob(size) WHERE data IS NOT NULL AND size = 200000").rowcount
        hurt += db.execute("UPDATE blobs SET start = start + 1 WHERE start IS NOT NULL AND size = 200000").rowcount
        db.commit()
    assert hurt == 1
    pair.cloud.start()
    a.start()
    a.wait_uploaded()
    (a.root / "copy.bin").write_bytes((a.root / "big.bin").read_bytes())
    a.wait_uploaded()
    b.start()
    pair.converge()
    assert (b.root / "sent.bin").read_bytes() == sent
    pair.check()


def test_three_fast_crashes_and_it_only_answers(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    a, b = pair.machines
    for _ in range(3):
        b.kill(signal.SIGSEGV)
        b.start()
    (a.root / "later.txt").write_text("later")
    (b.root / "mine.txt").write_text("mine")
    a.wait_uploaded()
    status = b.status()
    assert (status["state"], status["halt"]["code"]) == ("halted", "crash-loop")
    assert not (b.root / "later.txt").exists() and not (a.root / "mine.txt").exists()
    b.must("sync")
    pair.converge()
    b.stop()
    b.start()
    pair.converge()


@thorough
def test_a_daemon_that_is_killed_again_and_again_goes_on(make_pair: MakePair) -> None:
    pair = make_pair(fill=fill)
    for _ in range(4):
        pair.b.kill()
        pair.b.start()
    (pair.a.root / "later.txt").write_text("later")
    pair.converge()
