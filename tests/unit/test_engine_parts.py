"""Changes over the cloud's bounds: more steps of one push, or more pushes; whatever happens between two of them, nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cloud.heads import body, checks
from store import history
from store.errors import BrakeHeld, Offline, TooLarge, VersionMoved
from store.manifest import check_manifest
from sync.core.brake import Limits
from sync.core.wire import Head, PushHeader
from sync.outgoing.steps import BOUNDS, Bounds
from tests.clouds import in_loop
from tests.far_replicas import FarSide, Meeting, meeting
from tests.two_replicas import MemoryCloud, Seat, Side

FEW = Bounds(changes=4, steps=3)
LIMITS = Limits(5, 0.25)


class CountingCloud(MemoryCloud):
    """Remembers what came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[PushHeader] = []

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        self.came.append(header)
        return await super().push(workspace_id, header, deltas, frames)


@pytest.fixture
def cloud() -> CountingCloud:
    return CountingCloud()


@pytest.fixture
def pair(tmp_path: Path, cloud: CountingCloud) -> Iterator[tuple[Side, Side]]:
    a, b = Side(tmp_path / "a", cloud, limits=LIMITS, bounds=FEW), Side(tmp_path / "b", cloud, limits=LIMITS)
    yield a, b
    a.close()
    b.close()


def fill(seat: Seat, folder: str, count: int) -> None:
    for number in range(count):
        seat.write(f"{folder}/{number // 5}/{number}", f"{number}\n")


def test_a_large_change_goes_in_steps_and_pushes_and_comes_out_whole(pair: tuple[Side, Side], cloud: CountingCloud) -> None:
    a, b = pair
    fill(a, "old", 40)
    a.sync()
    assert [len(header.steps) for header in cloud.came] == [3, 3, 3, 3, 1] and cloud.version == 6
    b.sync()
    assert b.tree() == a.tree()
    (newest,) = history.list_log(a.db.read(), a.replica.id, newest=1)
    assert newest.version == 6, "the state is the last version, not the first part"
    a.sync()
    assert cloud.version == 6, "there is nothing left"


def test_a_snapshot_in_mid_way_is_of_its_own_root_and_sent_once(pair: tuple[Side, Side], cloud: CountingCloud) -> None:
    a, b = pair
    fill(a, "one", 10)
    first = a.snapshot()
    fill(a, "two", 10)
    second = a.snapshot()
    a.write("three", "3\n")
    a.sync()
    marked = [(step.snapshot.id, step.root) for header in cloud.came for step in header.steps if step.snapshot is not None]
    assert marked == [(one.id, one.manifest_hash.hex()) for one in (first, second)]
    assert cloud.snapshot_id == second.id
    b.sync()
    assert b.tree() == a.tree()


def test_the_brake_weighs_a_move_as_a_whole(pair: tuple[Side, Side], cloud: CountingCloud) -> None:
    a, _ = pair
    fill(a, "old", 20)
    a.sync()
    before = len(cloud.came)
    (a.root / "old").rename(a.root / "new")
    a.look()
    a.push()
    parts = cloud.came[before:]
    assert len(parts) > 1 and a.replica.row.agreed_root == a.replica.row.shared_root == cloud.root
    shutil.rmtree(a.root / "new")
    a.look()
    with pytest.raises(BrakeHeld):
        a.push()


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_after_an_interruption_it_goes_on_from_what_the_cloud_has(pair: tuple[Side, Side], cloud: CountingCloud, lost: int) -> None:
    a, b = pair
    fill(a, "old", 40)
    a.look()
    cloud.lose_answers, cloud.answers = 1, lost - 1
    with pytest.raises(Offline):
        a.push()
    a.replica.reload()
    check_manifest(a.replica.row.agreed_root, a.blobs)
    assert a.replica.row.agreed_version == lost, "what was answered is agreed, and outlives the process"
    assert history.list_log(a.db.read(), a.replica.id, newest=1)[0].version is None, "the whole of it is no version yet"
    a.write("later", "meanwhile\n")
    a.sync()
    b.sync()
    assert b.tree() == a.tree() and len(b.tree()) == 41


def test_who_comes_between_two_parts_is_joined(pair: tuple[Side, Side], cloud: CountingCloud) -> None:
    a, b = pair
    a.write("f", "1\n2\n3\n4\n5\n")
    a.sync()
    b.sync()
    fill(a, "old", 40)
    a.write("f", "one\n2\n3\n4\n5\n")
    a.look()
    cloud.lose_answers, cloud.answers = 1, 2
    with pytest.raises(Offline):
        a.push()
    b.write("f", "1\n2\n3\n4\nfive\n")
    b.write("by b", "b\n")
    b.sync()
    with pytest.raises(VersionMoved):
        a.push()
    a.sync()
    b.sync()
    assert a.tree() == b.tree() and len(a.tree()) == 42
    assert a.tree()["f"] == "one\n2\n3\n4\nfive\n"


# --- a real cloud -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Bounds:
    """A cloud that takes little."""
    bounds = Bounds(changes=7, steps=3, delta_bytes=1_500)
    monkeypatch.setattr(checks, "MAX_STEP_CHANGES", bounds.changes)
    monkeypatch.setattr(body, "MAX_STEPS", bounds.steps)
    monkeypatch.setattr(body, "MAX_DELTA_BYTES", bounds.delta_bytes)
    return bounds


async def two(met: Meeting, bounds: Bounds) -> tuple[FarSide, FarSide]:
    workspace = await met.workspace(await met.project())
    return await met.side("a", workspace, bounds), await met.side("b", workspace)


@in_loop
async def test_a_strict_cloud_refuses_the_whole(tmp_path: Path, strict: Bounds) -> None:
    async with meeting(tmp_path) as met:
        careless, _ = await two(met, BOUNDS)
        fill(careless, "old", 60)
        with pytest.raises(TooLarge):
            await careless.sync()
        assert (await careless.head()).version == 1


@in_loop
async def test_a_strict_cloud_takes_the_parts(tmp_path: Path, strict: Bounds) -> None:
    async with meeting(tmp_path) as met:
        a, b = await two(met, strict)
        fill(a, "old", 60)
        a.write("old/0/swap", "a file\n")
        a.write("names/swap/in", "a folder\n")
        first = await a.snapshot()
        await a.sync()
        head = await a.head()
        assert head.snapshot_id == first.id and head.version > 3
        await b.sync()
        assert b.tree() == a.tree()
        # A move, files where folders were, a folder where a file was: all in one change that takes many steps.
        (a.root / "old").rename(a.root / "moved")
        shutil.rmtree(a.root / "names" / "swap")
        a.write("names/swap", "a file now\n")
        (a.root / "moved" / "0" / "swap").unlink()
        a.write("moved/0/swap/in", "a folder now\n")
        second = await a.snapshot()
        await a.sync()
        assert (await a.head()).root == a.replica.row.shared_root.hex() and (await a.head()).snapshot_id == second.id
        await b.sync()
        assert b.tree() == a.tree() and b.merges() == []
