"""When a burst is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.core.settle import Burst, Pace, add_event, due_seconds

TIMES = st.floats(0, 10, allow_nan=False)
PACES = st.builds(Pace, st.integers(1, 200), st.integers(1, 200), st.integers(1, 1000))


@pytest.mark.parametrize(
    ("first", "last", "paths", "due"),
    [
        (1.0, 1.0, 1, 1.02),
        (1.0, 1.0, 0, 1.02),
        (1.0, 1.1, 1, 1.12),
        (1.0, 1.0, 2, 1.05),
        (1.0, 1.3, 300, 1.35),
        (1.0, 1.47, 2, 1.5),
        (1.0, 1.49, 1, 1.5),
        (1.0, 1.8, 2, 1.5),
    ],
)
def test_due(first: float, last: float, paths: int, due: float) -> None:
    assert due_seconds(Burst(first, last, paths), Pace()) == pytest.approx(due)


def test_a_person_who_wants_it_quicker_gets_single_saves_quicker_too() -> None:
    assert due_seconds(Burst(1.0, 1.0, 1), Pace(quiet_ms=5)) == pytest.approx(1.005)


def test_a_burst_grows() -> None:
    burst = add_event(None, 1.0, 1)
    assert burst == Burst(1.0, 1.0, 1)
    assert add_event(burst, 1.25, 2) == Burst(1.0, 1.25, 2)
    assert add_event(burst, 0.5, 2) == Burst(1.0, 1.0, 2)


@given(TIMES, st.lists(st.tuples(TIMES, st.integers(1, 9)), max_size=20), PACES)
def test_no_burst_waits_longer_than_its_bound(start: float, events: list[tuple[float, int]], pace: Pace) -> None:
    burst = add_event(None, start, 1)
    for later, paths in events:
        grown = add_event(burst, burst.last_seconds + later, max(burst.paths, paths))
        assert due_seconds(grown, pace) >= due_seconds(burst, pace)
        burst = grown
    assert due_seconds(burst, pace) <= start + pace.max_ms / 1000
    assert due_seconds(burst, pace) > start
