"""/v1/workspaces/{id}/sync and set-as-main: workspaces merged into each other."""

from __future__ import annotations

from typing import Final, TypedDict

import msgspec
from aiohttp import web

from cloud.context import Cloud
from cloud.database import Tx
from cloud.merges.answers import Executed, Preview, Undone
from cloud.merges.execute import Execute, execute
from cloud.merges.prepare import prepare
from cloud.merges.undo import Undo, undo
from cloud.records.people.accounts import Account
from cloud.records.work import activity, projects, workspaces
from cloud.routes.declare import post
from cloud.routes.envelope import account_of, cloud_of, named_id
from sync.core.wire import Actor, Named


class Prepare(msgspec.Struct, frozen=True):
    """The body of prepare; main is merged in unless another workspace is named."""

    source_workspace_id: Named | None = None


class SetMain(msgspec.Struct, frozen=True):
    """The body of set-as-main."""

    actor: Actor = "web"


FROM_MAIN: Final = Prepare()
THE_LAST: Final = Undo()
BY_WEB: Final = SetMain()


class Prepared(TypedDict):
    """What is shown before anything moves."""

    preview: Preview


class NewMain(TypedDict):
    """The main workspace from now on."""

    success: bool
    main_workspace_id: str


async def prepare_merge(request: web.Request, asked: Prepare = FROM_MAIN) -> Prepared:
    """What a merge into this workspace would do."""
    preview = await prepare(cloud_of(request), account_of(request), named_id(request, "workspace"), asked.source_workspace_id)
    return {"preview": preview}


async def execute_merge(request: web.Request, asked: Execute) -> Executed:
    """Do it as it was shown."""
    return await execute(cloud_of(request), account_of(request), named_id(request, "workspace"), asked)


async def undo_merge(request: web.Request, asked: Undo = THE_LAST) -> Undone:
    """Take the last one back."""
    return await undo(cloud_of(request), account_of(request), named_id(request, "workspace"), asked)


async def make_main(cloud: Cloud, account: Account, workspace_id: str, actor: Actor) -> None:
    """The project's main workspace is this one from now on; saying it again changes nothing. Raises NotFound."""

    async def work(tx: Tx) -> None:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        if await projects.set_main(tx, workspace.project_id, workspace.id, cloud.now()):
            await activity.add_activity(
                tx, cloud.now_ms(), workspace.project_id, "project.main_changed", actor, workspace_id=workspace.id, message=workspace.name
            )

    await cloud.write(work)


async def set_as_main(request: web.Request, asked: SetMain = BY_WEB) -> NewMain:
    """The project's main workspace is this one from now on."""
    workspace_id = named_id(request, "workspace")
    await make_main(cloud_of(request), account_of(request), workspace_id, asked.actor)
    return {"success": True, "main_workspace_id": workspace_id}


ROUTES = [
    post("/v1/workspaces/{workspace}/sync/prepare", prepare_merge),
    post("/v1/workspaces/{workspace}/sync/execute", execute_merge),
    post("/v1/workspaces/{workspace}/sync/undo", undo_merge),
    post("/v1/workspaces/{workspace}/set-as-main", set_as_main),
]
