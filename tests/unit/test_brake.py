"""The brake: what weighs, what does not, where it holds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from store.types import Entry
from sync.core.brake import Direction, Limits, Losses, count_losses, weigh
from tests.alphabet import F1, F1X, F2, L1, L2, D, N, file

EMPTY = file(b"")
Steps = Iterable[tuple[Entry | None, Entry | None]]

COUNTS: list[tuple[str, Steps, Losses]] = [
    ("nothing", [], Losses()),
    ("removed", [(F1, N), (F2, N)], Losses(removed=2)),
    ("removed: a link", [(L1, N)], Losses(removed=1)),
    ("a folder holds nothing itself", [(D, N), (N, D)], Losses()),
    ("added", [(N, F1), (N, L1)], Losses(added=2)),
    ("emptied", [(F1, EMPTY)], Losses(emptied=1)),
    ("each that is emptied counts", [(F1, EMPTY), (F2, EMPTY), (F1, EMPTY)], Losses(emptied=3)),
    ("filled", [(EMPTY, F1)], Losses(overwritten=1)),
    ("overwritten", [(F1, F2)], Losses(overwritten=1)),
    ("made alike: one of each is gone", [(F1, file(b"x")), (F2, file(b"x")), (F2, file(b"x"))], Losses(overwritten=3, alike=1)),
    ("alike before and after", [(F1, F2), (F1, F2)], Losses(overwritten=2)),
    ("made alike twice", [(F1, file(b"x")), (F2, file(b"x")), (F1, file(b"y")), (F2, file(b"y"))], Losses(overwritten=4, alike=2)),
    ("a link and a file made alike", [(F1, F2), (L1, F2)], Losses(overwritten=2, alike=1)),
    ("chmod", [(F1, F1X)], Losses()),
    ("moved", [(F1, N), (N, F1)], Losses(moved=1)),
    ("moved: all copies of it", [(F1, N)] * 3 + [(N, F1)] * 3, Losses(moved=3)),
    ("moved and made executable", [(F1, N), (N, F1X)], Losses(moved=1)),
    ("moved: a link", [(L1, N), (N, L1)], Losses(moved=1)),
    ("moved onto another", [(F1, N), (F2, F1)], Losses(moved=1, overwritten=1)),
    ("moved away before it comes", [(N, F1), (F1, N)], Losses(moved=1)),
    ("after one that came", [(N, F1), (F2, N)], Losses(removed=1, added=1)),
    ("after one that stayed as it was", [(F1, F1), (F2, N)], Losses(removed=1)),
    ("two of the same, one comes back", [(F1, N), (F1, N), (N, F1)], Losses(removed=1, moved=1)),
    ("one of two", [(F1, N), (N, F1), (N, F1)], Losses(moved=1, added=1)),
    ("moved, but edited", [(F1, N), (N, F2)], Losses(removed=1, added=1)),
    ("a file became a folder", [(F1, D), (N, F2)], Losses(removed=1, added=1)),
    ("a file went into a folder of its name", [(F1, D), (N, F1)], Losses(moved=1)),
    ("a folder became a file", [(F1, N), (D, F2)], Losses(removed=1, added=1)),
    ("a file became a link", [(F1, L1)], Losses(overwritten=1)),
    ("a link became an empty file", [(L1, EMPTY)], Losses(overwritten=1)),
    ("an empty file became a link", [(EMPTY, L1)], Losses(overwritten=1)),
    ("a link points elsewhere", [(L1, L2)], Losses(overwritten=1)),
]


@pytest.mark.parametrize(("steps", "losses"), [case[1:] for case in COUNTS], ids=[case[0] for case in COUNTS])
def test_what_weighs(steps: Steps, losses: Losses) -> None:
    assert count_losses(iter(steps)) == losses


@pytest.mark.parametrize(
    ("losses", "before", "after", "holds"),
    [
        (Losses(removed=50), 60, 10, False),
        (Losses(removed=51), 60, 9, True),
        (Losses(removed=25, emptied=26), 60, 35, True),
        (Losses(emptied=26, overwritten=26, alike=26), 60, 60, True),
        (Losses(removed=51), 1000, 949, False),
        (Losses(removed=250), 1000, 750, False),
        (Losses(removed=251), 1000, 749, True),
        (Losses(emptied=251), 1000, 1000, True),
        (Losses(overwritten=1000), 1000, 1000, False),
        (Losses(overwritten=60, alike=50), 60, 60, False),
        (Losses(overwritten=60, alike=51), 60, 60, True),
        (Losses(moved=1000), 1000, 1000, False),
        (Losses(added=100_000), 80, 100_080, False),
        (Losses(added=100_001), 80, 100_081, True),
        (Losses(added=150_000), 15_000, 165_000, False),
        (Losses(added=150_001), 15_000, 165_001, True),
        (Losses(added=1_000_000), 0, 1_000_000, False),
        (Losses(added=100_001), 1, 100_002, True),
        (Losses(removed=1), 1, 0, True),
        (Losses(removed=3), 3, 0, True),
        (Losses(removed=3), 3, 1, False),
        (Losses(), 0, 0, False),
        (Losses(), 0, 5, False),
        (Losses(), 3, 0, False),  # the other side is empty, and takes nothing away
    ],
)
@pytest.mark.parametrize("direction", Direction)
def test_where_it_holds(losses: Losses, before: int, after: int, holds: bool, direction: Direction) -> None:
    assert weigh(losses, direction, before=before, after=after, limits=Limits()).holds is holds


def test_what_a_direction_is_called() -> None:
    assert [Direction.IN.value, Direction.OUT.value] == ["in", "out"]


def test_limits_are_the_persons() -> None:
    losses = Losses(removed=11)
    assert weigh(losses, Direction.OUT, before=100, after=89, limits=Limits(files=10, share=0.1)).holds
    assert not weigh(losses, Direction.OUT, before=100, after=89, limits=Limits(files=10, share=0.11)).holds
    assert not weigh(losses, Direction.OUT, before=100, after=89, limits=Limits(files=11, share=0.0)).holds


def test_git_may_switch_branches() -> None:
    losses = Losses(removed=900)
    assert not weigh(losses, Direction.OUT, before=1000, after=100, limits=Limits(), switching=True).holds


SENTENCES = [
    (Losses(removed=1), Direction.IN, 3, 2, "The change would remove 1 of 3 files in this folder."),
    (Losses(removed=1200), Direction.IN, 2000, 800, "The change would remove 1,200 of 2,000 files in this folder."),
    (Losses(removed=61), Direction.IN, 100, 39, "The change would remove 61 of 100 files in this folder."),
    (Losses(removed=6, emptied=3), Direction.OUT, 1100, 9, "The change would remove 6 and empty 3 of 1,100 files in the cloud's head."),
    (Losses(1, 2, 3), Direction.IN, 9, 8, "The change would remove 1, empty 2 and overwrite 3 of 9 files in this folder."),
    (Losses(1), Direction.OUT, 1, 0, "The change would remove 1 of 1 file in the cloud's head. No file would be left."),
    (Losses(overwritten=60, alike=51), Direction.IN, 70, 70, "The change would overwrite 60 and make alike 51 of 70 files in this folder."),
    (
        *(Losses(removed=2, added=150_000), Direction.IN, 10, 150_008),
        "The change would remove 2 of 10 files in this folder. It would add 150,000.",
    ),
    (Losses(added=2), Direction.IN, 0, 2, "The change would take away none of 0 files in this folder."),
    (Losses(moved=1), Direction.IN, 2, 2, "The change would take away none of 2 files in this folder."),
]


@pytest.mark.parametrize(("losses", "direction", "before", "after", "sentence"), SENTENCES)
def test_what_it_says(losses: Losses, direction: Direction, before: int, after: int, sentence: str) -> None:
    assert weigh(losses, direction, before=before, after=after, limits=Limits()).sentence == sentence
