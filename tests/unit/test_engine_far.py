"""Engines over a real cloud: what a cloud in memory would let pass."""

from __future__ import annotations

from pathlib import Path

from tests.clouds import in_loop
from tests.far_replicas import FarSide, Meeting, meeting


async def pair(met: Meeting) -> tuple[FarSide, FarSide]:
    """Two machines that have the first snapshot of `f` in common."""
    workspace = await met.workspace(await met.project())
    a, b = await met.side("a", workspace), await met.side("b", workspace)
    a.write("f", "base\n")
    await a.snapshot("first")
    await a.sync()
    await b.sync()
    return a, b


@in_loop
async def test_two_lines_of_snapshots_meet_and_the_head_goes_forward_on_both_sides(tmp_path: Path) -> None:
    async with meeting(tmp_path) as met:
        a, b = await pair(met)
        a.write("a", "by a\n")
        b.write("b", "by b\n")
        theirs, ours = await a.snapshot("of a"), await b.snapshot("of b")
        await a.sync()
        await b.sync()
        (merge,) = b.merges()
        assert set(merge.parents) == {theirs.id, ours.id}
        assert (await b.head()).snapshot_id == merge.id
        await a.sync()
        assert a.merges() == [merge] and a.tree() == b.tree()
        last = merge.id
        for side in (b, a):
            side.write("f", f"later, on {side.root}\n")
            later = await side.snapshot()
            await side.sync()
            assert later.parents == (last,) and (await side.head()).snapshot_id == later.id
            last = later.id
            await a.sync()


@in_loop
async def test_a_clock_that_was_put_back_keeps_parents_first(tmp_path: Path) -> None:
    async with meeting(tmp_path) as met:
        a, b = await pair(met)
        a.write("a", "by a\n")
        await a.snapshot()
        await a.sync()
        b.write("b", "by b\n")
        ours = await b.snapshot()
        b.clock.now -= 86_400_000
        await b.sync()
        b.write("b", "by b, later\n")
        later = await b.snapshot()
        (merge,) = b.merges()
        assert ours.id < merge.id < later.id
        await b.sync()
        assert (await b.head()).snapshot_id == later.id


async def forked(met: Meeting) -> tuple[FarSide, FarSide]:
    """Two machines that mirror a fork. Its first snapshot is another workspace's: no machine is told of it but by the head."""
    origin, _ = await pair(met)
    fork = await met.workspace(origin.snapshots()[0].project_id, origin.replica.row.workspace_id)
    a, b = await met.side("fork-a", fork), await met.side("fork-b", fork)
    for side in (a, b):
        await side.sync()
        assert side.tree() == {"f": "base\n"} and side.snapshots() == []
    return a, b


@in_loop
async def test_two_machines_on_a_fork_go_on_from_where_it_began(tmp_path: Path) -> None:
    async with meeting(tmp_path) as met:
        a, b = await forked(met)
        began = (await a.head()).snapshot_id
        a.write("a", "by a\n")
        b.write("b", "by b\n")
        theirs, ours = await a.snapshot(), await b.snapshot()
        assert theirs.parents == ours.parents == (began,)
        await a.sync()
        assert (await a.head()).snapshot_id == theirs.id
        await b.sync()
        (merge,) = b.merges()
        assert set(merge.parents) == {theirs.id, ours.id} and (await b.head()).snapshot_id == merge.id
        # What was agreed on outlives the process.
        a.replica.reload()
        a.write("a", "by a, later\n")
        assert (await a.snapshot()).parents == (theirs.id,)


@in_loop
async def test_a_line_that_continues_a_fork_needs_no_merge(tmp_path: Path) -> None:
    async with meeting(tmp_path) as met:
        a, b = await forked(met)
        for number in range(2):
            b.write("b", f"{number}\n")
            ours = await b.snapshot()
        a.write("a", "without a snapshot\n")
        await a.sync()
        await b.sync()
        assert b.merges() == [] and (await b.head()).snapshot_id == ours.id
