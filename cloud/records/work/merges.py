"""Tables sync_previews and workspace_merges: merges that were shown, and those that were done."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from sync.core.history import Undone


class Merge(msgspec.Struct, frozen=True):
    """One row of workspace_merges: the head's move to `version`. `history_before` is what `merge_history` was."""

    workspace_id: str
    version: int
    source_workspace_id: str
    snapshot_id: str
    before_snapshot_id: str | None
    history_before: str | None
    undo_snapshot_id: str | None
    created_at: str


class LastMerge(msgspec.Struct, frozen=True):
    """One value of `workspaces.merge_history`, by the id of the workspace that was merged in."""

    last_merged_snapshot: str
    merged_at: str


_COLUMNS = ", ".join(Merge.__struct_fields__)


async def purge_previews(tx: Tx, now: str) -> None:
    """Those that have expired."""
    await tx.run("DELETE FROM sync_previews WHERE expires_at <= $1", (now,))


async def add_preview(tx: Tx, preview_id: str, user_id: str, workspace_id: str, body: bytes, expires_at: str, now: str) -> None:
    """Keep what was shown; those that nobody can use any more go."""
    await purge_previews(tx, now)
    await tx.run(
        "INSERT INTO sync_previews (id, user_id, workspace_id, body, expires_at) VALUES ($1, $2, $3, $4, $5)",
        (preview_id, user_id, workspace_id, body, expires_at),
    )


async def find_preview(reader: Reader, user_id: str, workspace_id: str, preview_id: str, now: str) -> bytes | None:
    """What was shown to this user for this workspace, is not used and has not expired."""
    row = await reader.one(
        "SELECT body FROM sync_previews WHERE id = $1 AND user_id = $2 AND workspace_id = $3 AND expires_at > $4 AND used_at IS NULL",
        (preview_id, user_id, workspace_id, now),
    )
    return None if row is None else bytes(row[0])


async def use_preview(tx: Tx, preview_id: str, at: str) -> bool:
    """True for the one who uses it first, and in time."""
    sql = "UPDATE sync_previews SET used_at = $1 WHERE id = $2 AND used_at IS NULL AND expires_at > $3"
    return await tx.run(sql, (at, preview_id, at)) == 1


async def add_merge(tx: Tx, merge: Merge) -> None:
    """Note a merge that is being done."""
    await tx.run(
        f"INSERT INTO workspace_merges ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tuple(getattr(merge, name) for name in Merge.__struct_fields__),
    )


async def last_merge(reader: Reader, workspace_id: str) -> Merge | None:
    """The newest that was not undone, of a workspace that is known to be the asker's."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM workspace_merges WHERE workspace_id = $1 AND undo_snapshot_id IS NULL ORDER BY version DESC LIMIT 1",
        (workspace_id,),
    )
    return None if row is None else Merge(*row)


async def note_undone(tx: Tx, merge: Merge, undo_snapshot_id: str) -> bool:
    """True for the one who undoes it first."""
    sql = "UPDATE workspace_merges SET undo_snapshot_id = $1 WHERE workspace_id = $2 AND version = $3 AND undo_snapshot_id IS NULL"
    return await tx.run(sql, (undo_snapshot_id, merge.workspace_id, merge.version)) == 1


async def list_undone(reader: Reader, project_id: str) -> list[Undone]:
    """Every merge of a project that was taken back."""
    rows = await reader.rows(
        "SELECT m.snapshot_id, m.undo_snapshot_id, m.before_snapshot_id FROM workspace_merges m JOIN workspaces w ON w.id = m.workspace_id"
        " WHERE w.project_id = $1 AND m.undo_snapshot_id IS NOT NULL",
        (project_id,),
    )
    return [Undone(merge, undo, () if before is None else (before,)) for merge, undo, before in rows]


def read_history(text: str | None) -> dict[str, LastMerge]:
    """`workspaces.merge_history`."""
    return {} if text is None else msgspec.json.decode(text, type=dict[str, LastMerge])


def write_history(history: dict[str, LastMerge]) -> str | None:
    """The inverse."""
    return msgspec.json.encode(history).decode() if history else None
