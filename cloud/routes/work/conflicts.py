"""/v1/workspaces/{id}/conflicts."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from aiohttp import web

from cloud import content
from cloud.database import Tx
from cloud.heads.catchup import DAY_MS, RESOLVED_DAYS
from cloud.hub import Telling, pack_message
from cloud.records.moments import text_of
from cloud.records.work import activity, conflicts, replicas, workspaces
from cloud.routes.declare import get, post
from cloud.routes.envelope import account_of, cloud_of, named_id
from store.errors import InvalidManifest, InvalidValue, TooLarge
from store.types import Digest
from sync.core.wire import MAX_CONFLICTS, EventHeader, WireConflict, check_conflict


class Conflicts(msgspec.Struct, frozen=True):
    """Records of conflicts."""

    conflicts: list[WireConflict]


class ChangedConflicts(TypedDict):
    """The ids of what is new or resolved now."""

    changed: list[str]


async def put_conflicts(request: web.Request, asked: Conflicts) -> ChangedConflicts:
    """Keep new records and resolve open ones, all or none; what is as it was is left alone."""
    cloud, account = cloud_of(request), account_of(request)
    sent = asked.conflicts
    workspace_id = named_id(request, "workspace")
    if len(sent) > MAX_CONFLICTS:
        raise TooLarge(f"{len(sent)} conflict records", f"Send at most {MAX_CONFLICTS} at once.")
    wanted = {digest for conflict in sent for digest in _check(conflict, workspace_id)}

    async def work(tx: Tx) -> list[WireConflict]:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        await content.hold(tx, cloud, account.user_id, wanted)
        changed = [conflict for conflict in sent if await conflicts.put_conflict(tx, conflict, workspace.version)]
        for conflict in changed:
            kind = "conflict.recorded" if conflict.state == "open" else "conflict.resolved"
            await activity.add_activity(
                tx, cloud.now_ms(), workspace.project_id, kind, "cli", workspace_id=workspace_id, message=conflict.kind
            )
        return changed

    changed = await cloud.write(work)
    if changed:
        head = await workspaces.get_head(cloud.read(), account.user_id, workspace_id)
        message = pack_message(EventHeader("conflicts", head, conflicts=changed))
        await cloud.hub.tell(account.user_id, Telling(message, await replicas.machines_of(cloud.read(), workspace_id)))
    return {"changed": [conflict.id for conflict in changed]}


async def list_conflicts(request: web.Request) -> Conflicts:
    """The open ones and those resolved lately."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    lately = text_of(max(0, cloud.now_ms() - RESOLVED_DAYS * DAY_MS))
    return Conflicts(await conflicts.list_conflicts(cloud.read(), workspace.id, lately))


def _check(conflict: WireConflict, workspace_id: str) -> list[Digest]:
    """The blobs a record pins. Raises InvalidValue."""
    if conflict.workspace_id != workspace_id:
        raise InvalidValue("a conflict record of another workspace")
    text_of(conflict.created_ms), text_of(conflict.resolved_ms or 0)
    try:
        return [file.digest for file in check_conflict(conflict)[1]]
    except InvalidManifest as error:
        raise InvalidValue(error.message) from error


ROUTES = [
    get("/v1/workspaces/{workspace}/conflicts", list_conflicts),
    post("/v1/workspaces/{workspace}/conflicts", put_conflicts),
]
