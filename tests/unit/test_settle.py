"""When a burst is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.core.settle import Burst, Pace, Warmth, add_event, due_seconds, warm_up

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


RESTS = [(1, 0.0), (3, 0.0), (19, 0.0), (20, 0.0), (21, 0.0625), (22, 0.125), (23, 0.25), (25, 1.0), (26, 2.0), (27, 2.0), (500, 2.0)]


@pytest.mark.parametrize(("looks", "rest"), RESTS)
def test_a_spot_that_never_rests_is_looked_at_less_and_less(looks: int, rest: float) -> None:
    warmth = None
    now = 100.0
    for _ in range(looks):
        warmth = warm_up(warmth, now, now, 1)
        now = warmth.until
    assert warmth is not None and warmth.looks == looks
    assert warm_up(Warmth(looks - 1, 7.0), 7.0, 7.0, 1).until == pytest.approx(7.0 + rest)


@pytest.mark.parametrize(
    ("looks", "took", "spots", "rest"),
    [
        *[(looks, 5.0, 1, 0.0) for looks in (1, 2, 3)],  # three long looks are free
        (4, 5.0, 1, 20.0),
        (4, 5.0, 2, 10.0),  # each of the spots took half of it
        (4, 0.1, 1, 0.4),
        (4, 7.5, 1, 30.0),
        (4, 90.0, 1, 30.0),
        (26, 0.1, 1, 2.0),
        (26, 1.0, 1, 4.0),
    ],
)
def test_a_spot_rests_four_times_as_long_as_a_look_takes(looks: int, took: float, spots: int, rest: float) -> None:
    warmth = warm_up(Warmth(looks - 1, 1.0), 1.0, 1.0 + took, spots)
    assert warmth.looks == looks and warmth.until == pytest.approx(1.0 + took + rest)


@pytest.mark.parametrize(("began", "looks"), [(50.0, 31), (50.79, 31), (50.81, 1), (99.0, 1)])
def test_a_spot_that_was_calm_is_as_quick_as_any(began: float, looks: int) -> None:
    assert warm_up(Warmth(30, 50.0), began, began, 1).looks == looks


def test_a_spot_is_calm_after_the_bound_and_not_at_it() -> None:
    assert warm_up(Warmth(30, 0.0), 0.8, 0.8, 1).looks == 31
