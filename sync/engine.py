"""One replica's verbs in their order: look, share, push, pull. It holds no policy of when; the supervisor decides that.

Blocking work (disk, store) runs in `run`, one call at a time; only the remote is awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.conflicts import Conflict
from store.database import Tx
from store.errors import BlobsMissing, Busy, InvalidReply, Stale
from store.manifest import EMPTY_ROOT, manifest_totals
from store.types import Digest, RelPath, Spot, show_path, spot_of
from store.workspaces import Apart
from sync import adopt, incoming, transfer
from sync.adopt import Adopted, pinned_sizes
from sync.adopt.begun import begun_at
from sync.adopt.recover import recover
from sync.core.brake import Limits
from sync.core.plan import Action
from sync.core.wire import Head
from sync.incoming import Received, check_head, is_late, parse_root
from sync.outgoing import Outgoing, check_brake, prepare
from sync.outgoing.steps import BOUNDS, Bounds
from sync.outgoing.unanswered import note_attempt, recall_push, would_recall
from sync.ports import CatchUp, Git, Remote
from sync.progress import Phase, Progress
from sync.replica import LocalReplica
from sync.scan import Scanner, ScanResult
from sync.share import SECRET, Suspect, derive_shared, find_barred, list_tellable, list_untaken

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
        self._changed_since_plan = True
        self.newest_root: Digest | None = None
        self._pushed_from = replica.row.agreed_version
        """A push onto this version may have no answer yet, or may still arrive: always after a start."""
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

    @property
    def is_plan_due(self) -> bool:
        """What the folder could not take may be taken now, or stand against something new: it is planned before anything is sent."""
        return bool(list_untaken(self.apart)) and (self._changed_since_plan or self.replica.row.shared_full != self.replica.row.full_root)

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
        bits = self.replica.disk().bits
        with self.replica.open_root() as root:
            result = self._scanner.scan(root, dirty, bits=bits)
        if head != self.replica.row.git_head:
            self._note_git(head)
        self.ignored_files = result.ignored if dirty is None else self.ignored_files
        if result.changes or result.seen or result.contents:
            changes = [(change.path, change.new) for change in result.changes]
            draft = self.replica.draft()
            self.replica.commit(
                changes=changes, seen=result.seen, contents=result.contents, actor=ACTOR, draft=draft,
                also=lambda tx, full_root: adopt.note_done(tx, self.replica, full_root, draft),
            )  # fmt: skip
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
        shared = derive_shared(replica, self.apart, draft, suspect, begun_at(replica))
        self._changed_since_plan = True
        full_root = replica.row.full_root

        def work(tx: Tx) -> None:
            replica.blobs.put_nodes(tx, draft.new)
            workspaces.set_apart(tx, replica.id, shared.put, shared.drop)
            workspaces.set_shared(tx, replica.id, shared.root, full_root)

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
            since = self.replica.row.agreed_root
            ready: Ready = await self._in_thread(self._make_ready, since)
            head = None
            while ready.outgoing is not None:
                head = await self._send(remote, ready.outgoing, ready.frames)
                await self._run(self._confirm, ready.outgoing, head)
                if ready.outgoing.is_whole:
                    break
                # What was saved while the cloud was waited for goes along.
                ready = await self._in_thread(self._make_ready, since)
            if ready.unsent:
                await self._send_conflicts(remote, ready.unsent)
            return head

    def _make_ready(self, since: Digest) -> Ready:
        self._share()
        if self.is_plan_due:
            adopted = self._plan_again()
            if adopted.stale:
                raise Stale(f"{show_path(adopted.stale[0])} changed while it was being updated", stale=adopted.stale)
        # Of a change that takes several pushes the brake weighs the whole: its last part may only take away.
        check_brake(self.replica, since, self._policy().limits, switching=self._switched)
        return self._load()

    def _load(self) -> Ready:
        self.progress.begin(Phase.PREPARING)
        outgoing = prepare(self.replica, self._bounds)
        if outgoing is not None and not would_recall(self.replica, outgoing.root):
            self.replica.db.write_now(partial(self._note_attempt, outgoing=outgoing))
        frames = list(self.replica.blobs.frames_for(list(outgoing.sizes))) if outgoing is not None and outgoing.inline else []
        return Ready(outgoing, frames, list_tellable(self.replica, self._policy().suspect))

    def _note_attempt(self, tx: Tx, outgoing: Outgoing) -> None:
        self.replica.blobs.put_nodes(tx, outgoing.nodes)
        note_attempt(tx, self.replica, outgoing.root)

    async def _send(self, remote: Remote, outgoing: Outgoing, frames: list[bytes]) -> Head:
        if not outgoing.inline:
            await transfer.send_blobs(remote, self.replica.blobs, outgoing.sizes, self.progress)
        for _ in range(PUSH_TRIES):
            self.progress.begin(Phase.ASKING)
            self._pushed_from = outgoing.header.expected_version
            try:
                return await remote.push(self.replica.row.workspace_id, outgoing.header, outgoing.deltas, frames)
            except BlobsMissing as error:
                listed = error.details.get("digests")
                absent = listed if isinstance(listed, list) and listed else list(outgoing.sizes)
                if not outgoing.sizes.keys() >= set(absent):
                    raise InvalidReply("the cloud asks for contents that are not of the push") from None
                await transfer.send_blobs(remote, self.replica.blobs, {digest: outgoing.sizes[digest] for digest in absent}, self.progress)
        raise InvalidReply("the cloud keeps asking for blobs that were sent")

    def _confirm(self, outgoing: Outgoing, head: Head) -> None:
        replica, row = self.replica, self.replica.row
        incoming.check_pushed(head, row.workspace_id, row.epoch, row.agreed_version + 1, outgoing.root)

        def work(tx: Tx) -> None:
            workspaces.set_shared(tx, replica.id, row.shared_root, row.shared_full)
            workspaces.set_agreed(tx, replica.id, head.version, outgoing.root, head.epoch)
            workspaces.set_agreed_snapshot(tx, replica.id, head.snapshot_id)
            journal.finish(tx, replica.id)
            if outgoing.is_whole:
                history.mark_version(tx, replica.id, outgoing.sequence, head.version)
            snapshots.mark_shared(tx, outgoing.snapshot_ids)

        replica.db.write_now(work)
        adopt.forget_placed(replica)
        # What was looked at while the push was under way is weighed with the next one.
        self._switched = self._switched and not (outgoing.is_whole and row.sequence == outgoing.sequence)
        self.pushed_version = head.version
        replica.row = msgspec.structs.replace(
            row, agreed_version=head.version, agreed_root=outgoing.root, epoch=head.epoch, agreed_snapshot=head.snapshot_id or ""
        )  # fmt: skip

    async def _send_conflicts(self, remote: Remote, unsent: list[Conflict]) -> None:
        await transfer.send_blobs(remote, self.replica.blobs, pinned_sizes(unsent), self.progress)
        await remote.send_conflicts(self.replica.row.workspace_id, [adopt.wire_conflict(conflict) for conflict in unsent])
        await self._run(lambda: self.replica.db.write_now(lambda tx: conflicts.mark_sent(tx, unsent)))

    # --- pull -------------------------------------------------------------------------------------------------------------------

    async def pull(self, remote: Remote, event: CatchUp | None, on_apply: Callable[[], None]) -> Adopted | None:
        """Follow the head: from an event when it continues what is agreed, else by asking. None: nothing was new.

        Raises BrakeHeld, RootLost, Busy while git is at work, EpochChanged, InvalidReply.
        """
        with self.progress:
            return await self._pull(remote, event, on_apply)

    async def _pull(self, remote: Remote, event: CatchUp | None, on_apply: Callable[[], None]) -> Adopted | None:
        self.progress.begin(Phase.ASKING)
        if event is not None and is_late(self.replica, event):
            return None
        told = event if event is not None and self._continues(event) else await self._catch_up(remote)
        row, head = self.replica.row, check_head(self.replica, told.head)
        if head.version == row.agreed_version and head.root == row.agreed_root.hex():
            await self._learn(remote, told)
            return None
        self.progress.begin(Phase.ENTRIES)
        found = await self._in_thread(self._receive, told)
        if found is None:
            await transfer.fetch_manifest(remote, self.replica.blobs, row.workspace_id, parse_root(head), self.progress)
            found = await self._in_thread(self._receive_nodes, told)
        received, wanted = found
        self.newest_root = received.root
        if wanted:
            await transfer.fetch_blobs(remote, self.replica.blobs, wanted, self.progress)
        on_apply()
        return await self._in_thread(self._adopt, received)

    def _continues(self, event: CatchUp) -> bool:
        """False where the head may be one's own push; and for what waited while its version was caught up with: it is no news."""
        row, head = self.replica.row, event.head
        is_news = head is not None and event.parent_root == row.agreed_root and head.version > row.agreed_version
        return is_news and self._pushed_from != row.agreed_version

    async def _catch_up(self, remote: Remote) -> CatchUp:
        """What leads from agreed to the head. Where a push may have no answer yet, what it made is seen first."""
        since = self.replica.row.agreed_version
        if self._pushed_from == since:
            made = await remote.find_version(self.replica.row.workspace_id, since + 1)
            await self._in_thread(recall_push, self.replica, made)
        return await remote.catch_up(self.replica.row.workspace_id, since, self.replica.row.agreed_root)

    def _receive(self, told: CatchUp) -> tuple[Received, dict[Digest, int]] | None:
        received = incoming.receive(self.replica, told)
        if received is None or told.delta is None:
            return None
        return received, self._wanted(received, incoming.sizes_of(entry for _, entry in told.delta))

    def _receive_nodes(self, told: CatchUp) -> tuple[Received, dict[Digest, int]]:
        received = incoming.receive_nodes(self.replica, told)
        return received, self._wanted(received, incoming.files_in(self.replica, received))

    def _wanted(self, received: Received, found: dict[Digest, int]) -> dict[Digest, int]:
        found |= pinned_sizes(conflict for conflict in received.conflicts if conflict.is_open)
        return incoming.lacking_of(self.replica, received, found)

    def _adopt(self, received: Received) -> Adopted:
        self._refuse_beside_git()
        self._share()
        policy = self._policy()
        adopted = adopt.adopt(self.replica, received, self.apart, policy.limits, policy.boot_id)
        self._settle(adopted, received.root)
        return adopted

    def _settle(self, adopted: Adopted, root: Digest) -> None:
        """After a plan: what it leaves for the next look, and the next plan."""
        wanted = self._scanner.want(adopted.stale)
        self._read_apart()
        if not adopted.stale:
            self._let_leave(root, adopted.made, wanted)
        self._changed_since_plan = bool(adopted.stale)

    def _let_leave(self, root: Digest, made: Iterable[Action] = (), wanted: Iterable[RelPath] = ()) -> None:
        """What a rule ignores, of what is here beyond `root`: before a push, which would bring it back to whoever made the rule."""
        rule_files, barred = self.replica.ignore.take_written(), find_barred(self.replica, root, made, wanted, self.apart)
        if rule_files or barred:
            self._scanner.decide_anew(barred)
            looked = self._look(rule_files)
            self.replica.again |= looked.deferred | {spot_of(problem.path) for problem in looked.problems}

    async def _learn(self, remote: Remote, told: CatchUp) -> None:
        """Snapshots and conflict records without a move of the head; the texts of open records come along."""
        if not (told.snapshots or told.conflicts):
            return
        known, records = incoming.learned_of(self.replica, told)
        if pinned := pinned_sizes(record for record in records if record.is_open):
            await transfer.fetch_blobs(remote, self.replica.blobs, pinned, self.progress)
        await self._run(lambda: self.replica.db.write_now(lambda tx: adopt.keep_learned(tx, known, records)))

    # --- what else ----------------------------------------------------------------------------------------------------------------

    async def plan_again(self) -> Adopted:
        """Try again what the folder could not take. Raises RootLost, Busy while git is at work."""
        with self.progress:
            return await self._in_thread(self._plan_again)

    def _plan_again(self) -> Adopted:
        self._refuse_beside_git()
        self._share()
        adopted = adopt.plan_again(self.replica, self.apart, self._policy().boot_id)
        if adopted is None:
            self._changed_since_plan = False
            return Adopted(0, 0, (), {})
        self._settle(adopted, self.replica.row.agreed_root)
        return adopted

    def _refuse_beside_git(self) -> None:
        if self._git.is_at_work():
            raise Busy("git is at work in this folder", "What came from the cloud is applied once git is done.")

    async def verb(self, verb: Callable[..., T], *args: object, **options: object) -> T:
        """Something a person asked for, in the replica's turn."""
        return await self._in_thread(self._act, partial(verb, self.replica, *args, **options))

    def _act(self, act: Callable[[], T]) -> T:
        before = self.replica.row.full_root
        try:
            return act()
        finally:
            if self.replica.row.full_root != before:
                self._let_leave(before)

    async def recover(self) -> None:
        """Finish or forget what a crash left: temporaries are kept by digest and swept, torn paths are read again."""
        with self.progress:
            self.progress.begin(Phase.PREPARING)
            await self._run(self._recover)

    def _recover(self) -> None:
        self._read_apart()
        recover(self.replica, self._scanner, self._policy().boot_id)
