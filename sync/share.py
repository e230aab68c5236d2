"""The full root -> the shared root: what of a folder the cloud may see.

A path kept apart keeps the shared entry it had: holding back is never a deletion (details.md, Full and shared).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from store import conflicts
from store.conflicts import Conflict
from store.manifest import Draft, edit_manifest, entry_of, find_entry
from store.types import Digest, Entry, File, RelPath
from store.workspaces import Apart
from sync.core.merge.style import named_after
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


def derive_shared(replica: LocalReplica, apart: Mapping[RelPath, Apart], draft: Draft, suspect: Suspect | None) -> Shared:
    """From what changed since `shared_full`. `suspect` is None when nothing is held back: then earlier held files go along."""
    row, are_equal = replica.row, replica.row.shared_root == replica.row.shared_full
    if are_equal and suspect is None and not apart:
        return Shared(row.full_root, {}, [])
    edits: dict[RelPath, Entry | None] = {}
    put: dict[RelPath, Apart] = {}
    drop: list[RelPath] = []
    if suspect is None:
        for path, kept in apart.items():
            if kept.kind == SECRET:
                drop.append(path)
                edits[path] = find_entry(row.full_root, path, draft)
    for change in replica.changes_between(row.shared_full, row.full_root, draft):
        reason = None
        if suspect is not None and isinstance(change.new, File):
            reason = suspect(named_after(change.path), change.new)
            replica.progress.add()
        if reason is not None:
            put[change.path] = Apart(change.path, SECRET, reason)
            continue
        edits[change.path] = change.new
        if change.path in apart:
            drop.append(change.path)
    if are_equal and not put:
        return Shared(row.full_root, put, drop)
    root = edit_manifest(row.shared_root, sorted(edits.items()), draft)
    return Shared(root, put, drop)


def list_tellable(replica: LocalReplica, suspect: Suspect | None) -> list[Conflict]:
    """Conflict records that the cloud was not told yet, but for those with a text that looks like a secret."""
    unsent = conflicts.unsent_conflicts(replica.db.read(), replica.row.workspace_id)
    return [record for record in unsent if suspect is None or not _has_secret(replica, record, suspect)]


def _has_secret(replica: LocalReplica, record: Conflict, suspect: Suspect) -> bool:
    sides = [entry_of(side)[1] for side in (record.base, record.ours, record.theirs) if side is not None]
    files = [entry for entry in sides if isinstance(entry, File) and replica.blobs.has(entry.digest)]
    return any(suspect(named_after(record.path), file) is not None for file in files)


def owe(paths: Mapping[RelPath, str]) -> dict[RelPath, Apart]:
    """Rows for remote changes that the folder could not take yet, with the reason of each."""
    return {path: Apart(path, OWED, reason) for path, reason in paths.items()}
