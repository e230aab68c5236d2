"""Waiting for a condition, with a bound: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

POLL_SECONDS = 0.005


def wait_until(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """Return once `predicate()` is true; fail the test after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (asked := _ask(predicate)).is_so:
        assert time.monotonic() < deadline, f"{timeout_s} s passed before {what or predicate}"
        time.sleep(max(POLL_SECONDS, asked.seconds))


async def until(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """`wait_until` for a test that is a coroutine: the event loop goes on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not (asked := _ask(predicate)).is_so:
        assert time.monotonic() < deadline, f"{timeout_s} s passed before {what or predicate}"
        await asyncio.sleep(max(POLL_SECONDS, asked.seconds))


class _Asked(NamedTuple):
    is_so: bool
    seconds: float


def _ask(predicate: Callable[[], object]) -> _Asked:
    """A dear question is asked half of the time at most: whoever is waited for needs the processor too."""
    began = time.monotonic()
    is_so = bool(predicate())
    return _Asked(is_so, time.monotonic() - began)
