"""What every route stands on: the database, the bytes, the listeners, a few threads, and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cloud.accounts.gate import Gate
from cloud.accounts.vault import Vault
from cloud.database import Database, Reader, Reading, Work
from cloud.hub import Hub
from cloud.objects import Objects
from cloud.records.moments import text_of
from cloud.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from cloud.merges.drift import Drifts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cloud:
    """The running cloud. `epoch` is fixed for as long as it runs; `data` is where files may be put for a moment."""

    db: Database
    objects: Objects
    hub: Hub
    pool: ThreadPoolExecutor
    vault: Vault
    gate: Gate
    now_ms: Callable[[], int]
    epoch: str
    data: Path
    drifts: Drifts
    metrics: Metrics

    def read(self) -> Reader:
        """For a few rows."""
        return self.db.read()

    async def reading(self, work: Reading[T]) -> T:
        """For many rows."""
        return await self.db.reading(work)

    def now(self) -> str:
        """The time as rows have it."""
        return text_of(self.now_ms())

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction; durable on return."""
        return await self.db.write(work)

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, so that the loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)
