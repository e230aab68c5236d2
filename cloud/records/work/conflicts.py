"""Table workspace_conflicts."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from cloud.records.moments import ms_of, text_of
from store.errors import NotFound
from store.manifest import EntryRecord, entry_of
from sync.core.wire import MAX_CONFLICTS, WireConflict


class Sides(msgspec.Struct, frozen=True):
    """What the hash columns cannot hold: the records in full."""

    record: EntryRecord
    base: EntryRecord | None
    ours: EntryRecord | None
    theirs: EntryRecord | None


async def put_conflict(tx: Tx, conflict: WireConflict, version: int) -> bool:
    """Keep a record, or resolve the open one with this id; True when something changed. A resolved one is never opened again."""
    row = await tx.one("SELECT workspace_id, state FROM workspace_conflicts WHERE id = $1", (conflict.id,))
    if row is None:
        await _add(tx, conflict, version)
        return True
    if row[0] != conflict.workspace_id:
        raise NotFound("no such conflict")
    if row[1] != "open" or conflict.state == "open":
        return False
    await tx.run(
        "UPDATE workspace_conflicts SET state = $1, resolved_at = $2, resolution = $3 WHERE id = $4",
        (conflict.state, _text(conflict.resolved_ms), conflict.resolution, conflict.id),
    )
    return True


async def _add(tx: Tx, conflict: WireConflict, version: int) -> None:
    path, _ = entry_of(conflict.record)
    hashes = [None if side is None else side.hash for side in (conflict.base, conflict.ours, conflict.theirs)]
    sides = msgspec.json.encode(Sides(conflict.record, conflict.base, conflict.ours, conflict.theirs)).decode()
    await tx.run(
        "INSERT INTO workspace_conflicts (id, workspace_id, path, kind, base_hash, ours_hash, theirs_hash, state, version, created_at,"
        " resolved_at, resolution, entries) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        (
            conflict.id, conflict.workspace_id, path, conflict.kind, *hashes, conflict.state, version, text_of(conflict.created_ms),
            _text(conflict.resolved_ms), conflict.resolution, sides,
        ),
    )  # fmt: skip


async def list_conflicts(reader: Reader, workspace_id: str, resolved_after: str) -> list[WireConflict]:
    """The open ones, and those resolved after a time, of a workspace that is known to be the asker's; oldest first."""
    rows = await reader.rows(
        "SELECT id, workspace_id, kind, state, created_at, resolution, resolved_at, entries FROM workspace_conflicts"
        " WHERE workspace_id = $1 AND (state = 'open' OR resolved_at > $2) ORDER BY state = 'open' DESC, id DESC LIMIT $3",
        (workspace_id, resolved_after, MAX_CONFLICTS),
    )
    return [_wire_of(row) for row in rows][::-1]


def _wire_of(row: tuple[str, ...]) -> WireConflict:
    sides = msgspec.json.decode(row[7], type=Sides)
    resolved_ms = None if row[6] is None else ms_of(row[6])
    return WireConflict(
        row[0], row[1], sides.record, row[2], sides.base, sides.ours, sides.theirs, row[3], ms_of(row[4]), row[5], resolved_ms
    )  # fmt: skip


def _text(ms: int | None) -> str | None:
    return None if ms is None else text_of(ms)
