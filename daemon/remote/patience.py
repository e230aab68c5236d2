"""The cloud as a replica's cycle sees it: while an answer is waited for, others have their turn (N4).

Theory. A cycle holds the replica's lock so that no two callers are in the engine at once. But an answer may take hours (a large upload
over a thin line) or never come (a stalled network), and in that time a save must be kept and `fst snapshot` be answered. So for the
time of one answer, and for no longer, the lock is free; what the engine was doing it takes up from the rows as they are then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from daemon.remote import CloudRemote
from daemon.remote.messages import Incoming
from store.types import Digest
from sync.core.wire import Head, PushHeader, WireConflict, WireVersion, WireWorkspace

MEANWHILE_SECONDS: Final = 0.25
T = TypeVar("T")


class PatientRemote:
    """`sync.ports.Remote`; used with `lock` held. `meanwhile` is called again and again while an answer is waited for."""

    def __init__(self, cloud: CloudRemote, lock: asyncio.Lock, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.cloud = cloud
        self._lock = lock
        self._meanwhile = meanwhile

    async def aside(self, answer: Awaitable[T]) -> T:
        """Wait for an answer of the cloud with the lock free; it is held again on return, whatever comes."""
        waiting = asyncio.ensure_future(answer)
        self._lock.release()
        try:
            while not (await asyncio.wait([waiting], timeout=MEANWHILE_SECONDS))[0]:
                await self._meanwhile()
        finally:
            waiting.cancel()
            await _insist(lambda: asyncio.wait([waiting]), self._lock.acquire)
        return waiting.result()

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        """The workspace with its head. Raises NotFound."""
        return await self.aside(self.cloud.workspace(workspace_id))

    async def find_version(self, workspace_id: str, number: int) -> WireVersion | None:
        """Who made a version, and of which root; None when there is none."""
        return await self.aside(self.cloud.find_version(workspace_id, number))

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> Incoming:
        """From the caller's agreed version and root to the head."""
        return await self.aside(self.cloud.catch_up(workspace_id, version, root))

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        """One compare-and-swap."""
        return await self.aside(self.cloud.push(workspace_id, header, deltas, frames))

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        """Which of these the cloud lacks."""
        return await self.aside(self.cloud.missing(digests))

    async def upload(self, frames: Iterable[bytes]) -> None:
        """Frames up, streamed."""
        await self.aside(self.cloud.upload(frames))

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        """Frames down that hold every asked blob."""
        async for frame in self._each(self.cloud.fetch(digests)):
            yield frame

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        """Manifest nodes, not yet verified."""
        async for node in self._each(self.cloud.nodes(workspace_id, digests)):
            yield node

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        """Make these records known."""
        await self.aside(self.cloud.send_conflicts(workspace_id, conflicts))

    async def _each(self, stream: AsyncIterator[T]) -> AsyncIterator[T]:
        while True:
            try:
                yield await self.aside(anext(stream))
            except StopAsyncIteration:
                return


async def _insist(*steps: Callable[[], Awaitable[object]]) -> None:
    """Take these steps even when told to stop meanwhile: who let go of a lock for a time has to have it again in the end."""
    stopped = False
    for step in steps:
        while True:
            try:
                await step()
                break
            except asyncio.CancelledError:
                stopped = True
    if stopped:
        raise asyncio.CancelledError
