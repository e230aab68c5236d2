"""/v1/machines and the replicas of a workspace."""

from __future__ import annotations

from typing import TypedDict

from aiohttp import web

from cloud.context import Cloud
from cloud.database import Tx
from cloud.hub import Telling, pack_message
from cloud.records.moments import text_of
from cloud.records.work import activity, replicas, workspaces
from cloud.records.work.replicas import Machine
from cloud.routes.asking import Done
from cloud.routes.declare import delete, get, post
from cloud.routes.envelope import account_of, checked_name, cloud_of, named_id
from sync.core.wire import EventHeader, NewMachine, NewReplica, WireMachine, WireReplica

ONLINE_MS = 60_000


class PutMachine(TypedDict):
    """A machine, and whether it is new."""

    machine: WireMachine
    created: bool


class Machines(TypedDict):
    """One's own."""

    machines: list[WireMachine]


class PutReplica(TypedDict):
    """A replica, and whether it is new."""

    replica: WireReplica
    created: bool


class Replicas(TypedDict):
    """Those of one workspace."""

    replicas: list[WireReplica]


async def tell_machines(cloud: Cloud, user_id: str) -> None:
    """Say that the list of machines is another one now."""
    message = pack_message(EventHeader("machines"))
    await cloud.hub.tell(user_id, Telling(message))


async def put_machine(request: web.Request, asked: NewMachine) -> PutMachine:
    """201 for a new machine, 200 when it was known; its name is what it says last."""
    cloud, account = cloud_of(request), account_of(request)
    checked_name(asked.name)
    is_new = await cloud.write(lambda tx: replicas.put_machine(tx, account.user_id, asked, cloud.now()))
    await tell_machines(cloud, account.user_id)
    shown = await shown_machine(cloud, account.user_id, await replicas.get_machine(cloud.read(), account.user_id, asked.id), [])
    return {"machine": shown, "created": is_new}


async def list_machines(request: web.Request) -> Machines:
    """One's own machines, with what they hold and whether they are there."""
    cloud, account = cloud_of(request), account_of(request)
    found = await replicas.list_machines(cloud.read(), account.user_id)
    return {"machines": [await shown_machine(cloud, account.user_id, machine, held) for machine, held in found]}


async def shown_machine(cloud: Cloud, user_id: str, machine: Machine, held: list[str]) -> WireMachine:
    """A machine is online while it listens, and for a minute after its last beat."""
    recently = machine.last_seen_at is not None and machine.last_seen_at > text_of(max(0, cloud.now_ms() - ONLINE_MS))
    online = recently or machine.id in await cloud.hub.online(user_id)
    return WireMachine(machine.id, machine.name, machine.platform, machine.last_seen_at, online, held)


async def put_replica(request: web.Request, asked: NewReplica) -> PutReplica:
    """201 for a new replica, 200 when it was known."""
    cloud, account = cloud_of(request), account_of(request)
    workspace_id = named_id(request, "workspace")

    async def work(tx: Tx) -> bool:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        is_new = await replicas.put_replica(tx, account.user_id, workspace.id, asked, cloud.now())
        if is_new:
            await activity.add_activity(tx, cloud.now_ms(), workspace.project_id, "replica.attached", "cli", workspace_id=workspace.id)
        return is_new

    is_new = await cloud.write(work)
    await tell_machines(cloud, account.user_id)
    found = next(each for each in await replicas.list_replicas(cloud.read(), workspace_id) if each.id == asked.id)
    return {"replica": found, "created": is_new}


async def list_replicas(request: web.Request) -> Replicas:
    """A workspace's replicas and how far each has come."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    return {"replicas": await replicas.list_replicas(cloud.read(), workspace.id)}


async def remove_replica(request: web.Request) -> Done:
    """Detach a replica: it may push no more until it is registered again."""
    cloud, account = cloud_of(request), account_of(request)
    workspace_id, replica_id = named_id(request, "workspace"), named_id(request, "replica")

    async def work(tx: Tx) -> None:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        await replicas.remove_replica(tx, workspace.id, replica_id, cloud.now())
        await activity.add_activity(tx, cloud.now_ms(), workspace.project_id, "replica.detached", "cli", workspace_id=workspace.id)

    await cloud.write(work)
    await tell_machines(cloud, account.user_id)
    return {"success": True}


ROUTES = [
    get("/v1/machines", list_machines),
    post("/v1/machines", put_machine),
    get("/v1/workspaces/{workspace}/replicas", list_replicas),
    post("/v1/workspaces/{workspace}/replicas", put_replica),
    delete("/v1/workspaces/{workspace}/replicas/{replica}", remove_replica),
]
