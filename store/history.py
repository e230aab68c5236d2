"""The local log: every settled state of a replica, and the acts that can be undone."""

from __future__ import annotations

from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.types import Digest

HISTORY: Final = Component(
    "history",
    (
        Migration(
            1,
            """
            CREATE TABLE log (
                replica_id TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE, sequence INTEGER NOT NULL,
                full_root BLOB NOT NULL, time_ms INTEGER NOT NULL, actor TEXT NOT NULL, version INTEGER,
                PRIMARY KEY (replica_id, sequence)
            ) WITHOUT ROWID;
            CREATE TABLE acts (
                id TEXT PRIMARY KEY, replica_id TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE, verb TEXT NOT NULL,
                before_root BLOB NOT NULL, after_root BLOB NOT NULL, time_ms INTEGER NOT NULL, undone INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            CREATE INDEX acts_replica ON acts (replica_id, id);
            """,
        ),
        Migration(2, "ALTER TABLE log ADD COLUMN shared_root BLOB"),
    ),
)


class LogEntry(msgspec.Struct, frozen=True):
    """One settled state. `version` is set where a won compare-and-swap made it a version."""

    sequence: int
    full_root: Digest
    time_ms: int
    actor: str
    version: int | None


class Act(msgspec.Struct, frozen=True):
    """Something `fst undo` can reverse: the full roots before and after it."""

    id: str
    verb: str
    before_root: Digest
    after_root: Digest
    time_ms: int


def append_log(tx: Tx, replica_id: str, entry: LogEntry) -> None:
    """Keep a settled state."""
    tx.execute(
        "INSERT INTO log (replica_id, sequence, full_root, time_ms, actor, version) VALUES ($1, $2, $3, $4, $5, $6)",
        (replica_id, entry.sequence, entry.full_root, entry.time_ms, entry.actor, entry.version),
    )


def mark_version(tx: Tx, replica_id: str, sequence: int, version: int) -> None:
    """The state with this sequence became a version."""
    tx.execute("UPDATE log SET version = $1 WHERE replica_id = $2 AND sequence = $3", (version, replica_id, sequence))


def note_shared(tx: Tx, replica_id: str, sequence: int, root: Digest) -> None:
    """What of this state the cloud may have been sent, where that is not all of it."""
    tx.execute("UPDATE log SET shared_root = $1 WHERE replica_id = $2 AND sequence = $3", (root, replica_id, sequence))


def is_version(reader: Reader, replica_id: str, sequence: int) -> bool:
    """This state is known to be a version of the cloud's."""
    sql = "SELECT 1 FROM log WHERE replica_id = $1 AND sequence = $2 AND version IS NOT NULL"
    return reader.one(sql, (replica_id, sequence)) is not None


def find_unshared(reader: Reader, replica_id: str, root: Digest) -> int | None:
    """The newest state that was, or was shared as, this root, after the newest one that is known to be a version.

    That one, too, may have been shared once more, as this root: what was held back of it was let go.
    """
    row = reader.one(
        "WITH last (sequence) AS (SELECT coalesce(max(sequence), -1) FROM log WHERE replica_id = $1 AND version IS NOT NULL)"
        " SELECT max(log.sequence) FROM log, last WHERE replica_id = $1"
        " AND (full_root = $2 AND log.sequence > last.sequence OR shared_root = $2 AND log.sequence >= last.sequence)",
        (replica_id, root),
    )
    return None if row is None or row[0] is None else int(row[0])


def list_log(reader: Reader, replica_id: str, *, newest: int) -> list[LogEntry]:
    """At most `newest` entries, newest first."""
    rows = reader.execute(
        "SELECT sequence, full_root, time_ms, actor, version FROM log WHERE replica_id = $1 ORDER BY sequence DESC LIMIT $2",
        (replica_id, newest),
    )
    return [LogEntry(*row) for row in rows]


def log_roots(reader: Reader) -> set[Digest]:
    """Every full root that the log and the acts of this machine still name (roots of the collector)."""
    roots = {Digest(row[0]) for row in reader.execute("SELECT full_root FROM log UNION SELECT shared_root FROM log") if row[0] is not None}
    for before, after in reader.execute("SELECT before_root, after_root FROM acts"):
        roots |= {Digest(before), Digest(after)}
    return roots


def thin_log(tx: Tx, replica_id: str, sequences: list[int]) -> None:
    """Forget these states."""
    tx.execute_many("DELETE FROM log WHERE replica_id = $1 AND sequence = $2", ((replica_id, number) for number in sequences))


def add_act(tx: Tx, replica_id: str, act: Act) -> None:
    """Keep what `fst undo` needs to reverse an act."""
    tx.execute(
        "INSERT INTO acts (id, replica_id, verb, before_root, after_root, time_ms) VALUES ($1, $2, $3, $4, $5, $6)",
        (act.id, replica_id, act.verb, act.before_root, act.after_root, act.time_ms),
    )


def last_act(reader: Reader, replica_id: str) -> Act | None:
    """The newest act that was not undone."""
    row = reader.one(
        "SELECT id, verb, before_root, after_root, time_ms FROM acts WHERE replica_id = $1 AND undone = 0 ORDER BY id DESC LIMIT 1",
        (replica_id,),
    )
    return None if row is None else Act(*row)


def mark_undone(tx: Tx, act_id: str) -> None:
    """This act was reversed."""
    tx.execute("UPDATE acts SET undone = 1 WHERE id = $1", (act_id,))
