"""What a person asks of one workspace: snapshot, restore, undo, resolve, approve. Blocking; run between two cycles.

Every one that changes the folder is an ordinary change (a new state on top), names the roots before and after it, and can be undone.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Final

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.atomic import Folder
from store.conflicts import Conflict
from store.database import Tx
from store.errors import Conflicting, EpochChanged, InvalidValue, NotFound, RootLost
from store.history import Act
from store.index import is_folder
from store.manifest import EMPTY_ROOT, Draft, check_tree_after, diff_manifests, edit_manifest, entry_of, find_entry, walk_manifest
from store.snapshots import Snapshot
from store.types import DIR, MAX_NAME_BYTES, Digest, Dir, Entry, File, Link, RelPath, digest_of, folders_above, new_ulid, show_path
from sync import adopt
from sync.apply.styled import marked_of
from sync.core.merge.style import copy_names, cut_name, lost_entry
from sync.replica import LocalReplica
from sync.rules import IgnoreSource
from sync.snapshot import last_snapshot, next_snapshot

ACTOR: Final = "cli"
MAX_DIGITS: Final = 19
"""A sequence number has fewer."""


class Author(msgspec.Struct, frozen=True):
    """Who a snapshot is by; `agent` names the coding agent, if one did it."""

    name: str = ""
    email: str = ""
    agent: str = ""


def take_snapshot(replica: LocalReplica, message: str, author: Author, *, source: str = "cli") -> Snapshot | None:
    """The shared state as a point in the DAG; None when the last one is this state already. The shared root must be current."""
    reader, row = replica.db.read(), replica.row
    last = last_snapshot(reader, row)
    found = None if last is None else snapshots.find_snapshot(reader, last)
    if found is not None and (found[0].manifest_hash, found[1]) == (row.shared_root, row.full_root):
        return None
    snapshot = next_snapshot(
        reader, replica, row.shared_root, () if last is None else (last,), source=source, message=message,
        author_name=author.name, author_email=author.email, agent=author.agent,
    )  # fmt: skip

    def work(tx: Tx) -> None:
        workspaces.set_shared(tx, row.id, row.shared_root, row.shared_full)
        snapshots.add_snapshot(tx, snapshot, row.full_root, shared=False)

    replica.db.write_now(work)
    return snapshot


def find_root(replica: LocalReplica, name: str) -> Digest:
    """A snapshot's id (or its beginning), or a sequence number of the local log -> the full root it names. Raises NotFound."""
    reader = replica.db.read()
    if name.isascii() and name.isdigit() and len(name) < MAX_DIGITS:
        for entry in history.list_log(reader, replica.id, newest=1_000_000):
            if entry.sequence == int(name):
                return entry.full_root
        raise NotFound(f"no state {name} in this workspace's log", "`fst history FILE` lists the states of a file.")
    return snapshots.get_snapshot(reader, name)[1]


def plan_restore(replica: LocalReplica, target: Digest, paths: list[RelPath], draft: Draft) -> Digest:
    """The full root that restoring leads to: all of `target`, or only what lies at or under `paths`."""
    if not paths:
        return target
    edits: dict[RelPath, Entry | None] = {}
    for path in paths:
        wanted = dict(walk_manifest(target, draft, path))
        if not wanted and find_entry(replica.row.full_root, path, draft) is None:
            raise NotFound(f"{show_path(path)} is in neither state", "`fst show ID` lists what a snapshot holds.")
        edits |= {path: None for path, _ in walk_manifest(replica.row.full_root, draft, path)}
        edits |= wanted
    return _with_folders(replica.row.full_root, edits, draft)


def _with_folders(root: Digest, edits: dict[RelPath, Entry | None], draft: Draft) -> Digest:
    """The root after these edits, and with the folders that they need. Raises InvalidManifest."""
    needed = {above for path, entry in edits.items() if entry is not None for above in folders_above(path)[1:]}
    lacking = [path for path in needed if not isinstance(edits[path] if path in edits else find_entry(root, path, draft), Dir)]
    changes = sorted((edits | dict.fromkeys(lacking, DIR)).items())
    target = edit_manifest(root, changes, draft)
    check_tree_after(target, changes, draft)
    return target


def restore(replica: LocalReplica, name: str, paths: list[RelPath], *, dry_run: bool) -> tuple[int, Act | None]:
    """Bring back a state, or paths of it. Returns how many paths change and what undoes it. Raises NotFound, Conflicting."""
    draft = replica.draft()
    target = plan_restore(replica, find_root(replica, name), paths, draft)
    count = sum(1 for _ in diff_manifests(replica.row.full_root, target, draft))
    if dry_run or count == 0:
        return count, None
    replica.db.write_now(lambda tx: replica.blobs.put_nodes(tx, draft.new))
    return count, _bring(replica, target, replica.row.full_root, "restore")


def undo(replica: LocalReplica, *, dry_run: bool) -> tuple[int, Act]:
    """Reverse the newest act, keeping what was edited since. Raises NotFound."""
    last = history.last_act(replica.db.read(), replica.id)
    if last is None:
        raise NotFound(
            "nothing to undo: no restore, resolve or approve was done here", "`fst restore --from ID` goes back to any snapshot."
        )
    count = sum(1 for _ in diff_manifests(last.after_root, last.before_root, replica.draft()))
    if not dry_run:
        _bring(replica, last.before_root, last.after_root, "undo")
        replica.db.write_now(lambda tx: history.mark_undone(tx, last.id))
    return count, last


def _bring(replica: LocalReplica, target: Digest, base: Digest, verb: str) -> Act:
    with replica.progress:
        adopted, act = adopt.restore(replica, target, base, verb, ACTOR)
    if adopted.stale:
        raise Conflicting(
            f"{show_path(adopted.stale[0])} changed while it was being restored", "Try again; `fst undo` reverses what was done."
        )
    if adopted.problems:
        path, reason = min(adopted.problems.items())
        raise Conflicting(f"{show_path(path)} could not be restored: {reason}", "Mend it and try again; the rest was restored.")
    return act


def resolve(replica: LocalReplica, chosen: list[Conflict], how: str, text: bytes | None) -> str:
    """Settle records. The content asked for becomes what the folder holds; nothing is dropped from the history."""
    draft = replica.draft()
    edits: dict[RelPath, Entry | None] = {}
    made: dict[Digest, bytes] = {}
    for conflict in chosen:
        edits |= _resolution(replica, conflict, how, text, draft, made)
    _check_folders(replica.row.full_root, edits, draft)
    target = _with_folders(replica.row.full_root, edits, draft)

    def keep(tx: Tx) -> None:
        replica.blobs.put_inline(tx, made.items())
        replica.blobs.put_nodes(tx, draft.new)

    replica.db.write_now(keep)
    act = _bring(replica, target, replica.row.full_root, "resolve")
    now_ms = replica.clock.now_ms()
    settled = [msgspec.structs.replace(one, state="resolved", resolution=how, resolved_ms=now_ms) for one in chosen]

    def close(tx: Tx) -> None:
        for one in settled:
            conflicts.put_conflict(tx, one, sent=False)

    replica.db.write_now(close)
    return act.id


def _check_folders(root: Digest, edits: dict[RelPath, Entry | None], draft: Draft) -> None:
    """A text has its folder, or may have one made; never in place of something else. Raises Conflicting."""
    for path, entry in edits.items():
        for above in folders_above(path)[1:] if entry is not None else ():
            there = edits[above] if above in edits else find_entry(root, above, draft)
            if there is not None and not isinstance(there, Dir):
                raise Conflicting(f"{show_path(above)} is no folder any more", "Use --theirs, or move it away first.")


def _resolution(
    replica: LocalReplica, conflict: Conflict, how: str, text: bytes | None, draft: Draft, made: dict[Digest, bytes]
) -> dict[RelPath, Entry | None]:
    ours, theirs = (None if side is None else entry_of(side)[1] for side in (conflict.ours, conflict.theirs))
    now = find_entry(replica.row.full_root, conflict.path, draft)
    if isinstance(now, Dir):
        # The folder keeps its name; the other side may come back beside it.
        if how == "edit":
            raise InvalidValue(f"{show_path(conflict.path)} is a folder", "Use --ours, --theirs or --both.")
        lost = lost_entry(ours, theirs)
        wanted = how == "both" or lost == {"ours": ours, "theirs": theirs}.get(how)
        return _beside(replica, conflict.path, lost, b".ours" if lost == ours else b".theirs", draft) if wanted else {}
    if how == "edit":
        if text is None:
            raise InvalidValue("`--edit` needs the edited text", "Run it on a terminal, or give the text.")
        digest = digest_of(text)
        made[digest] = text
        return {conflict.path: File(digest, len(text), isinstance(now, File) and now.executable)}
    if how == "ours":
        return {} if ours is None else {conflict.path: ours}
    # Both texts in one, as they were put there, are nobody's: what was theirs takes their place.
    marked = marked_of(conflict, replica.blobs.get) if isinstance(now, File) and now != theirs else None
    edits: dict[RelPath, Entry | None] = {conflict.path: theirs} if marked is not None and marked == now else {}
    return edits if how == "theirs" else edits | _beside(replica, conflict.path, lost_entry(ours, theirs), b".ours", draft)


def _beside(replica: LocalReplica, path: RelPath, lost: File | Link | None, suffix: bytes, draft: Draft) -> dict[RelPath, Entry | None]:
    """The side without a place under a name beside it, unless its copy is there."""
    if lost is None or any(find_entry(replica.row.full_root, copy, draft) == lost for copy in islice(copy_names(path, lost), 1)):
        return {}
    return {_free_name(replica, path, suffix, draft): lost}


def _free_name(replica: LocalReplica, path: RelPath, end: bytes, draft: Draft) -> RelPath:
    """`name.ours`, `name.ours2`, ...: the first that is free (a long name is cut so that it still fits)."""
    folder, slash, name = path.rpartition(b"/")
    for number in range(1, 1000):
        suffix = end + (b"" if number == 1 else b"%d" % number)
        candidate = RelPath(folder + slash + cut_name(name, MAX_NAME_BYTES - len(suffix)) + suffix)
        if find_entry(replica.row.full_root, candidate, draft) is None:
            return candidate
    raise Conflicting(f"no free name beside {show_path(path)}", "Resolve it with --ours or --theirs.")


def approve(replica: LocalReplica, code: str, newest_root: Digest | None) -> None:
    """Let one thing past: what the brake holds, a replaced root, a cloud that was restored (then both sides are joined)."""
    row = replica.row
    if code == RootLost.code:
        with Folder.open_root(row.root) as folder:
            identity = folder.identity()
        replica.db.write_now(lambda tx: workspaces.set_root_identity(tx, row.id, identity))
    elif code == EpochChanged.code:
        replica.db.write_now(lambda tx: _forget_agreed(tx, row.id, row.workspace_id))
        adopt.forget_placed(replica)
    else:
        allowed = " ".join(root.hex() for root in (row.shared_root, newest_root) if root is not None)
        replica.db.write_now(lambda tx: workspaces.set_allowed(tx, row.id, allowed))
    shared_root, shared_full = row.shared_root, row.shared_full
    replica.reload()
    replica.row = msgspec.structs.replace(replica.row, shared_root=shared_root, shared_full=shared_full)


def _forget_agreed(tx: Tx, replica_id: str, workspace_id: str) -> None:
    """The cloud tells of every snapshot that it still has when it is asked for its head; the others are sent again, as parents of newer."""
    workspaces.set_agreed(tx, replica_id, 0, EMPTY_ROOT, "")
    journal.finish(tx, replica_id)
    snapshots.mark_unshared(tx, workspace_id)


def explain(replica: LocalReplica, path: RelPath, excludes: tuple[bytes, bytes]) -> dict[str, object]:
    """Which rule decides about a path, where it stands, and whether the path is carried."""
    record = replica.index.get(path)
    on_disk = os.path.join(replica.row.root, path)  # noqa: PTH118 - bytes
    is_dir = is_folder(record) if record is not None else os.path.isdir(on_disk)  # noqa: PTH112 - bytes
    # A source of its own: the replica's is the scanner's, in the middle of its work.
    source = IgnoreSource(*excludes)
    with replica.open_root() as root:
        folder, _, name = path.rpartition(b"/")
        above = b""
        for part in folder.split(b"/") if folder else ():
            verdict = source.rules_in(root, above).rules.explain(part, True)
            if verdict.ignored:
                break
            above = above + b"/" + part if above else part
        else:
            verdict = source.rules_in(root, folder).rules.explain(name, is_dir)
    rule = None if verdict.rule is None else str(verdict.rule)
    return {"ignored": verdict.ignored, "rule": rule, "travels": verdict.travels, "carried": record is not None}


def set_paused(replica: LocalReplica, until_ms: int) -> None:
    """Transfer rests until then; 0 resumes."""
    replica.db.write_now(lambda tx: workspaces.set_paused(tx, replica.id, until_ms))
    replica.row = msgspec.structs.replace(replica.row, paused_until_ms=until_ms)


def record_act(replica: LocalReplica, verb: str, before: Digest) -> None:
    """Note what a cycle changed on a person's word, so that `fst undo` can reverse it."""
    now_ms = replica.clock.now_ms()
    act = Act(new_ulid(now_ms), verb, before, replica.row.full_root, now_ms)
    replica.db.write_now(lambda tx: history.add_act(tx, replica.id, act))
