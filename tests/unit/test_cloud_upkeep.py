"""The cloud's timer goes on, whatever breaks in one of its turns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.app import wall_ms
from cloud.operate.upkeep import keep_up
from store.errors import Busy
from tests.clouds import in_loop, serving


@in_loop
async def test_a_mistake_in_housekeeping_is_logged_and_the_next_turn_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path / "cloud") as served:
        troubles: list[Exception] = [ZeroDivisionError("ours"), Busy("locked"), OSError(5, "disk")]
        went_on = asyncio.Event()

        def clock() -> int:
            if troubles:
                raise troubles.pop(0)
            went_on.set()
            return wall_ms()

        task = asyncio.create_task(keep_up(replace(served.cloud, now_ms=clock), pause_seconds=0.001))
        await asyncio.wait_for(went_on.wait(), 20)
        assert not task.done()
        task.cancel()
        assert [each.message for each in caplog.records if "upkeep" in each.message] == ["upkeep broke", "upkeep failed", "upkeep broke"]
