"""A developer's day as counts of units of work, and what many of them add up to: the assumptions of docs/SCALE.md, to be changed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Final

WORKDAYS: Final = 230
"""Of a year."""
BUSY_HOURS: Final = 8.0
"""In which a workday's work falls, if all users lived in one time zone; nights of the others fill it up, so this is the worst."""
PEAK: Final = 2.0
"""The busiest hour over the mean of BUSY_HOURS."""
ONLINE: Final = 0.8
"""Of all machines, at the busiest time."""

IDLE: Final = "idle hour"
DAY: Final[dict[str, float]] = {
    "save": 300.0,
    "automatic snapshot": 25.0,
    "100 files at once": 5.0,
    "fork": 2.0,
    "merge": 2.0,
    "large file": 0.2,
    "first push": 0.05,
    "mirror": 0.1,
    "connect": 6.0,
    IDLE: 20.0,
}
"""Of one user who works: 60 saves by hand, and 240 that agents make in two workspaces of their own; two machines, ten hours each."""
MACHINES: Final = 2.0
NODE_MS: Final = 0.2
"""Of a processor for each manifest node that a collection walks over, as measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work takes. `nodes` are those of the rows that are manifest nodes: each is read again by every collection."""

    rows: float = 0.0
    nodes: float = 0.0
    postgres_bytes: float = 0.0
    wal_bytes: float = 0.0
    objects: float = 0.0
    bucket_bytes: float = 0.0
    requests: float = 0.0
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    messages: float = 0.0
    statements: float = 0.0
    commits: float = 0.0
    redis_commands: float = 0.0
    server_cpu_ms: float = 0.0
    postgres_cpu_ms: float = 0.0

    def times(self, count: float) -> Cost:
        """So often."""
        return Cost(*(value * count for value in astuple(self)))

    def plus(self, other: Cost) -> Cost:
        """Both."""
        return Cost(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def cost_of_day(units: Mapping[str, Cost], day: Mapping[str, float] = DAY) -> Cost:
    """One user-day. Raises KeyError for a unit that was not measured."""
    total = Cost()
    for name, count in day.items():
        total = total.plus(units[name].times(count))
    return total


def draw_totals(units: Mapping[str, Cost], users: int, day: Mapping[str, float] = DAY) -> dict[str, str]:
    """What so many users need, all at work on the same day; by name, with its unit. Idle machines beat all the time, work has a peak."""
    whole, connected = cost_of_day(units, day), users * MACHINES * ONLINE
    work = cost_of_day(units, {name: count for name, count in day.items() if name != IDLE})
    rates = work.times(users / (BUSY_HOURS * 3600) * PEAK).plus(units[IDLE].times(connected / 3600))
    return {
        "machines connected": f"{connected:,.0f}",
        "requests a second, busiest": f"{rates.requests:,.0f}",
        "commits a second, busiest": f"{rates.commits:,.0f}",
        "statements a second, busiest": f"{rates.statements:,.0f}",
        "WAL, MB/s, busiest": f"{rates.wal_bytes / 1e6:,.1f}",
        "Redis commands a second, busiest": f"{rates.redis_commands:,.0f}",
        "down, MB/s, busiest": f"{rates.down_bytes / 1e6:,.1f}",
        "server cores, busiest": f"{rates.server_cpu_ms / 1e3:,.1f}",
        "PostgreSQL cores, busiest": f"{rates.postgres_cpu_ms / 1e3:,.1f}",
        "vCPU-hours a workday": f"{(whole.server_cpu_ms + whole.postgres_cpu_ms) * users / 3.6e6:,.1f}",
        "collection, CPU-hours a day after a year": f"{whole.nodes * WORKDAYS * users * NODE_MS / 3.6e6:,.0f}",
        "rows a year": f"{whole.rows * users * WORKDAYS / 1e6:,.0f} M",
        "PostgreSQL grows by, TB a year": f"{whole.postgres_bytes * users * WORKDAYS / 1e12:,.2f}",
        "bucket grows by, TB a year": f"{whole.bucket_bytes * users * WORKDAYS / 1e12:,.2f}",
        "objects put a year": f"{whole.objects * users * WORKDAYS / 1e6:,.1f} M",
        "down a year, TB": f"{whole.down_bytes * users * WORKDAYS / 1e12:,.2f}",
    }


NAMES: Final = tuple(field.name for field in fields(Cost))
