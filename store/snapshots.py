"""The snapshot log: immutable, human-sized points in the DAG, with ids that sort by time and verify."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.errors import InvalidValue, NotFound
from store.types import Digest, encode_ulid, ulid_ms

SNAPSHOTS: Final = Component(
    "snapshots",
    (
        Migration(
            1,
            """
            CREATE TABLE snapshots (
                id TEXT PRIMARY KEY, project_id TEXT NOT NULL, workspace_id TEXT NOT NULL, manifest_hash BLOB NOT NULL,
                parents TEXT NOT NULL, source TEXT NOT NULL, message TEXT NOT NULL, author_name TEXT NOT NULL,
                author_email TEXT NOT NULL, agent TEXT NOT NULL, created_ms INTEGER NOT NULL, full_root BLOB NOT NULL,
                shared INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            CREATE INDEX snapshots_workspace ON snapshots (workspace_id, id);
            """,
        ),
        # Every pull and push asks for these, and nearly always there are none.
        Migration(2, "CREATE INDEX snapshots_unshared ON snapshots (workspace_id, id) WHERE shared = 0"),
        Migration(3, "ALTER TABLE snapshots ADD COLUMN summary TEXT NOT NULL DEFAULT ''"),
    ),
)

PREFIX: Final = "snap-"
SOURCES: Final = frozenset({"cli", "web", "system", "import"})


class Snapshot(msgspec.Struct, frozen=True):
    """One point in the DAG; `manifest_hash` is the shared root, which is what the id covers."""

    id: str
    project_id: str
    workspace_id: str
    manifest_hash: Digest
    parents: tuple[str, ...]
    source: str
    message: str
    author_name: str
    author_email: str
    agent: str
    created_ms: int
    summary: str = ""
    """What somebody says of its changes; like `source`, no part of the id."""


def make_snapshot(
    *, project_id: str, workspace_id: str, manifest_hash: Digest, parents: tuple[str, ...], source: str, message: str,
    author_name: str, author_email: str, agent: str, created_ms: int, summary: str = "",
) -> Snapshot:  # fmt: skip
    """A snapshot with its verifying id. Raises InvalidValue for an unknown source."""
    if source not in SOURCES:
        raise InvalidValue(f"unknown snapshot source {source!r}", f"One of {', '.join(sorted(SOURCES))}.")
    ordered = tuple(sorted(set(parents)))
    fields = (project_id, manifest_hash.hex(), list(ordered), author_name, author_email, message, agent, created_ms)
    tail = hashlib.sha256(msgspec.json.encode(fields)).digest()[:10]
    identity = PREFIX + encode_ulid(created_ms, tail)
    return Snapshot(
        identity, project_id, workspace_id, manifest_hash, ordered, source, message, author_name, author_email, agent, created_ms,
        summary,
    )  # fmt: skip


def time_after(now_ms: int, snapshot_ids: Iterable[str]) -> int:
    """The time for a snapshot that must sort behind these: now, unless another clock is ahead of this one. Raises InvalidValue."""
    return max(now_ms, *(ulid_ms(one.removeprefix(PREFIX)) + 1 for one in snapshot_ids), 0)


def check_snapshot(snapshot: Snapshot) -> None:
    """Raises InvalidValue when the id does not verify over the rest (docs/FORMAT.md, Snapshot id)."""
    fields = {name: getattr(snapshot, name) for name in Snapshot.__struct_fields__ if name != "id"}
    if make_snapshot(**fields).id != snapshot.id:
        raise InvalidValue(f"the id of {snapshot.id[:40]} does not verify over its content")


def add_snapshot(tx: Tx, snapshot: Snapshot, full_root: Digest, *, shared: bool) -> None:
    """Keep a snapshot; keeping it again changes nothing."""
    tx.execute(
        "INSERT INTO snapshots (id, project_id, workspace_id, manifest_hash, parents, source, message, author_name, author_email, agent,"
        " created_ms, summary, full_root, shared) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " ON CONFLICT (id) DO NOTHING",
        (
            snapshot.id, snapshot.project_id, snapshot.workspace_id, snapshot.manifest_hash, " ".join(snapshot.parents), snapshot.source,
            snapshot.message, snapshot.author_name, snapshot.author_email, snapshot.agent, snapshot.created_ms, snapshot.summary,
            full_root, int(shared),
        ),
    )  # fmt: skip


_SELECT: Final = (
    "SELECT id, project_id, workspace_id, manifest_hash, parents, source, message, author_name, author_email, agent, created_ms,"
    " summary, full_root FROM snapshots "
)


def get_snapshot(reader: Reader, snapshot_id: str) -> tuple[Snapshot, Digest]:
    """A snapshot and its full root here. Accepts a unique prefix of at least 8 characters. Raises NotFound."""
    if not snapshot_id.startswith(PREFIX) or len(snapshot_id) < 8:
        raise NotFound(f"no snapshot {snapshot_id}", "`fst log` lists the snapshots.")
    rows = list(
        reader.execute(
            _SELECT + "WHERE id >= $1 AND id < $2 LIMIT 2",
            (snapshot_id, snapshot_id + "~"),
        )
    )
    if len(rows) != 1:
        problem = "no snapshot" if not rows else "more than one snapshot begins with"
        raise NotFound(f"{problem} {snapshot_id}", "`fst log` lists the snapshots.")
    return _parse(rows[0]), Digest(rows[0][-1])


def find_snapshot(reader: Reader, snapshot_id: str) -> tuple[Snapshot, Digest] | None:
    """The snapshot of exactly this id and its full root here; None for one that this machine was never told of."""
    row = reader.one(_SELECT + "WHERE id = $1", (snapshot_id,))
    return None if row is None else (_parse(row), Digest(row[-1]))


def list_snapshots(reader: Reader, workspace_id: str, *, newest: int) -> list[tuple[Snapshot, Digest]]:
    """At most `newest` snapshots with their full roots, newest first."""
    rows = reader.execute(
        _SELECT + "WHERE workspace_id = $1 ORDER BY id DESC LIMIT $2",
        (workspace_id, newest),
    )
    return [(_parse(row), Digest(row[-1])) for row in rows]


def unshared_snapshots(reader: Reader, workspace_id: str) -> list[Snapshot]:
    """What the cloud does not have yet, oldest first (so parents come before their children)."""
    rows = reader.execute(
        _SELECT + "WHERE workspace_id = $1 AND shared = 0 ORDER BY id",
        (workspace_id,),
    )
    return [_parse(row) for row in rows]


def newest_unshared(reader: Reader, workspace_id: str) -> Snapshot | None:
    """The last of those that the cloud does not have yet."""
    row = reader.one(_SELECT + "WHERE workspace_id = $1 AND shared = 0 ORDER BY id DESC LIMIT 1", (workspace_id,))
    return None if row is None else _parse(row)


def parents_from(reader: Reader, workspace_id: str, snapshot_id: str) -> dict[str, tuple[str, ...]]:
    """The snapshots whose ids are not before this one, each with its parents; a parent that is not among them stands with none."""
    rows = reader.execute("SELECT id, parents FROM snapshots WHERE workspace_id = $1 AND id >= $2", (workspace_id, snapshot_id))
    found = {str(row[0]): tuple(str(row[1]).split()) for row in rows}
    return dict.fromkeys((parent for parents in found.values() for parent in parents), ()) | found


def mark_shared(tx: Tx, snapshot_ids: Iterable[str]) -> None:
    """The cloud has these."""
    tx.execute_many("UPDATE snapshots SET shared = 1 WHERE id = $1", ((snapshot_id,) for snapshot_id in snapshot_ids))


def mark_unshared(tx: Tx, workspace_id: str) -> None:
    """The cloud may have lost any of a workspace's; those that it tells of are shared again."""
    tx.execute("UPDATE snapshots SET shared = 0 WHERE workspace_id = $1", (workspace_id,))


def snapshot_roots(reader: Reader) -> set[Digest]:
    """Every root a snapshot names (roots of the collector)."""
    return {Digest(root) for row in reader.execute("SELECT full_root, manifest_hash FROM snapshots") for root in row}


def _parse(row: tuple[object, ...]) -> Snapshot:
    values = list(row[:12])
    values[4] = tuple(str(values[4]).split())
    return Snapshot(*values)  # type: ignore[arg-type]
