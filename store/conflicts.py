"""Conflict records: both sides changed one path and no join was possible. Kept until a person resolves them."""

from __future__ import annotations

from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.errors import NotFound
from store.manifest import EntryRecord, entry_of
from store.types import Digest, File, RelPath

CONFLICTS: Final = Component(
    "conflicts",
    (
        Migration(
            1,
            """
            CREATE TABLE conflicts (
                id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL, path BLOB NOT NULL, kind TEXT NOT NULL, base TEXT, ours TEXT,
                theirs TEXT, state TEXT NOT NULL, created_ms INTEGER NOT NULL, resolution TEXT, resolved_ms INTEGER,
                sent INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            CREATE INDEX conflicts_workspace ON conflicts (workspace_id, state, path);
            """,
        ),
    ),
)


class Conflict(msgspec.Struct, frozen=True):
    """One record. `ours` is the text that lost its place to the head's, `theirs` is what the head had; None where a side had nothing."""

    id: str
    workspace_id: str
    path: RelPath
    kind: str
    base: EntryRecord | None
    ours: EntryRecord | None
    theirs: EntryRecord | None
    state: str
    created_ms: int
    resolution: str | None = None
    resolved_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """It waits for a person."""
        return self.state == "open"


_SELECT: Final = "SELECT id, workspace_id, path, kind, base, ours, theirs, state, created_ms, resolution, resolved_ms FROM conflicts "


def put_conflict(tx: Tx, conflict: Conflict, *, sent: bool) -> None:
    """Add a record, or move it on: a resolved one is never opened again."""
    tx.execute(
        "INSERT INTO conflicts (id, workspace_id, path, kind, base, ours, theirs, state, created_ms, resolution, resolved_ms, sent)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, resolution = excluded.resolution, resolved_ms = excluded.resolved_ms,"
        " sent = excluded.sent WHERE conflicts.state = 'open' AND conflicts.workspace_id = excluded.workspace_id",
        (
            conflict.id, conflict.workspace_id, conflict.path, conflict.kind, _dump(conflict.base), _dump(conflict.ours),
            _dump(conflict.theirs), conflict.state, conflict.created_ms, conflict.resolution, conflict.resolved_ms, int(sent),
        ),
    )  # fmt: skip


def learn_conflict(tx: Tx, conflict: Conflict) -> None:
    """A record that the cloud told of. One that is resolved and was never here stays away: nobody brought its texts along."""
    if conflict.is_open or tx.one("SELECT 1 FROM conflicts WHERE id = $1", (conflict.id,)) is not None:
        put_conflict(tx, conflict, sent=True)


def drop_conflicts(tx: Tx, conflict_ids: list[str]) -> None:
    """Forget records of a plan that was not carried out there; what was told to the cloud stays."""
    tx.execute_many("DELETE FROM conflicts WHERE id = $1 AND sent = 0", ((conflict_id,) for conflict_id in conflict_ids))


def mark_sent(tx: Tx, sent: list[Conflict]) -> None:
    """The cloud has these records so; one that was resolved meanwhile is still to be told."""
    tx.execute_many("UPDATE conflicts SET sent = 1 WHERE id = $1 AND state = $2", ((one.id, one.state) for one in sent))


def list_conflicts(reader: Reader, workspace_id: str) -> list[Conflict]:
    """The open ones, by path."""
    rows = reader.execute(
        _SELECT + "WHERE workspace_id = $1 AND state = 'open' ORDER BY path, id",
        (workspace_id,),
    )
    return [_parse(row) for row in rows]


def unsent_conflicts(reader: Reader, workspace_id: str) -> list[Conflict]:
    """What the cloud was not told yet."""
    rows = reader.execute(
        _SELECT + "WHERE workspace_id = $1 AND sent = 0 ORDER BY id",
        (workspace_id,),
    )
    return [_parse(row) for row in rows]


def get_conflict(reader: Reader, conflict_id: str) -> Conflict:
    """One record. Raises NotFound."""
    row = reader.one(_SELECT + "WHERE id = $1", (conflict_id,))
    if row is None:
        raise NotFound(f"no conflict {conflict_id}")
    return _parse(row)


def conflict_digests(reader: Reader) -> set[Digest]:
    """Every content that a record of this machine pins, resolved ones too."""
    digests: set[Digest] = set()
    for row in reader.execute("SELECT base, ours, theirs FROM conflicts"):
        for text in row:
            record = _load(text)
            entry = None if record is None else entry_of(record)[1]
            if isinstance(entry, File):
                digests.add(entry.digest)
    return digests


def _dump(record: EntryRecord | None) -> str | None:
    return None if record is None else msgspec.json.encode(record).decode()


def _load(text: str | None) -> EntryRecord | None:
    return None if text is None else msgspec.json.decode(text, type=EntryRecord)


def _parse(row: tuple[object, ...]) -> Conflict:
    names = ("id", "workspace_id", "path", "kind", "base", "ours", "theirs", "state", "created_ms", "resolution", "resolved_ms")
    values = dict(zip(names, row, strict=True))
    for side in ("base", "ours", "theirs"):
        values[side] = _load(values[side])  # type: ignore[arg-type]
    return Conflict(**values)  # type: ignore[arg-type]
