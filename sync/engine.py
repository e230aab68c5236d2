"""One replica's verbs in their order: look, share, push, pull. It holds no policy of when; the supervisor decides that.

Blocking work (disk, store) runs in `run`, one call at a time; only the remote is awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.atomic import TEMP_PREFIX
from store.blobs.frames import decode_frame, is_recipe
from store.conflicts import Conflict
from store.database import Tx
from store.errors import BlobsMissing, BrakeHeld, Busy, InvalidReply
from store.manifest import EMPTY_ROOT, diff_manifests, manifest_totals
from store.types import Digest, File, RelPath, Spot, parse_digest
from store.workspaces import Apart
from sync import adopt, transfer
from sync.adopt import Adopted, Received
from sync.core.brake import Direction, Limits, count_losses, weigh
from sync.core.wire import Head
from sync.outgoing import Outgoing, prepare
from sync.outgoing.steps import BOUNDS, Bounds
from sync.outgoing.unanswered import note_attempt, recall_push
from sync.ports import CatchUp, Git, Remote
from sync.progress import Phase, Progress
from sync.replica import LocalReplica
from sync.scan import Scanner, ScanResult
from sync.share import SECRET, Suspect, derive_shared

PUSH_TRIES: Final = 3
ACTOR: Final = "watch"
P = ParamSpec("P")
T = TypeVar("T")


class Policy(msgspec.Struct, frozen=True):
    """What a person set: the brake's limits, and how secrets are told (None: nothing is held back)."""

    limits: Limits
    suspect: Suspect | None
    boot_id: str


class Ready(msgspec.Struct, frozen=True):
    """What a push begins with: the change with its small blobs, and conflict records that were not told yet."""

    outgoing: Outgoing | None
    frames: list[bytes]
    unsent: list[Conflict]


class Engine:
    """The verbs of one replica. Not safe for two callers at once: the supervisor calls them in turn.

    While a verb waits for the remote another may run: after such a wait nothing is taken for what it was before.
    """

    def __init__(
        self,
        replica: LocalReplica,
        scanner: Scanner,
        git: Git,
        policy: Callable[[], Policy],
        run: Callable[..., Awaitable[Any]],
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.replica = replica
        self._scanner = scanner
        self._git = git
        self._policy = policy
        self._run = run
        self._bounds = bounds
        self._switched = False
        self.newest_root: Digest | None = None
        self._unanswered = True
        """A push may have taken effect without being confirmed here: always after a start."""
        self.pushed_version = 0
        """The last version that was this replica's own push: the cloud knows of it without being told."""
        self.ignored_files = 0
        self.apart: dict[RelPath, Apart] = {}
        """What is kept apart, as of the last verb."""

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Blocking work, in its turn."""
        result: T = await self._run(work, *args, **options)
        return result

    @property
    def has_root(self) -> bool:
        """The root is there, and the one that was attached."""
        return self.replica.has_root

    @property
    def progress(self) -> Progress:
        """How far the verb is that runs now."""
        return self.replica.progress

    # --- look -------------------------------------------------------------------------------------------------------------------

    async def look(self, dirty: Collection[Spot] | None) -> ScanResult:
        """Look at the dirty spots again (None: everything) and keep what is settled. Raises RootLost."""
        with self.progress:
            return await self._in_thread(self._look, dirty)

    def _look(self, dirty: Collection[Spot] | None) -> ScanResult:
        head = self._git.head()
        self._switched = self._switched or (bool(self.replica.row.git_head) and head != self.replica.row.git_head)
        if dirty is None:
            self.replica.ignore.set_outside(*self._git.excludes())
        self.progress.begin(Phase.LOOKING, self.replica.index.count_files() if dirty is None else None)
        with self.replica.open_root() as root:
            result = self._scanner.scan(root, dirty)
        if head != self.replica.row.git_head:
            self._note_git(head)
        self.ignored_files = result.ignored if dirty is None else self.ignored_files
        if result.changes or result.seen or result.contents:
            changes = [(change.path, change.new) for change in result.changes]
            self.replica.commit(changes=changes, seen=result.seen, contents=result.contents, actor=ACTOR)
        return result

    def _note_git(self, head: str) -> None:
        self.replica.db.write_now(lambda tx: workspaces.set_git_head(tx, self.replica.id, head))
        self.replica.row = msgspec.structs.replace(self.replica.row, git_head=head)

    # --- share ------------------------------------------------------------------------------------------------------------------

    async def share(self) -> None:
        """Bring the shared root up to date with the full one."""
        with self.progress:
            await self._run(self._share)

    def _share(self) -> None:
        replica = self.replica
        suspect = self._policy().suspect
        held = any(row.kind == SECRET for row in self.apart.values())
        if replica.row.shared_full == replica.row.full_root and (suspect is not None or not held):
            return
        draft = replica.draft()
        is_first = replica.row.shared_full == EMPTY_ROOT
        self.progress.begin(Phase.CHECKING, manifest_totals(replica.row.full_root, draft).files if is_first else None)
        shared = derive_shared(replica, self.apart, draft, suspect)
        full_root = replica.row.full_root

        def work(tx: Tx) -> None:
            replica.blobs.put_nodes(tx, draft.new)
            workspaces.set_apart(tx, replica.id, shared.put, shared.drop)
            workspaces.set_shared(tx, replica.id, shared.root, full_root)
            note_attempt(tx, replica, shared.root)

        if draft.new or shared.put or shared.drop:
            replica.db.write_now(work)
            self._read_apart()
        # Where full and shared are one tree nothing new was written: the row follows with the next transaction, or is derived again.
        replica.row = msgspec.structs.replace(replica.row, shared_root=shared.root, shared_full=full_root)

    def _read_apart(self) -> None:
        self.apart = workspaces.list_apart(self.replica.db.read(), self.replica.id)

    # --- push -------------------------------------------------------------------------------------------------------------------

    async def push(self, remote: Remote) -> Head | None:
        """Send what differs from agreed, by one compare-and-swap for each push it takes. None: there was nothing to send.

        Raises VersionMoved (pull first), BrakeHeld, EpochChanged.
        """
        with self.progress:
            ready: Ready = await self._in_thread(self._make_ready)
            head = None
            while ready.outgoing is not None:
                head = await self._send(remote, ready.outgoing, ready.frames)
                await self._run(self._confirm, ready.outgoing, head)
                if ready.outgoing.is_whole:
                    break
                ready = await self._in_thread(self._load)
            if ready.unsent:
                await self._send_conflicts(remote, ready.unsent)
            return head

    def _make_ready(self) -> Ready:
        self._share()
        # Of a change that takes several pushes the brake weighs the whole: its last part may only take away.
        self._check_brake()
        return self._load()

    def _load(self) -> Ready:
        self.progress.begin(Phase.PREPARING)
        outgoing = prepare(self.replica, self._bounds)
        if outgoing is not None and not outgoing.is_whole:
            self.replica.db.write_now(partial(self._note_part, outgoing=outgoing))
        frames = list(self.replica.blobs.frames_for(list(outgoing.sizes))) if outgoing is not None and outgoing.inline else []
        return Ready(outgoing, frames, conflicts.unsent_conflicts(self.replica.db.read(), self.replica.row.workspace_id))

    def _note_part(self, tx: Tx, outgoing: Outgoing) -> None:
        self.replica.blobs.put_nodes(tx, outgoing.nodes)
        note_attempt(tx, self.replica, outgoing.root)

    async def _send(self, remote: Remote, outgoing: Outgoing, frames: list[bytes]) -> Head:
        if not outgoing.inline:
            await transfer.send_blobs(remote, self.replica.blobs, outgoing.sizes, self.progress)
        for _ in range(PUSH_TRIES):
            self.progress.begin(Phase.ASKING)
            self._unanswered = True
            try:
                return await remote.push(self.replica.row.workspace_id, outgoing.header, outgoing.deltas, frames)
            except BlobsMissing as error:
                listed = error.details.get("digests")
                absent = listed if isinstance(listed, list) and listed else outgoing.sizes
                sizes = {digest: outgoing.sizes.get(digest, 0) for digest in absent}
                await transfer.send_blobs(remote, self.replica.blobs, sizes, self.progress)
        raise InvalidReply("the cloud keeps asking for blobs that were sent")

    def _check_brake(self) -> None:
        row, draft = self.replica.row, self.replica.draft()
        if row.agreed_root in (EMPTY_ROOT, row.shared_root) or row.shared_root.hex() in row.allowed:
            return
        changes = self.replica.changes_between(row.agreed_root, row.shared_root, draft)
        losses = count_losses((change.old, change.new) for change in changes)
        before, after = (manifest_totals(root, draft).files for root in (row.agreed_root, row.shared_root))
        policy = self._policy()
        brake = weigh(losses, Direction.OUT, before=before, after=after, limits=policy.limits, switching=self._switched)
        if brake.holds:
            raise BrakeHeld(brake.sentence, "`fst approve` sends it; `fst restore --from ID` brings the files back.")

    def _confirm(self, outgoing: Outgoing, head: Head) -> None:
        replica = self.replica
        if (head.version, head.root) != (outgoing.header.expected_version + 1, outgoing.root.hex()):
            raise InvalidReply("the cloud took a push and answers another version or root")
        row = replica.row

        def work(tx: Tx) -> None:
            workspaces.set_shared(tx, replica.id, row.shared_root, row.shared_full)
            workspaces.set_agreed(tx, replica.id, head.version, outgoing.root, head.epoch)
            workspaces.set_agreed_snapshot(tx, replica.id, head.snapshot_id)
            if outgoing.is_whole:
                history.mark_version(tx, replica.id, outgoing.sequence, head.version)
            snapshots.mark_shared(tx, outgoing.snapshot_ids)
            journal.finish(tx, replica.id)

        replica.db.write_now(work)
        adopt.forget_placed(replica)
        # What was looked at while the push was under way is weighed with the next one.
        self._switched = self._switched and row.sequence != outgoing.sequence
        self._unanswered = False
        self.pushed_version = head.version
        replica.row = msgspec.structs.replace(
            row, agreed_version=head.version, agreed_root=outgoing.root, epoch=head.epoch, agreed_snapshot=head.snapshot_id or ""
        )  # fmt: skip

    async def _send_conflicts(self, remote: Remote, unsent: list[Conflict]) -> None:
        await transfer.send_blobs(remote, self.replica.blobs, _pinned(unsent), self.progress)
        await remote.send_conflicts(self.replica.row.workspace_id, [adopt.wire_conflict(conflict) for conflict in unsent])
        await self._run(lambda: self.replica.db.write_now(lambda tx: conflicts.mark_sent(tx, unsent)))

    # --- pull -------------------------------------------------------------------------------------------------------------------

    async def pull(self, remote: Remote, incoming: CatchUp | None, on_apply: Callable[[], None]) -> Adopted | None:
        """Follow the head: from an event when it continues what is agreed, else by asking. None: nothing was new.

        Raises BrakeHeld, RootLost, Busy while git is at work.
        """
        with self.progress:
            return await self._pull(remote, incoming, on_apply)

    async def _pull(self, remote: Remote, incoming: CatchUp | None, on_apply: Callable[[], None]) -> Adopted | None:
        row = self.replica.row
        self.progress.begin(Phase.ASKING)
        if incoming is not None and adopt.is_late(row, incoming.head):
            return None
        if incoming is None or incoming.head is None or incoming.parent_root != row.agreed_root:
            incoming = await self._catch_up(remote)
            row = self.replica.row
        head = incoming.head
        if head is None:
            raise InvalidReply("the cloud's answer names no head")
        adopt.check_head(row, head)
        if head.version == row.agreed_version and head.root == row.agreed_root.hex():
            await self._learn(remote, incoming)
            return None
        self.progress.begin(Phase.ENTRIES)
        received, wanted = await self._in_thread(self._receive, incoming)
        if received is None:
            received = await self._receive_nodes(remote, incoming)
            wanted = await self._in_thread(self._wanted, received, self._files_in(received))
        self.newest_root = received.root
        if wanted:
            await transfer.fetch_blobs(remote, self.replica.blobs, wanted, self.progress)
        on_apply()
        return await self._in_thread(self._adopt, received)

    async def _catch_up(self, remote: Remote) -> CatchUp:
        """What leads from agreed to the head. Where a push may have no answer yet, that it made is seen first."""
        since = self.replica.row.agreed_version
        if self._unanswered:
            made = await remote.find_version(self.replica.row.workspace_id, since + 1)
            await self._in_thread(recall_push, self.replica, made)
            self._unanswered = False
        return await remote.catch_up(self.replica.row.workspace_id, since, self.replica.row.agreed_root)

    def _receive(self, incoming: CatchUp) -> tuple[Received | None, dict[Digest, int]]:
        received = adopt.receive(self.replica, incoming, decode_contents(incoming))
        if received is None or incoming.delta is None:
            return None, {}
        return received, self._wanted(received, {entry.digest: entry.size for _, entry in incoming.delta if isinstance(entry, File)})

    def _adopt(self, received: Received) -> Adopted:
        if self._git.is_at_work():
            raise Busy("git is at work in this folder", "What came from the cloud is applied once git is done.")
        self._share()
        policy = self._policy()
        adopted = adopt.adopt(self.replica, received, self.apart, policy.limits, policy.boot_id)
        self._read_apart()
        return adopted

    async def _receive_nodes(self, remote: Remote, incoming: CatchUp) -> Received:
        if incoming.head is None:
            raise InvalidReply("the cloud's answer names no head")
        root = parse_digest(incoming.head.root)
        await transfer.fetch_manifest(remote, self.replica.blobs, self.replica.row.workspace_id, root, self.progress)
        return adopt.received_of(self.replica, incoming, root, self.replica.draft(), decode_contents(incoming))

    def _files_in(self, received: Received) -> dict[Digest, int]:
        changes = diff_manifests(self.replica.row.agreed_root, received.root, received.draft)
        return {change.new.digest: change.new.size for change in changes if isinstance(change.new, File)}

    def _wanted(self, received: Received, found: dict[Digest, int]) -> dict[Digest, int]:
        found |= _pinned(conflict for conflict in received.conflicts if conflict.is_open)
        lacking = self.replica.blobs.lacking(digest for digest in found if digest not in received.contents)
        return {digest: size for digest, size in found.items() if digest in lacking}

    async def _learn(self, remote: Remote, incoming: CatchUp) -> None:
        """Snapshots and conflict records without a move of the head; the texts of open records come along."""
        if not (incoming.snapshots or incoming.conflicts):
            return
        known, records = adopt.learned_of(self.replica, incoming)
        if pinned := _pinned(record for record in records if record.is_open):
            await transfer.fetch_blobs(remote, self.replica.blobs, pinned, self.progress)
        await self._run(lambda: self.replica.db.write_now(lambda tx: adopt.keep_learned(tx, known, records)))

    # --- what else ----------------------------------------------------------------------------------------------------------------

    async def retry_owed(self) -> None:
        """Try again what the folder refused."""
        with self.progress:
            await self._run(self._retry_owed)

    def _retry_owed(self) -> None:
        adopt.retry_owed(self.replica)
        self._read_apart()

    async def verb(self, verb: Callable[..., T], *args: object, **options: object) -> T:
        """Something a person asked for, in the replica's turn."""
        return await self._in_thread(lambda: verb(self.replica, *args, **options))

    async def recover(self) -> None:
        """Finish or forget what a crash left: temporaries are kept by digest and swept, torn paths are read again."""
        with self.progress:
            self.progress.begin(Phase.PREPARING)
            await self._run(self._recover)

    def _recover(self) -> None:
        replica = self.replica
        self._read_apart()
        left = journal.pending(replica.db.read(), replica.id)
        if replica.row.sequence == 0 and left is None:
            return  # nothing was ever done in this folder
        with replica.open_root() as root:
            kept, _ = self._scanner.sweep_temps(root, lambda data: adopt.keep_bytes(replica, data))
        adopt.pin_rescued(replica, [(RelPath(TEMP_PREFIX), digest) for digest in kept])
        if left is None:
            return
        same_boot = left.boot_id == self._policy().boot_id
        if not same_boot:
            self._scanner.doubt([change.path for change in diff_manifests(left.from_root, left.to_root, replica.draft())])
        if same_boot and left.from_root == replica.row.agreed_root:
            # What was placed was there when we died. The row stays until agreed has moved past it.
            replica.placed = replica.trail.read(left)
            return
        replica.db.write_now(lambda tx: journal.finish(tx, replica.id))
        adopt.forget_placed(replica)


def decode_contents(incoming: CatchUp) -> dict[Digest, bytes]:
    """The small blobs that came along, each checked against its digest."""
    contents: dict[Digest, bytes] = {}
    for frame in incoming.frames:
        if not is_recipe(frame):
            contents.update(decode_frame(frame))
    return contents


def _pinned(records: Iterable[Conflict]) -> dict[Digest, int]:
    """What these keep alive, with sizes."""
    return {digest: size for record in records for digest, size in adopt.pinned_sizes(record).items()}
