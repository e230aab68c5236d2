"""Collect what nothing names any more: a plan as a value, then its execution. Safe beside concurrent pushes (docs/decisions/0017).

Theory. Roots are all manifests of heads, versions and snapshots, and all blobs of conflict records. What a user owns and no root
reaches is *condemned*, if nobody has touched it for the grace period: uploads come before the push that names them, and what a
preview shows was touched minutes ago. It stays readable. A later run that still finds it unreached, and condemned for the whole
quarantine, takes it from the user; bytes that then belong to nobody go. Whatever names a thing pardons it in its own transaction, and
each deletion asks again, so a push either finds the thing pardoned or is told that it is missing: never a head without its bytes.
A manifest that cannot be read ends the run before anything was changed: what it needs is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from cloud.database import Database, Tx
from cloud.objects import Objects
from cloud.reach import reach
from cloud.records import condemned
from cloud.records.condemned import Owned
from cloud.records.moments import text_of
from store.blobs import CHUNKED_MIN
from store.blobs.frames import decode_recipe, is_recipe
from store.errors import BlobDamaged, BlobMissing, InvalidReply, StoreDamaged
from store.types import Digest, parse_digest

DAY_MS: Final = 24 * 60 * 60 * 1000
GRACE_DAYS: Final = 7
QUARANTINE_DAYS: Final = 1
ROWS_AT_ONCE: Final = 4_096
Page = Callable[..., Coroutine[Any, Any, list[Owned]]]
"""`blobs_after` or `nodes_after`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run is, and the times of its two periods before that."""

    at: str
    touched_before: str
    condemned_before: str


def limits_at(now_ms: int, grace_days: int = GRACE_DAYS) -> Limits:
    """Now, as the run sees it."""
    return Limits(text_of(now_ms), text_of(max(0, now_ms - grace_days * DAY_MS)), text_of(max(0, now_ms - QUARANTINE_DAYS * DAY_MS)))


@dataclass(frozen=True, slots=True)
class Sorted:
    """Digests of blobs, or of nodes, by what is to become of them."""

    condemn: list[Digest] = field(default_factory=list)
    pardon: list[Digest] = field(default_factory=list)
    remove: list[Digest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UserPlan:
    """What becomes of what one user owns; `bytes` of the blobs that would be removed."""

    user_id: str
    blobs: Sorted
    nodes: Sorted
    bytes: int


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """Of all users for whom there is something to do."""

    limits: Limits
    users: list[UserPlan]

    def count(self, what: str) -> tuple[int, int]:
        """How many blobs and nodes to `condemn`, `pardon` or `remove`."""
        return sum(len(getattr(user.blobs, what)) for user in self.users), sum(len(getattr(user.nodes, what)) for user in self.users)

    @property
    def bytes(self) -> int:
        """Of the blobs to be removed."""
        return sum(user.bytes for user in self.users)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run did: rows of owners, then bytes of nobody."""

    condemned: int
    pardoned: int
    removed: int
    swept_blobs: int
    swept_nodes: int
    swept_bytes: int


async def plan_collection(db: Database, objects: Objects, limits: Limits) -> CollectionPlan:
    """Changes nothing. Raises StoreDamaged when a manifest or recipe cannot be read."""
    plans = []
    for (user_id,) in await db.read().rows("SELECT id FROM users ORDER BY id"):
        plan = await _plan_user(db, objects, user_id, limits)
        if any((plan.blobs.condemn, plan.blobs.pardon, plan.blobs.remove, plan.nodes.condemn, plan.nodes.pardon, plan.nodes.remove)):
            plans.append(plan)
    return CollectionPlan(limits, plans)


async def execute(db: Database, objects: Objects, plan: CollectionPlan) -> Collected:
    """Owners' rows first, then bytes."""
    limits, did = plan.limits, [0, 0, 0]
    for user in plan.users:
        name = user.user_id
        for blobs, nodes in _batches(user.blobs.condemn, user.nodes.condemn):
            did[0] += await db.write(partial(_condemn, user_id=name, blobs=blobs, nodes=nodes, limits=limits))
        for blobs, nodes in _batches(user.blobs.pardon, user.nodes.pardon):
            did[1] += await db.write(partial(condemned.pardon, user_id=name, blobs=blobs, nodes=nodes))
        for blobs, nodes in _batches(user.blobs.remove, user.nodes.remove):
            did[2] += await db.write(
                partial(condemned.remove, user_id=name, blobs=blobs, nodes=nodes, condemned_before=limits.condemned_before)
            )
    sweep = await objects.plan_sweep()
    await sweep.execute()
    return Collected(did[0], did[1], did[2], sweep.blobs, sweep.nodes, sweep.bytes)


async def _condemn(tx: Tx, user_id: str, blobs: Sequence[Digest], nodes: Sequence[Digest], limits: Limits) -> int:
    return await condemned.condemn(tx, user_id, blobs, nodes, limits.at, limits.touched_before)


async def _plan_user(db: Database, objects: Objects, user_id: str, limits: Limits) -> UserPlan:
    nodes, blobs = await _reachable(db, objects, user_id)
    by_blob, size = await _sorted(db, user_id, condemned.blobs_after, blobs, limits)
    by_node, _ = await _sorted(db, user_id, condemned.nodes_after, nodes, limits)
    return UserPlan(user_id, by_blob, by_node, size)


async def _reachable(db: Database, objects: Objects, user_id: str) -> tuple[set[Digest], set[Digest]]:
    """Nodes and blobs, the chunks of large ones among them."""
    roots = sorted(await db.reading(lambda reader: condemned.roots_of(reader, user_id)))
    try:
        nodes, files = await objects.over_nodes(lambda source: reach(source, roots))
    except StoreDamaged as error:
        raise _stopped(error.message) from error
    pinned = await db.reading(lambda reader: condemned.pinned_by_conflicts(reader, user_id))
    blobs = {parse_digest(text) for text in pinned} | files.keys()
    for digest in sorted(blobs):
        # A conflict record does not say how large its blobs are.
        if files.get(digest, CHUNKED_MIN) >= CHUNKED_MIN:
            blobs |= await _parts_of(objects, digest)
    return nodes, blobs


async def _parts_of(objects: Objects, digest: Digest) -> set[Digest]:
    try:
        frames = await objects.frames_for([digest])
        return {part for frame in frames if is_recipe(frame) for part, _ in decode_recipe(frame).chunks}
    except (BlobMissing, BlobDamaged, InvalidReply) as error:
        raise _stopped(f"blob {digest.hex()}: {error.message}") from error


def _stopped(reason: str) -> StoreDamaged:
    return StoreDamaged(f"nothing was collected: {reason}", "Run `fst cloud fsck`.")


async def _sorted(db: Database, user_id: str, page: Page, reachable: set[Digest], limits: Limits) -> tuple[Sorted, int]:
    found, size = Sorted(), 0
    last: bytes = b""
    while rows := await db.reading(partial(page, user_id=user_id, after=last, limit=ROWS_AT_ONCE)):
        last = rows[-1].digest
        for row in rows:
            if row.digest in reachable:
                if row.condemned_at is not None:
                    found.pardon.append(row.digest)
            elif row.condemned_at is None:
                if row.touched_at < limits.touched_before:
                    found.condemn.append(row.digest)
            elif row.condemned_at < limits.condemned_before:
                found.remove.append(row.digest)
                size += row.size
    return found, size


def _batches(blobs: Sequence[Digest], nodes: Sequence[Digest]) -> Iterator[tuple[Sequence[Digest], Sequence[Digest]]]:
    """So many at once that others need not wait long for their turn to write."""
    for at in range(0, max(len(blobs), len(nodes)), ROWS_AT_ONCE):
        yield blobs[at : at + ROWS_AT_ONCE], nodes[at : at + ROWS_AT_ONCE]
