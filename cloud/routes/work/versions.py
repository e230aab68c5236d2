"""/v1/workspaces/{id}/push and versions: heads move, and are followed."""

from __future__ import annotations

import sys

import msgspec
from aiohttp import web

from cloud.heads import body, push
from cloud.heads.catchup import catch_up
from cloud.heads.switch import switch_root
from cloud.records.work import workspaces
from cloud.routes.envelope import account_of, answer, asked_number, cloud_of, named_id, read_json, read_sections
from store.manifest import EMPTY_ROOT
from store.types import parse_digest

MAX_VERSION = 10**15 - 1


async def take_push(request: web.Request) -> web.Response:
    """The header is judged before the rest is read: a lost race costs no upload."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    with cloud.metrics.pushing():
        sections = read_sections(request)
        header = await body.read_header(sections)
        made = await push.check_header(cloud.read(), account, workspace_id, header)
        if made is None:
            sent = await body.read_rest(sections, header)
            cloud.metrics.count_in(sum(map(len, sent.frames)))
            prepared = await push.prepare(cloud, account, workspace_id, sent)
            made = await push.keep(cloud, account, prepared, header)
    return answer(made)


class CurrentManifest(msgspec.Struct, frozen=True):
    """The body of `current-manifest`."""

    manifest_hash: str
    previous_manifest_hash: str | None = None
    actor: str = "cli"


async def set_current_manifest(request: web.Request) -> web.Response:
    """Compare-and-swap on the manifest: to any state that the project has had."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    asked = await read_json(request, CurrentManifest)
    parse_digest(asked.manifest_hash)
    actor = body.checked_actor(asked.actor)
    head, _ = await switch_root(cloud, account, workspace_id, asked.manifest_hash, asked.previous_manifest_hash, actor)
    return answer({"updated": True, "current_manifest_hash": head.root, "head": head})


async def show_catch_up(request: web.Request) -> web.Response:
    """From the asker's version and root to the head, as sections."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    since = asked_number(request, "since", 0, 0, MAX_VERSION)
    root = request.query.get("root", EMPTY_ROOT.hex())
    body = await catch_up(cloud, account, workspace_id, since, root)
    return web.Response(body=body, content_type="application/octet-stream")


async def list_versions(request: web.Request) -> web.Response:
    """What the head was, newest first; `before` is the last version of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    limit = asked_number(request, "limit", 50, 1, 1000)
    before = asked_number(request, "before", sys.maxsize, 1, MAX_VERSION)
    return answer({"versions": await workspaces.list_versions(cloud.read(), workspace.id, limit, before)})


ROUTES = [
    web.post("/v1/workspaces/{workspace}/current-manifest", set_current_manifest),
    web.post("/v1/workspaces/{workspace}/push", take_push),
    web.get("/v1/workspaces/{workspace}/versions", show_catch_up),
    web.get("/v1/workspaces/{workspace}/versions/list", list_versions),
]
