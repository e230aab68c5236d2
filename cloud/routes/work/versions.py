"""/v1/workspaces/{id}/push and versions: heads move, and are followed."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec
from aiohttp import web

from cloud.heads import body, push
from cloud.heads.catchup import catch_up
from cloud.heads.switch import switch_root
from cloud.records.work import workspaces
from cloud.routes.declare import Media, get, post
from cloud.routes.envelope import account_of, cloud_of, named_id, read_sections
from store.manifest import EMPTY_ROOT
from sync.core.wire import Actor, Hash, Head, WireVersion

MAX_VERSION = 10**15 - 1


async def take_push(request: web.Request) -> Head:
    """The header is judged before the rest is read: a lost race costs no upload."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    with cloud.metrics.pushing():
        sections = read_sections(request)
        header = await body.read_header(sections)
        place = await push.check_header(cloud.read(), account, workspace_id, header)
        if place.made is not None:
            return place.made
        sent = await body.read_rest(sections, header)
        cloud.metrics.count_in(sum(map(len, sent.frames)))
        prepared = await push.prepare(cloud, account, place, sent)
        return await push.keep(cloud, account, prepared, header)


class CurrentManifest(msgspec.Struct, frozen=True):
    """The body of `current-manifest`."""

    manifest_hash: Hash
    previous_manifest_hash: Hash | None = None
    actor: Actor = "cli"


class MovedManifest(TypedDict):
    """Where the head is now."""

    updated: bool
    current_manifest_hash: str
    head: Head


class Since(msgspec.Struct, frozen=True):
    """What the asker has."""

    since: Annotated[int, msgspec.Meta(ge=0, le=MAX_VERSION)] = 0
    root: Hash = EMPTY_ROOT.hex()


class LastVersions(msgspec.Struct, frozen=True):
    """A page; `before` is the last version of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50
    before: Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)] = MAX_VERSION


class ListedVersions(TypedDict):
    """One page of them."""

    versions: list[WireVersion]


async def set_current_manifest(request: web.Request, asked: CurrentManifest) -> MovedManifest:
    """Compare-and-swap on the manifest: to any that is here as a whole."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    head, _ = await switch_root(cloud, account, workspace_id, asked.manifest_hash, asked.previous_manifest_hash, asked.actor)
    return {"updated": True, "current_manifest_hash": head.root, "head": head}


async def show_catch_up(request: web.Request, query: Since) -> bytes:
    """From the asker's version and root to the head, as sections."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    return await catch_up(cloud, account, workspace_id, query.since, query.root)


async def list_versions(request: web.Request, query: LastVersions) -> ListedVersions:
    """What the head was, newest first; `before` is the last version of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    return {"versions": await workspaces.list_versions(cloud.read(), workspace.id, query.limit, query.before)}


ROUTES = [
    post("/v1/workspaces/{workspace}/push", take_push, takes=Media.BYTES, body=bytes),
    post("/v1/workspaces/{workspace}/current-manifest", set_current_manifest),
    get("/v1/workspaces/{workspace}/versions", show_catch_up),
    get("/v1/workspaces/{workspace}/versions/list", list_versions),
]
