"""How often somebody may try: so many at once, then one every so many seconds.

Theory. For each limit and each who, one number is kept: the time at which everything taken so far is paid back. Taking one moves
it on by `seconds`; when it lies more than `burst` takings ahead, the caller waits. No counter is ever reset, so no edge of a
minute lets twice as many through.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple, Protocol


class Limit(NamedTuple):
    """`burst` at once, then one in `seconds`."""

    name: str
    burst: int
    seconds: float


START: Final = Limit("device", 20, 3)
"""Machines that ask to be let in, from one address."""
POLL: Final = Limit("token", 60, 0.5)
"""Polls, from one address: a hundred machines may stand behind it."""
DECIDE: Final = Limit("authorize", 20, 10)
"""Codes that one person types: of 3,300,000,000, at most 8,640 a day can be guessed."""
SIGN_IN: Final = Limit("sign-in", 20, 10)
"""Codes asked for and typed, from one address."""
MAIL: Final = Limit("mail", 5, 600)
"""Codes sent to one mailbox."""


class Limits(Protocol):
    """Counts for one process, or for all."""

    async def take(self, limit: Limit, who: str, now_ms: int) -> float:
        """0, or for how many seconds to wait: then nothing was taken."""
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...


def next_paid(limit: Limit, paid_at: float, now: float) -> tuple[float, float]:
    """When all is paid back after one more, and for how long to wait; then it stays as it was."""
    # A clock that was set back must not shut anybody out for longer than a full burst takes.
    paid_at = min(max(paid_at, now), now + limit.burst * limit.seconds)
    wait = paid_at + limit.seconds - (now + limit.burst * limit.seconds)
    return (paid_at, wait) if wait > 1e-6 else (paid_at + limit.seconds, 0.0)


def network_of(address: str) -> str:
    """Who an address belongs to: one person has a whole /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
