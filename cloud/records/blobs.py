"""Tables owned_blobs and owned_nodes: who may read what. The blob store itself knows no users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice

from cloud.database import KEYS_AT_ONCE, Reader, Tx
from store.types import Digest


async def owned_sizes(reader: Reader, user_id: str, digests: Iterable[Digest]) -> dict[Digest, int]:
    """The sizes of those blobs that this user owns."""
    sql = "SELECT o.hash, o.size FROM carray($1) c CROSS JOIN owned_blobs o WHERE o.user_id = $2 AND o.hash = c.value"
    found: dict[Digest, int] = {}
    for batch in _batches(digests):
        found.update((Digest(digest), size) for digest, size in await reader.rows(sql, (reader.keys(batch), user_id)))
    return found


async def add_owned(tx: Tx, user_id: str, sizes: Mapping[Digest, int], at: str) -> None:
    """This user has shown these blobs' bytes; again renews them."""
    await tx.run_many(
        "INSERT INTO owned_blobs (user_id, hash, size, created_at, touched_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, hash) DO UPDATE SET touched_at = excluded.touched_at, condemned_at = NULL",
        ((user_id, digest, size, at, at) for digest, size in sorted(sizes.items())),
    )


async def touch_owned(tx: Tx, user_id: str, digests: Iterable[Digest], at: str, older_than: str) -> None:
    """Renew what the collector must leave alone, where it was not renewed lately."""
    for batch in _batches(digests):
        await tx.run(
            "UPDATE owned_blobs SET touched_at = $1, condemned_at = NULL WHERE user_id = $2 AND hash IN (SELECT value FROM carray($3))"
            " AND (touched_at < $4 OR condemned_at IS NOT NULL)",
            (at, user_id, tx.keys(batch), older_than),
        )


async def hold_blobs(tx: Tx, user_id: str, digests: Collection[Digest], at: str, older_than: str) -> set[Digest]:
    """Which of these are not this user's any more. The others are renewed: what this transaction makes of them will not miss them."""
    await touch_owned(tx, user_id, digests, at, older_than)
    return set(digests) - (await owned_sizes(tx, user_id, digests)).keys()


async def hold_nodes(tx: Tx, user_id: str, digests: Collection[Digest]) -> set[Digest]:
    """The same for nodes."""
    for batch in _batches(digests):
        await tx.run(
            "UPDATE owned_nodes SET condemned_at = NULL WHERE user_id = $1 AND hash IN (SELECT value FROM carray($2))"
            " AND condemned_at IS NOT NULL",
            (user_id, tx.keys(batch)),
        )
    return set(digests) - await owned_nodes(tx, user_id, digests)


async def owned_nodes(reader: Reader, user_id: str, digests: Iterable[Digest]) -> set[Digest]:
    """Those nodes that are part of some manifest of this user."""
    sql = "SELECT o.hash FROM carray($1) c CROSS JOIN owned_nodes o WHERE o.user_id = $2 AND o.hash = c.value"
    found: set[Digest] = set()
    for batch in _batches(digests):
        found.update(Digest(row[0]) for row in await reader.rows(sql, (reader.keys(batch), user_id)))
    return found


async def add_nodes(tx: Tx, user_id: str, digests: Iterable[Digest]) -> None:
    """These nodes became part of a manifest of this user."""
    await tx.run_many(
        "INSERT INTO owned_nodes (user_id, hash) VALUES ($1, $2)"
        " ON CONFLICT (user_id, hash) DO UPDATE SET condemned_at = NULL WHERE owned_nodes.condemned_at IS NOT NULL",
        ((user_id, digest) for digest in sorted(digests)),
    )


async def all_owned(reader: Reader) -> tuple[set[Digest], set[Digest]]:
    """Every blob and every node that anybody owns."""
    blobs = {Digest(row[0]) for row in await reader.rows("SELECT hash FROM owned_blobs")}
    return blobs, {Digest(row[0]) for row in await reader.rows("SELECT hash FROM owned_nodes")}


async def count_owned(reader: Reader, user_id: str) -> tuple[int, int, int]:
    """How many blobs a user owns, their bytes, and how many nodes."""
    blobs = await reader.one("SELECT count(*), coalesce(sum(size), 0) FROM owned_blobs WHERE user_id = $1", (user_id,)) or (0, 0)
    nodes = await reader.one("SELECT count(*) FROM owned_nodes WHERE user_id = $1", (user_id,)) or (0,)
    return int(blobs[0]), int(blobs[1]), int(nodes[0])


def _batches(digests: Iterable[Digest]) -> Iterator[list[Digest]]:
    rest = iter(digests)
    while batch := sorted(islice(rest, KEYS_AT_ONCE)):
        yield batch
