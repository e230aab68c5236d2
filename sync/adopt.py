"""Take a remote state into a folder: plan, journal, apply, and only then let `agreed` move (J1, J2).

Theory. `base` is what both sides last agreed on, `local` this replica's shared root, `remote` the head. After the steps are on
disk, agreed becomes the remote and whatever local still differs is what the next push sends. A step that was stale leaves agreed
where it was: the steps that were done then read as agreement (P1) and the plan is made again. A step the system refused is
*owed*: shared goes on without it, full tells the truth about the folder, and it is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.conflicts import Conflict
from store.database import Tx
from store.errors import BrakeHeld
from store.history import Act
from store.journal import Pending
from store.manifest import edit_manifest, entry_of, find_entry, manifest_totals, record_of
from store.snapshots import Snapshot
from store.types import Digest, File, RelPath, digest_of, new_ulid
from store.workspaces import Apart
from sync.apply import Applied, apply_plan
from sync.apply.styled import find_marked, in_style
from sync.core.brake import Direction, Limits, count_losses, weigh
from sync.core.ignore import carried_rules
from sync.core.merge import MAX_TEXT_BYTES, merge_text
from sync.core.plan import Action, Clash, Plan, plan
from sync.core.wire import WireConflict, WireSnapshot
from sync.incoming import Received
from sync.progress import Phase
from sync.replica import LocalReplica
from sync.share import SECRET, owe
from sync.snapshot import merge_lines

SYNC_ACTOR: Final = "sync"
RESCUED: Final = "rescued"


class Adopted(msgspec.Struct, frozen=True):
    """What came of it: `stale` paths mean that the folder must be looked at again before the plan is made anew."""

    changed: int
    clashes: int
    stale: tuple[RelPath, ...]
    problems: dict[RelPath, str]


def adopt(replica: LocalReplica, received: Received, apart: Mapping[RelPath, Apart], limits: Limits, boot_id: str) -> Adopted:
    """Make the folder follow the head. The shared root must be current. Raises BrakeHeld, RootLost, BlobMissing."""
    made: dict[Digest, bytes] = dict(received.contents)
    replica.progress.begin(Phase.PLANNING)
    decided = plan(
        replica.row.agreed_root, replica.row.shared_root, received.root, received.draft,
        join=_joiner(replica, made), untracked=carried_rules(received.root, received.draft, _content_reader(replica, made)),
    )  # fmt: skip
    row = replica.row
    if received.root.hex() not in row.allowed:
        losses = count_losses((step.expect, step.become) for step in decided.actions)
        before, after = (manifest_totals(root, received.draft).files for root in (row.shared_root, received.root))
        brake = weigh(losses, Direction.IN, before=before, after=after, limits=limits)
        if brake.holds:
            raise BrakeHeld(brake.sentence, "`fst approve` lets it in; until then nothing of it is applied.")
    decided = in_style(replica, row.shared_root, received.draft, decided, apart, _content_reader(replica, made), made)
    steps = [step for step in decided.actions if step.path not in apart]
    records = new_records(replica, decided.clashes)
    _begin(replica, received, made, records, boot_id)
    applied = _carry_out(replica, steps)
    return _finish(replica, received, decided, records, applied, apart)


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


def _carry_out(replica: LocalReplica, steps: Sequence[Action]) -> Applied:
    if not steps:
        return Applied.nothing()
    replica.progress.begin(Phase.APPLYING, len(steps))
    with replica.open_root() as root:
        applied = apply_plan(
            steps, root, replica.blobs, replica.index, keep=lambda data: keep_bytes(replica, data), ignore=replica.ignore,
            progress=replica.progress,
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
    decided = in_style(replica, before, draft, decided, (), _content_reader(replica, made), made)
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


def _joiner(replica: LocalReplica, made: dict[Digest, bytes]) -> Callable[[File | None, File, File], File | None]:
    read = _content_reader(replica, made)
    is_marked = find_marked(replica, read)

    def join(base: File | None, local: File, remote: File) -> File | None:
        """Lines joined, or None: no base, too large, not text, or an overlap."""
        if is_marked(local, remote):
            return local
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


def wire_snapshot(snapshot: Snapshot) -> WireSnapshot:
    """A snapshot as it travels."""
    return WireSnapshot(
        snapshot.id, snapshot.project_id, snapshot.workspace_id, snapshot.manifest_hash.hex(), list(snapshot.parents), snapshot.source,
        snapshot.message, snapshot.author_name, snapshot.author_email, snapshot.agent, snapshot.created_ms,
    )  # fmt: skip
