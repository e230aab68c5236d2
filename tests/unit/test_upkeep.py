from __future__ import annotations

import pytest

from daemon.upkeep import DAY_MS, HOUR_MS, is_authored_here, surplus_states
from store.history import LogEntry
from store.manifest import EMPTY_ROOT
from store.types import digest_of

NOW = 1_700_000_000_000 - 1_700_000_000_000 % DAY_MS + DAY_MS // 2 + HOUR_MS // 2


def entry(sequence: int, age_ms: int) -> LogEntry:
    return LogEntry(sequence, EMPTY_ROOT, NOW - age_ms, "watch", None)


def test_all_of_the_last_day_stays() -> None:
    assert surplus_states([entry(100 - at, at * 60_000) for at in range(100)], NOW) == []


def test_one_an_hour_for_a_week_and_one_a_day_after_that() -> None:
    two_days = [entry(10, 2 * DAY_MS + 1000), entry(9, 2 * DAY_MS + 2000), entry(8, 2 * DAY_MS + HOUR_MS + 2000)]
    old = [entry(3, 30 * DAY_MS + 1000), entry(2, 30 * DAY_MS + HOUR_MS)]
    assert surplus_states([entry(11, 1000), *two_days, *old], NOW) == [9, 2]


def test_the_newest_state_always_stays() -> None:
    assert surplus_states([entry(2, 400 * DAY_MS), entry(1, 400 * DAY_MS + 1)], NOW) == []


def test_of_an_hour_the_newest_state_stays() -> None:
    states = [entry(5, 0), entry(4, 3 * DAY_MS), entry(3, 3 * DAY_MS + 1), entry(2, 3 * DAY_MS + 2)]
    assert surplus_states(states, NOW) == [3, 2]


@pytest.mark.parametrize(
    ("newest_first", "wanted"),
    [
        ("", False), ("watch:s", False), ("watch:b watch:s", True), ("cli:b sync:s", True), ("sync:b watch:s", False),
        ("sync:c sync:b watch:s watch:a", False), ("sync:c watch:b sync:s", True), ("watch:b", True), ("sync:b watch:a", False),
    ],
)  # fmt: skip
def test_a_snapshot_is_taken_by_who_made_the_change(newest_first: str, wanted: bool) -> None:
    """`s` is the state of the newest snapshot."""
    states = [word.partition(":") for word in newest_first.split()]
    log = [LogEntry(100 - at, digest_of(name.encode()), NOW, actor, None) for at, (actor, _, name) in enumerate(states)]
    assert is_authored_here(log, digest_of(b"s")) is wanted
