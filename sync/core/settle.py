"""When has a burst of changes settled: a decision about three numbers.

A single save is due soon after its last event; a burst (two paths or more: a checkout, a build, an unpacking) waits for quiet, so that
it becomes one change. Neither waits for ever: a burst that never ends is taken as it is at the bound, and begins anew.

A spot that never comes to rest (a log, a build's cache) is looked at less and less often, so that it keeps neither a core nor what
else changes waiting; once it has rested it is as quick as any other.
All times are seconds of one steady clock.
"""

from __future__ import annotations

from typing import Final

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


CALM_SECONDS: Final = 0.8
"""A spot that was left alone for so long has come to rest."""
FREE_LOOKS: Final = 20
"""So many looks in a row are as quick as any."""
FREE_LONG_LOOKS: Final = 3
"""So many, when they take long."""
REST_SECONDS: Final = 2.0
REST_MAX_SECONDS: Final = 30.0
REST_SHARE: Final = 4
"""A spot rests this many times as long as looking at it took."""


class Warmth(msgspec.Struct, frozen=True):
    """How often a spot was looked at without coming to rest; `until`: leave it alone until then."""

    looks: int
    until: float


def warm_up(before: Warmth | None, began: float, ended: float, spots: int) -> Warmth:
    """The warmth after one look more, which was at so many spots."""
    looks = 1 if before is None or began > before.until + CALM_SECONDS else before.looks + 1
    rest = 0.0 if looks <= FREE_LOOKS else REST_SECONDS / 2 ** max(0, FREE_LOOKS + 6 - looks)
    if looks > FREE_LONG_LOOKS:
        rest = max(rest, min(REST_MAX_SECONDS, (ended - began) / spots * REST_SHARE))
    return Warmth(looks, ended + rest)
