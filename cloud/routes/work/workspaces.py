"""/v1/projects/{id}/workspaces and /v1/workspaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import msgspec
from aiohttp import web

from cloud.context import Cloud
from cloud.heads import fork
from cloud.heads.fork import Made
from cloud.hub import Telling, pack_message
from cloud.records.work import drift, projects, replicas, workspaces
from cloud.records.work.workspaces import Workspace
from cloud.routes.asking import OnShelf
from cloud.routes.declare import get, post
from cloud.routes.envelope import account_of, checked_name, cloud_of, named_id
from cloud.routes.work.drift import ShownReport, shown_report
from store.types import new_ulid
from sync.core.wire import EventHeader, NewWorkspace


class ShownWorkspace(Workspace, frozen=True, kw_only=True):
    """The row, and the head under the names that wire.WireWorkspace gives it."""

    root: str
    snapshot_id: str | None
    epoch: str


class ListedWorkspace(ShownWorkspace, frozen=True, kw_only=True):
    """With the newest drift that a client reported of it."""

    drift: ShownReport | None


class WorkspaceInFull(ListedWorkspace, frozen=True, kw_only=True):
    """The same once more, under a name."""

    workspace: ShownWorkspace


class CreatedWorkspace(TypedDict):
    """A workspace, and whether it is new."""

    workspace: ShownWorkspace
    created: bool


class Workspaces(TypedDict):
    """Those of one shelf."""

    workspaces: list[ListedWorkspace]


class Seen(TypedDict):
    """When the cloud heard of it."""

    success: bool
    last_seen_at: str


def shown_workspace(workspace: Workspace, epoch: str) -> ShownWorkspace:
    """The row, and the head under the names that wire.WireWorkspace gives it."""
    root, snapshot_id = workspace.current_manifest_hash, workspace.current_snapshot_id
    return ShownWorkspace(**msgspec.structs.asdict(workspace), root=root, snapshot_id=snapshot_id, epoch=epoch)


async def create_workspace(request: web.Request, asked: NewWorkspace) -> CreatedWorkspace:
    """201, or 200 when the same one was created before."""
    cloud, account = cloud_of(request), account_of(request)
    asked = msgspec.structs.replace(asked, name=checked_name(asked.name))
    workspace_id = asked.id or new_ulid(cloud.now_ms())
    project_id = named_id(request, "project")
    made: Made = await cloud.write(lambda tx: fork.make_workspace(tx, cloud, account, project_id, workspace_id, asked))
    if made.source is not None and made.snapshot is not None:
        # The forked head moved by its snapshot alone: the same root, no delta.
        message = pack_message(EventHeader("version", made.source, made.source.root, snapshots=[made.snapshot]))
        machines = await replicas.machines_of(cloud.read(), made.source.workspace_id)
        await cloud.hub.tell(account.user_id, Telling(message, machines))
    return {"workspace": shown_workspace(made.workspace, cloud.epoch), "created": made.is_new}


async def list_workspaces(request: web.Request, query: OnShelf) -> Workspaces:
    """A project's workspaces, the newest first; with `?shelf=archived` or `deleted`, those."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await workspaces.list_workspaces(cloud.read(), account.user_id, project.id, query.shelf)
    return {"workspaces": await listed_workspaces(cloud, project.id, found)}


async def listed_workspaces(cloud: Cloud, project_id: str, found: Iterable[Workspace]) -> list[ListedWorkspace]:
    """Each with the newest drift that was reported of it."""
    reports = await drift.latest_by_workspace(cloud.read(), project_id)
    told = {name: shown_report(report, cloud.now_ms()) for name, report in reports.items()}
    return [ListedWorkspace(**msgspec.structs.asdict(shown_workspace(each, cloud.epoch)), drift=told.get(each.id)) for each in found]


async def show_workspace(request: web.Request) -> WorkspaceInFull:
    """One workspace; its head stands on the top level too, as wire.WireWorkspace."""
    cloud, account = cloud_of(request), account_of(request)
    shown = shown_workspace(await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace")), cloud.epoch)
    latest = await drift.latest_reports(cloud.read(), shown.id)
    report = shown_report(latest[0], cloud.now_ms()) if latest else None
    return WorkspaceInFull(**msgspec.structs.asdict(shown), workspace=shown, drift=report)


async def beat(request: web.Request) -> Seen:
    """A sign of life without a WebSocket."""
    cloud, account = cloud_of(request), account_of(request)
    at = cloud.now()
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    await cloud.write(lambda tx: workspaces.touch_workspaces(tx, account.user_id, [workspace.id], at))
    return {"success": True, "last_seen_at": at}


ROUTES = [
    get("/v1/projects/{project}/workspaces", list_workspaces),
    post("/v1/projects/{project}/workspaces", create_workspace),
    get("/v1/workspaces/{workspace}", show_workspace),
    post("/v1/workspaces/{workspace}/heartbeat", beat),
]
