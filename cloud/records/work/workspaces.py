"""Tables workspaces and workspace_versions, and the one compare-and-swap that moves a head."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from cloud.records.work.projects import SHELVES, Shelf
from store.errors import Archived, NotFound, VersionMoved
from sync.core.wire import Head, WireVersion


class Workspace(msgspec.Struct, frozen=True):
    """One row."""

    id: str
    project_id: str
    name: str
    machine_id: str | None
    base_snapshot_id: str | None
    current_snapshot_id: str | None
    current_manifest_hash: str
    local_path: str | None
    last_seen_at: str | None
    created_at: str
    version: int
    merge_history: str | None
    archived_at: str | None = None
    deleted_at: str | None = None


class HeadMove(msgspec.Struct, frozen=True):
    """From `expected_version` to the next one."""

    workspace_id: str
    expected_version: int
    root: str
    snapshot_id: str | None
    replica_id: str | None
    actor: str


_COLUMNS = ", ".join(f"w.{name}" for name in Workspace.__struct_fields__)
_SHELVES = {shelf: sql.replace("archived_at", "w.archived_at").replace("deleted_at", "w.deleted_at") for shelf, sql in SHELVES.items()}
_OWNED = "FROM workspaces w JOIN projects p ON p.id = w.project_id WHERE p.owner_user_id = $1 AND p.deleted_at IS NULL"


async def add_workspace(tx: Tx, workspace: Workspace, actor: str) -> None:
    """Keep a new workspace with its first version. Raises Conflicting when its name is taken."""
    values = tuple(getattr(workspace, name) for name in Workspace.__struct_fields__)
    await tx.run(
        f"INSERT INTO workspaces ({', '.join(Workspace.__struct_fields__)})"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        values,
    )
    first = HeadMove(workspace.id, 0, workspace.current_manifest_hash, workspace.current_snapshot_id, None, actor)
    await _add_version(tx, first, workspace.created_at)


async def advance_head(tx: Tx, user_id: str, move: HeadMove, at: str) -> int:
    """Move a head by compare-and-swap and log the version it made (H1). Nothing else moves a head.

    Raises VersionMoved when another got there first, Archived, NotFound.
    """
    moved = await tx.run(
        "UPDATE workspaces SET current_manifest_hash = $1, current_snapshot_id = $2, version = version + 1, last_seen_at = $3"
        " WHERE id = $4 AND version = $5 AND archived_at IS NULL AND deleted_at IS NULL"
        " AND project_id IN (SELECT id FROM projects WHERE owner_user_id = $6 AND archived_at IS NULL AND deleted_at IS NULL)",
        (move.root, move.snapshot_id, at, move.workspace_id, move.expected_version, user_id),
    )
    if moved != 1:
        await check_open(tx, user_id, move.workspace_id)
        raise VersionMoved("the head moved on before this", head=await get_head(tx, user_id, move.workspace_id))
    await _add_version(tx, move, at)
    return move.expected_version + 1


async def hold_head(tx: Tx, user_id: str, workspace_id: str, version: int) -> bool:
    """True when the head is at this version; it then stays there until this transaction ends."""
    held = await tx.run(
        "UPDATE workspaces SET version = version"
        " WHERE id = $1 AND version = $2 AND project_id IN (SELECT id FROM projects WHERE owner_user_id = $3)",
        (workspace_id, version, user_id),
    )
    return held == 1


async def set_merge_history(tx: Tx, workspace_id: str, history: str | None) -> None:
    """What was merged into a workspace whose head this transaction moves."""
    await tx.run("UPDATE workspaces SET merge_history = $1 WHERE id = $2", (history, workspace_id))


async def get_workspace(reader: Reader, user_id: str, workspace_id: str) -> Workspace:
    """One workspace. Raises NotFound, also for somebody else's."""
    row = await reader.one(f"SELECT {_COLUMNS} {_OWNED} AND w.id = $2 AND w.deleted_at IS NULL", (user_id, workspace_id))
    if row is None:
        raise NotFound("no such workspace")
    return Workspace(*row)


async def check_open(reader: Reader, user_id: str, workspace_id: str) -> None:
    """Raises Archived when the workspace or its project is, NotFound."""
    row = await reader.one(f"SELECT w.archived_at, p.archived_at {_OWNED} AND w.id = $2 AND w.deleted_at IS NULL", (user_id, workspace_id))
    if row is None:
        raise NotFound("no such workspace")
    if any(row):
        raise Archived(
            "the workspace is archived" if row[0] else "the project is archived", "Unarchive it first: it stays as it is until then."
        )


async def workspace_exists(reader: Reader, workspace_id: str) -> bool:
    """True when anybody has a workspace with this id."""
    return await reader.one("SELECT 1 FROM workspaces WHERE id = $1", (workspace_id,)) is not None


async def name_is_taken(reader: Reader, project_id: str, name: str) -> bool:
    """True when the project has a workspace of this name."""
    return await reader.one("SELECT 1 FROM workspaces WHERE project_id = $1 AND name = $2", (project_id, name)) is not None


async def list_workspaces(reader: Reader, user_id: str, project_id: str, shelf: Shelf = "open") -> list[Workspace]:
    """A project's, the newest first: those at work, those archived, or those deleted and not yet purged."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} {_OWNED} AND w.project_id = $2 AND {_SHELVES[shelf]} ORDER BY w.created_at DESC, w.id DESC",
        (user_id, project_id),
    )
    return [Workspace(*row) for row in rows]


async def get_head(reader: Reader, user_id: str, workspace_id: str) -> Head:
    """Where a workspace stands. Raises NotFound."""
    row = await reader.one(
        "SELECT w.id, m.value, w.version, w.current_manifest_hash, w.current_snapshot_id FROM workspaces w"
        " JOIN projects p ON p.id = w.project_id JOIN meta m ON m.key = 'epoch' WHERE p.owner_user_id = $1 AND w.id = $2"
        " AND w.deleted_at IS NULL AND p.deleted_at IS NULL",
        (user_id, workspace_id),
    )
    if row is None:
        raise NotFound("no such workspace")
    return Head(*row)


async def get_place(reader: Reader, user_id: str, workspace_id: str, replica_id: str) -> tuple[Head, str, bool]:
    """Where a workspace stands, its project, and whether it has this replica. Raises NotFound."""
    row = await reader.one(
        "SELECT w.id, m.value, w.version, w.current_manifest_hash, w.current_snapshot_id, w.project_id, EXISTS (SELECT 1"
        " FROM workspace_replicas r WHERE r.id = $1 AND r.workspace_id = w.id AND r.removed_at IS NULL) FROM workspaces w"
        " JOIN projects p ON p.id = w.project_id JOIN meta m ON m.key = 'epoch' WHERE p.owner_user_id = $2 AND w.id = $3"
        " AND w.deleted_at IS NULL AND p.deleted_at IS NULL",
        (replica_id, user_id, workspace_id),
    )
    if row is None:
        raise NotFound("no such workspace")
    return Head(*row[:5]), str(row[5]), bool(row[6])


async def touch_workspaces(tx: Tx, user_id: str, workspace_ids: list[str], at: str) -> int:
    """A machine showed that it is there; the number of workspaces that are this user's."""
    touched = 0
    for workspace_id in workspace_ids:
        touched += await tx.run(
            "UPDATE workspaces SET last_seen_at = $1 WHERE id = $2 AND project_id IN (SELECT id FROM projects WHERE owner_user_id = $3)",
            (at, workspace_id, user_id),
        )
    return touched


async def get_version(reader: Reader, workspace_id: str, version: int) -> WireVersion | None:
    """One logged version of a workspace that is known to be the asker's."""
    row = await reader.one(
        "SELECT version, manifest_hash, snapshot_id, replica_id, actor, created_at FROM workspace_versions"
        " WHERE workspace_id = $1 AND version = $2",
        (workspace_id, version),
    )
    return None if row is None else WireVersion(*row)


async def knows_root(reader: Reader, workspace_id: str, root: str) -> bool:
    """True when some version of the workspace was this root."""
    row = await reader.one("SELECT 1 FROM workspace_versions WHERE workspace_id = $1 AND manifest_hash = $2", (workspace_id, root))
    return row is not None


async def project_knows_root(reader: Reader, project_id: str, root: str) -> bool:
    """True when some workspace of the project had this root once."""
    row = await reader.one(
        "SELECT 1 FROM workspaces w JOIN workspace_versions v ON v.workspace_id = w.id WHERE w.project_id = $1 AND v.manifest_hash = $2",
        (project_id, root),
    )
    return row is not None


async def list_versions(reader: Reader, workspace_id: str, limit: int, before: int) -> list[WireVersion]:
    """At most `limit` versions below `before`, newest first, of a workspace that is known to be the asker's."""
    rows = await reader.rows(
        "SELECT version, manifest_hash, snapshot_id, replica_id, actor, created_at FROM workspace_versions"
        " WHERE workspace_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
        (workspace_id, before, limit),
    )
    return [WireVersion(*row) for row in rows]


async def _add_version(tx: Tx, move: HeadMove, at: str) -> None:
    await tx.run(
        "INSERT INTO workspace_versions (workspace_id, version, manifest_hash, snapshot_id, replica_id, actor, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        (move.workspace_id, move.expected_version + 1, move.root, move.snapshot_id, move.replica_id, move.actor, at),
    )
