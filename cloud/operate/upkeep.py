"""What the cloud does on a timer: move small blobs out of the database, forget expired sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cloud.context import Cloud
from cloud.records.people.accounts import purge_sessions
from store.errors import FastestError

log = logging.getLogger(f"fastest.{__name__}")

PAUSE_SECONDS: Final = 30


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
    await cloud.write(lambda tx: purge_sessions(tx, at))
    await cloud.objects.tidy()
