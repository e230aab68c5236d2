"""Table drift_reports: what clients reported, a bounded history for each pair of workspaces."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx

KEPT_REPORTS = 100
"""For each workspace and source."""


class Report(msgspec.Struct, frozen=True):
    """One row's counters; a comparison is never kept: it is drawn again from two roots."""

    id: str
    workspace_id: str
    source_workspace_id: str | None
    workspace_snapshot_id: str | None
    source_snapshot_id: str | None
    files_added: int
    files_modified: int
    files_deleted: int
    bytes_changed: int
    summary: str | None
    reported_at: str


_COLUMNS = ", ".join(f"d.{name}" for name in Report.__struct_fields__)


async def add_report(tx: Tx, report: Report) -> None:
    """Keep a report; the oldest of its pair go."""
    await tx.run(
        f"INSERT INTO drift_reports ({', '.join(Report.__struct_fields__)}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tuple(getattr(report, name) for name in Report.__struct_fields__),
    )
    source = report.source_workspace_id or ""
    await tx.run(
        "DELETE FROM drift_reports WHERE workspace_id = $1 AND coalesce(source_workspace_id, '') = $2 AND id NOT IN"
        " (SELECT id FROM drift_reports WHERE workspace_id = $3 AND coalesce(source_workspace_id, '') = $4 ORDER BY id DESC LIMIT $5)",
        (report.workspace_id, source, report.workspace_id, source, KEPT_REPORTS),
    )


async def list_reports(reader: Reader, workspace_id: str, limit: int, before: str) -> list[Report]:
    """At most `limit` older than the row `before` (`"~"`: from the newest on), newest first, of a workspace known to be the asker's."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM drift_reports d WHERE d.workspace_id = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3",
        (workspace_id, before, limit),
    )
    return [Report(*row) for row in rows]


async def latest_reports(reader: Reader, workspace_id: str) -> list[Report]:
    """The newest for each source, newest first, of a workspace that is known to be the asker's."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM drift_reports d WHERE d.id IN"
        " (SELECT max(n.id) FROM drift_reports n WHERE n.workspace_id = $1 GROUP BY n.source_workspace_id) ORDER BY d.id DESC",
        (workspace_id,),
    )
    return [Report(*row) for row in rows]


async def latest_by_workspace(reader: Reader, project_id: str) -> dict[str, Report]:
    """The newest report of each workspace of a project that is known to be the asker's."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM drift_reports d WHERE d.id IN"
        " (SELECT max(n.id) FROM drift_reports n JOIN workspaces w ON w.id = n.workspace_id"
        " WHERE w.project_id = $1 GROUP BY n.workspace_id)",
        (project_id,),
    )
    return {report.workspace_id: report for report in (Report(*row) for row in rows)}
