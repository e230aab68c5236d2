"""Handlers for the sign-in and the account's machines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from daemon.api.attach import find_source
from daemon.api.shapes import read_body
from daemon.login import check_cloud_url, parse_token
from daemon.remote import CloudRemote
from store.errors import InvalidValue, NotSignedIn, Offline

if TYPE_CHECKING:
    from daemon.app import Daemon


class LoginBody(msgspec.Struct):
    """The body of `POST /v1/login`. The token stands in a body, never in a URL or an argument."""

    url: str
    token: str


class MainBody(msgspec.Struct):
    """The body of `POST /v1/main`: PROJECT/WORKSPACE, each by name or id."""

    workspace: str


async def sign_in(daemon: Daemon, request: web.Request) -> Any:
    """Check the token with the cloud, keep it, connect."""
    body = await read_body(request, LoginBody)
    url = check_cloud_url(body.url, insecure=daemon.settings.cloud_insecure)
    token = parse_token(body.token)
    async with CloudRemote(url, token) as remote:
        user = await remote.whoami()
    account = await asyncio.to_thread(daemon.accounts.keep, url, str(user.get("email", "")), token)
    daemon.link.sign_in(url, token)
    return {"schema": 1, "user": user, "cloud": url, "kept_in": account.kept_in}


async def sign_out(daemon: Daemon, request: web.Request) -> Any:
    """Revoke the session on the server when it answers, and forget it here."""
    remote = await daemon.link.reach()
    revoked = False
    if remote is not None:
        try:
            await remote.sign_out()
            revoked = True
        except (Offline, NotSignedIn):
            revoked = False
    await asyncio.to_thread(daemon.accounts.forget)
    daemon.link.sign_out()
    return {"schema": 1, "revoked": revoked}


async def who_am_i(daemon: Daemon, request: web.Request) -> Any:
    """The signed-in user. Raises NotSignedIn, Offline."""
    remote = await daemon.link.need()
    return {"schema": 1, "user": await remote.whoami(), "cloud": daemon.link.url, "machine": daemon.machine_name}


async def set_main(daemon: Daemon, request: web.Request) -> Any:
    """Make a workspace its project's main one, in the cloud. Raises NotSignedIn, Offline, NotFound."""
    body = await read_body(request, MainBody)
    if not body.workspace.partition("/")[2]:
        raise InvalidValue(f"not a workspace of a project: {body.workspace!r}", "Give PROJECT/WORKSPACE; `fst workspaces` lists them.")
    remote = await daemon.link.need()
    project, workspace = await find_source(remote, body.workspace)
    await remote.set_main(workspace.id)
    return {"schema": 1, "project": project.name, "workspace": workspace.name, "workspace_id": workspace.id}


async def list_machines(daemon: Daemon, request: web.Request) -> Any:
    """The account's machines, or this one alone."""
    remote = await daemon.link.reach()
    machines = [] if remote is None else [msgspec.to_builtins(machine) for machine in await remote.machines()]
    if not machines:
        machines = [{"id": daemon.machine_id, "name": daemon.machine_name, "online": True}]
    for machine in machines:
        machine["this"] = machine["id"] == daemon.machine_id
    return {"schema": 1, "machines": machines}
