"""What the engine needs from outside: a clock, a remote. Implementations live far away (daemon.remote, tests.fakes)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from store.types import Digest
from sync.core.wire import Delta, Head, PushHeader, WireConflict, WireSnapshot, WireWorkspace


class Clock(Protocol):
    """Wall time and steady time; wall time is only ever shown or recorded, never compared across machines."""

    def now_ms(self) -> int:
        """UTC milliseconds since 1970."""
        ...

    def steady(self) -> float:
        """Seconds that never go back."""
        ...


class CatchUp(Protocol):
    """What leads from an agreed root to the head (an event, or the answer to `versions?since=`)."""

    head: Head
    parent_root: Digest
    delta: Delta | None
    """None: too large to be carried, fetch the nodes."""
    frames: Sequence[bytes]
    snapshots: Sequence[WireSnapshot]
    conflicts: Sequence[WireConflict]


class Remote(Protocol):
    """The cloud, as one workspace's engine sees it. All may raise Offline, NotSignedIn, RateLimited, InvalidReply."""

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        """The workspace with its head. Raises NotFound."""
        ...

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> CatchUp:
        """From the caller's agreed version and root to the head."""
        ...

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        """One compare-and-swap. Raises VersionMoved (details: head), BlobsMissing (details: digests), EpochChanged."""
        ...

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        """Which of these the cloud lacks."""
        ...

    async def upload(self, frames: Iterable[bytes]) -> None:
        """Frames up (store.blobs.frames), any number, streamed."""
        ...

    def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        """Frames down that hold every asked blob; a chunked one comes as its recipe frame. Raises BlobMissing."""
        ...

    def nodes(self, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        """Manifest nodes, not yet verified."""
        ...

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        """Make these records known, idempotent by id."""
        ...
