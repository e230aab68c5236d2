"""The one unfinished apply of a replica.

J1: it is written before the first user file changes. It names roots, not steps: the plan is always computed again (A1), and the
paths that may be torn after a power cut are the difference between `from_root` and `to_root`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.types import Digest

JOURNAL: Final = Component(
    "journal",
    (
        Migration(
            1,
            """
            CREATE TABLE journal (
                replica_id TEXT PRIMARY KEY REFERENCES replicas (id) ON DELETE CASCADE, from_root BLOB NOT NULL, to_root BLOB NOT NULL,
                boot_id TEXT NOT NULL, started_ms INTEGER NOT NULL
            ) WITHOUT ROWID;
            """,
        ),
    ),
)


class Pending(msgspec.Struct, frozen=True):
    """An apply that began: from which shared root to which, in which boot of the system."""

    from_root: Digest
    to_root: Digest
    boot_id: str
    started_ms: int


def begin(tx: Tx, replica_id: str, pending: Pending) -> None:
    """Write it down before anything is touched."""
    tx.execute(
        "INSERT INTO journal (replica_id, from_root, to_root, boot_id, started_ms) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (replica_id) DO UPDATE SET from_root = excluded.from_root, to_root = excluded.to_root,"
        " boot_id = excluded.boot_id, started_ms = excluded.started_ms",
        (replica_id, pending.from_root, pending.to_root, pending.boot_id, pending.started_ms),
    )


def pending(reader: Reader, replica_id: str) -> Pending | None:
    """The apply that was not finished, if any."""
    row = reader.one("SELECT from_root, to_root, boot_id, started_ms FROM journal WHERE replica_id = $1", (replica_id,))
    return None if row is None else Pending(*row)


def finish(tx: Tx, replica_id: str) -> None:
    """Everything is on disk, or nothing is left to do."""
    tx.execute("DELETE FROM journal WHERE replica_id = $1", (replica_id,))
