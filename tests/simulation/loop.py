"""A loop whose time is simulated: it leaps to the next timer, blocking work runs at once, and nothing in it depends on the machine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

HOP_SECONDS = 0.002
"""A hop to a thread and back takes up to so long, so that others get their turn in between."""


MANY_TURNS = 5_000


class Stalled(Exception):
    """Nothing is scheduled any more, and somebody still waits."""


class Spun(Exception):
    """Somebody is awake again and again, and no time passes."""


class _Leaps:
    """In place of a selector: no files are ready, ever, and to wait is to be there."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0
        self._since = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled
        self._loop.now += max(0.0, timeout)
        self._turns += 1
        if self._loop.now - self._since > 1.0:
            self._turns, self._since = 0, self._loop.now
        if self._turns > MANY_TURNS:
            raise Spun
        return []

    def close(self) -> None:
        """Nothing to let go of."""


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.now = 1000.0
        self.rng = rng
        self._selector = _Leaps(self)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """The work is done at this instant, and whoever waits for it hears of that a little later."""
        answered = self.create_future()
        try:
            result, error = func(*args), None
        except BaseException as raised:
            result, error = None, raised
        self.call_later(self.rng.random() * HOP_SECONDS, _settle, answered, result, error)
        return answered

    async def pause(self, seconds: float) -> None:
        passed = self.create_future()
        self.call_later(seconds, _settle, passed, None, None)
        await passed

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
        future.exception()  # asked for, so that one whom a crash cut off is no complaint of the loop's
