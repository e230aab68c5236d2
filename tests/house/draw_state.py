"""Draws docs/state.md from the table in sync/core/state.py: `python -m tests.house.draw_state`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sync.core.state import TRANSITIONS, Signal, State

PAGE = Path(__file__).parents[2] / "docs" / "state.md"

HEAD = """\
# The life of a replica

Drawn from `TRANSITIONS` in `sync/core/state.py` by `python -m tests.house.draw_state`; a house test fails when it is stale.
`halted` carries a reason: a code, a sentence, and the next step.

"""


def draw_page() -> str:
    """The whole page."""
    return HEAD + draw_diagram() + "\n" + draw_table()


def draw_diagram() -> str:
    """One arrow for each pair of states, its signals on it; what stays where it is is left to the table."""
    arrows: dict[tuple[State, State], list[Signal]] = defaultdict(list)
    for (state, signal), after in TRANSITIONS.items():
        if state is not after:
            arrows[state, after].append(signal)
    order = list(State)
    lines = [
        f"    {state} --> {after}: {', '.join(signal for signal in Signal if signal in signals)}"
        for (state, after), signals in sorted(arrows.items(), key=lambda arrow: [order.index(end) for end in arrow[0]])
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {State.IDLE}", *lines, "```", ""])


def draw_table() -> str:
    """Every pair; an empty cell is a pair that cannot happen."""
    rows = [f"| state | {' | '.join(Signal)} |", "|---" * (len(Signal) + 1) + "|"]
    for state in State:
        cells = [str(TRANSITIONS.get((state, signal), "")) for signal in Signal]
        rows.append(f"| **{state}** | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    PAGE.write_text(draw_page())
