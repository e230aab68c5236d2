"""/v1/workspaces/{id}/sync and set-as-main: workspaces merged into each other."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.database import Tx
from cloud.heads.body import checked_actor
from cloud.merges.execute import Execute, execute
from cloud.merges.prepare import prepare
from cloud.merges.undo import Undo, undo
from cloud.records.work import activity, projects, workspaces
from cloud.routes.envelope import account_of, answer, cloud_of, named_id, read_json


class Prepare(msgspec.Struct, frozen=True):
    """The body of prepare; main is merged in unless another workspace is named."""

    source_workspace_id: str | None = None


class SetMain(msgspec.Struct, frozen=True):
    """The body of set-as-main."""

    actor: str = "web"


async def prepare_merge(request: web.Request) -> web.Response:
    """What a merge into this workspace would do."""
    asked = await read_json(request, Prepare) if request.can_read_body else Prepare()
    preview = await prepare(cloud_of(request), account_of(request), named_id(request, "workspace"), asked.source_workspace_id)
    return answer({"preview": preview})


async def execute_merge(request: web.Request) -> web.Response:
    """Do it as it was shown."""
    asked = await read_json(request, Execute)
    checked_actor(asked.actor)
    return answer(await execute(cloud_of(request), account_of(request), named_id(request, "workspace"), asked))


async def undo_merge(request: web.Request) -> web.Response:
    """Take the last one back."""
    asked = await read_json(request, Undo) if request.can_read_body else Undo()
    checked_actor(asked.actor)
    return answer(await undo(cloud_of(request), account_of(request), named_id(request, "workspace"), asked))


async def set_as_main(request: web.Request) -> web.Response:
    """The project's main workspace is this one from now on; saying it again changes nothing."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    asked = await read_json(request, SetMain) if request.can_read_body else SetMain()
    actor = checked_actor(asked.actor)

    async def work(tx: Tx) -> None:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        if await projects.set_main(tx, workspace.project_id, workspace.id, cloud.now()):
            await activity.add_activity(
                tx, cloud.now_ms(), workspace.project_id, "project.main_changed", actor, workspace_id=workspace.id, message=workspace.name
            )

    await cloud.write(work)
    return answer({"success": True, "main_workspace_id": workspace_id})


ROUTES = [
    web.post("/v1/workspaces/{workspace}/sync/prepare", prepare_merge),
    web.post("/v1/workspaces/{workspace}/sync/execute", execute_merge),
    web.post("/v1/workspaces/{workspace}/sync/undo", undo_merge),
    web.post("/v1/workspaces/{workspace}/set-as-main", set_as_main),
]
