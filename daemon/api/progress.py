"""How far a long work is, told a line at a time while it lasts: when it moved, and once a second even when it did not.

The second is a sign of life: whoever listens shall not take a silent work for a dead daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from sync.progress import Count, Phase, Progress

TELL_SECONDS: Final = 0.1
SIGN_SECONDS: Final = 1.0


def progress_document(count: Count) -> dict[str, Any]:
    """A count as the API tells it. `total` is null where nobody knows it, or where more was found than was known of before."""
    done, total = count.done, count.total
    known = total if total is not None and done <= total else None
    return {"phase": count.phase.word, "done": done, "total": known, "unit": count.phase.unit}


class Teller:
    """What is to be told of one progress, and when."""

    def __init__(self, progress: Progress, steady: Callable[[], float]) -> None:
        self._progress = progress
        self._steady = steady
        self._last = Count(Phase.PREPARING, None)
        self._told: dict[str, Any] = {}
        self._sign_at = 0.0

    def lines(self) -> Iterator[dict[str, Any]]:
        """How the phase before this one ended, and how far this one is. Between two phases the one before goes on."""
        now = self._progress.now
        if now is not self._last and now.phase is not Phase.REST:
            yield from self._tell(self._last)
            self._last = now
        yield from self._tell(self._last)

    def _tell(self, count: Count) -> Iterator[dict[str, Any]]:
        document = progress_document(count)
        if document != self._told or self._steady() >= self._sign_at:
            self._told, self._sign_at = document, self._steady() + SIGN_SECONDS
            yield {"progress": document}


async def follow_work(work: asyncio.Task[dict[str, Any]], progress: Progress, steady: Callable[[], float]) -> AsyncIterator[dict[str, Any]]:
    """Progress lines while it lasts, then its result. Raises what it raises. It goes on when nobody listens any more."""
    teller = Teller(progress, steady)
    while not work.done():
        for line in teller.lines():
            yield line
        await asyncio.wait([work], timeout=TELL_SECONDS)
    for line in teller.lines():
        yield line
    yield {"result": work.result()}
