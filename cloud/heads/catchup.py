"""What leads from the state a replica has to the head: the cloud diffs, so that the replica need not fetch nodes it has."""

from __future__ import annotations

from itertools import islice

from cloud.context import Cloud
from cloud.hub import pack_message
from cloud.records.moments import text_of
from cloud.records.people.accounts import Account
from cloud.records.work import conflicts, snapshots, workspaces
from store.manifest import EMPTY_ROOT, NodeSource, diff_manifests
from store.types import Digest, parse_digest
from sync.core.wire import MAX_STEP_CHANGES, Delta, EventHeader, pack_delta

MAX_SNAPSHOTS = 1_000
RESOLVED_DAYS = 30
DAY_MS = 24 * 60 * 60 * 1000


async def catch_up(cloud: Cloud, account: Account, workspace_id: str, since: int, root: str) -> bytes:
    """The answer as sections. Without a delta (`parent_root` null) when the root was never this workspace's, or too much changed.

    Raises NotFound, InvalidValue.
    """
    reader = cloud.read()
    head = await workspaces.get_head(reader, account.user_id, workspace_id)
    own = parse_digest(root)
    deltas: list[bytes] | None = None
    if own == EMPTY_ROOT or await workspaces.knows_root(reader, workspace_id, root):
        deltas = await cloud.objects.over_nodes(lambda nodes: _deltas(nodes, own, parse_digest(head.root)))
    lately = text_of(max(0, cloud.now_ms() - RESOLVED_DAYS * DAY_MS))
    header = EventHeader(
        "catch-up", head, None if deltas is None else root, len(deltas or ()),
        snapshots=await snapshots.list_since(reader, workspace_id, since, MAX_SNAPSHOTS),
        conflicts=await conflicts.list_conflicts(reader, workspace_id, lately),
    )  # fmt: skip
    return pack_message(header, deltas or [], [])


def _deltas(nodes: NodeSource, old: Digest, new: Digest) -> list[bytes] | None:
    changes: Delta = [(change.path, change.new) for change in islice(diff_manifests(old, new, nodes), MAX_STEP_CHANGES + 1)]
    return None if len(changes) > MAX_STEP_CHANGES else list(pack_delta(changes))
