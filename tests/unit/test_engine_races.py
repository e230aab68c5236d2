"""Somebody saves at the worst moment of a pull: what the executor had in its hand is in the history afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from store.atomic import Folder, TempName
from tests.two_replicas import MemoryCloud, Side


class Hasty(Folder):
    """Something is done right before and right after the first exchange."""

    around: ClassVar[list[Callable[[], object]]] = []

    def exchange(self, temp: TempName, name: bytes) -> None:
        if not self.around:
            return super().exchange(temp, name)
        self.around.pop(0)()
        super().exchange(temp, name)
        self.around.pop(0)()


def test_a_save_that_a_pull_took_out_and_could_not_give_back_is_kept(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    a, b = Side(tmp_path / "a", cloud), Side(tmp_path / "b", cloud, disk=Hasty)
    a.write("x", "one\n")
    a.sync()
    b.sync()
    a.write("x", "two\n")
    a.sync()
    Hasty.around[:] = [lambda: b.write("x", "mine\n"), (b.root / "x").unlink]
    b.pull()
    assert not Hasty.around and b.kept("mine\n")
    b.sync()
    for side in (a, b):
        side.close()
