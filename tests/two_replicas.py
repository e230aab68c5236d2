"""A cloud in memory behind the engine's port, and replicas with real folders and real stores that meet there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from daemon import verbs
from daemon.mend.rescue import COMPONENTS
from daemon.verbs import Author
from store import workspaces
from store.atomic import Folder
from store.blobs import BlobStore
from store.blobs.frames import decode_frame, encode_frame
from store.database import Database
from store.errors import BlobsMissing, Offline, VersionMoved
from store.manifest import EMPTY_ROOT, MemoryNodes, diff_manifests, edit_manifest
from store.manifest.source import Draft
from store.snapshots import Snapshot, list_snapshots
from store.types import Digest, File, RelPath, digest_of, new_ulid, parse_digest
from store.workspaces import Replica, Workspace
from sync.core.brake import Limits
from sync.core.history import is_ancestor
from sync.core.wire import Delta, Head, PushHeader, WireConflict, WireSnapshot, WireVersion, WireWorkspace, parse_delta
from sync.engine import Engine, Policy
from sync.outgoing.steps import BOUNDS, Bounds
from sync.progress import Count, Phase, Progress
from sync.replica import LocalReplica
from sync.scan import Scanner
from sync.share import Suspect

WORKSPACE = Workspace(new_ulid(1), new_ulid(1), "thing", "main", 1, True)


class CatchUpAnswer(msgspec.Struct):
    head: Head
    parent_root: Digest | None
    delta: Delta | None
    frames: tuple[bytes, ...] = ()
    snapshots: tuple[WireSnapshot, ...] = ()
    conflicts: tuple[WireConflict, ...] = ()


class MemoryCloud:
    """One head moved by compare-and-swap; whatever the port promises and nothing else."""

    def __init__(self) -> None:
        self.nodes_kept = MemoryNodes()
        self.blobs: dict[Digest, bytes] = {}
        self.root, self.version = EMPTY_ROOT, 1
        self.records: dict[str, WireConflict] = {}
        self.taken: list[WireSnapshot] = []
        self._taken_in: dict[str, int] = {}
        self.snapshot_id: str | None = None
        self.versions: dict[int, WireVersion] = {}
        self.lose_answers = 0
        self.answers = 0
        """So many pushes are answered before answers are lost."""

    def head(self) -> Head:
        return Head(WORKSPACE.id, "epoch", self.version, self.root.hex(), self.snapshot_id)

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        return WireWorkspace(WORKSPACE.id, WORKSPACE.project_id, "main", self.version, self.root.hex(), "epoch")

    async def find_version(self, workspace_id: str, number: int) -> WireVersion | None:
        return self.versions.get(number)

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> CatchUpAnswer:
        delta = [(change.path, change.new) for change in diff_manifests(root, self.root, self.nodes_kept)]
        since = tuple(one for one in self.taken if self._taken_in[one.id] > version)
        return CatchUpAnswer(self.head(), root, delta, (), since, tuple(self.records.values()))

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        if header.expected_version != self.version or header.parent_root != self.root.hex():
            raise VersionMoved("moved", head=self.head())
        for frame in frames:
            self.blobs.update(decode_frame(frame))
        waiting, root = list(deltas), self.root
        for step in header.steps:
            changes = [change for _ in range(step.sections) for change in parse_delta(waiting.pop(0))]
            absent = [entry.digest for _, entry in changes if isinstance(entry, File) and entry.digest not in self.blobs]
            if absent:
                raise BlobsMissing("absent", digests=absent)
            draft = Draft(self.nodes_kept)
            root = edit_manifest(root, changes, draft)
            assert root == parse_digest(step.root)
            for data in draft.new.values():
                self.nodes_kept.put(data)
            if step.snapshot is not None:
                self._take(step.snapshot)
        self.root, self.version = root, self.version + 1
        self.versions[self.version] = WireVersion(self.version, root.hex(), self.snapshot_id, header.replica_id, header.actor, "")
        if self.answers:
            self.answers -= 1
        elif self.lose_answers:
            self.lose_answers -= 1
            raise Offline("the answer was lost")
        return self.head()

    def _take(self, snapshot: WireSnapshot) -> None:
        """Parents first, and the head's snapshot only goes forward."""
        parents = {one.id: one.parents for one in self.taken} | {snapshot.id: snapshot.parents}
        assert parents.keys() >= set(snapshot.parents)
        if snapshot.id not in {one.id for one in self.taken}:
            self.taken.append(snapshot)
            self._taken_in[snapshot.id] = self.version + 1
        if self.snapshot_id is None or is_ancestor(self.snapshot_id, snapshot.id, parents):
            self.snapshot_id = snapshot.id

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        return {digest for digest in digests if digest not in self.blobs}

    async def upload(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.blobs.update(decode_frame(frame))

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        for digest in digests:
            yield encode_frame([(digest, self.blobs[digest])])

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        for digest in digests:
            yield digest, self.nodes_kept.get_node(digest)

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        self.records |= {conflict.id: conflict for conflict in conflicts}


class SteppingClock:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    def steady(self) -> float:
        return self.now / 1000


class NoGit:
    def head(self) -> str:
        return ""

    def is_at_work(self) -> bool:
        return False

    def excludes(self) -> tuple[bytes, bytes]:
        return b"", b""


class NotedProgress(Progress):
    """Remembers every count that was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Count] = []

    def begin(self, phase: Phase, total: int | None = None) -> None:
        super().begin(phase, total)
        self.begun.append(self.now)

    def all_of(self, phase: Phase) -> list[tuple[int, int | None]]:
        """How far each count of this phase came, and of how much."""
        return [(count.done, count.total) for count in self.begun if count.phase is phase]


class Seat:
    """One machine: a folder, a store and an engine."""

    def __init__(
        self, folder: Path, suspect: Suspect | None = None, limits: Limits | None = None, *,
        workspace: Workspace = WORKSPACE, replica_id: str = "", version: int = 1, epoch: str = "epoch", bounds: Bounds = BOUNDS,
        disk: type[Folder] = Folder,
    ) -> None:  # fmt: skip
        self.root = folder / "work"
        self.root.mkdir(parents=True)
        self.db = Database.open(folder / "store.db", COMPONENTS, threaded=False)
        self.blobs = BlobStore(self.db, folder / "segments")
        self.policy = Policy(limits or Limits(), suspect, "boot")
        self.clock = SteppingClock()
        with Folder.open_root(self.root) as opened:
            dev, ino = opened.identity()
        row = Replica(
            replica_id or new_ulid(2), workspace.id, bytes(self.root), dev, ino, EMPTY_ROOT, EMPTY_ROOT, EMPTY_ROOT, version, EMPTY_ROOT,
            epoch, 0,
        )  # fmt: skip
        self.db.write_now(lambda tx: workspaces.add_workspace(tx, workspace))
        self.db.write_now(lambda tx: workspaces.add_replica(tx, row))
        self.replica = LocalReplica(self.db, self.blobs, self.clock, row.id, folder=disk)
        self.replica.progress = self.progress = NotedProgress()
        self.folder = folder
        # A clock far ahead: no file is too young to be trusted, so one look is enough.
        self.bounds = bounds
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        scanner = Scanner(self.replica.index, self.replica.ignore, self.blobs, lambda: 1 << 62, progress=self.progress)
        return Engine(self.replica, scanner, NoGit(), lambda: self.policy, _call, self.bounds)

    def restart(self) -> None:
        """As after a crash: everything in memory is gone, and what a start does is done."""
        style = self.replica.style
        self.close()
        self.db = Database.open(self.folder / "store.db", COMPONENTS, threaded=False)
        self.blobs = BlobStore(self.db, self.folder / "segments")
        self.replica = LocalReplica(self.db, self.blobs, self.clock, self.replica.id, style)
        self.replica.progress = self.progress = NotedProgress()
        self.engine = self.new_engine()
        run(self.engine.recover())

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def tree(self) -> dict[str, str]:
        return {str(file.relative_to(self.root)): file.read_text() for file in sorted(self.root.rglob("*")) if file.is_file()}

    def kept(self, text: str) -> bool:
        return self.blobs.has(digest_of(text.encode()))

    def take_snapshot(self, message: str = "") -> Snapshot:
        """Of the shared state, which is up to date."""
        taken = verbs.take_snapshot(self.replica, message, Author())
        assert taken is not None
        return taken

    def snapshots(self) -> list[Snapshot]:
        """Newest first."""
        return [snapshot for snapshot, _ in list_snapshots(self.db.read(), self.replica.row.workspace_id, newest=1000)]

    def merges(self) -> list[Snapshot]:
        return [snapshot for snapshot in self.snapshots() if len(snapshot.parents) > 1]

    def close(self) -> None:
        self.blobs.close()
        self.db.close()


class Side(Seat):
    """A machine at the cloud in memory, with the verbs a supervisor would call."""

    def __init__(
        self, folder: Path, cloud: MemoryCloud, suspect: Suspect | None = None, limits: Limits | None = None, bounds: Bounds = BOUNDS,
        disk: type[Folder] = Folder,
    ) -> None:  # fmt: skip
        super().__init__(folder, suspect, limits, bounds=bounds, disk=disk)
        self.cloud = cloud

    def look(self) -> None:
        run(self.engine.look(None))

    def snapshot(self, message: str = "") -> Snapshot:
        """Look, and take one."""
        self.look()
        run(self.engine.share())
        return self.take_snapshot(message)

    def push(self) -> None:
        run(self.engine.push(self.cloud))

    def pull(self) -> Any:
        return run(self.engine.pull(self.cloud, None, lambda: None))

    def sync(self) -> None:
        """Look, pull, push, until the cloud agrees."""
        self.look()
        for _ in range(5):
            self.pull()
            try:
                self.push()
                return
            except VersionMoved:
                continue
        raise AssertionError("the head kept moving")


async def _call(work: Callable[..., Any], *args: Any) -> Any:
    return work(*args)


def run(awaitable: Any) -> Any:
    return asyncio.run(awaitable)


def rel(path: str) -> RelPath:
    return RelPath(path.encode())
