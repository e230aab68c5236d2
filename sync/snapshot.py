"""Points in the history of one replica: each continues what the replica had, and two lines that met are continued by one point.

Theory. A replica's line is its unshared snapshots, or else the head's snapshot as last agreed on: what it takes continues that, so a
push moves the head's snapshot forward. When a head comes in whose snapshot that line does not hold, while the line has unshared ones,
neither continues the other; the state that joins them is then a snapshot with both for parents. Order comes from the parents alone:
clocks of two machines do not agree, so a snapshot's time is after that of all it knows of, and ids sort as the line runs.
"""

from __future__ import annotations

from typing import Final

from store import snapshots, workspaces
from store.database import Reader, Tx
from store.snapshots import Snapshot, make_snapshot
from store.types import Digest
from store.workspaces import Replica
from sync.core.history import is_ancestor
from sync.replica import LocalReplica

MERGED: Final = "Merged with the cloud's line"


def last_snapshot(reader: Reader, row: Replica) -> str | None:
    """What this replica's next snapshot continues. A fork's first head has one that this machine was never told of."""
    unshared = snapshots.newest_unshared(reader, row.workspace_id)
    if unshared is not None:
        return unshared.id
    return row.agreed_snapshot or _newest(reader, row.workspace_id)


def next_snapshot(
    reader: Reader, replica: LocalReplica, root: Digest, parents: tuple[str, ...], *, source: str, message: str,
    author_name: str = "", author_email: str = "", agent: str = "",
) -> Snapshot:  # fmt: skip
    """A snapshot behind these and all that is known here, not kept yet. Raises InvalidValue."""
    workspace = workspaces.get_workspace(reader, replica.row.workspace_id)
    newest = _newest(reader, workspace.id)
    known = parents if newest is None else (*parents, newest)
    return make_snapshot(
        project_id=workspace.project_id, workspace_id=workspace.id, manifest_hash=root, parents=parents, source=source,
        message=message, author_name=author_name, author_email=author_email, agent=agent,
        created_ms=snapshots.time_after(replica.clock.now_ms(), known),
    )  # fmt: skip


def merge_lines(tx: Tx, replica: LocalReplica, head_snapshot: str | None, shared_root: Digest, full_root: Digest) -> None:
    """Where the head's snapshot is not behind this replica's unshared ones, keep one of the joined state that continues both.

    In the transaction that lets agreed move, and asked of what is kept, not of what just happened: a crash loses no merge, and a plan
    that is made again makes no second one.
    """
    ours = snapshots.newest_unshared(tx, replica.row.workspace_id)
    if head_snapshot is None or ours is None or _continues(tx, ours, head_snapshot):
        return
    merge = next_snapshot(tx, replica, shared_root, (ours.id, head_snapshot), source="system", message=MERGED)
    snapshots.add_snapshot(tx, merge, full_root, shared=False)


def _continues(reader: Reader, ours: Snapshot, head_snapshot: str) -> bool:
    """Ids sort as lines run: no way to the head's snapshot leads over an older one."""
    parents = snapshots.parents_from(reader, ours.workspace_id, head_snapshot)
    return ours.id in parents and is_ancestor(head_snapshot, ours.id, parents)


def _newest(reader: Reader, workspace_id: str) -> str | None:
    found = snapshots.list_snapshots(reader, workspace_id, newest=1)
    return found[0][0].id if found else None
