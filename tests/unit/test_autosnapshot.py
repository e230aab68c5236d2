"""SNAP-7: when a change gets a snapshot of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.types import Change, Entry, File
from sync.core.autosnapshot import COOLDOWN_MS, count_changed_bytes, snapshot_due_ms
from tests.alphabet import F1, F1X, F2, L1, L2, D, N, file, path

NOW = 10_000_000_000
LONG_AGO = NOW - COOLDOWN_MS
JUST_NOW = NOW - 1000
LATER = JUST_NOW + COOLDOWN_MS
Pairs = list[tuple[Entry | None, Entry | None]]


def sized(size: int) -> File:
    return file(b"x" * size)


def grown(old: File, new: File) -> int:
    assert old.digest != new.digest, "equal bytes are not compared"
    return abs(new.size - old.size)


def due(pairs: Pairs, newest_ms: int | None, now_ms: int = NOW) -> int | None:
    changes = [Change(path(f"p{number}"), old, new) for number, (old, new) in enumerate(pairs)]
    return snapshot_due_ms(changes, newest_ms, now_ms, grown)


INSIGNIFICANT: list[Pairs] = [
    [],
    [(F1, F2)],
    [(F1, F1X)],
    [(L1, L2)],
    [(sized(1), sized(5 * 1024))],
    [(sized(5 * 1024), sized(1))],
]
SIGNIFICANT: list[Pairs] = [
    [(N, F1)],
    [(F1, N)],
    [(N, D)],
    [(D, N)],
    [(F1, F2), (F2, F1)],
    [(F1, F1X), (F2, F1)],
    [(sized(1), sized(1 + 5 * 1024))],
    [(sized(1 + 5 * 1024), sized(1))],
    [(sized(1), sized(7 * 1024))],
    [(N, D), (F1, F1X)],
    [(F1, F2)] * 9,
    [(N, D)] * 30,
    [(N, sized(50 * 1024 - 1))],
    [(F1, F1X), (N, sized(50 * 1024 - 1))],
]
LARGE: list[Pairs] = [
    [(F1, F2)] * 10,
    [(N, F1)] * 10,
    [(F1, N)] * 10,
    [(N, D), *[(N, F1)] * 10],
    [(F1, F1X), (N, sized(50 * 1024))],
    [(sized(1), sized(1 + 50 * 1024))],
    [(N, sized(50 * 1024))],
    [(N, sized(60 * 1024))],
    [(sized(50 * 1024), N)],
    [(sized(1), sized(1 + 25 * 1024))] * 2,
]


@pytest.mark.parametrize("pairs", INSIGNIFICANT)
@pytest.mark.parametrize("newest_ms", [LONG_AGO, JUST_NOW])
def test_not_worth_one(pairs: Pairs, newest_ms: int) -> None:
    assert due(pairs, newest_ms) is None


@pytest.mark.parametrize("pairs", SIGNIFICANT)
def test_worth_one_after_the_cooldown(pairs: Pairs) -> None:
    assert due(pairs, LONG_AGO) == NOW
    assert due(pairs, LONG_AGO - 1) == due(pairs, 1) == NOW
    assert due(pairs, LONG_AGO + 1) == NOW + 1
    assert due(pairs, JUST_NOW) == LATER


@pytest.mark.parametrize("pairs", LARGE)
def test_worth_one_at_once(pairs: Pairs) -> None:
    assert due(pairs, JUST_NOW) == NOW


@pytest.mark.parametrize("pairs", [*INSIGNIFICANT, *SIGNIFICANT])
def test_the_first_comes_at_once(pairs: Pairs) -> None:
    assert due(pairs, None) == NOW


def test_snapshots_stand_ten_minutes_apart() -> None:
    assert COOLDOWN_MS == 600_000
    assert due([(N, F1)], NOW) == NOW + COOLDOWN_MS


def test_a_clock_that_went_back_starts_no_wait() -> None:
    assert due([(N, F1)], NOW + 1) == NOW


def test_a_long_list_is_read_no_further_than_the_tenth_file() -> None:
    changes = iter([Change(path(f"p{number}"), F1, F2) for number in range(30)])
    assert snapshot_due_ms(changes, JUST_NOW, NOW, grown) == NOW
    assert sum(1 for _ in changes) == 20


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        (b"", b"", 0),
        (b"same", b"same", 0),
        (b"", b"abc", 3),
        (b"abc", b"", 3),
        (b"one two three", b"one 2 three", 3),
        (b"aaa", b"aaaaa", 2),
        (b"abab", b"ab", 2),
        (b"x" * 999 + b"y" + b"x" * 999, b"x" * 999 + b"z" + b"x" * 999, 1),
        (b"abc", b"xyz", 3),
    ],
)
def test_changed_bytes(old: bytes, new: bytes, count: int) -> None:
    assert count_changed_bytes(old, new) == count
    assert count_changed_bytes(new, old) == count


@given(st.binary(max_size=40), st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=40))
def test_one_edited_place_counts_no_more_than_itself(before: bytes, old: bytes, new: bytes, after: bytes) -> None:
    count = count_changed_bytes(before + old + after, before + new + after)
    assert abs(len(old) - len(new)) <= count <= max(len(old), len(new))
    assert (count == 0) == (old == new)
