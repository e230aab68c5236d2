"""Two lines of snapshots that meet: one snapshot continues both, where both sides have some, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.api.history import root_before
from daemon.cli.render.graph import graph_lines
from daemon.cli.render.text import Ink
from store.errors import Offline, VersionMoved
from store.manifest import EMPTY_ROOT
from store.snapshots import Snapshot, newest_unshared
from sync import adopt
from tests.two_replicas import WORKSPACE, MemoryCloud, Side, run

Pair = tuple[Side, Side]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two machines that have the first snapshot of `f` in common."""
    cloud = MemoryCloud()
    a, b = Side(tmp_path / "a", cloud), Side(tmp_path / "b", cloud)
    a.write("f", "base\n")
    a.snapshot("first")
    a.sync()
    b.sync()
    yield a, b
    a.close()
    b.close()


def part(pair: Pair) -> tuple[Snapshot, Snapshot]:
    """Both edit and take a snapshot without seeing each other; a is first at the cloud."""
    a, b = pair
    a.write("a", "by a\n")
    b.write("b", "by b\n")
    theirs, ours = a.snapshot("of a"), b.snapshot("of b")
    a.sync()
    return theirs, ours


def test_two_lines_meet_in_a_snapshot_that_continues_both(pair: Pair) -> None:
    a, b = pair
    theirs, ours = part(pair)
    b.pull()
    (merge,) = b.merges()
    assert set(merge.parents) == {theirs.id, ours.id}
    assert (merge.source, merge.manifest_hash) == ("system", b.replica.row.shared_root)
    assert newest_unshared(b.db.read(), WORKSPACE.id) == merge, "the cloud has not seen it yet"
    b.push()
    assert b.cloud.snapshot_id == merge.id, "the head's snapshot goes forward"
    a.sync()
    assert a.merges() == [merge] and a.tree() == b.tree() == {"f": "base\n", "a": "by a\n", "b": "by b\n"}
    for side in (b, a):
        side.write("f", f"later, on {side.root}\n")
        later = side.snapshot()
        assert later.parents == (side.cloud.snapshot_id,), "both go on from there"
        side.sync()
        assert side.cloud.snapshot_id == later.id
        a.sync()
    assert len(a.merges()) == 1


def test_the_graph_shows_where_lines_part_and_meet(pair: Pair) -> None:
    _, b = pair
    part(pair)
    b.pull()
    items = [{"id": one.message, "parents": [other.message for other in b.snapshots() if other.id in one.parents]} for one in b.snapshots()]
    drawn = [line.split("  -")[0].rstrip() for line in graph_lines({"snapshots": items}, Ink(False))]
    assert [line.partition("  ")[0] for line in drawn] == ["*", "|-\\", "* |", "| *", "|-/", "*"]
    assert [line.partition("  ")[2] for line in drawn if "*" in line] == [one.message for one in b.snapshots()]


def test_a_merge_is_shown_against_the_parent_that_is_here(pair: Pair) -> None:
    a, b = pair
    b.clock.now += 1000
    theirs, ours = part(pair)
    b.sync()
    a.sync()
    (merge,) = a.merges()
    assert merge.parents == (theirs.id, ours.id), "the newest is the other machine's"
    assert root_before(a.db.read(), a.blobs, merge) == theirs.manifest_hash
    assert root_before(b.db.read(), b.blobs, merge) == ours.manifest_hash
    (first,) = (one for one in a.snapshots() if not one.parents)
    assert root_before(a.db.read(), a.blobs, first) == EMPTY_ROOT


def test_edits_alone_on_either_side_make_no_merge(pair: Pair) -> None:
    a, b = pair
    a.write("a", "by a, no snapshot\n")
    a.sync()
    b.write("b", "by b\n")
    ours = b.snapshot()
    b.sync()
    assert b.cloud.snapshot_id == ours.id and b.merges() == []
    a.sync()
    b.write("b", "by b, no snapshot\n")
    a.write("a", "again\n")
    a.snapshot()
    a.sync()
    b.sync()
    a.sync()
    assert a.tree() == b.tree() and a.merges() == b.merges() == []


def test_a_line_that_continues_the_heads_needs_no_merge(pair: Pair) -> None:
    a, b = pair
    a.write("a", "by a\n")
    a.snapshot()
    a.sync()
    b.sync()
    b.write("b", "by b\n")
    b.snapshot()
    a.write("a", "without a snapshot\n")
    a.sync()
    b.sync()
    assert b.merges() == [] and newest_unshared(b.db.read(), WORKSPACE.id) is None


def test_a_lost_race_is_joined_again_and_nothing_falls_aside(pair: Pair) -> None:
    a, b = pair
    theirs, ours = part(pair)
    b.pull()
    (first,) = b.merges()
    a.write("a", "by a, again\n")
    again = a.snapshot()
    a.sync()
    with pytest.raises(VersionMoved):
        b.push()
    b.sync()
    second, same = b.merges()
    assert same == first and set(second.parents) == {first.id, again.id} and b.cloud.snapshot_id == second.id
    assert {one.id for one in b.cloud.taken} >= {theirs.id, ours.id, first.id, again.id, second.id}


def test_a_crash_before_agreed_moved_makes_the_merge_later_and_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, b = pair
    part(pair)
    carry_out = adopt._carry_out

    def cut(*args: Any) -> Any:
        carry_out(*args)
        raise PowerCut

    monkeypatch.setattr(adopt, "_carry_out", cut)
    with pytest.raises(PowerCut):
        b.pull()
    monkeypatch.undo()
    assert b.merges() == []
    run(b.engine.recover())
    b.sync()
    (merge,) = b.merges()
    b.sync()
    assert b.merges() == [merge] and b.cloud.snapshot_id == merge.id


class PowerCut(Exception):
    """The process is gone at this very point."""


def test_while_a_step_is_stale_there_is_nothing_to_merge_yet(pair: Pair) -> None:
    a, b = pair
    a.write("f", "by a\n")
    theirs = a.snapshot()
    b.write("b", "by b\n")
    ours = b.snapshot()
    a.sync()
    b.write("f", "by b, not looked at yet\n")
    assert b.pull().stale and b.merges() == []
    b.sync()
    (merge,) = b.merges()
    assert set(merge.parents) == {theirs.id, ours.id}


def test_a_push_whose_answer_was_lost_is_not_merged_with_itself(pair: Pair) -> None:
    _, b = pair
    b.write("b", "by b\n")
    ours = b.snapshot()
    b.cloud.lose_answers = 1
    with pytest.raises(Offline):
        b.push()
    b.write("b", "by b, meanwhile\n")
    later = b.snapshot()
    b.sync()
    assert b.merges() == [] and later.parents == (ours.id,) and b.cloud.snapshot_id == later.id
    assert newest_unshared(b.db.read(), WORKSPACE.id) is None


def test_a_push_whose_answer_was_lost_is_not_merged_with_what_continued_it(pair: Pair) -> None:
    a, b = pair
    b.write("b", "by b\n")
    b.snapshot()
    b.cloud.lose_answers = 1
    with pytest.raises(Offline):
        b.push()
    a.sync()
    a.write("a", "by a\n")
    later = a.snapshot()
    a.sync()
    b.sync()
    assert b.merges() == [] and b.cloud.snapshot_id == later.id


@pytest.mark.parametrize("ahead_ms", [-86_400_000, 86_400_000])
def test_clocks_that_do_not_agree_leave_the_order_to_the_parents(pair: Pair, ahead_ms: int) -> None:
    a, b = pair
    a.clock.now += ahead_ms
    theirs, ours = part(pair)
    b.sync()
    (merge,) = b.merges()
    assert merge.id > max(theirs.id, ours.id), "newest first is children first"
    a.sync()
    for side in (b, a, b):
        side.write("f", f"{side.clock.now}\n")
        later = side.snapshot()
        side.sync()
        assert side.cloud.snapshot_id == later.id == side.snapshots()[0].id
        a.sync()
        b.sync()
    assert len(b.merges()) == 1
