"""What one push carries: from what is agreed to the newest shared state, through the snapshots in between.

A push is one version. What is over the cloud's bounds for one (about a million changes) is several, each to a root that is a tree.
"""

from __future__ import annotations

from typing import Final

import msgspec

from store import snapshots
from store.errors import BrakeHeld
from store.manifest import EMPTY_ROOT, manifest_totals
from store.snapshots import Snapshot
from store.types import Digest
from sync import adopt
from sync.core.brake import Direction, Limits, count_losses, weigh
from sync.core.wire import PUSH_INLINE_BYTES, PushHeader
from sync.outgoing.steps import Bounds, Steps
from sync.replica import LocalReplica

INLINE_BLOBS: Final = 1_000
"""A burst of this many small files is one request, and one transaction of the cloud."""


class Outgoing(msgspec.Struct, frozen=True):
    """One push. `nodes` are those of `root` that are not kept here yet: they come with a root in mid-way."""

    header: PushHeader
    deltas: list[bytes]
    sizes: dict[Digest, int]
    inline: bool
    root: Digest
    nodes: dict[Digest, bytes]
    is_whole: bool
    """`root` is the shared root of the state `sequence`; else more pushes follow."""
    sequence: int
    snapshot_ids: list[str]


def prepare(replica: LocalReplica, bounds: Bounds) -> Outgoing | None:
    """The next push; None when there is nothing to send. Raises BlobMissing, InvalidManifest."""
    row = replica.row
    unshared = _list_sendable(replica)
    if row.shared_root == row.agreed_root and not unshared:
        return None
    draft = replica.draft()
    steps = Steps(row.agreed_root, draft, bounds, replica.blobs.lacking_nodes, replica.changes_between)
    sent: list[str] = []
    for snapshot in unshared:
        if not steps.lead_to(snapshot.manifest_hash, adopt.wire_snapshot(snapshot)):
            break
        sent.append(snapshot.id)
    is_whole = len(sent) == len(unshared) and (steps.root == row.shared_root or steps.lead_to(row.shared_root))
    header = PushHeader(row.epoch, row.agreed_version, row.agreed_root.hex(), row.id, steps.steps)
    inline = len(steps.sizes) <= INLINE_BLOBS and sum(steps.sizes.values()) <= PUSH_INLINE_BYTES
    nodes = {} if is_whole else draft.new
    return Outgoing(header, steps.deltas, steps.sizes, inline, steps.root, nodes, is_whole, row.sequence, sent)


def _list_sendable(replica: LocalReplica) -> list[Snapshot]:
    """What the cloud does not have, oldest first.

    One that it lost and whose state was never here is its maker's to send; what is behind that waits for it.
    """
    unshared = snapshots.unshared_snapshots(replica.db.read(), replica.row.workspace_id)
    lacking = replica.blobs.lacking_nodes({one.manifest_hash for one in unshared}) if unshared else set()
    left: set[str] = set()
    for one in unshared:
        if one.manifest_hash in lacking or not left.isdisjoint(one.parents):
            left.add(one.id)
    return [one for one in unshared if one.id not in left]


def check_brake(replica: LocalReplica, since: Digest, limits: Limits, *, switching: bool) -> None:
    """Weigh what is to be sent, from the head that the first of its pushes starts from. Raises BrakeHeld."""
    row, draft = replica.row, replica.draft()
    if since in (EMPTY_ROOT, row.shared_root) or row.shared_root.hex() in row.allowed:
        return
    losses = count_losses((change.old, change.new) for change in replica.changes_between(since, row.shared_root, draft))
    before, after = (manifest_totals(root, draft).files for root in (since, row.shared_root))
    brake = weigh(losses, Direction.OUT, before=before, after=after, limits=limits, switching=switching)
    if brake.holds:
        raise BrakeHeld(brake.sentence, "`fst approve` sends it; `fst restore --from ID` brings the files back.")
