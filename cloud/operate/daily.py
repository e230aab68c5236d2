"""What one server process of all does once a day: purge what was deleted long ago, prune old events, collect."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cloud.context import Cloud
from cloud.operate import collect, purge
from cloud.records.housekeeping import end_turn, take_turn
from cloud.records.moments import text_of
from store.errors import FastestError

log = logging.getLogger(f"fastest.{__name__}")

DAY_MS: Final = 24 * 60 * 60 * 1000
RETRY_MS: Final = 60 * 60 * 1000
HELD_MS: Final = 6 * 60 * 60 * 1000
"""A process that died in its turn: after so long another one takes it."""
Job = Callable[[Cloud], Awaitable[str]]


async def collect_garbage(cloud: Cloud) -> str:
    """A run of collection; what it did."""
    plan = await collect.plan_collection(cloud.db, cloud.objects, collect.limits_at(cloud.now_ms()))
    done = await collect.execute(cloud.db, cloud.objects, plan)
    return f"condemned {done.condemned}, pardoned {done.pardoned}, removed {done.removed}, let go {done.swept_bytes} bytes"


JOBS: Final[dict[str, Job]] = {"purge": purge.purge_deleted, "prune": purge.prune_events, "collect": collect_garbage}


async def run_due(cloud: Cloud) -> list[str]:
    """Each job whose day has come and that nobody is at; the names of those that were done."""
    return [name for name, job in JOBS.items() if await _run(cloud, name, job)]


async def _run(cloud: Cloud, name: str, job: Job) -> bool:
    holder, now_ms = secrets.token_hex(8), cloud.now_ms()
    at, until, due = text_of(now_ms), text_of(now_ms + HELD_MS), text_of(max(0, now_ms - DAY_MS))
    if not await cloud.write(lambda tx: take_turn(tx, name, holder, at, until, due)):
        return False
    began = time.monotonic()
    try:
        result = await job(cloud)
    except FastestError as error:
        cloud.metrics.count_job(name, time.monotonic() - began, done=False)
        log.warning("a job failed", extra={"job": name, "code": error.code, "reason": error.message})
        again = text_of(cloud.now_ms() + RETRY_MS)
        reason = error.message
        await cloud.write(lambda tx: end_turn(tx, name, holder, again, done=False, result=reason))
        return False
    await cloud.write(lambda tx: end_turn(tx, name, holder, cloud.now(), done=True, result=result))
    cloud.metrics.count_job(name, time.monotonic() - began, done=True)
    log.info("a job was done", extra={"job": name, "result": result})
    return True
