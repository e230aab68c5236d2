"""Projects and workspaces renamed, archived, deleted and brought back."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from aiohttp import web

from cloud.database import Tx
from cloud.records.work import activity, projects, retiring, workspaces
from cloud.records.work.projects import Project
from cloud.records.work.workspaces import Workspace
from cloud.routes.asking import Acting, Done
from cloud.routes.declare import delete, patch, post
from cloud.routes.envelope import account_of, checked_name, cloud_of, named_id
from cloud.routes.work.workspaces import ShownWorkspace, shown_workspace
from store.errors import Conflicting, InvalidValue
from sync.core.wire import Actor, Name


class Changed(msgspec.Struct, frozen=True):
    """The body of a PATCH: what is left out stays."""

    name: Name | None = None
    archived: bool | None = None
    actor: Actor = "cli"


class Restored(msgspec.Struct, frozen=True):
    """The body of `restore`: another name, where the old one is taken."""

    name: Name | None = None
    actor: Actor = "cli"


class OneProject(TypedDict):
    """As it is now."""

    project: Project


class OneWorkspace(TypedDict):
    """As it is now."""

    workspace: ShownWorkspace


async def change_project(request: web.Request, asked: Changed) -> OneProject:
    """A name, or whether it is archived. Archived it can be read, and nothing in it changes."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")
    asked = _checked(asked)

    async def work(tx: Tx) -> Project:
        project, at = await projects.get_project(tx, account.user_id, project_id), cloud.now()
        if asked.archived is not None and await retiring.archive_project(tx, project_id, at if asked.archived else None):
            kind = "project.archived" if asked.archived else "project.unarchived"
            await activity.add_activity(tx, cloud.now_ms(), project_id, kind, asked.actor, message=project.name)
        if asked.name is not None and asked.name != project.name:
            await projects.get_open_project(tx, account.user_id, project_id)
            await retiring.rename_project(tx, project_id, asked.name, at)
            await activity.add_activity(tx, cloud.now_ms(), project_id, "project.renamed", asked.actor, message=asked.name)
        return await projects.get_project(tx, account.user_id, project_id)

    return {"project": await cloud.write(work)}


async def change_workspace(request: web.Request, asked: Changed) -> OneWorkspace:
    """The same for a workspace. The main one is not archived while there are others."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    asked = _checked(asked)

    async def work(tx: Tx) -> Workspace:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        project = await projects.get_open_project(tx, account.user_id, workspace.project_id)
        if asked.archived:
            await _check_dispensable(tx, project, workspace_id)
        if asked.archived is not None and await retiring.archive_workspace(tx, workspace_id, cloud.now() if asked.archived else None):
            kind = "workspace.archived" if asked.archived else "workspace.unarchived"
            await activity.add_activity(
                tx, cloud.now_ms(), project.id, kind, asked.actor, workspace_id=workspace_id, message=workspace.name
            )
        if asked.name is not None and asked.name != workspace.name:
            await workspaces.check_open(tx, account.user_id, workspace_id)
            await _check_free(tx, project.id, asked.name)
            await retiring.rename_workspace(tx, workspace_id, asked.name)
            await activity.add_activity(
                tx, cloud.now_ms(), project.id, "workspace.renamed", asked.actor, workspace_id=workspace_id, message=asked.name
            )
        return await workspaces.get_workspace(tx, account.user_id, workspace_id)

    return {"workspace": shown_workspace(await cloud.write(work), cloud.epoch)}


async def delete_project(request: web.Request, query: Acting) -> Done:
    """Gone at once for everybody, restorable until its retention is over."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")

    async def work(tx: Tx) -> None:
        project = await projects.get_project(tx, account.user_id, project_id)
        await activity.add_activity(tx, cloud.now_ms(), project_id, "project.deleted", query.actor, message=project.name)
        await retiring.delete_project(tx, project_id, cloud.now())

    await cloud.write(work)
    return {"success": True}


async def delete_workspace(request: web.Request, query: Acting) -> Done:
    """The same for a workspace; its snapshots stay in the project's history."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")

    async def work(tx: Tx) -> None:
        workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
        project = await projects.get_open_project(tx, account.user_id, workspace.project_id)
        await _check_dispensable(tx, project, workspace_id)
        await retiring.delete_workspace(tx, workspace, cloud.now())
        await activity.add_activity(
            tx, cloud.now_ms(), project.id, "workspace.deleted", query.actor, workspace_id=workspace_id, message=workspace.name
        )

    await cloud.write(work)
    return {"success": True}


async def restore_project(request: web.Request, asked: Restored) -> OneProject:
    """As it was before it was deleted."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")

    async def work(tx: Tx) -> Project:
        name = await retiring.find_deleted_project(tx, account.user_id, project_id)
        await retiring.restore_project(tx, project_id, cloud.now())
        await activity.add_activity(tx, cloud.now_ms(), project_id, "project.restored", asked.actor, message=name)
        return await projects.get_project(tx, account.user_id, project_id)

    return {"project": await cloud.write(work)}


async def restore_workspace(request: web.Request, asked: Restored) -> OneWorkspace:
    """Under its old name, or another where that is taken."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    other = None if asked.name is None else checked_name(asked.name)

    async def work(tx: Tx) -> Workspace:
        project_id, name = await retiring.find_deleted_workspace(tx, account.user_id, workspace_id)
        await projects.get_open_project(tx, account.user_id, project_id)
        await _check_free(tx, project_id, other or name)
        await retiring.restore_workspace(tx, workspace_id, other or name)
        await projects.take_as_main(tx, project_id, workspace_id)
        await activity.add_activity(
            tx, cloud.now_ms(), project_id, "workspace.restored", asked.actor, workspace_id=workspace_id, message=other or name
        )
        return await workspaces.get_workspace(tx, account.user_id, workspace_id)

    return {"workspace": shown_workspace(await cloud.write(work), cloud.epoch)}


def _checked(asked: Changed) -> Changed:
    if asked.name is None and asked.archived is None:
        raise InvalidValue("nothing to change: a name, or whether it is archived")
    return asked if asked.name is None else msgspec.structs.replace(asked, name=checked_name(asked.name))


async def _check_free(tx: Tx, project_id: str, name: str) -> None:
    if await workspaces.name_is_taken(tx, project_id, name):
        raise Conflicting(f"the project has a workspace {name!r} already", "Choose another name.")


async def _check_dispensable(tx: Tx, project: Project, workspace_id: str) -> None:
    """Others are compared with the main one: it goes last."""
    if project.main_workspace_id == workspace_id and await retiring.has_others(tx, project, workspace_id):
        raise Conflicting("this is the project's main workspace", "Make another one the main one first.")


ROUTES = [
    patch("/v1/projects/{project}", change_project),
    delete("/v1/projects/{project}", delete_project),
    post("/v1/projects/{project}/restore", restore_project),
    patch("/v1/workspaces/{workspace}", change_workspace),
    delete("/v1/workspaces/{workspace}", delete_workspace),
    post("/v1/workspaces/{workspace}/restore", restore_workspace),
]
