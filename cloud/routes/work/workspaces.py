"""/v1/projects/{id}/workspaces and /v1/workspaces."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.heads import fork
from cloud.heads.body import checked_actor
from cloud.heads.fork import Made
from cloud.hub import Telling, pack_message
from cloud.records.work import projects, replicas, workspaces
from cloud.records.work.workspaces import Workspace
from cloud.routes.envelope import account_of, answer, asked_shelf, checked_id, checked_name, cloud_of, named_id, read_json
from store.errors import TooLarge
from store.types import new_ulid
from sync.core.wire import EventHeader, NewWorkspace

MAX_LOCAL_PATH = 4096


def shown_workspace(workspace: Workspace, epoch: str) -> dict[str, object]:
    """The row, and the head under the names that wire.WireWorkspace gives it."""
    head = {"root": workspace.current_manifest_hash, "snapshot_id": workspace.current_snapshot_id, "epoch": epoch}
    return msgspec.structs.asdict(workspace) | head


async def create_workspace(request: web.Request) -> web.Response:
    """201, or 200 when the same one was created before."""
    cloud, account = cloud_of(request), account_of(request)
    asked = await read_json(request, NewWorkspace)
    asked = msgspec.structs.replace(asked, name=checked_name(asked.name), actor=checked_actor(asked.actor))
    if len(asked.local_path or "") > MAX_LOCAL_PATH:
        raise TooLarge("a local path of over 4,096 characters")
    workspace_id = new_ulid(cloud.now_ms()) if asked.id is None else checked_id(asked.id)
    project_id = named_id(request, "project")
    made: Made = await cloud.write(lambda tx: fork.make_workspace(tx, cloud, account, project_id, workspace_id, asked))
    if made.source is not None and made.snapshot is not None:
        # The forked head moved by its snapshot alone: the same root, no delta.
        message = pack_message(EventHeader("version", made.source, made.source.root, snapshots=[made.snapshot]))
        machines = await replicas.machines_of(cloud.read(), made.source.workspace_id)
        await cloud.hub.tell(account.user_id, Telling(message, machines))
    return answer({"workspace": shown_workspace(made.workspace, cloud.epoch), "created": made.is_new}, 201 if made.is_new else 200)


async def list_workspaces(request: web.Request) -> web.Response:
    """A project's workspaces, the newest first; with `?shelf=archived` or `deleted`, those."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await workspaces.list_workspaces(cloud.read(), account.user_id, project.id, asked_shelf(request))
    return answer({"workspaces": [shown_workspace(workspace, cloud.epoch) for workspace in found]})


async def show_workspace(request: web.Request) -> web.Response:
    """One workspace; its head stands on the top level too, as wire.WireWorkspace."""
    cloud, account = cloud_of(request), account_of(request)
    shown = shown_workspace(await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace")), cloud.epoch)
    return answer(shown | {"workspace": shown})


async def beat(request: web.Request) -> web.Response:
    """A sign of life without a WebSocket."""
    cloud, account = cloud_of(request), account_of(request)
    at = cloud.now()
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    await cloud.write(lambda tx: workspaces.touch_workspaces(tx, account.user_id, [workspace.id], at))
    return answer({"success": True, "last_seen_at": at})


ROUTES = [
    web.get("/v1/projects/{project}/workspaces", list_workspaces),
    web.post("/v1/projects/{project}/workspaces", create_workspace),
    web.get("/v1/workspaces/{workspace}", show_workspace),
    web.post("/v1/workspaces/{workspace}/heartbeat", beat),
]
