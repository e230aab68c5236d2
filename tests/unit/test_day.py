"""The arithmetic of docs/SCALE.md."""

from __future__ import annotations

import pytest

from benchmarks.day import BUSY_HOURS, IDLE, MACHINES, ONLINE, PEAK, WORKDAYS, Cost, cost_of_day, draw_totals


def test_a_day_is_the_sum_of_its_units() -> None:
    units = {"save": Cost(rows=10, requests=1, bucket_bytes=5), "merge": Cost(rows=36, requests=5), "unused": Cost(rows=1)}
    assert cost_of_day(units, {"save": 300, "merge": 2}) == Cost(rows=3072, requests=310, bucket_bytes=1500)
    with pytest.raises(KeyError):
        cost_of_day(units, {"never measured": 1})


def test_totals_grow_with_the_users_and_only_work_has_a_peak() -> None:
    units = {"save": Cost(rows=1_000, requests=BUSY_HOURS * 3600 / PEAK, postgres_bytes=1e6), IDLE: Cost(statements=3600)}
    one, many = (draw_totals(units, users, {"save": 1, IDLE: 20}) for users in (1_000, 1_000_000))
    assert (one["requests a second, busiest"], many["requests a second, busiest"]) == ("1,000", "1,000,000")
    assert many["statements a second, busiest"] == many["machines connected"] == f"{1_000_000 * MACHINES * ONLINE:,.0f}"
    assert (one["rows a year"], many["rows a year"]) == (f"{WORKDAYS} M", f"{WORKDAYS * 1_000:,} M")
    assert many["PostgreSQL grows by, TB a year"] == f"{WORKDAYS:.2f}"
