"""New workspaces: empty, from a snapshot, or forked from another one's head."""

from __future__ import annotations

import msgspec

from cloud.context import Cloud
from cloud.database import Tx
from cloud.heads.keep import keep_head
from cloud.records.people.accounts import Account
from cloud.records.work import activity, projects, replicas, snapshots, workspaces
from cloud.records.work.workspaces import Workspace
from store.errors import Conflicting, InvalidValue, NotFound
from store.manifest import EMPTY_ROOT
from sync.core.wire import Head, NewWorkspace, WireSnapshot


class Made(msgspec.Struct, frozen=True):
    """A workspace that is there now. `source` is the head of the forked one when a snapshot had to be taken of it first."""

    workspace: Workspace
    is_new: bool
    source: Head | None = None
    snapshot: WireSnapshot | None = None


class Start(msgspec.Struct, frozen=True):
    """What a new workspace's first head is."""

    root: str
    snapshot_id: str | None
    source: Head | None = None
    snapshot: WireSnapshot | None = None


async def make_workspace(tx: Tx, cloud: Cloud, account: Account, project_id: str, workspace_id: str, asked: NewWorkspace) -> Made:
    """Make it, or find the same one made before. Raises NotFound, InvalidValue, Conflicting when the name is taken."""
    await projects.get_open_project(tx, account.user_id, project_id)
    if await workspaces.workspace_exists(tx, workspace_id):
        found = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        if (found.project_id, found.name) != (project_id, asked.name):
            raise Conflicting("a workspace with this id exists already, with another name or project")
        return Made(found, is_new=False)
    if await workspaces.name_is_taken(tx, project_id, asked.name):
        raise Conflicting(f"the project has a workspace {asked.name!r} already", "Choose another name.")
    if asked.machine_id is not None:
        await replicas.get_machine(tx, account.user_id, asked.machine_id)
    start = await _start(tx, cloud, account, project_id, asked)
    at = cloud.now()
    workspace = Workspace(
        workspace_id, project_id, asked.name, asked.machine_id, start.snapshot_id, start.snapshot_id, start.root, asked.local_path,
        None, at, 1, None,
    )  # fmt: skip
    await workspaces.add_workspace(tx, workspace, asked.actor)
    await projects.touch_project(tx, project_id, None, at)
    await _tell_activity(tx, cloud, workspace, asked)
    return Made(workspace, True, start.source, start.snapshot)


async def _tell_activity(tx: Tx, cloud: Cloud, workspace: Workspace, asked: NewWorkspace) -> None:
    now_ms = cloud.now_ms()
    await activity.add_activity(
        tx, now_ms, workspace.project_id, "workspace.created", asked.actor,
        workspace_id=workspace.id, snapshot_id=workspace.base_snapshot_id, message=workspace.name,
    )  # fmt: skip
    if await projects.take_as_main(tx, workspace.project_id, workspace.id):
        await activity.add_activity(tx, now_ms, workspace.project_id, "project.main_changed", asked.actor, workspace_id=workspace.id)


async def _start(tx: Tx, cloud: Cloud, account: Account, project_id: str, asked: NewWorkspace) -> Start:
    if asked.base_workspace_id is not None and asked.base_snapshot_id is not None:
        raise InvalidValue("a workspace starts from a workspace or from a snapshot, not from both")
    if asked.base_workspace_id is not None:
        return await _start_from_head(tx, cloud, account, project_id, asked)
    if asked.base_snapshot_id is None:
        return Start(EMPTY_ROOT.hex(), None)
    try:
        snapshot = await snapshots.get_snapshot(tx, account.user_id, asked.base_snapshot_id)
    except NotFound:
        snapshot = None
    if snapshot is None or snapshot.project_id != project_id:
        raise InvalidValue("the base snapshot is not in the project")
    return Start(snapshot.manifest_hash, snapshot.id)


async def _start_from_head(tx: Tx, cloud: Cloud, account: Account, project_id: str, asked: NewWorkspace) -> Start:
    """A head without a snapshot of its own gets a `system` one first: two lines of work need a common point to merge from."""
    source = await workspaces.get_workspace(tx, account.user_id, asked.base_workspace_id or "")
    if source.project_id != project_id:
        raise InvalidValue("the base workspace is not in the project")
    kept = await keep_head(tx, cloud, account, source, f"Before the fork {asked.name}")
    return Start(source.current_manifest_hash, kept.snapshot_id, kept.head, kept.taken)
