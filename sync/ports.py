"""What the engine needs from outside: a clock, a remote. Implementations live far away (daemon.remote, tests.fakes)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from store.types import Digest
from sync.core.wire import Delta, Head, PushHeader, WireConflict, WireSnapshot, WireVersion, WireWorkspace


class Clock(Protocol):
    """Wall time and steady time; wall time is only ever shown or recorded, never compared across machines."""

    def now_ms(self) -> int:
        """UTC milliseconds since 1970."""
        ...

    def steady(self) -> float:
        """Seconds that never go back."""
        ...


class Git(Protocol):
    """What git says of the folder, where it is one of git's."""

    def head(self) -> str:
        """Where HEAD stands; empty without git."""
        ...

    def is_at_work(self) -> bool:
        """It holds its index, or is in the middle of a rebase or a merge."""
        ...

    def excludes(self) -> tuple[bytes, bytes]:
        """The bytes of its global excludes and of `.git/info/exclude`: rules that do not travel."""
        ...


class CatchUp(Protocol):
    """What leads from an agreed root to the head (an event, or the answer to `versions?since=`)."""

    @property
    def head(self) -> Head | None:
        """The head that this leads to."""
        ...

    @property
    def parent_root(self) -> Digest | None:
        """Where the delta starts; None when the cloud does not know the caller's root."""
        ...

    @property
    def delta(self) -> Delta | None:
        """None: not carried, fetch the nodes."""
        ...

    @property
    def frames(self) -> Sequence[bytes]:
        """Small blobs that came along."""
        ...

    @property
    def snapshots(self) -> Sequence[WireSnapshot]:
        """Snapshots since."""
        ...

    @property
    def conflicts(self) -> Sequence[WireConflict]:
        """Records that are open or were resolved lately."""
        ...


class Remote(Protocol):
    """The cloud, as one workspace's engine sees it. All may raise Offline, NotSignedIn, RateLimited, InvalidReply."""

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        """The workspace with its head. Raises NotFound."""
        ...

    async def find_version(self, workspace_id: str, number: int) -> WireVersion | None:
        """Who made a version, and of which root; None when there is none."""
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
        """Frames down that hold every asked blob; a chunked one comes as its recipe frame. Raises NotFound."""
        ...

    def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        """Manifest nodes, not yet verified."""
        ...

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        """Make these records known, idempotent by id."""
        ...
