from __future__ import annotations

from daemon.upkeep import DAY_MS, HOUR_MS, surplus_states
from store.history import LogEntry
from store.manifest import EMPTY_ROOT

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
