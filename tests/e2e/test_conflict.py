"""Both machines edit one file while the cloud is away: lines apart are joined, an overlap becomes a record that loses nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.compare import look
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LINES = [f"line {number}\n" for number in range(1, 21)]
NOTES = "notes.txt"


def fill(root: Path) -> None:
    root.mkdir()
    (root / NOTES).write_text("".join(LINES))
    (root / "picture.bin").write_bytes(bytes(range(256)) * 20)
    (root / "other.txt").write_text("other\n")


def edited(changes: dict[int, str]) -> str:
    lines = list(LINES)
    for number, text in changes.items():
        lines[number - 1] = text
    return "".join(lines)


def apart(pair: Pair, path: str, on_a: bytes, on_b: bytes) -> None:
    """Write both sides while the cloud is away, let each keep its own, then bring the cloud back until nothing moves any more."""
    pair.cloud.stop()
    for machine, data in ((pair.a, on_a), (pair.b, on_b)):
        (machine.root / path).write_bytes(data)
        machine.wait_settled()
    pair.cloud.start()
    pair.converge(90)


def wait_conflicts(machine: Machine, count: int) -> None:
    """Until `fst status` says that so many conflicts wait for a person."""
    wait_until(lambda: machine.status()["conflicts"] == count, 30, f"{machine.name} tells {count} conflicts")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_lines_apart_are_joined(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    apart(pair, NOTES, edited({2: "two, by a\n"}).encode(), edited({18: "eighteen, by b\n"}).encode())
    joined = edited({2: "two, by a\n", 18: "eighteen, by b\n"})
    for machine in pair.machines:
        assert (machine.root / NOTES).read_text() == joined
        assert machine.fst("status").code == 0
    pair.check()


@pytest.mark.parametrize("choice", ["--ours", "--theirs", "--both"])
def test_an_overlap_is_told_and_settled_on_both(make_pair: Callable[..., Pair], choice: str) -> None:
    pair = make_pair(fill=fill)
    by_a, by_b = edited({10: "ten, by a\n"}).encode(), edited({10: "ten, by b\n"}).encode()
    apart(pair, NOTES, by_a, by_b)
    for machine in pair.machines:
        wait_conflicts(machine, 1)
        assert machine.fst("status").code == 5
        assert NOTES in machine.fst("conflicts").text
        assert machine.has_content(digest(by_a)) and machine.has_content(digest(by_b)), "both texts can be had"
    head = (pair.a.root / NOTES).read_bytes()
    assert head in (by_a, by_b), "the path keeps the head's bytes: no markers, no mixture"
    record = by_b if head == by_a else by_a

    pair.a.must("resolve", NOTES, choice)
    pair.converge(60)
    for machine in pair.machines:
        wait_conflicts(machine, 0)
        assert machine.fst("status").code == 0
    kept = (pair.b.root / NOTES).read_bytes()
    if choice == "--theirs":
        assert kept == head
    elif choice == "--ours":
        assert kept == record
    else:
        everywhere = b"".join((pair.b.root / path).read_bytes() for path, seen in look(pair.b.root).items() if seen.kind == "file")
        assert b"ten, by a\n" in everywhere and b"ten, by b\n" in everywhere
    assert pair.b.has_content(digest(by_a)) and pair.b.has_content(digest(by_b)), "resolving forgets neither text"
    pair.check()


def undecided(pair: Pair) -> tuple[bytes, bytes]:
    """Line 10 by both, the cloud away; both machines tell of one conflict. The head's text, and the one that lost its place."""
    by_a, by_b = edited({2: "two, by a\n", 10: "ten, by a\n"}).encode(), edited({10: "ten, by b\n"}).encode()
    apart(pair, NOTES, by_a, by_b)
    for machine in pair.machines:
        wait_conflicts(machine, 1)
        assert machine.has_content(digest(by_a)) and machine.has_content(digest(by_b)), "both texts can be had"
    (record,) = json.loads(pair.a.must("conflicts", "--json").text)["conflicts"]
    texts = {digest(text): text for text in (by_a, by_b)}
    return texts[record["theirs"]["hash"]], texts[record["ours"]["hash"]]


def test_a_copy_beside_it(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill, settings={"FASTEST_CONFLICT_STYLE": "copy"})
    head, lost = undecided(pair)
    name = f"notes.conflict-{digest(lost)[:12]}.txt"
    for machine in pair.machines:
        assert (machine.root / NOTES).read_bytes() == head
        assert (machine.root / name).read_bytes() == lost
    # From now on it is a file like any other: edited, it crosses; the record waits for a person all the same.
    (pair.b.root / name).write_text("edited\n")
    pair.converge(60)
    assert (pair.a.root / name).read_text() == "edited\n"
    pair.b.must("resolve", NOTES, "--theirs")
    pair.converge(60)
    for machine in pair.machines:
        wait_conflicts(machine, 0)
        assert (machine.root / NOTES).read_bytes() == head and (machine.root / name).read_text() == "edited\n"
    pair.check()


def test_markers_in_it(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill, settings={"FASTEST_CONFLICT_STYLE": "markers"})
    head, lost = undecided(pair)
    ours, theirs = (text.decode().splitlines(keepends=True)[9] for text in (lost, head))
    marked = edited({2: "two, by a\n", 10: f"<<<<<<< ours\n{ours}=======\n{theirs}>>>>>>> theirs\n"})
    for machine in pair.machines:
        assert (machine.root / NOTES).read_text() == marked, "what joins is joined"
        assert [path for path in look(machine.root) if "conflict" in path] == []
    pair.a.must("resolve", NOTES, "--theirs")
    pair.converge(60)
    for machine in pair.machines:
        wait_conflicts(machine, 0)
        assert (machine.root / NOTES).read_bytes() == head, "no markers are left"
    pair.a.must("undo")
    pair.converge(60)
    assert (pair.b.root / NOTES).read_text() == marked
    pair.check()


def test_snapshots_of_both_are_continued_by_one(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.cloud.stop()
    for machine in pair.machines:
        (machine.root / f"by {machine.name}").write_text(f"{machine.name}\n")
        machine.must("snapshot", "-m", f"of {machine.name}")
    pair.cloud.start()
    pair.converge(90)
    logs = [json.loads(machine.must("log", "--json").text)["snapshots"] for machine in pair.machines]
    assert [one["id"] for one in logs[0]] == [one["id"] for one in logs[1]]
    merge, *others = logs[0]
    assert {one["message"] for one in others if one["id"] in merge["parents"]} == {"of a", "of b"}
    for machine in pair.machines:
        drawn = machine.must("log", "--graph").text.splitlines()
        assert drawn[0].startswith("*  ") and drawn[1] == "|-\\" and "|-/" in drawn
        assert "A  by " in machine.must("show", merge["id"]).text
    pair.check()


def test_a_binary_edited_on_both_sides_is_never_mixed(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    by_a, by_b = b"\0a" + bytes(range(256)) * 20, bytes(range(256)) * 20 + b"\0b"
    apart(pair, "picture.bin", by_a, by_b)
    for machine in pair.machines:
        wait_conflicts(machine, 1)
        assert machine.has_content(digest(by_a)) and machine.has_content(digest(by_b))
    assert (pair.a.root / "picture.bin").read_bytes() in (by_a, by_b)


def test_an_edit_outlives_the_other_sides_deletion(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.cloud.stop()
    (pair.a.root / NOTES).unlink()
    (pair.b.root / NOTES).write_text("edited on b while a removed it\n")
    for machine in pair.machines:
        machine.wait_settled()
    pair.cloud.start()
    pair.converge(90)
    assert (pair.a.root / NOTES).read_text() == "edited on b while a removed it\n"


def test_a_file_on_one_side_and_a_folder_on_the_other(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    pair.cloud.stop()
    (pair.a.root / "thing").write_text("a file, on a\n")
    (pair.b.root / "thing").mkdir()
    (pair.b.root / "thing/inside.txt").write_text("below a folder, on b\n")
    for machine in pair.machines:
        machine.wait_settled()
    pair.cloud.start()
    pair.converge(90)
    for machine in pair.machines:
        assert (machine.root / "thing/inside.txt").read_text() == "below a folder, on b\n"
        wait_conflicts(machine, 1)
        assert machine.has_content(digest(b"a file, on a\n"))
