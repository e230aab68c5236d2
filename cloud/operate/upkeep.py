"""What the cloud does on a timer: move small blobs out of the database, forget expired sessions, codes and previews."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cloud.accounts.device import TOLD_SECONDS
from cloud.accounts.keys import reseal
from cloud.context import Cloud
from cloud.database import Tx
from cloud.operate.daily import run_due
from cloud.records.moments import text_of
from cloud.records.people.codes import purge_codes
from cloud.records.people.sessions import purge_sessions
from cloud.records.work.merges import purge_previews
from store.errors import FastestError

log = logging.getLogger(f"fastest.{__name__}")

PAUSE_SECONDS: Final = 30


async def keep_up(cloud: Cloud, pause_seconds: float = PAUSE_SECONDS) -> None:
    """Until cancelled. What fails is tried again next time."""
    while True:
        await asyncio.sleep(pause_seconds)
        try:
            await look_after(cloud)
        except FastestError as error:
            log.warning("upkeep failed", extra={"code": error.code, "reason": error.message})
        except Exception:  # the task boundary: a mistake of ours in the housekeeping must not end the server
            log.exception("upkeep broke")


async def look_after(cloud: Cloud) -> None:
    """Once, all of it."""
    at = cloud.now()
    told = text_of(max(0, cloud.now_ms() - TOLD_SECONDS * 1000))

    async def forget(tx: Tx) -> None:
        await purge_sessions(tx, at)
        await purge_codes(tx, at, told)
        await purge_previews(tx, at)

    await cloud.write(forget)
    await reseal(cloud)
    await cloud.objects.tidy()
    await run_due(cloud)
