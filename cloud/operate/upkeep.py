"""What the cloud does on a timer: move small blobs out of the database, forget expired sessions, codes and previews."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cloud.accounts.device import TOLD_SECONDS
from cloud.accounts.keys import reseal
from cloud.accounts.session import DAY_MS
from cloud.context import Cloud
from cloud.database import Tx
from cloud.operate.daily import run_due
from cloud.records.moments import text_of
from cloud.records.people.accounts import purge_events
from cloud.records.people.codes import purge_codes
from cloud.records.people.sessions import purge_sessions
from cloud.records.work.merges import purge_previews
from store.errors import FastestError

log = logging.getLogger(f"fastest.{__name__}")

PAUSE_SECONDS: Final = 30
EVENT_DAYS: Final = 365


async def keep_up(cloud: Cloud) -> None:
    """Until cancelled. What fails is tried again next time."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            await look_after(cloud)
        except FastestError as error:
            log.warning("upkeep failed", extra={"code": error.code, "reason": error.message})


async def look_after(cloud: Cloud) -> None:
    """Once, all of it."""
    at = cloud.now()
    told, kept = (text_of(max(0, cloud.now_ms() - ms)) for ms in (TOLD_SECONDS * 1000, EVENT_DAYS * DAY_MS))

    async def forget(tx: Tx) -> None:
        await purge_sessions(tx, at)
        await purge_codes(tx, at, told)
        await purge_events(tx, kept)
        await purge_previews(tx, at)

    await cloud.write(forget)
    await reseal(cloud)
    await cloud.objects.tidy()
    await run_due(cloud)
