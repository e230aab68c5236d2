"""The full root -> the shared root: what of a folder the cloud may see.

A path kept apart keeps the shared entry it had: holding back is never a deletion (details.md, Full and shared).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from store.manifest import Draft, edit_manifest, find_entry
from store.types import Digest, Entry, File, RelPath
from store.workspaces import Apart
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
            reason = suspect(change.path, change.new)
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


def owe(paths: Mapping[RelPath, str]) -> dict[RelPath, Apart]:
    """Rows for remote changes that the folder could not take yet, with the reason of each."""
    return {path: Apart(path, OWED, reason) for path, reason in paths.items()}
