"""Take a remote state into a folder: plan, journal, apply, and only then let `agreed` move (J1, J2).

Theory. `base` is what both sides last agreed on, `local` this replica's shared root, `remote` the head. After the steps are on
disk, agreed becomes the remote and whatever local still differs is what the next push sends. A step that was stale leaves agreed
where it was: the steps that were done then read as agreement (P1) and the plan is made again. A step the system refused is
*owed*: shared goes on without it, full tells the truth about the folder, and it is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import pairwise
from typing import Final

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.conflicts import Conflict
from store.database import Tx
from store.errors import BrakeHeld, EpochChanged, InvalidReply
from store.history import Act
from store.journal import Pending
from store.manifest import Draft, check_tree_after, edit_manifest, entry_of, find_entry, manifest_totals, record_of
from store.snapshots import Snapshot
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath, digest_of, new_ulid, parent_of, parse_digest
from store.workspaces import Apart, Replica
from sync.apply import Applied, apply_plan
from sync.core.brake import Direction, Limits, count_losses, weigh
from sync.core.merge import MAX_TEXT_BYTES, merge_text
from sync.core.plan import Action, Clash, Plan, plan
from sync.core.wire import Head, WireConflict, WireSnapshot, WireWorkspace
from sync.ports import CatchUp
from sync.progress import Phase
from sync.replica import LocalReplica
from sync.rules import carried_rules
from sync.share import SECRET, owe
from sync.snapshot import merge_lines

SYNC_ACTOR: Final = "sync"
RESCUED: Final = "rescued"


class Received(msgspec.Struct, frozen=True):
    """A head whose manifest is readable through `draft`; `contents` came along and is not kept yet."""

    head: Head
    root: Digest
    draft: Draft
    contents: dict[Digest, bytes]
    snapshots: tuple[Snapshot, ...]
    conflicts: tuple[Conflict, ...]


class Adopted(msgspec.Struct, frozen=True):
    """What came of it: `stale` paths mean that the folder must be looked at again before the plan is made anew."""

    changed: int
    clashes: int
    stale: tuple[RelPath, ...]
    problems: dict[RelPath, str]


def check_head(row: Replica, head: Head | WireWorkspace) -> None:
    """A cloud answered this: it must go on from what is agreed (R8). Raises EpochChanged when it is not in the state it was."""
    is_other = bool(row.epoch) and head.epoch != row.epoch
    went_back = (head.version, head.root) != (row.agreed_version, row.agreed_root.hex()) and head.version <= row.agreed_version
    if is_other or went_back:
        raise EpochChanged(
            "the cloud is not in the state it was: it may have been restored from a backup",
            "Nothing is pulled or deleted. `fst approve` joins both sides and keeps everything.",
        )


def is_late(row: Replica, head: Head | None) -> bool:
    """A message about a head before the agreed one: it was held up on its way, and says nothing of the cloud as it is."""
    return head is not None and head.epoch == row.epoch and head.version < row.agreed_version


def receive(replica: LocalReplica, incoming: CatchUp, contents: dict[Digest, bytes]) -> Received | None:
    """The head's manifest from its delta, checked. None when the delta does not start at what is agreed here: fetch the nodes."""
    if incoming.head is None or incoming.delta is None or incoming.parent_root != replica.row.agreed_root:
        return None
    draft = replica.draft()
    delta = incoming.delta
    if any(former[0] >= later[0] for former, later in pairwise(delta)):
        raise InvalidReply("the cloud sent a delta that is not in order")
    root = edit_manifest(replica.row.agreed_root, delta, draft)
    if root.hex() != incoming.head.root:
        raise InvalidReply("the cloud sent a delta that does not lead to its head")
    check_tree_after(root, delta, draft)
    return received_of(replica, incoming, root, draft, contents)


def received_of(replica: LocalReplica, incoming: CatchUp, root: Digest, draft: Draft, contents: dict[Digest, bytes]) -> Received:
    """The same once the manifest is known to be readable through `draft`."""
    if incoming.head is None or parse_digest(incoming.head.root) != root:
        raise InvalidReply("the cloud's answer names another root than its head")
    known, records = learned_of(replica, incoming)
    return Received(incoming.head, root, draft, contents, tuple(known), tuple(records))


def adopt(replica: LocalReplica, received: Received, apart: Mapping[RelPath, Apart], limits: Limits, boot_id: str) -> Adopted:
    """Make the folder follow the head. The shared root must be current. Raises BrakeHeld, RootLost, BlobMissing."""
    made: dict[Digest, bytes] = dict(received.contents)
    replica.progress.begin(Phase.PLANNING)
    decided = plan(
        base_of(replica, received.draft), replica.row.shared_root, received.root, received.draft,
        join=_joiner(replica, made), untracked=carried_rules(received.root, received.draft, _content_reader(replica, made)),
    )  # fmt: skip
    row = replica.row
    if received.root.hex() not in row.allowed:
        losses = count_losses((step.expect, step.become) for step in decided.actions)
        before, after = (manifest_totals(root, received.draft).files for root in (row.shared_root, received.root))
        brake = weigh(losses, Direction.IN, before=before, after=after, limits=limits)
        if brake.holds:
            raise BrakeHeld(brake.sentence, "`fst approve` lets it in; until then nothing of it is applied.")
    steps = [step for step in decided.actions if step.path not in apart]
    records = new_records(replica, decided.clashes)
    _begin(replica, received, made, records, boot_id)
    joined = made.keys() - received.contents.keys()
    applied = _carry_out(replica, steps, lambda step: _note_placed(replica, step, joined))
    return _finish(replica, received, decided, records, applied, apart)


def base_of(replica: LocalReplica, draft: Draft) -> Digest:
    """What is agreed, and beyond it what a plan that did not end placed: what differs from that is the person's doing."""
    edits: dict[RelPath, Entry | None] = {}
    for path, entry in replica.placed.items():
        above: list[RelPath] = []
        while (folder := parent_of(above[-1] if above else path)) and folder not in edits:
            above.append(folder)
        found = [find_entry(replica.row.agreed_root, folder, draft) for folder in above]
        if isinstance(find_entry(replica.row.agreed_root, path, draft), Dir) or any(isinstance(one, File | Link) for one in found):
            continue  # a folder came or went here, too: agreed alone says what was there
        edits |= {folder: DIR for folder, one in zip(above, found, strict=True) if one is None}
        edits[path] = entry
    return edit_manifest(replica.row.agreed_root, sorted(edits.items()), draft) if edits else replica.row.agreed_root


def _note_placed(replica: LocalReplica, step: Action, joined: Set[Digest]) -> None:
    """Only what is as the cloud has it: a join is of both sides, and is made again."""
    if isinstance(step.become, Link) or (isinstance(step.become, File) and step.become.digest not in joined):
        replica.placed[step.path] = step.become
        replica.trail.note(step.path, step.become)


def new_records(replica: LocalReplica, clashes: Sequence[Clash]) -> list[Conflict]:
    """A record for each clash that has none yet: a plan that is made again after a crash finds those it wrote before."""
    waiting = conflicts.list_conflicts(replica.db.read(), replica.row.workspace_id)
    known = {(one.path, one.ours, one.theirs) for one in waiting}
    made = [_record(replica, clash) for clash in clashes]
    return [record for record in made if (record.path, record.ours, record.theirs) not in known]


def _begin(replica: LocalReplica, received: Received, made: Mapping[Digest, bytes], records: Sequence[Conflict], boot_id: str) -> None:
    """J1, and with it the records: once the path has the head's bytes, no plan would find the clash again."""
    started = Pending(replica.row.agreed_root, received.root, boot_id, replica.clock.now_ms())

    def work(tx: Tx) -> None:
        replica.blobs.put_inline(tx, made.items())
        replica.blobs.put_nodes(tx, received.draft.new)
        journal.begin(tx, replica.id, started)
        for record in records:
            conflicts.put_conflict(tx, record, sent=False)

    replica.db.write_now(work)
    replica.trail.begin(started, replica.placed)


def forget_placed(replica: LocalReplica) -> None:
    """Agreed moved."""
    replica.placed.clear()
    replica.trail.end()


def _carry_out(replica: LocalReplica, steps: Sequence[Action], note: Callable[[Action], None] | None = None) -> Applied:
    if not steps:
        return Applied.nothing()
    replica.progress.begin(Phase.APPLYING, len(steps))
    with replica.open_root() as root:
        applied = apply_plan(
            steps, root, replica.blobs, replica.index, keep=lambda data: keep_bytes(replica, data), ignore=replica.ignore,
            progress=replica.progress, note=note,
        )  # fmt: skip
    pin_rescued(replica, applied.rescued)
    return applied


def pin_rescued(replica: LocalReplica, rescued: Sequence[tuple[RelPath, Digest]]) -> None:
    """Content that lost its place before any state named it stays: as a settled record, which the collector honours."""
    now_ms = replica.clock.now_ms()
    records = []
    for path, digest in rescued:
        ours = record_of(path, File(digest, replica.blobs.size(digest)))
        identity, workspace_id = new_ulid(now_ms), replica.row.workspace_id
        records.append(Conflict(identity, workspace_id, path, RESCUED, None, ours, None, "resolved", now_ms, RESCUED, now_ms))

    def work(tx: Tx) -> None:
        for record in records:
            conflicts.put_conflict(tx, record, sent=True)

    if records:
        replica.db.write_now(work)


def keep_bytes(replica: LocalReplica, data: bytes) -> Digest:
    """Content that is about to lose its place in the folder, kept first."""
    digest = digest_of(data)
    replica.db.write_now(lambda tx: replica.blobs.put_inline(tx, [(digest, data)]))
    return digest


def _finish(
    replica: LocalReplica, received: Received, decided: Plan, records: Sequence[Conflict], applied: Applied, apart: Mapping[RelPath, Apart]
) -> Adopted:
    row, draft = replica.row, received.draft
    done = {step.path: step.become for step in applied.done}
    refused = dict(applied.problems)
    stale = set(applied.stale)
    taken = {step.path: step.become for step in decided.actions if step.path not in stale}
    shared_root = edit_manifest(row.shared_root, sorted(taken.items()), draft)
    owed = owe({path: reason for path, reason in refused.items() if path not in apart})
    # A step that was left alone has no clash yet: the next plan decides about it anew.
    undecided = [record.id for record in records if record.path in stale]
    shared_is_current = row.shared_full == row.full_root

    def also(tx: Tx, full_root: Digest) -> None:
        if shared_is_current:
            workspaces.set_shared(tx, replica.id, shared_root, full_root)
        else:
            workspaces.set_shared(tx, replica.id, shared_root, row.shared_full)
        workspaces.set_apart(tx, replica.id, owed, [])
        if not stale:
            workspaces.set_agreed(tx, replica.id, received.head.version, received.root, received.head.epoch)
            workspaces.set_agreed_snapshot(tx, replica.id, received.head.snapshot_id)
            journal.finish(tx, replica.id)
        conflicts.drop_conflicts(tx, undecided)
        keep_learned(tx, received.snapshots, received.conflicts)
        if not stale:
            merge_lines(tx, replica, received.head.snapshot_id, shared_root, full_root)

    replica.commit(changes=sorted(done.items()), seen=applied.seen, contents=(), actor=SYNC_ACTOR, draft=draft, also=also)
    replica.reload()
    if not stale:
        forget_placed(replica)
    return Adopted(len(done), len(records) - len(undecided), tuple(sorted(stale)), refused)


def keep_learned(tx: Tx, known: Sequence[Snapshot], records: Sequence[Conflict]) -> None:
    """Snapshots and conflict records that the cloud told of; some may be ours, from a push whose answer was lost."""
    for snapshot in known:
        snapshots.add_snapshot(tx, snapshot, snapshot.manifest_hash, shared=True)
    snapshots.mark_shared(tx, [snapshot.id for snapshot in known])
    for record in records:
        conflicts.put_conflict(tx, record, sent=True)


def restore(replica: LocalReplica, target: Digest, base: Digest, verb: str, actor: str) -> tuple[Adopted, Act]:
    """Bring the folder from `base` to `target` (full roots), keeping what was edited since `base`. Undoable."""
    draft = replica.draft()
    before = replica.row.full_root
    made: dict[Digest, bytes] = {}
    decided = plan(base, before, target, draft, join=_joiner(replica, made), untracked=lambda path, entry: False)
    replica.db.write_now(lambda tx: replica.blobs.put_inline(tx, made.items()))
    applied = _carry_out(replica, decided.actions)
    done = sorted((step.path, step.become) for step in applied.done)
    after = edit_manifest(before, done, draft)
    now_ms = replica.clock.now_ms()
    act = Act(new_ulid(now_ms), verb, before, after, now_ms)
    records = [_record(replica, clash) for clash in decided.clashes if clash.path not in applied.stale]

    def also(tx: Tx, full_root: Digest) -> None:
        history.add_act(tx, replica.id, act)
        for record in records:
            conflicts.put_conflict(tx, record, sent=False)

    replica.commit(changes=done, seen=applied.seen, contents=(), actor=actor, draft=draft, also=also)
    return Adopted(len(done), len(records), tuple(applied.stale), dict(applied.problems)), act


def retry_owed(replica: LocalReplica) -> Adopted:
    """Try again what the folder refused: from what it holds to what shared says."""
    draft = replica.draft()
    rows = workspaces.list_apart(replica.db.read(), replica.id)
    steps = []
    for path, row in rows.items():
        if row.kind != SECRET:
            expect, become = find_entry(replica.row.full_root, path, draft), find_entry(replica.row.shared_root, path, draft)
            if expect != become:
                steps.append(Action(path, expect, become))
    applied = _carry_out(replica, steps)
    settled = [path for path, row in rows.items() if row.kind != SECRET and path not in dict(applied.problems)]
    settled = [path for path in settled if path not in set(applied.stale)]
    replica.commit(
        changes=sorted((step.path, step.become) for step in applied.done), seen=applied.seen, contents=(), actor=SYNC_ACTOR, draft=draft,
        also=lambda tx, full_root: _settle_owed(tx, replica, settled, full_root),
    )  # fmt: skip
    replica.reload()
    return Adopted(len(applied.done), 0, tuple(applied.stale), dict(applied.problems))


def _settle_owed(tx: Tx, replica: LocalReplica, settled: list[RelPath], full_root: Digest) -> None:
    workspaces.set_apart(tx, replica.id, {}, settled)
    if replica.row.shared_full == replica.row.full_root:
        workspaces.set_shared(tx, replica.id, replica.row.shared_root, full_root)


def pinned_sizes(conflict: Conflict) -> dict[Digest, int]:
    """The contents that a record keeps alive, and how large each is."""
    sides = (conflict.base, conflict.ours, conflict.theirs)
    entries = [entry_of(record)[1] for record in sides if record is not None]
    return {entry.digest: entry.size for entry in entries if isinstance(entry, File)}


def learned_of(replica: LocalReplica, incoming: CatchUp) -> tuple[list[Snapshot], list[Conflict]]:
    """The snapshots and conflict records of a message, checked."""
    known = [_snapshot_of(wire) for wire in incoming.snapshots]
    return known, [_conflict_of(wire) for wire in incoming.conflicts if wire.workspace_id == replica.row.workspace_id]


def _joiner(replica: LocalReplica, made: dict[Digest, bytes]) -> Callable[[File | None, File, File], File | None]:
    read = _content_reader(replica, made)

    def join(base: File | None, local: File, remote: File) -> File | None:
        """Lines joined, or None: no base, too large, not text, or an overlap."""
        if base is None or max(base.size, local.size, remote.size) > MAX_TEXT_BYTES:
            return None
        merged = merge_text(read(base.digest), read(local.digest), read(remote.digest)).data
        if merged is None:
            return None
        digest = digest_of(merged)
        made[digest] = merged
        executable = local.executable if remote.executable == base.executable else remote.executable
        return File(digest, len(merged), executable)

    return join


def _content_reader(replica: LocalReplica, made: Mapping[Digest, bytes]) -> Callable[[Digest], bytes]:
    def read(digest: Digest) -> bytes:
        data = made.get(digest)
        return replica.blobs.get(digest) if data is None else data

    return read


def _record(replica: LocalReplica, clash: Clash) -> Conflict:
    now_ms = replica.clock.now_ms()
    base, ours, theirs = (None if entry is None else record_of(clash.path, entry) for entry in (clash.base, clash.ours, clash.theirs))
    return Conflict(new_ulid(now_ms), replica.row.workspace_id, clash.path, clash.kind, base, ours, theirs, "open", now_ms)


def wire_conflict(conflict: Conflict) -> WireConflict:
    """A record as it travels."""
    return WireConflict(
        conflict.id, conflict.workspace_id, record_of(conflict.path, None), conflict.kind, conflict.base, conflict.ours, conflict.theirs,
        conflict.state, conflict.created_ms, conflict.resolution, conflict.resolved_ms,
    )  # fmt: skip


def _conflict_of(wire: WireConflict) -> Conflict:
    path = RelPath(entry_of(wire.record)[0])
    return Conflict(
        wire.id, wire.workspace_id, path, wire.kind, wire.base, wire.ours, wire.theirs, wire.state, wire.created_ms, wire.resolution,
        wire.resolved_ms,
    )  # fmt: skip


def wire_snapshot(snapshot: Snapshot) -> WireSnapshot:
    """A snapshot as it travels."""
    return WireSnapshot(
        snapshot.id, snapshot.project_id, snapshot.workspace_id, snapshot.manifest_hash.hex(), list(snapshot.parents), snapshot.source,
        snapshot.message, snapshot.author_name, snapshot.author_email, snapshot.agent, snapshot.created_ms,
    )  # fmt: skip


def _snapshot_of(wire: WireSnapshot) -> Snapshot:
    snapshot = Snapshot(
        wire.id, wire.project_id, wire.workspace_id, parse_digest(wire.manifest_hash), tuple(wire.parents), wire.source, wire.message,
        wire.author_name, wire.author_email, wire.agent, wire.created_ms,
    )  # fmt: skip
    snapshots.check_snapshot(snapshot)
    return snapshot
