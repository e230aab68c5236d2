"""The full root -> the shared root: what of a folder the cloud may see, and where the next plan starts.

A path kept apart keeps the shared entry it had: holding back is never a deletion (details.md, Full and shared). What the folder could
not take was never agreed on here: it is planned again from what the folder had (`ground`), beside whatever a person made of it since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from store import conflicts
from store.conflicts import Conflict
from store.manifest import Draft, edit_manifest, entry_of, find_entry, record_of, walk_manifest
from store.types import DIR, Digest, Dir, Entry, File, RelPath, folders_above, parent_of, spot_of
from store.workspaces import Apart
from sync.core.merge.style import named_after
from sync.core.plan import Action
from sync.replica import LocalReplica

SECRET: Final = "secret"
OWED: Final = "owed"
CONTENT_BYTES: Final = 1024 * 1024

Suspect = Callable[[RelPath, File], str | None]
"""Why a file looks like a secret, or None."""


class Shared(msgspec.Struct, frozen=True):
    """A shared root, and how the rows of paths kept apart change with it."""

    root: Digest
    put: dict[RelPath, Apart]
    drop: list[RelPath]


class Ground(NamedTuple):
    """A plan's base and local."""

    base: Digest
    local: Digest


def derive_shared(replica: LocalReplica, apart: Mapping[RelPath, Apart], draft: Draft, suspect: Suspect | None) -> Shared:
    """From what changed since `shared_full`. `suspect` is None when nothing is held back: then earlier held files go along."""
    row, are_equal = replica.row, replica.row.shared_root == replica.row.shared_full
    if are_equal and suspect is None and not apart:
        return Shared(row.full_root, {}, [])
    edits: dict[RelPath, Entry | None] = {}
    put: dict[RelPath, Apart] = {}
    drop: list[RelPath] = []
    untaken = list_untaken(apart)
    waits = False
    released: dict[RelPath, Entry | None] = {}
    if suspect is None:
        released = {path: find_entry(row.full_root, path, draft) for path, kept in apart.items() if kept.kind == SECRET}
    for change in replica.changes_between(row.shared_full, row.full_root, draft):
        reason = None
        if suspect is not None and isinstance(change.new, File):
            reason = suspect(named_after(change.path), change.new)
            replica.progress.add()
        if reason is not None:
            was = apart.get(change.path)
            had = record_of(change.path, find_entry(row.shared_root, change.path, draft)) if was is None else was.had
            put[change.path] = Apart(change.path, SECRET, reason, had)
            continue
        if change.path in apart and change.path not in untaken:
            released[change.path] = change.new
            continue
        if untaken and isinstance(change.old, Dir) and not isinstance(change.new, Dir):
            # What was to come into a folder goes with it; the plan, which comes before any push, brings both back.
            edits.update((path, None) for path in untaken if path.startswith(change.path + b"/"))
        if untaken and _is_at_or_below(change.path, untaken):
            waits = True  # what a person made of it, and what came: only a plan tells
        else:
            edits[change.path] = change.new
    for path, entry in released.items():
        waiting = _release(apart[path], find_entry(row.shared_root, path, draft), entry)
        if waiting is None:
            drop.append(path)
            edits[path] = entry
            above = [] if entry is None else folders_above(path)[1:]
            edits |= {one: DIR for one in above if one not in edits and find_entry(row.shared_root, one, draft) is None}
        else:
            put[path] = waiting
            if any(above in edits and not isinstance(edits[above], Dir) for above in folders_above(path)[1:]):
                edits[path] = None  # it goes with its folder, and the plan brings both back
    if are_equal and not (put or waits):
        return Shared(row.full_root, put, drop)
    root = edit_manifest(row.shared_root, sorted(edits.items()), draft)
    return Shared(root, put, drop)


def _release(kept: Apart, shared: Entry | None, entry: Entry | None) -> Apart | None:
    """What was held back goes where it was held back from (None); where others were meanwhile, a plan decides between it and theirs."""
    had = None if kept.had is None else entry_of(kept.had)[1]
    if shared in (had, entry):
        return None
    return Apart(kept.path, OWED, "It was held back, and the cloud has another one.", record_of(kept.path, had))


def find_barred(replica: LocalReplica, head: Digest, made: Iterable[Action], wanted: Iterable[RelPath]) -> set[bytes]:
    """Folders with something carried that a rule ignores: it was `made` or `wanted`, or the head let go of it, after the rule was read."""
    beyond = replica.changes_between(head, replica.row.full_root, replica.draft())
    added = [(change.path, change.new) for change in beyond if change.old is None]
    added += [(step.path, step.become) for step in made]
    found = ((path, find_entry(replica.row.full_root, path, replica.blobs)) for path in wanted)
    added += [(path, entry) for path, entry in found if entry is not None]
    if not added:
        return set()
    with replica.open_root() as root:
        spots = ((*spot_of(path), isinstance(entry, Dir)) for path, entry in added)
        return {folder for folder, name, is_dir in spots if replica.ignore.rules_in(root, folder).expel(name, is_dir)}


def list_tellable(replica: LocalReplica, suspect: Suspect | None) -> list[Conflict]:
    """Conflict records that the cloud was not told yet, but for those with a text that looks like a secret."""
    unsent = conflicts.unsent_conflicts(replica.db.read(), replica.row.workspace_id)
    return [record for record in unsent if suspect is None or not _has_secret(replica, record, suspect)]


def _has_secret(replica: LocalReplica, record: Conflict, suspect: Suspect) -> bool:
    sides = [entry_of(side)[1] for side in (record.base, record.ours, record.theirs) if side is not None]
    files = [entry for entry in sides if isinstance(entry, File) and replica.blobs.has(entry.digest)]
    return any(suspect(named_after(record.path), file) is not None for file in files)


def list_untaken(apart: Mapping[RelPath, Apart]) -> dict[RelPath, Apart]:
    """The paths where the folder could not take what came."""
    return {path: row for path, row in apart.items() if row.kind != SECRET}


def ground(replica: LocalReplica, base: Digest, apart: Mapping[RelPath, Apart], draft: Draft) -> Ground:
    """Where a plan starts: `base` and shared, but at what was not taken what the folder had, and what is there now."""
    row, untaken = replica.row, list_untaken(apart)
    had = {path: find_entry(row.full_root, path, draft) if one.had is None else entry_of(one.had)[1] for path, one in untaken.items()}
    here: dict[RelPath, Entry | None] = {}
    for top in _tops(untaken):
        here.update((path, None) for path, _ in walk_manifest(row.shared_root, draft, top) if path in untaken or path not in apart)
        here.update((path, entry) for path, entry in walk_manifest(row.full_root, draft, top) if path in untaken or path not in apart)
    return Ground(edit_manifest(base, sorted(had.items()), draft), edit_manifest(row.shared_root, sorted(here.items()), draft))


def _tops(paths: Mapping[RelPath, Apart]) -> Iterator[RelPath]:
    return (path for path in paths if not _is_at_or_below(parent_of(path), paths))


def _is_at_or_below(path: RelPath, paths: Mapping[RelPath, Apart]) -> bool:
    while path and path not in paths:
        path = parent_of(path)
    return bool(path)
