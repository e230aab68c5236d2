"""The cloud's word in doubt: replies that come late, twice or out of order, and a cloud that is not in the state it was (K7, Q4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store import workspaces
from store.errors import EpochChanged, InvalidReply
from store.manifest import EMPTY_ROOT
from store.types import Digest
from sync.core.wire import Head, PushHeader
from tests.two_replicas import CatchUpAnswer, MemoryCloud, Side, run


class TellingCloud(MemoryCloud):
    """Remembers every catch-up it answered, as a network might keep one back."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = "epoch"
        self.told: list[CatchUpAnswer] = []

    def head(self) -> Head:
        return msgspec.structs.replace(super().head(), epoch=self.epoch)

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> CatchUpAnswer:
        self.told.append(await super().catch_up(workspace_id, version, root))
        return self.told[-1]

    async def push(self, workspace_id: str, header: PushHeader, deltas: Any, frames: Any) -> Head:
        head = await super().push(workspace_id, header, deltas, frames)
        return msgspec.structs.replace(head, epoch=self.epoch)


@pytest.fixture
def cloud() -> TellingCloud:
    return TellingCloud()


@pytest.fixture
def pair(tmp_path: Path, cloud: TellingCloud) -> Iterator[tuple[Side, Side]]:
    a, b = Side(tmp_path / "a", cloud), Side(tmp_path / "b", cloud)
    a.write("note", "one\n")
    a.write("kept", "on both\n")
    a.sync()
    b.sync()
    yield a, b
    a.close()
    b.close()


def test_a_stale_message_never_lowers_a_version(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    """The head went from one text to another and back, so a kept-back message of the first move fits what is agreed again."""
    a, b = pair
    for text in ("two\n", "one\n"):
        a.write("note", text)
        a.sync()
        b.pull()
    late = cloud.told[-3]
    assert late.parent_root == b.replica.row.agreed_root and late.head.version < b.replica.row.agreed_version
    before = b.replica.row
    assert run(b.engine.pull(cloud, late, lambda: None)) is None
    assert b.replica.row == before and b.tree()["note"] == "one\n"


def test_messages_that_come_twice_or_in_any_order_lead_to_the_same(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    a, b = pair
    for number in range(3):
        a.write("note", f"{number}\n")
        a.write(f"new-{number}", "new\n")
        a.sync()
    third, second, first = reversed(cloud.told[-3:])
    for incoming in (second, third, third, first, second, None, first):
        run(b.engine.pull(cloud, incoming, lambda: None))
        assert b.replica.row.agreed_version <= cloud.version
    assert b.tree() == a.tree() and b.replica.row.agreed_version == cloud.version


def restored(cloud: TellingCloud, epoch: str) -> None:
    """The cloud's disk is an older one: what it has is empty, and others have gone on from there."""
    cloud.root, cloud.version, cloud.epoch = EMPTY_ROOT, 1, epoch


@pytest.mark.parametrize("epoch", ["another", "epoch"])
def test_a_cloud_that_went_back_is_not_followed(pair: tuple[Side, Side], cloud: TellingCloud, epoch: str) -> None:
    _, b = pair
    before = b.tree(), b.replica.row
    restored(cloud, epoch)
    with pytest.raises(EpochChanged):
        b.pull()
    assert (b.tree(), b.replica.row) == before


def test_a_new_epoch_stops_even_where_the_version_went_on(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    a, b = pair
    before = b.tree()
    restored(cloud, "another")
    cloud.version = 50
    with pytest.raises(EpochChanged):
        b.pull()
    late = CatchUpAnswer(cloud.head(), b.replica.row.agreed_root, [])
    with pytest.raises(EpochChanged):
        run(b.engine.pull(cloud, late, lambda: None))
    assert b.tree() == before == a.tree()


def test_the_same_version_with_another_root_is_not_followed(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    _, b = pair
    before = b.tree()
    cloud.root = EMPTY_ROOT
    with pytest.raises(EpochChanged):
        b.pull()
    assert b.tree() == before


def test_a_push_is_not_confirmed_by_another_pushs_answer(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    class Confused(TellingCloud):
        async def push(self, workspace_id: str, header: PushHeader, deltas: Any, frames: Any) -> Head:
            return Head(workspace_id, "epoch", header.expected_version, header.steps[-1].root, None)

    a, _ = pair
    a.write("note", "two\n")
    a.look()
    before = a.replica.row.agreed_version
    with pytest.raises(InvalidReply):
        run(a.engine.push(Confused()))
    assert a.replica.row.agreed_version == before
    assert workspaces.get_replica(a.db.read(), a.replica.id).agreed_version == before


def test_a_record_that_comes_late_is_asked_for(pair: tuple[Side, Side], cloud: TellingCloud) -> None:
    """The message is about a head from before; what it tells of a conflict is news all the same (R12)."""
    a, b = pair
    a.write("note", "of a\n")
    a.sync()
    b.write("note", "of b\n")
    b.sync()
    (record,) = cloud.records.values()
    before = cloud.head()
    a.write("more", "more\n")
    a.sync()
    late = CatchUpAnswer(before, None, None, conflicts=(record,))
    assert late.head.version < a.replica.row.agreed_version
    asked = len(cloud.told)
    assert run(a.engine.pull(cloud, late, lambda: None)) is None
    assert len(cloud.told) == asked + 1
