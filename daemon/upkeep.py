"""Everything on a timer: automatic snapshots, thinning the log, moving small blobs into segments, and telling who listens."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon import verbs
from daemon.mend.check import FsckBody, check
from daemon.mend.repair import owed_paths, owes_what_is_damaged
from daemon.supervisor import Supervisor
from daemon.verbs import Author
from store import history, snapshots
from store.errors import BlobDamaged, BlobMissing, FastestError, HashMismatch, InvalidManifest
from store.history import LogEntry
from store.manifest import diff_manifests
from store.snapshots import Snapshot
from store.types import Digest, File, RelPath
from sync.adopt import SYNC_ACTOR
from sync.core.autosnapshot import snapshot_due_ms
from sync.progress import Progress
from sync.replica import LocalReplica

if TYPE_CHECKING:
    from daemon.app import Daemon

log = logging.getLogger(f"fastest.{__name__}")

THIN_SECONDS: Final = 3600.0
TRIM_SECONDS: Final = 10.0
"""After the last change."""
MALLOPT_ARENA_MAX: Final = -8
TRIM_BYTES: Final = 70 * 1024 * 1024
MEND_SECONDS: Final = 600.0
"""What one repair could not bring back, the next will hardly."""
OWED_SECONDS: Final = 60.0
DAMAGE: Final = frozenset({BlobDamaged.code, BlobMissing.code, HashMismatch.code, InvalidManifest.code})
CALM_MS: Final = 2_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
THIN_STATES: Final = 1_000_000
AUTHORED_STATES: Final = 1_000


class Upkeep:
    """Run as one task of the daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._due_ms: dict[str, int] = {}
        self._roots: dict[str, Digest] = {}
        self._versions: dict[str, int] = {}
        self._trim_at = math.inf
        self._mend_at = self._owed_at = 0.0
        self._wake = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()

    def notice(self, supervisor: Supervisor) -> None:
        """A replica's cycle ended: listeners are told, and where the folder changed an automatic snapshot may be due."""
        root = supervisor.engine.replica.row.full_root
        if self._roots.get(supervisor.replica_id) != root:
            self._roots[supervisor.replica_id] = root
            self._due_ms.setdefault(supervisor.replica_id, self._daemon.clock.now_ms() + CALM_MS)
            self._trim_at = self._daemon.clock.steady() + TRIM_SECONDS
            self._wake.set()
        version = supervisor.engine.replica.row.agreed_version
        if self._versions.get(supervisor.replica_id) != version:
            self._versions[supervisor.replica_id] = version
            if version != supervisor.engine.pushed_version:
                self._daemon.link.stirred.set()
        if supervisor.halt is not None and supervisor.halt.code in DAMAGE:
            self._mend()
        elif (owed := owed_paths(supervisor)) and self._daemon.clock.steady() >= self._owed_at:
            self._owed_at = self._daemon.clock.steady() + OWED_SECONDS
            self._daemon.start_work(self._mend_owed(supervisor.engine.replica, owed))
        self.tell()

    async def _mend_owed(self, replica: LocalReplica, owed: list[RelPath]) -> None:
        if await asyncio.to_thread(owes_what_is_damaged, replica, owed):
            self._mend()

    def _mend(self) -> None:
        """A read found damage, or the cloud found it in what was sent: bring back what can be, without being asked."""
        now = self._daemon.clock.steady()
        if now < self._mend_at:
            return
        self._mend_at = now + MEND_SECONDS
        log.error("damage found: repairing")
        self._daemon.start_work(check(self._daemon, FsckBody(repair=True), Progress()))

    def tell(self) -> None:
        """Something that status tells may have changed."""
        for listener in self._listeners:
            listener.set()

    async def changed(self, timeout_seconds: float) -> bool:
        """Wait until `tell`, or for so long. True when it was told."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await listener.wait()
        except TimeoutError:
            return False
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Until cancelled."""
        thin_at = self._daemon.clock.steady() + THIN_SECONDS
        while True:
            now_ms = self._daemon.clock.now_ms()
            for replica_id in [one for one, due_ms in self._due_ms.items() if due_ms <= now_ms]:
                await self._consider(replica_id)
            if self._daemon.clock.steady() >= thin_at:
                thin_at = self._daemon.clock.steady() + THIN_SECONDS
                await asyncio.to_thread(self._thin_logs)
            if self._daemon.clock.steady() >= self._trim_at:
                self._trim_at = math.inf
                await asyncio.to_thread(self._trim)
            waits = [(due_ms - now_ms) / 1000 for due_ms in self._due_ms.values()]
            waits.append(min(thin_at, self._trim_at) - self._daemon.clock.steady())
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.05, min(waits))):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _trim(self) -> None:
        try:
            self._daemon.blobs.release_memory()
        except FastestError as error:  # the disk has troubles of its own, which whoever writes next is told of
            log.info("caches kept", extra={"code": error.code})
        give_back_memory()

    async def _consider(self, replica_id: str) -> None:
        del self._due_ms[replica_id]
        supervisor = self._daemon.supervisors.get(replica_id)
        if supervisor is None:
            return
        try:
            due_ms = await asyncio.to_thread(self._when, supervisor.engine.replica)
            if due_ms is None:
                return
            if due_ms > self._daemon.clock.now_ms():
                self._due_ms[replica_id] = due_ms
                return
            async with supervisor.turn() as engine:
                await engine.share()
                await self.snapshot(supervisor, "", source="system")
        except FastestError as error:
            log.warning("no automatic snapshot", extra={"code": error.code, "replica": replica_id})

    def _when(self, replica: LocalReplica) -> int | None:
        newest = snapshots.list_snapshots(self._daemon.db.read(), replica.row.workspace_id, newest=1)
        if not newest:
            return None
        log = history.list_log(self._daemon.db.read(), replica.id, newest=AUTHORED_STATES)
        if not is_authored_here(log, newest[0][1]):
            return None
        changes = diff_manifests(newest[0][1], replica.row.full_root, self._daemon.blobs)
        return snapshot_due_ms(changes, newest[0][0].created_ms, self._daemon.clock.now_ms(), _changed_bytes)

    async def snapshot(self, supervisor: Supervisor, message: str, *, source: str) -> Snapshot | None:
        """Take one now; the caller holds the replica's turn and its shared root is current."""
        taken: Snapshot | None = await supervisor.engine.verb(verbs.take_snapshot, message, Author(), source=source)
        if taken is not None:
            log.info("snapshot taken", extra={"snapshot": taken.id, "replica": supervisor.replica_id})
        return taken

    def _thin_logs(self) -> None:
        now_ms = self._daemon.clock.now_ms()
        for replica_id in list(self._daemon.supervisors):
            entries = history.list_log(self._daemon.db.read(), replica_id, newest=THIN_STATES)
            surplus = surplus_states(entries, now_ms)
            if surplus:
                self._daemon.db.write_now(lambda tx, one=replica_id, gone=surplus: history.thin_log(tx, one, gone))  # type: ignore[misc]


def share_heaps() -> None:
    """Two of the C library's heaps serve all threads; one for each would keep what a first import freed, many times over."""
    try:
        ctypes.CDLL(None).mallopt(MALLOPT_ARENA_MAX, 2)
    except (OSError, AttributeError):
        return


def give_back_memory() -> None:
    """After much work the C library keeps freed pages: hand them back to the system."""
    try:
        resident_bytes = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        if resident_bytes >= TRIM_BYTES:
            ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def is_authored_here(log: list[LogEntry], root: Digest) -> bool:
    """Whether something since the state `root` was made here, and not only followed: who made a change takes its snapshot (SNAP-7).

    Else each mirror would take one of the same state, and the lines would have to be merged. Without `root` in the log, newest first,
    the newest state alone tells.
    """
    since = list(takewhile(lambda entry: entry.full_root != root, log))
    return any(entry.actor != SYNC_ACTOR for entry in (since if len(since) < len(log) else since[:1]))


def surplus_states(entries: list[LogEntry], now_ms: int) -> list[int]:
    """Which states the tiers let go: all of the last day stay, one an hour for a week, one a day after that; the newest always."""
    kept: set[tuple[str, int]] = set()
    surplus = []
    for entry in sorted(entries, key=lambda one: one.sequence, reverse=True)[1:]:
        age_ms = now_ms - entry.time_ms
        if age_ms < DAY_MS:
            continue
        tier = ("hour", entry.time_ms // HOUR_MS) if age_ms < 7 * DAY_MS else ("day", entry.time_ms // DAY_MS)
        if tier in kept:
            surplus.append(entry.sequence)
        kept.add(tier)
    return surplus


def _changed_bytes(old: File, new: File) -> int:
    """A fair estimate without reading either: how much longer or shorter, and at least something."""
    return max(abs(new.size - old.size), 1)
