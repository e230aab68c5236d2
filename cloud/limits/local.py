"""Limits in the memory of one server process."""

from __future__ import annotations

from typing import Final

from cloud.limits import Limit, next_paid

MOST_KNOWN: Final = 100_000


class LocalLimits:
    """In memory, for as many as MOST_KNOWN; then those that have paid back are forgotten, and after them the oldest."""

    def __init__(self) -> None:
        self._paid_at: dict[tuple[str, str], float] = {}

    async def take(self, limit: Limit, who: str, now_ms: int) -> float:
        """0, or for how many seconds to wait."""
        key = (limit.name, who)
        paid_at, wait = next_paid(limit, self._paid_at.pop(key, 0.0), now_ms / 1000)
        self._paid_at[key] = paid_at
        if len(self._paid_at) > MOST_KNOWN:
            self._forget(now_ms / 1000)
        return wait

    async def close(self) -> None:
        """Nothing to let go."""

    def _forget(self, now: float) -> None:
        self._paid_at = {key: paid_at for key, paid_at in self._paid_at.items() if paid_at > now}
        while len(self._paid_at) > MOST_KNOWN // 2:
            del self._paid_at[next(iter(self._paid_at))]
