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
        " JOIN projects p ON p.id = a.project_id WHERE p.owner_user_id = $1 AND a.project_id = $2 AND ($3 = '' OR a.id < $3)"
        " ORDER BY a.created_at DESC, a.id DESC LIMIT $4",
        (user_id, project_id, before, limit),
    )
    return [Activity(*row) for row in rows]
