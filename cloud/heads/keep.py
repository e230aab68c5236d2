"""Snapshots that the cloud takes itself, and the head that must be one before anything is joined to it."""

from __future__ import annotations

import msgspec

from cloud.context import Cloud
from cloud.database import Reader, Tx
from cloud.records.people.accounts import Account
from cloud.records.work import activity, snapshots, workspaces
from cloud.records.work.workspaces import HeadMove, Workspace
from store.manifest import EMPTY_ROOT
from store.snapshots import make_snapshot, time_after
from store.types import parse_digest
from sync.core.wire import Head, WireSnapshot


class Kept(msgspec.Struct, frozen=True):
    """A head as a snapshot; `head` and `taken` when one had to be taken first. None of all for the empty state nobody ever kept."""

    snapshot_id: str | None
    head: Head | None = None
    taken: WireSnapshot | None = None


def draw_snapshot(
    cloud: Cloud, account: Account, workspace: Workspace, root: str, parents: tuple[str, ...], *, source: str, message: str, agent: str = ""
) -> WireSnapshot:
    """A snapshot by this account, which sorts behind its parents whatever the clocks say."""
    made = make_snapshot(
        project_id=workspace.project_id, workspace_id=workspace.id, manifest_hash=parse_digest(root), parents=parents,
        source=source, message=message, author_name=account.name or "", author_email=account.email, agent=agent,
        created_ms=time_after(cloud.now_ms(), parents),
    )  # fmt: skip
    return WireSnapshot(
        made.id, made.project_id, made.workspace_id, root, list(made.parents), made.source, made.message, made.author_name,
        made.author_email, made.agent, made.created_ms,
    )  # fmt: skip


async def draw_missing(reader: Reader, cloud: Cloud, account: Account, workspace: Workspace, message: str) -> WireSnapshot | None:
    """The snapshot that this head lacks; None when it is one, or is empty and never was one."""
    root, last = workspace.current_manifest_hash, workspace.current_snapshot_id
    if last is None and root == EMPTY_ROOT.hex():
        return None
    if last is not None and (await snapshots.get_snapshot(reader, account.user_id, last)).manifest_hash == root:
        return None
    parents = () if last is None else (last,)
    return draw_snapshot(cloud, account, workspace, root, parents, source="system", message=message)


async def keep_head(tx: Tx, cloud: Cloud, account: Account, workspace: Workspace, message: str) -> Kept:
    """A head without a snapshot of its own gets a `system` one: two lines of work need a common point to merge from.

    It moves by one version and stays what it was.
    """
    taken = await draw_missing(tx, cloud, account, workspace, message)
    if taken is None:
        return Kept(workspace.current_snapshot_id)
    root = workspace.current_manifest_hash
    move = HeadMove(workspace.id, workspace.version, root, taken.id, None, "system")
    await add_taken(tx, cloud, taken, workspace.version + 1, "system")
    version = await workspaces.advance_head(tx, account.user_id, move, cloud.now())
    return Kept(taken.id, Head(workspace.id, cloud.epoch, version, root, taken.id), taken)


async def add_taken(tx: Tx, cloud: Cloud, taken: WireSnapshot, version: int, actor: str) -> None:
    """Keep a snapshot that the cloud took, and say so."""
    await snapshots.add_snapshot(tx, taken, version)
    await activity.add_activity(
        tx, cloud.now_ms(), taken.project_id, "snapshot.pushed", actor,
        workspace_id=taken.workspace_id, snapshot_id=taken.id, message=taken.message or None,
    )  # fmt: skip
