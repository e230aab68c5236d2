"""Table projects."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from cloud.database import Reader, Tx
from store.errors import Archived, NotFound


class Project(msgspec.Struct, frozen=True):
    """One row, without its owner."""

    id: str
    name: str
    intent: str | None
    brief: str | None
    created_at: str
    updated_at: str
    last_snapshot_id: str | None
    main_workspace_id: str | None
    archived_at: str | None
    deleted_at: str | None


Shelf = Literal["open", "archived", "deleted"]
SHELVES: Final[dict[Shelf, str]] = {
    "open": "archived_at IS NULL AND deleted_at IS NULL",
    "archived": "archived_at IS NOT NULL AND deleted_at IS NULL",
    "deleted": "deleted_at IS NOT NULL",
}
"""Where a project or workspace stands, as SQL."""
_COLUMNS = ", ".join(Project.__struct_fields__)


async def add_project(tx: Tx, user_id: str, project_id: str, name: str, at: str) -> None:
    """Keep a new project."""
    await tx.run(
        "INSERT INTO projects (id, owner_user_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)",
        (project_id, user_id, name, at, at),
    )


async def project_exists(reader: Reader, project_id: str) -> bool:
    """True when anybody has a project with this id."""
    return await reader.one("SELECT 1 FROM projects WHERE id = $1", (project_id,)) is not None


async def get_project(reader: Reader, user_id: str, project_id: str) -> Project:
    """One project. Raises NotFound, also for somebody else's."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM projects WHERE id = $1 AND owner_user_id = $2 AND deleted_at IS NULL", (project_id, user_id)
    )
    if row is None:
        raise NotFound("no such project")
    return Project(*row)


async def get_open_project(reader: Reader, user_id: str, project_id: str) -> Project:
    """One project that may be changed. Raises NotFound, Archived."""
    project = await get_project(reader, user_id, project_id)
    if project.archived_at is not None:
        raise Archived("the project is archived", "Unarchive it first: it stays as it is until then.")
    return project


async def list_projects(reader: Reader, user_id: str, shelf: Shelf) -> list[Project]:
    """A user's, the last changed first: those at work, those archived, or those deleted and not yet purged."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM projects WHERE owner_user_id = $1 AND {SHELVES[shelf]} ORDER BY updated_at DESC, id DESC",
        (user_id,),
    )
    return [Project(*row) for row in rows]


async def set_brief(tx: Tx, project_id: str, intent: str, brief: str, at: str) -> None:
    """What it is for."""
    await tx.run("UPDATE projects SET intent = $1, brief = $2, updated_at = $3 WHERE id = $4", (intent, brief, at, project_id))


async def touch_project(tx: Tx, project_id: str, snapshot_id: str | None, at: str) -> None:
    """Something in the project moved; with a snapshot, that is now its last. Activity that is noted after it keeps its order."""
    await tx.run(
        "UPDATE projects SET updated_at = $1, last_snapshot_id = coalesce($2, last_snapshot_id) WHERE id = $3",
        (at, snapshot_id, project_id),
    )


async def note_push(tx: Tx, project_id: str, at: str) -> None:
    """A head moved, and that is all. Nobody waits for another who says the same right now: a project's pushes would queue."""
    UNLOCKED = tx.UNLOCKED
    await tx.run(
        f"UPDATE projects SET updated_at = $1 WHERE id IN (SELECT id FROM projects WHERE id = $2{UNLOCKED})",
        (at, project_id),
    )


async def take_as_main(tx: Tx, project_id: str, workspace_id: str) -> bool:
    """Make this workspace the main one if the project has none; True when it did."""
    sql = "UPDATE projects SET main_workspace_id = $1 WHERE id = $2 AND main_workspace_id IS NULL"
    return await tx.run(sql, (workspace_id, project_id)) > 0


async def set_main(tx: Tx, project_id: str, workspace_id: str, at: str) -> bool:
    """Make this workspace the main one; False when it is already."""
    sql = "UPDATE projects SET main_workspace_id = $1, updated_at = $2 WHERE id = $3 AND coalesce(main_workspace_id, '') <> $4"
    return await tx.run(sql, (workspace_id, at, project_id, workspace_id)) > 0
