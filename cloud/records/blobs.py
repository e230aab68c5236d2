"""Tables owned_blobs and owned_nodes: who may read what. The blob store itself knows no users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from store.database import Reader, Tx
from store.types import Digest


def owned_sizes(reader: Reader, user_id: str, digests: Iterable[Digest]) -> dict[Digest, int]:
    """The sizes of those blobs that this user owns."""
    rows = reader.execute_many(
        "SELECT hash, size FROM owned_blobs WHERE user_id = $1 AND hash = $2", ((user_id, digest) for digest in digests)
    )
    return {Digest(digest): size for digest, size in rows}


def add_owned(tx: Tx, user_id: str, sizes: Mapping[Digest, int], at: str) -> None:
    """This user has shown these blobs' bytes; again renews them."""
    tx.execute_many(
        "INSERT INTO owned_blobs (user_id, hash, size, created_at, touched_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, hash) DO UPDATE SET touched_at = excluded.touched_at",
        ((user_id, digest, size, at, at) for digest, size in sorted(sizes.items())),
    )


def touch_owned(tx: Tx, user_id: str, digests: Iterable[Digest], at: str, older_than: str) -> None:
    """Renew what the collector must leave alone, where it was not renewed lately."""
    tx.execute_many(
        "UPDATE owned_blobs SET touched_at = $1 WHERE user_id = $2 AND hash = $3 AND touched_at < $4",
        ((at, user_id, digest, older_than) for digest in digests),
    )


def owned_nodes(reader: Reader, user_id: str, digests: Iterable[Digest]) -> set[Digest]:
    """Those nodes that are part of some manifest of this user."""
    rows = reader.execute_many("SELECT hash FROM owned_nodes WHERE user_id = $1 AND hash = $2", ((user_id, digest) for digest in digests))
    return {Digest(row[0]) for row in rows}


def add_nodes(tx: Tx, user_id: str, digests: Iterable[Digest]) -> None:
    """These nodes became part of a manifest of this user."""
    tx.execute_many(
        "INSERT INTO owned_nodes (user_id, hash) VALUES ($1, $2) ON CONFLICT (user_id, hash) DO NOTHING",
        ((user_id, digest) for digest in sorted(digests)),
    )
