"""What of owned_blobs and owned_nodes nothing names: condemned, pardoned when it is named again, removed after a while.

Whoever names something in a transaction pardons it there (`records/blobs.py`); each statement here asks again what it was told.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cloud.database import Reader, Tx
from store.types import Digest


class Owned(msgspec.Struct, frozen=True):
    """A row of either table; a node has no size and was touched when it was made."""

    digest: Digest
    size: int
    touched_at: str
    condemned_at: str | None


async def blobs_after(reader: Reader, user_id: str, after: bytes, limit: int) -> list[Owned]:
    """A user's blobs in the order of their digests."""
    rows = await reader.rows(
        "SELECT hash, size, touched_at, condemned_at FROM owned_blobs WHERE user_id = $1 AND hash > $2 ORDER BY hash LIMIT $3",
        (user_id, after, limit),
    )
    return [Owned(*row) for row in rows]


async def nodes_after(reader: Reader, user_id: str, after: bytes, limit: int) -> list[Owned]:
    """The same for nodes."""
    rows = await reader.rows(
        "SELECT hash, 0, '', condemned_at FROM owned_nodes WHERE user_id = $1 AND hash > $2 ORDER BY hash LIMIT $3", (user_id, after, limit)
    )
    return [Owned(*row) for row in rows]


async def condemn(tx: Tx, user_id: str, blobs: Sequence[Digest], nodes: Sequence[Digest], at: str, touched_before: str) -> int:
    """From now on these wait for their removal, but for blobs that were touched lately; how many."""
    count = await tx.run(
        "UPDATE owned_blobs SET condemned_at = $1 WHERE user_id = $2 AND hash IN (SELECT value FROM carray($3))"
        " AND condemned_at IS NULL AND touched_at < $4",
        (at, user_id, tx.keys(blobs), touched_before),
    )
    return count + await tx.run(
        "UPDATE owned_nodes SET condemned_at = $1 WHERE user_id = $2 AND hash IN (SELECT value FROM carray($3)) AND condemned_at IS NULL",
        (at, user_id, tx.keys(nodes)),
    )


async def pardon(tx: Tx, user_id: str, blobs: Sequence[Digest], nodes: Sequence[Digest]) -> int:
    """These are named after all; how many."""
    count = await tx.run(
        "UPDATE owned_blobs SET condemned_at = NULL WHERE user_id = $1 AND hash IN (SELECT value FROM carray($2))",
        (user_id, tx.keys(blobs)),
    )
    return count + await tx.run(
        "UPDATE owned_nodes SET condemned_at = NULL WHERE user_id = $1 AND hash IN (SELECT value FROM carray($2))",
        (user_id, tx.keys(nodes)),
    )


async def remove(tx: Tx, user_id: str, blobs: Sequence[Digest], nodes: Sequence[Digest], condemned_before: str) -> int:
    """These are the user's no longer, if nobody pardoned them since; how many."""
    count = await tx.run(
        "DELETE FROM owned_blobs WHERE user_id = $1 AND hash IN (SELECT value FROM carray($2)) AND condemned_at < $3",
        (user_id, tx.keys(blobs), condemned_before),
    )
    return count + await tx.run(
        "DELETE FROM owned_nodes WHERE user_id = $1 AND hash IN (SELECT value FROM carray($2)) AND condemned_at < $3",
        (user_id, tx.keys(nodes), condemned_before),
    )


async def roots_of(reader: Reader, user_id: str) -> set[str]:
    """Every manifest that a user's rows name: heads, versions, snapshots, and what replicas agreed on."""
    rows = await reader.rows(
        "WITH mine AS (SELECT w.id FROM workspaces w JOIN projects p ON p.id = w.project_id WHERE p.owner_user_id = $1)"
        " SELECT current_manifest_hash FROM workspaces WHERE id IN (SELECT id FROM mine)"
        " UNION SELECT manifest_hash FROM workspace_versions WHERE workspace_id IN (SELECT id FROM mine)"
        " UNION SELECT s.manifest_hash FROM snapshots s JOIN projects q ON q.id = s.project_id WHERE q.owner_user_id = $1",
        (user_id,),
    )
    return {row[0] for row in rows if row[0]}


async def pinned_by_conflicts(reader: Reader, user_id: str) -> set[str]:
    """Every blob that a conflict record of a user names."""
    rows = await reader.rows(
        "SELECT c.base_hash, c.ours_hash, c.theirs_hash FROM workspace_conflicts c JOIN workspaces w ON w.id = c.workspace_id"
        " JOIN projects p ON p.id = w.project_id WHERE p.owner_user_id = $1",
        (user_id,),
    )
    return {text for row in rows for text in row if text}
