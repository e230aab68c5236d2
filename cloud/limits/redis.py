"""Limits that all server processes share, kept in Redis.

Theory. The rule of `cloud.limits` runs inside Redis, so that two processes never read the same state. The clock is the asking server's,
as everywhere in the cloud; one that goes wrong makes somebody wait for a full burst at most. While Redis does not answer, each
process counts for itself: nobody is shut out, and nobody tries without a limit. What a process has let through it counts in any case,
so its own count does not begin at nothing then.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cloud.limits import Limit
from cloud.limits.local import LocalLimits
from store.errors import Unwritable

log = logging.getLogger(f"fastest.{__name__}")

ANSWER_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 5.0
"""How long Redis is left alone after it did not answer: else everybody who signs in waits for it."""
KEY: Final = "fastest:limit:"
_TAKE: Final = """
local now, burst, seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most = now + burst * seconds
local paid = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0') or 0, now), most)
local wait = paid + seconds - most
if wait <= 1e-6 then
  paid, wait = paid + seconds, 0
end
redis.call('SET', KEYS[1], string.format('%.17g', paid), 'PX', math.ceil((paid - now) * 1000) + 1000)
return string.format('%.17g', wait)
"""


class RedisLimits:
    """`cloud.limits.Limits` for any number of processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(_TAKE)
        self._local = LocalLimits()
        self._again_at = 0.0

    @classmethod
    def open(cls, url: str) -> RedisLimits:
        """Connects when it is first asked. Raises Unwritable when the address cannot be read."""
        try:
            return cls(Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS))
        except ValueError as error:
            raise Unwritable("the address of Redis cannot be read", "It looks like redis://host:6379/0.") from error

    async def take(self, limit: Limit, who: str, now_ms: int) -> float:
        """0, or for how many seconds to wait."""
        shared = await self._take_shared(limit, who, now_ms)
        if shared:
            return shared
        alone = await self._local.take(limit, who, now_ms)
        return alone if shared is None else 0.0

    async def close(self) -> None:
        """Let the connections go."""
        try:
            await self._redis.aclose()
        except (RedisError, OSError) as error:
            log.debug("Redis was gone", extra={"reason": type(error).__name__})

    async def _take_shared(self, limit: Limit, who: str, now_ms: int) -> float | None:
        """None when Redis did not say."""
        now = asyncio.get_running_loop().time()
        if now < self._again_at:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                said: Any = await self._script(keys=[_key(limit, who)], args=[now_ms / 1000, limit.burst, limit.seconds])
            return float(said)
        except (RedisError, OSError) as error:  # a time-out is an OSError
            log.warning("Redis keeps no limits: this server counts alone", extra={"reason": type(error).__name__})
            self._again_at = now + AGAIN_SECONDS
            return None


def _key(limit: Limit, who: str) -> str:
    """Whose it is must not be read there: it may be a person's address."""
    return f"{KEY}{limit.name}:{hashlib.sha256(who.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
