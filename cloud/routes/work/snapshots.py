"""Snapshots of a workspace, and one by its id."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.heads.body import checked_actor
from cloud.heads.register import NewSnapshot, register
from cloud.records.work import snapshots, workspaces
from cloud.routes.envelope import account_of, answer, asked_number, cloud_of, named_id, read_json


async def list_snapshots(request: web.Request) -> web.Response:
    """A workspace's own history, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    limit = asked_number(request, "limit", 50, 1, 100)
    found = await snapshots.list_by_workspace(cloud.read(), account.user_id, workspace.id, limit, request.query.get("before", "~"))
    shown = [msgspec.structs.asdict(each) | {"is_current": each.id == workspace.current_snapshot_id} for each in found]
    return answer({"snapshots": shown, "current_snapshot_id": workspace.current_snapshot_id})


async def show_snapshot(request: web.Request) -> web.Response:
    """One snapshot with all its fields."""
    found = await snapshots.get_snapshot(cloud_of(request).read(), account_of(request).user_id, named_id(request, "snapshot"))
    return answer({"snapshot": found})


async def register_snapshot(request: web.Request) -> web.Response:
    """201 for a new snapshot, 200 for one that is here; with an expected version it becomes the workspace's head."""
    cloud, account = cloud_of(request), account_of(request)
    asked = await read_json(request, NewSnapshot)
    checked_actor(asked.actor)
    found = await register(cloud, account, named_id(request, "project"), asked)
    return answer({"snapshot": found.snapshot, "created": found.created, "head": found.head}, 201 if found.created else 200)


ROUTES = [
    web.post("/v1/projects/{project}/snapshots", register_snapshot),
    web.get("/v1/workspaces/{workspace}/snapshots", list_snapshots),
    web.get("/v1/snapshots/{snapshot}", show_snapshot),
]
