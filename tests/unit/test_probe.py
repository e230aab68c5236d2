"""A disk is asked how it treats names, and nothing is left of the question."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from store.atomic import Folder, TempName
from store.errors import NoSpace, Unwritable
from sync.apply.probe import probe_disk
from sync.core.disk import PLAIN, Disk
from tests.folding import Apple, Ascii, Fat, Hfs


@pytest.mark.parametrize(
    ("disk", "names"),
    [
        (Folder, PLAIN),
        (Ascii, Disk(case=True)),
        (Apple, Disk(case=True, letters=True, wide=True, forms=True, text=True)),
        (Hfs, Disk(case=True, letters=True, wide=True, forms=True, text=True, decomposes=True)),
        (Fat, Disk(case=True, letters=True, wide=True, marks=True, tails=True)),
    ],
)
def test_a_disk_is_known_by_its_answers(tmp_path: Path, disk: type[Folder], names: Disk) -> None:
    (tmp_path / "there").touch()
    with disk.open_root(tmp_path) as root:
        assert probe_disk(root, []) == names
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_folder_where_nothing_can_be_written_tells_nothing(tmp_path: Path) -> None:
    class ReadOnly(Folder):
        def write_hidden(self, *args: object, **options: object) -> None:  # type: ignore[override]
            raise Unwritable("read-only")

    with ReadOnly.open_root(tmp_path) as root:
        assert probe_disk(root, []) is None


def test_a_disk_that_becomes_read_only_in_the_middle_is_asked_again_and_nothing_is_left(tmp_path: Path) -> None:
    class Turning(Folder):
        writes = 3

        def write_hidden(self, *args: object, **options: object) -> object:  # type: ignore[override]
            Turning.writes -= 1
            return super().write_hidden(*args, **options)  # type: ignore[arg-type]

        def discard(self, temp: TempName) -> None:
            if Turning.writes <= 0:
                raise Unwritable("read-only")
            super().discard(temp)

    left: list[TempName] = []
    with Turning.open_root(tmp_path) as root:
        assert probe_disk(root, left) is None and {os.fsdecode(temp) for temp in left} == set(os.listdir(tmp_path))  # noqa: PTH208
        assert probe_disk(root, left) is None, "what could not be taken away is there still"
        Turning.writes = 1000
        assert probe_disk(root, left) == PLAIN
    assert not left and not list(tmp_path.iterdir())


def test_a_full_disk_is_not_taken_for_one_that_refuses_names(tmp_path: Path) -> None:
    class Full(Folder):
        asked = 0

        def write_hidden(self, *args: object, **options: object) -> None:  # type: ignore[override]
            Full.asked += 1
            if Full.asked == 4:
                raise NoSpace("no room")  # and a moment later there is some again
            super().write_hidden(*args, **options)  # type: ignore[arg-type]

    with Full.open_root(tmp_path) as root, pytest.raises(NoSpace):
        probe_disk(root, [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("all_are", [True, False])
def test_a_disk_that_makes_all_files_alike_keeps_no_bits(tmp_path: Path, all_are: bool) -> None:
    class Alike(Folder):
        def write_hidden(self, name: bytes, chunks: Iterable[bytes], executable: bool) -> os.stat_result:
            return super().write_hidden(name, chunks, all_are)

    with Alike.open_root(tmp_path) as root:
        assert probe_disk(root, []) == Disk(bits=False)
