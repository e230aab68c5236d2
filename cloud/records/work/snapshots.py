"""Table snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cloud.database import Reader, Tx
from cloud.records.moments import ms_of, text_of
from store.errors import Conflicting, NotFound
from sync.core.wire import WireSnapshot

MAX_ANCESTORS = 1_000
"""How far back a head's snapshot is looked for behind a new one."""

_COLUMNS = (
    "id, project_id, workspace_id, manifest_hash, parent_snapshot_ids, source, message, author_name, author_email, agent, created_at,"
    " summary"
)
_OF_USER = "project_id IN (SELECT id FROM projects WHERE owner_user_id = $1 AND deleted_at IS NULL)"


async def add_snapshot(tx: Tx, snapshot: WireSnapshot, version: int) -> bool:
    """Keep a snapshot that became known with this version; False when it was here already. Raises Conflicting for other content."""
    row = await _row_of(tx, snapshot.id)
    if row is not None:
        if _wire_of(row) != snapshot:
            raise Conflicting(f"{snapshot.id} exists already, with other content")
        return False
    await tx.run(
        f"INSERT INTO snapshots ({_COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        (
            snapshot.id, snapshot.project_id, snapshot.workspace_id, snapshot.manifest_hash, msgspec.json.encode(snapshot.parents).decode(),
            snapshot.source, snapshot.message, snapshot.author_name, snapshot.author_email, snapshot.agent, text_of(snapshot.created_ms),
            snapshot.summary or None, version,
        ),
    )  # fmt: skip
    return True


async def is_known(reader: Reader, snapshot: WireSnapshot) -> bool:
    """True when exactly this snapshot is here."""
    row = await _row_of(reader, snapshot.id)
    return row is not None and _wire_of(row) == snapshot


async def get_snapshot(reader: Reader, user_id: str, snapshot_id: str) -> WireSnapshot:
    """One snapshot. Raises NotFound, also for somebody else's."""
    row = await reader.one(f"SELECT {_COLUMNS} FROM snapshots WHERE {_OF_USER} AND id = $2", (user_id, snapshot_id))
    if row is None:
        raise NotFound("no such snapshot")
    return _wire_of(row)


async def in_project(reader: Reader, project_id: str, snapshot_id: str) -> bool:
    """True when the snapshot is one of this project."""
    return await reader.one("SELECT 1 FROM snapshots WHERE id = $1 AND project_id = $2", (snapshot_id, project_id)) is not None


async def all_parents(reader: Reader, project_id: str) -> dict[str, list[str]]:
    """Every snapshot of a project with its parents."""
    rows = await reader.rows("SELECT id, parent_snapshot_ids FROM snapshots WHERE project_id = $1", (project_id,))
    return {row[0]: msgspec.json.decode(row[1], type=list[str]) for row in rows}


async def list_by_project(reader: Reader, user_id: str, project_id: str, limit: int, before: str) -> list[WireSnapshot]:
    """At most `limit` of a project's that are older than `before` (`"~"`: from the newest on), newest first."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM snapshots WHERE {_OF_USER} AND project_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        (user_id, project_id, before, limit),
    )
    return [_wire_of(row) for row in rows]


async def list_by_workspace(reader: Reader, user_id: str, workspace_id: str, limit: int, before: str) -> list[WireSnapshot]:
    """The same for one workspace."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM snapshots WHERE {_OF_USER} AND workspace_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        (user_id, workspace_id, before, limit),
    )
    return [_wire_of(row) for row in rows]


async def list_since(reader: Reader, workspace_id: str, version: int, limit: int) -> list[WireSnapshot]:
    """The newest `limit` that became known after a version of a workspace that is known to be the asker's, parents first."""
    rows = await reader.rows(
        f"SELECT {_COLUMNS} FROM snapshots WHERE workspace_id = $1 AND version > $2 ORDER BY version DESC, id DESC LIMIT $3",
        (workspace_id, version, limit),
    )
    return parents_first([_wire_of(row) for row in rows][::-1])


def parents_first(found: Sequence[WireSnapshot]) -> list[WireSnapshot]:
    """The same snapshots, each behind those of its parents that are among them; else in the order they came in."""
    left = {snapshot.id: snapshot for snapshot in found}
    ordered: list[WireSnapshot] = []
    for snapshot in found:
        waiting = [snapshot]
        while waiting:
            above = [left[parent] for parent in waiting[-1].parents if parent in left]
            if above:
                waiting += above
            elif left.pop(waiting[-1].id, None) is not None:
                ordered.append(waiting.pop())
            else:
                waiting.pop()
    return ordered


async def descends(reader: Reader, snapshot_id: str, ancestor_id: str) -> bool:
    """True when `ancestor_id` is the snapshot itself or among the MAX_ANCESTORS nearest behind it, over all parents."""
    seen, waiting = {snapshot_id}, [snapshot_id]
    for asked in waiting:
        if asked == ancestor_id:
            return True
        if len(seen) >= MAX_ANCESTORS:
            continue
        row = await _row_of(reader, asked)
        for parent in [] if row is None else _wire_of(row).parents:
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return False


async def _row_of(reader: Reader, snapshot_id: str) -> tuple[str, ...] | None:
    return await reader.one(f"SELECT {_COLUMNS} FROM snapshots WHERE id = $1", (snapshot_id,))


def _wire_of(row: tuple[str, ...]) -> WireSnapshot:
    parents = msgspec.json.decode(row[4], type=list[str])
    return WireSnapshot(
        row[0], row[1], row[2] or "", row[3], parents, row[5], row[6], row[7], row[8], row[9], ms_of(row[10]), row[11] or ""
    )  # fmt: skip
