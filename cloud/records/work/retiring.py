"""Names, archiving, deletion and its undoing, and what is gone for good; of projects and workspaces that are known to be the asker's.

A deleted workspace gives its name free: the row is called otherwise until it is restored or purged.
"""

from __future__ import annotations

from cloud.database import Reader, Tx
from cloud.records.work.projects import Project
from cloud.records.work.workspaces import Workspace
from store.errors import NotFound


def name_when_deleted(workspace_id: str, name: str) -> str:
    """What a deleted workspace is called."""
    return f"{name} (deleted {workspace_id})"


def name_before(workspace_id: str, name: str) -> str:
    """The inverse of `name_when_deleted`."""
    return name.removesuffix(f" (deleted {workspace_id})")


async def rename_project(tx: Tx, project_id: str, name: str, at: str) -> None:
    """A project's names need not be unique."""
    await tx.run("UPDATE projects SET name = $1, updated_at = $2 WHERE id = $3", (name, at, project_id))


async def rename_workspace(tx: Tx, workspace_id: str, name: str) -> None:
    """Raises Conflicting when another one of the project has this name."""
    await tx.run("UPDATE workspaces SET name = $1 WHERE id = $2", (name, workspace_id))


async def archive_project(tx: Tx, project_id: str, at: str | None) -> bool:
    """Archive it (or, with None, bring it back); False when it was so already."""
    sql = "UPDATE projects SET archived_at = $1 WHERE id = $2 AND (archived_at IS NULL) <> ($3 = '')"
    return await tx.run(sql, (at, project_id, at or "")) > 0


async def archive_workspace(tx: Tx, workspace_id: str, at: str | None) -> bool:
    """The same for a workspace."""
    sql = "UPDATE workspaces SET archived_at = $1 WHERE id = $2 AND (archived_at IS NULL) <> ($3 = '')"
    return await tx.run(sql, (at, workspace_id, at or "")) > 0


async def delete_project(tx: Tx, project_id: str, at: str) -> None:
    """From here on it is not there; `restore_project` undoes it until it is purged."""
    await tx.run("UPDATE projects SET deleted_at = $1 WHERE id = $2", (at, project_id))


async def delete_workspace(tx: Tx, workspace: Workspace, at: str) -> None:
    """The same for a workspace; a project whose main it was has none then."""
    name = name_when_deleted(workspace.id, workspace.name)
    await tx.run("UPDATE workspaces SET deleted_at = $1, name = $2 WHERE id = $3", (at, name, workspace.id))
    await tx.run("UPDATE projects SET main_workspace_id = NULL WHERE main_workspace_id = $1", (workspace.id,))


async def find_deleted_project(reader: Reader, user_id: str, project_id: str) -> str:
    """Its name. Raises NotFound."""
    sql = "SELECT name FROM projects WHERE id = $1 AND owner_user_id = $2 AND deleted_at IS NOT NULL"
    row = await reader.one(sql, (project_id, user_id))
    if row is None:
        raise NotFound("no such deleted project")
    return str(row[0])


async def find_deleted_workspace(reader: Reader, user_id: str, workspace_id: str) -> tuple[str, str]:
    """Its project and the name it had. Raises NotFound, also when the project is deleted: that comes back first."""
    row = await reader.one(
        "SELECT w.project_id, w.name FROM workspaces w JOIN projects p ON p.id = w.project_id"
        " WHERE w.id = $1 AND p.owner_user_id = $2 AND w.deleted_at IS NOT NULL AND p.deleted_at IS NULL",
        (workspace_id, user_id),
    )
    if row is None:
        raise NotFound("no such deleted workspace")
    return row[0], name_before(workspace_id, row[1])


async def restore_project(tx: Tx, project_id: str, at: str) -> None:
    """As it was, archived if it was."""
    await tx.run("UPDATE projects SET deleted_at = NULL, updated_at = $1 WHERE id = $2", (at, project_id))


async def restore_workspace(tx: Tx, workspace_id: str, name: str) -> None:
    """Raises Conflicting when the name was given to another one meanwhile."""
    await tx.run("UPDATE workspaces SET deleted_at = NULL, name = $1 WHERE id = $2", (name, workspace_id))


async def has_others(reader: Reader, project: Project, workspace_id: str) -> bool:
    """True when the project has another workspace at work."""
    row = await reader.one(
        "SELECT 1 FROM workspaces WHERE project_id = $1 AND id <> $2 AND deleted_at IS NULL AND archived_at IS NULL",
        (project.id, workspace_id),
    )
    return row is not None


# --- for good ---------------------------------------------------------------------------------------------------------------------------


async def overdue_projects(reader: Reader, deleted_before: str) -> list[str]:
    """Projects whose retention is over."""
    rows = await reader.rows("SELECT id FROM projects WHERE deleted_at < $1 ORDER BY id", (deleted_before,))
    return [row[0] for row in rows]


async def overdue_workspaces(reader: Reader, deleted_before: str) -> list[tuple[str, str, str]]:
    """Workspaces whose retention is over, with their project and name; not those of a project that is deleted too."""
    rows = await reader.rows(
        "SELECT w.id, w.project_id, w.name FROM workspaces w JOIN projects p ON p.id = w.project_id"
        " WHERE w.deleted_at < $1 AND p.deleted_at IS NULL ORDER BY w.id",
        (deleted_before,),
    )
    return [(row[0], row[1], name_before(row[0], row[2])) for row in rows]


async def purge_workspace(tx: Tx, workspace_id: str, deleted_before: str) -> bool:
    """All rows of a workspace but its snapshots, which others may descend from; False when it was restored meanwhile."""
    if not await tx.run("UPDATE workspaces SET deleted_at = deleted_at WHERE id = $1 AND deleted_at < $2", (workspace_id, deleted_before)):
        return False
    await tx.run("DELETE FROM drift_reports WHERE workspace_id = $1 OR source_workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM workspace_conflicts WHERE workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM workspace_versions WHERE workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM workspace_replicas WHERE workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM conversations WHERE workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM jobs WHERE workspace_id = $1", (workspace_id,))
    await tx.run("DELETE FROM workspaces WHERE id = $1", (workspace_id,))
    return True


async def purge_project(tx: Tx, project_id: str, deleted_before: str) -> bool:
    """All rows of a project; False when it was restored meanwhile."""
    if not await tx.run("UPDATE projects SET deleted_at = deleted_at WHERE id = $1 AND deleted_at < $2", (project_id, deleted_before)):
        return False
    await tx.run("UPDATE workspaces SET deleted_at = '' WHERE project_id = $1", (project_id,))
    for (workspace_id,) in await tx.rows("SELECT id FROM workspaces WHERE project_id = $1", (project_id,)):
        await purge_workspace(tx, workspace_id, deleted_before)
    await tx.run("DELETE FROM refactoring_suggestions WHERE snapshot_id IN (SELECT id FROM snapshots WHERE project_id = $1)", (project_id,))
    await tx.run("DELETE FROM activity_events WHERE project_id = $1", (project_id,))
    await tx.run("DELETE FROM jobs WHERE project_id = $1", (project_id,))
    await tx.run("DELETE FROM snapshots WHERE project_id = $1", (project_id,))
    await tx.run("DELETE FROM projects WHERE id = $1", (project_id,))
    return True
