"""What every route stands on: the database, the blobs, the listeners, a few threads, and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cloud.events import Hub
from cloud.records.moments import text_of
from store.blobs import BlobStore
from store.database import Database, Reader, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cloud:
    """The running cloud. `epoch` is fixed for as long as it runs."""

    db: Database
    blobs: BlobStore
    hub: Hub
    pool: ThreadPoolExecutor
    now_ms: Callable[[], int]
    epoch: str
    data: Path

    def read(self) -> Reader:
        """This thread's read connection."""
        return self.db.read()

    def now(self) -> str:
        """The time as rows have it."""
        return text_of(self.now_ms())

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the writer's transaction; durable on return."""
        return await asyncio.wrap_future(self.db.write(work))

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, so that the loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)
