"""The picture of the state machine is the table's."""

from __future__ import annotations

from sync.core.state import TRANSITIONS, Signal, State
from tests.house.draw_state import PAGE, draw_page


def test_the_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == draw_page(), "stale: run `python -m tests.house.draw_state`"


def test_the_page_shows_every_state_and_signal() -> None:
    page = draw_page()
    for state, signal in TRANSITIONS:
        assert f"**{state}**" in page
        assert f"| {signal} |" in page
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {signal for _, signal in TRANSITIONS} == set(Signal)
