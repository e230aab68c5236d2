"""When has a burst of changes settled: a decision about three numbers.

A single save is due soon after its last event; a burst (two paths or more: a checkout, a build, an unpacking) waits for quiet, so that
it becomes one change. Neither waits for ever: a burst that never ends is taken as it is at the bound, and begins anew.
All times are seconds of one steady clock.
"""

from __future__ import annotations

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """How long to wait after the last event of a single path, of a burst, and after the first event of either."""

    single_ms: int = 20
    quiet_ms: int = 50
    max_ms: int = 500


class Burst(msgspec.Struct, frozen=True):
    """Events that wait together: the first and last time, and how many distinct paths they touched."""

    first_seconds: float
    last_seconds: float
    paths: int


def add_event(burst: Burst | None, now_seconds: float, paths: int) -> Burst:
    """The burst with an event more; `paths` is the number of distinct paths waiting now."""
    if burst is None:
        return Burst(now_seconds, now_seconds, paths)
    return Burst(burst.first_seconds, max(burst.last_seconds, now_seconds), paths)


def due_seconds(burst: Burst, pace: Pace) -> float:
    """When to look: never later than `max_ms` after the first event, and a single path no later than a burst would be."""
    quiet_ms = min(pace.single_ms, pace.quiet_ms) if burst.paths <= 1 else pace.quiet_ms
    return min(burst.last_seconds + quiet_ms / 1000, burst.first_seconds + pace.max_ms / 1000)
