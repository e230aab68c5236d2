"""Heads that move in ways of their own: the cloud's comes back to where it was, and git's is another branch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import BrakeHeld
from sync.core.brake import Limits
from tests.two_replicas import MemoryCloud, NoGit, Side


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    cloud = MemoryCloud()
    sides = [Side(tmp_path / name, cloud, limits=Limits(files=3, share=0.1)) for name in "ab"]
    yield sides[0], sides[1]
    for side in sides:
        side.close()


def test_a_head_that_came_back_to_what_was_agreed_is_a_newer_one(pair: tuple[Side, Side]) -> None:
    a, b = pair
    a.write("x", "x")
    a.sync()
    b.sync()
    b.write("y", "y")
    b.sync()
    (b.root / "y").unlink()
    b.sync()
    a.write("z", "z")
    a.sync()
    b.sync()
    assert b.tree() == {"x": "x", "z": "z"}


def test_git_may_take_many_files_away_when_it_switches_and_then_no_more(
    pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    heads = ["main"]
    monkeypatch.setattr(NoGit, "head", lambda _: heads[-1])
    a, b = pair
    for number in range(20):
        a.write(f"{number}", "x" * number)
    a.sync()
    b.sync()
    heads.append("branch")
    for number in range(10):
        (a.root / f"{number}").unlink()
    a.sync()
    assert b.cloud.root == a.replica.row.agreed_root
    for number in range(10, 17):
        (a.root / f"{number}").unlink()
    with pytest.raises(BrakeHeld):
        a.sync()
    heads.append("main")
    a.sync()
    assert len(a.tree()) == 3
