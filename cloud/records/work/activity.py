"""Table activity_events: what people read about a project, one row a state change."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from cloud.records.moments import ms_of, text_of
from store.types import new_ulid


class Activity(msgspec.Struct, frozen=True):
    """One row."""

    id: str
    project_id: str
    workspace_id: str | None
    actor: str
    type: str
    snapshot_id: str | None
    message: str | None
    created_at: str


class Insights(msgspec.Struct, frozen=True):
    """What a project's page says first: null where there was none yet."""

    last_merge_at: str | None
    snapshots_since_merge: int | None
    last_deploy_at: str | None
    snapshots_since_deploy: int | None


async def draw_insights(reader: Reader, project_id: str) -> Insights:
    """Of a project that is known to be the asker's; a deployment counts once it succeeded."""
    merged = await reader.one(
        "SELECT max(created_at) FROM activity_events WHERE project_id = $1 AND type = 'merge.completed'", (project_id,)
    )
    deployed = await reader.one(
        "SELECT max(coalesce(completed_at, started_at)) FROM deployments WHERE project_id = $1 AND status = 'success'", (project_id,)
    )
    merge_at, deploy_at = merged[0] if merged else None, deployed[0] if deployed else None
    return Insights(
        merge_at, await _snapshots_after(reader, project_id, merge_at), deploy_at, await _snapshots_after(reader, project_id, deploy_at)
    )


async def _snapshots_after(reader: Reader, project_id: str, moment: str | None) -> int | None:
    if moment is None:
        return None
    row = await reader.one("SELECT count(*) FROM snapshots WHERE project_id = $1 AND created_at > $2", (project_id, moment))
    return int(row[0]) if row else 0


async def add_activity(
    tx: Tx, now_ms: int, project_id: str, kind: str, actor: str, *,
    workspace_id: str | None = None, snapshot_id: str | None = None, message: str | None = None,
) -> None:  # fmt: skip
    """Append one row. A project's rows never share a millisecond: that is the order they are shown in."""
    last = await tx.one("SELECT max(created_at) FROM activity_events WHERE project_id = $1", (project_id,))
    if last is not None and last[0] is not None:
        now_ms = max(now_ms, ms_of(last[0]) + 1)
    await tx.run(
        "INSERT INTO activity_events (id, project_id, workspace_id, actor, type, snapshot_id, message, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        (new_ulid(now_ms), project_id, workspace_id, actor, kind, snapshot_id, message, text_of(now_ms)),
    )


async def list_activity(reader: Reader, user_id: str, project_id: str, limit: int, before: str) -> list[Activity]:
    """At most `limit` rows older than the row `before` (`""`: from the newest on), newest first."""
    rows = await reader.rows(
        "SELECT a.id, a.project_id, a.workspace_id, a.actor, a.type, a.snapshot_id, a.message, a.created_at FROM activity_events a"
        " JOIN projects p ON p.id = a.project_id WHERE p.owner_user_id = $1 AND p.deleted_at IS NULL AND a.project_id = $2"
        " AND ($3 = '' OR a.id < $3) ORDER BY a.created_at DESC, a.id DESC LIMIT $4",
        (user_id, project_id, before, limit),
    )
    return [Activity(*row) for row in rows]


async def projects_after(reader: Reader, after: str, before: str, limit: int) -> list[tuple[str, bool]]:
    """The next projects in the order of their ids, and whether each has rows from before this time."""
    rows = await reader.rows(
        "SELECT p.id, EXISTS (SELECT 1 FROM activity_events a WHERE a.project_id = p.id AND a.created_at < $1)"
        " FROM projects p WHERE p.id > $2 ORDER BY p.id LIMIT $3",
        (before, after, limit),
    )
    return [(row[0], bool(row[1])) for row in rows]


async def prune(tx: Tx, project_id: str, before: str, kept: int) -> int:
    """Remove a project's rows from before this time, but for its newest `kept`; how many went."""
    oldest = await tx.one(
        "SELECT created_at FROM activity_events WHERE project_id = $1 ORDER BY created_at DESC LIMIT 1 OFFSET $2", (project_id, kept - 1)
    )
    if oldest is None:
        return 0
    return await tx.run("DELETE FROM activity_events WHERE project_id = $1 AND created_at < $2", (project_id, min(before, oldest[0])))
