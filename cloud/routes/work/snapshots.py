"""Snapshots of a workspace, and one by its id."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from aiohttp import web

from cloud.heads.register import NewSnapshot, register
from cloud.records.moments import text_of
from cloud.records.work import snapshots, workspaces
from cloud.routes.asking import Last
from cloud.routes.declare import get, post
from cloud.routes.envelope import account_of, cloud_of, named_id
from sync.core.wire import Head, WireSnapshot


class ShownSnapshot(WireSnapshot, frozen=True, kw_only=True):
    """As it travels between machines, and two of its fields as the row has them."""

    parent_snapshot_ids: list[str]
    created_at: str


class ListedSnapshot(ShownSnapshot, frozen=True, kw_only=True):
    """The same, and whether the workspace is at it."""

    is_current: bool


class WorkspaceSnapshots(TypedDict):
    """One page of them."""

    snapshots: list[ListedSnapshot]
    current_snapshot_id: str | None


class OneSnapshot(TypedDict):
    """With all its fields."""

    snapshot: ShownSnapshot


class RegisteredSnapshot(TypedDict):
    """A snapshot, whether it is new, and the head of the workspace that was named."""

    snapshot: ShownSnapshot
    created: bool
    head: Head | None


def shown_snapshot(snapshot: WireSnapshot) -> ShownSnapshot:
    """As it travels between machines, and two of its fields as the row has them."""
    return ShownSnapshot(**msgspec.structs.asdict(snapshot), parent_snapshot_ids=snapshot.parents, created_at=text_of(snapshot.created_ms))


async def list_snapshots(request: web.Request, query: Last) -> WorkspaceSnapshots:
    """A workspace's own history, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    found = await snapshots.list_by_workspace(cloud.read(), account.user_id, workspace.id, query.limit, query.before or "~")
    current = workspace.current_snapshot_id
    shown = [ListedSnapshot(**msgspec.structs.asdict(shown_snapshot(each)), is_current=each.id == current) for each in found]
    return {"snapshots": shown, "current_snapshot_id": current}


async def show_snapshot(request: web.Request) -> OneSnapshot:
    """One snapshot with all its fields."""
    found = await snapshots.get_snapshot(cloud_of(request).read(), account_of(request).user_id, named_id(request, "snapshot"))
    return {"snapshot": shown_snapshot(found)}


async def register_snapshot(request: web.Request, asked: NewSnapshot) -> RegisteredSnapshot:
    """201 for a new snapshot, 200 for one that is here; with an expected version it becomes the workspace's head."""
    cloud, account = cloud_of(request), account_of(request)
    found = await register(cloud, account, named_id(request, "project"), asked)
    return {"snapshot": shown_snapshot(found.snapshot), "created": found.created, "head": found.head}


ROUTES = [
    post("/v1/projects/{project}/snapshots", register_snapshot),
    get("/v1/workspaces/{workspace}/snapshots", list_snapshots),
    get("/v1/snapshots/{snapshot}", show_snapshot),
]
