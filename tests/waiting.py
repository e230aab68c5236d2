"""Waiting for a condition, with a bound: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.005


def wait_until(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """Return once `predicate()` is true; fail the test after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"{timeout_s} s passed before {what or predicate}"
        time.sleep(POLL_SECONDS)


async def until(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """`wait_until` for a test that is a coroutine: the event loop goes on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"{timeout_s} s passed before {what or predicate}"
        await asyncio.sleep(POLL_SECONDS)
