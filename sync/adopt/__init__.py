"""Take a remote state into a folder: plan, journal, apply, and only then let `agreed` move (J1, J2).

Theory. `base` is what both sides last agreed on, `local` this replica's shared root, `remote` the head. After the steps are on
disk, agreed becomes the remote and whatever local still differs is what the next push sends. A step that was stale leaves agreed
where it was: the steps that were done then read as agreement (P1) and the plan is made again. A step the system refused is
*owed*, a path whose name the disk cannot hold is *held*: shared has the remote's entry, full tells the truth about the folder, and
every later plan has them in it again, from what the folder had before (`share.ground`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypedDict

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.conflicts import Conflict
from store.database import Tx
from store.errors import BrakeHeld
from store.history import Act
from store.journal import Pending
from store.manifest import Draft, diff_manifests, edit_manifest, entry_of, find_entries, find_entry, manifest_totals, record_of
from store.snapshots import Snapshot
from store.types import Digest, Entry, File, Link, RelPath, digest_of, new_ulid
from store.workspaces import Apart
from sync.adopt.begun import base_of, begun_from
from sync.apply import Applied, apply_plan
from sync.apply.styled import find_marked, in_style
from sync.core.brake import Direction, Limits, count_losses, weigh
from sync.core.ignore import carried_rules
from sync.core.merge import MAX_TEXT_BYTES, merge_text
from sync.core.plan import NAME_REFUSED, Action, Clash, Fold, Plan, Refuse, Untracked, plan
from sync.core.wire import Head, WireConflict, WireSnapshot
from sync.incoming import Received
from sync.progress import Phase
from sync.replica import LocalReplica
from sync.scan.sweep import find_sites
from sync.share import OWED, Ground, ground, is_new_kind, list_untaken
from sync.snapshot import merge_lines

SYNC_ACTOR: Final = "sync"
RESCUED: Final = "rescued"


class Decided(NamedTuple):
    """A plan, where it started, the records it asks for, and what could not be taken before it."""

    plan: Plan
    start: Ground
    records: Sequence[Conflict]
    untaken: Mapping[RelPath, Apart]


class Adopted(msgspec.Struct, frozen=True):
    """What came of it: `stale` paths mean that the folder must be looked at again before the plan is made anew."""

    changed: int
    clashes: int
    stale: tuple[RelPath, ...]
    problems: dict[RelPath, str]
    made: tuple[Action, ...] = ()
    """The steps that gave a name which was free, or was a folder's alone, or no folder's."""


def adopt(replica: LocalReplica, received: Received, apart: Mapping[RelPath, Apart], limits: Limits | None, boot_id: str) -> Adopted:
    """Make the folder follow the head. The shared root must be current. Without `limits` the brake has weighed it before.

    Raises BrakeHeld, RootLost, BlobMissing.
    """
    made: dict[Digest, bytes] = dict(received.contents)
    replica.progress.begin(Phase.PLANNING)
    before_it = begun_from(replica)
    row, start = replica.row, ground(replica, base_of(replica, before_it, received.draft), apart, received.draft)
    decided = plan(
        *start, received.root, received.draft,
        join=_joiner(replica, made), untracked=_untracked(replica, received, made),
        **_names_of(replica),
    )  # fmt: skip
    if limits is not None and received.root.hex() not in row.allowed:
        losses = count_losses((step.expect, step.become) for step in decided.actions)
        before, after = (manifest_totals(root, received.draft).files for root in (row.shared_root, received.root))
        brake = weigh(losses, Direction.IN, before=before, after=after, limits=limits)
        if brake.holds:
            raise BrakeHeld(brake.sentence, "`fst approve` lets it in; until then nothing of it is applied.")
    untaken = list_untaken(apart)
    kept_back = [path for path in apart if path not in untaken]
    decided = in_style(replica, start.local, received.draft, decided, kept_back, _content_reader(replica, made), made)
    steps = [step for step in decided.actions if step.path not in kept_back]
    records = new_records(replica, decided.clashes)
    _agree_placed(replica, start.local, received)
    _begin(replica, Pending(before_it, received.root, boot_id, replica.clock.now_ms()), received.draft, made, records)
    applied = _carry_out(replica, steps, lambda done: _note_placed(replica, done, received), kept_back)
    return _finish(replica, received, Decided(decided, start, records, untaken), applied)


def _untracked(replica: LocalReplica, received: Received, made: Mapping[Digest, bytes]) -> Untracked:
    """What the head ignores stays while the folder has it: then the look that lets it go is still to come.

    Where a secret stands in place of what is shared, none would, and the shared entry would be pushed for ever against the rule.
    """
    is_ignored = carried_rules(received.root, received.draft, _content_reader(replica, made))
    full_root = replica.row.full_root

    def stays(path: RelPath, entry: Entry) -> bool:
        if not is_ignored(path, entry):
            return False
        here = find_entry(full_root, path, received.draft)
        return here is not None and not is_new_kind(entry, here)

    return stays


class _Names(TypedDict):
    fold: Fold | None
    refuse: Refuse | None


def _names_of(replica: LocalReplica) -> _Names:
    disk = replica.disk()
    return _Names(fold=disk.fold if disk.folds else None, refuse=disk.refusal if disk.refuses else None)


def plan_again(replica: LocalReplica, apart: Mapping[RelPath, Apart], boot_id: str) -> Adopted | None:
    """What the folder could not take, once more: the way to what is agreed already. None: the pull that did not end does it."""
    row, left = replica.row, journal.pending(replica.db.read(), replica.id)
    if left is not None and left.to_root != row.agreed_root:
        return None
    head = Head(row.workspace_id, row.epoch, row.agreed_version, row.agreed_root.hex(), row.agreed_snapshot or None)
    return adopt(replica, Received(head, row.agreed_root, replica.draft(), {}, (), ()), apart, None, boot_id)


def note_done(tx: Tx, replica: LocalReplica, root: Digest, draft: Draft) -> None:
    """Of a pull that did not end, what this state has of it already is what the next plan starts from.

    Planned from `agreed` alone, that would be somebody's work here: it would come back, or be a clash, once a person changed it or the
    cloud's head has moved on without it.
    """
    left = journal.pending(tx, replica.id)
    if left is None:
        return
    changes = diff_manifests(left.from_root, left.to_root, draft)
    done = [(one.path, one.new) for one in changes if find_entry(root, one.path, draft) == one.new]
    if done:
        from_root = edit_manifest(left.from_root, done, draft)
        replica.blobs.put_nodes(tx, draft.new)
        journal.begin(tx, replica.id, msgspec.structs.replace(left, from_root=from_root))
        for path, entry in done:
            _place_again(replica, path, entry)


def _note_placed(replica: LocalReplica, done: Sequence[Action], received: Received) -> None:
    """Only what is as the cloud has it: a join is of both sides, a copy of what clashed is ours, and both are made again."""
    theirs = find_entries(received.root, [step.path for step in done], received.draft)
    pairs = zip(done, theirs, strict=True)
    placed = {step.path: step.become for step, entry in pairs if isinstance(step.become, File | Link) and step.become == entry}
    replica.placed |= placed
    replica.trail.note(placed)


def _agree_placed(replica: LocalReplica, local: Digest, received: Received) -> None:
    """Where both sides have come to something else than what an earlier plan placed, that is what the next one starts from."""
    for path in list(replica.placed):
        entry = find_entry(received.root, path, received.draft)
        if find_entry(local, path, received.draft) == entry:
            _place_again(replica, path, entry)


def _place_again(replica: LocalReplica, path: RelPath, entry: Entry | None) -> None:
    """Something else is now where a plan that did not end had placed a file or a link; of other paths nothing needs to be known."""
    if path in replica.placed and replica.placed[path] != entry:
        replica.placed[path] = entry if isinstance(entry, File | Link) else None
        replica.trail.note({path: replica.placed[path]})


def new_records(replica: LocalReplica, clashes: Sequence[Clash]) -> list[Conflict]:
    """A record for each clash that has none yet: a plan that is made again after a crash finds those it wrote before."""
    waiting = conflicts.list_conflicts(replica.db.read(), replica.row.workspace_id)
    known = {(one.path, one.ours, one.theirs) for one in waiting}
    made = [_record(replica, clash) for clash in clashes]
    return [record for record in made if (record.path, record.ours, record.theirs) not in known]


def _begin(replica: LocalReplica, started: Pending, draft: Draft, made: Mapping[Digest, bytes], records: Sequence[Conflict]) -> None:
    """J1, and with it the records: once the path has the head's bytes, no plan would find the clash again."""

    def work(tx: Tx) -> None:
        replica.blobs.put_inline(tx, made.items())
        replica.blobs.put_nodes(tx, draft.new)
        journal.begin(tx, replica.id, started)
        for record in records:
            conflicts.put_conflict(tx, record, sent=False)

    replica.db.write_now(work)
    replica.trail.begin(started, replica.placed)


def forget_placed(replica: LocalReplica) -> None:
    """Agreed moved."""
    replica.placed.clear()
    replica.trail.end()


def _carry_out(
    replica: LocalReplica, steps: Sequence[Action], placed: Callable[[Sequence[Action]], None] | None = None,
    kept_back: Collection[RelPath] = (),
) -> Applied:  # fmt: skip
    if not steps:
        return Applied.nothing()
    replica.progress.begin(Phase.APPLYING, len(steps))
    disk, sites = replica.disk(), find_sites(replica.index, (step.path for step in steps))
    if sites:
        replica.db.write_now(lambda tx: journal.note_sites(tx, replica.id, sites))
    with replica.open_root() as root:
        applied = apply_plan(
            steps, root, replica.blobs, replica.index, keep=lambda data: keep_bytes(replica, data), ignore=replica.ignore,
            progress=replica.progress, bits=disk.bits, placed=placed, kept_back=kept_back,
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


def _finish(replica: LocalReplica, received: Received, decided: Decided, applied: Applied) -> Adopted:
    row, draft, records = replica.row, received.draft, decided.records
    done = {step.path: step.become for step in applied.done}
    stale = set(applied.stale)
    taken = {step.path: step.become for step in decided.plan.actions if step.path not in stale}
    taken |= {held.path: find_entry(received.root, held.path, draft) for held in decided.plan.held}
    shared_root = edit_manifest(decided.start.local, sorted(taken.items()), draft)
    refused = _refused(decided, applied, draft)
    dropped = [path for path in decided.untaken if path not in refused and path not in stale]
    # A step that was left alone has no clash yet: the next plan decides about it anew.
    undecided = [record.id for record in records if record.path in stale]
    shared_is_current = row.shared_full == row.full_root

    def also(tx: Tx, full_root: Digest) -> None:
        if shared_is_current:
            workspaces.set_shared(tx, replica.id, shared_root, full_root)
        else:
            workspaces.set_shared(tx, replica.id, shared_root, row.shared_full)
        workspaces.set_apart(tx, replica.id, refused, dropped)
        if not stale:
            workspaces.set_agreed(tx, replica.id, received.head.version, received.root, received.head.epoch)
            workspaces.set_agreed_snapshot(tx, replica.id, received.head.snapshot_id)
            journal.finish(tx, replica.id)
        journal.forget_sites(tx, replica.id)
        conflicts.drop_conflicts(tx, undecided)
        keep_learned(tx, received.snapshots, received.conflicts)
        if stale:
            note_done(tx, replica, shared_root, draft)
        else:
            merge_lines(tx, replica, received.head.snapshot_id, shared_root, full_root)

    replica.commit(changes=sorted(done.items()), seen=applied.seen, contents=(), actor=SYNC_ACTOR, draft=draft, also=also)
    replica.reload()
    if not stale:
        forget_placed(replica)
    problems = {path: one.reason for path, one in refused.items()}
    made = tuple(step for step in applied.done if is_new_kind(step.expect, step.become))
    return Adopted(len(done), len(records) - len(undecided), tuple(sorted(stale)), problems, made)


def _refused(decided: Decided, applied: Applied, draft: Draft) -> dict[RelPath, Apart]:
    """What this folder did not take, with what it had: the base of the next plan, or what a record keeps already."""
    kinds = {path: (NAME_REFUSED if path in applied.misnamed else OWED, reason) for path, reason in applied.problems.items()}
    kinds |= {held.path: (held.code, held.message) for held in decided.plan.held}
    told = {clash.path for clash in decided.plan.clashes}
    refused = {}
    for path, (kind, reason) in kinds.items():
        had = find_entry(decided.start.local if path in told else decided.start.base, path, draft)
        refused[path] = Apart(path, kind, reason, record_of(path, had))
    return refused


def keep_learned(tx: Tx, known: Sequence[Snapshot], records: Sequence[Conflict]) -> None:
    """Snapshots and conflict records that the cloud told of; some may be ours, from a push whose answer was lost."""
    for snapshot in known:
        snapshots.add_snapshot(tx, snapshot, snapshot.manifest_hash, shared=True)
    snapshots.mark_shared(tx, [snapshot.id for snapshot in known])
    for record in records:
        conflicts.learn_conflict(tx, record)


def restore(replica: LocalReplica, target: Digest, base: Digest, verb: str, actor: str) -> tuple[Adopted, Act]:
    """Bring the folder from `base` to `target` (full roots), keeping what was edited since `base`. Undoable."""
    draft = replica.draft()
    before = replica.row.full_root
    made: dict[Digest, bytes] = {}
    decided = plan(
        base, before, target, draft, join=_joiner(replica, made), untracked=lambda path, entry: False, **_names_of(replica)
    )  # fmt: skip
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
        journal.forget_sites(tx, replica.id)
        for record in records:
            conflicts.put_conflict(tx, record, sent=False)

    replica.commit(changes=done, seen=applied.seen, contents=(), actor=actor, draft=draft, also=also)
    problems = dict(applied.problems) | {held.path: held.message for held in decided.held}
    return Adopted(len(done), len(records), tuple(applied.stale), problems), act


def pinned_sizes(records: Iterable[Conflict]) -> dict[Digest, int]:
    """The contents that records keep alive, and how large each is."""
    sides = (side for record in records for side in (record.base, record.ours, record.theirs) if side is not None)
    entries = (entry_of(side)[1] for side in sides)
    return {entry.digest: entry.size for entry in entries if isinstance(entry, File)}


def _joiner(replica: LocalReplica, made: dict[Digest, bytes]) -> Callable[[File | None, File, File], File | None]:
    read = _content_reader(replica, made)
    is_marked = find_marked(replica, read)

    def join(base: File | None, local: File, remote: File) -> File | None:
        """Lines joined, or None: no base, too large (also both together), not text, or an overlap."""
        if is_marked(local, remote):
            return local
        if base is None or max(base.size, local.size, remote.size) > MAX_TEXT_BYTES:
            return None
        merged = merge_text(read(base.digest), read(local.digest), read(remote.digest)).data
        if merged is None or len(merged) > MAX_TEXT_BYTES:
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
        snapshot.summary,
    )  # fmt: skip
