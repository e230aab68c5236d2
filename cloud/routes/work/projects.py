"""/v1/projects."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.briefs import checked_brief
from cloud.database import Tx
from cloud.heads.body import checked_actor
from cloud.records.work import activity, projects, snapshots, workspaces
from cloud.records.work.projects import Project
from cloud.routes.envelope import account_of, answer, asked_number, asked_shelf, checked_id, checked_name, cloud_of, named_id, read_json
from cloud.routes.work.workspaces import shown_workspace
from store.errors import Conflicting
from store.types import new_ulid
from sync.core.wire import NewProject


async def create_project(request: web.Request) -> web.Response:
    """201, or 200 when the same one was created before."""
    cloud, account = cloud_of(request), account_of(request)
    asked = await read_json(request, NewProject)
    name, actor = checked_name(asked.name), checked_actor(asked.actor)
    project_id = new_ulid(cloud.now_ms()) if asked.id is None else checked_id(asked.id)

    async def work(tx: Tx) -> tuple[Project, bool]:
        if await projects.project_exists(tx, project_id):
            found = await projects.get_project(tx, account.user_id, project_id)
            if found.name != name:
                raise Conflicting("a project with this id exists already, with another name")
            return found, False
        await projects.add_project(tx, account.user_id, project_id, name, cloud.now())
        await activity.add_activity(tx, cloud.now_ms(), project_id, "project.created", actor, message=name)
        return await projects.get_project(tx, account.user_id, project_id), True

    project, is_new = await cloud.write(work)
    return answer({"project": project, "created": is_new}, 201 if is_new else 200)


async def list_projects(request: web.Request) -> web.Response:
    """One's own, the last changed first; with `?shelf=archived` or `deleted`, those."""
    return answer({"projects": await projects.list_projects(cloud_of(request).read(), account_of(request).user_id, asked_shelf(request))})


async def show_project(request: web.Request) -> web.Response:
    """A project with its workspaces, its newest snapshots and what happened last."""
    cloud, account = cloud_of(request), account_of(request)
    reader, project_id = cloud.read(), named_id(request, "project")
    project = await projects.get_project(reader, account.user_id, project_id)
    found = await workspaces.list_workspaces(reader, account.user_id, project_id)
    insights = await cloud.reading(lambda reader: activity.draw_insights(reader, project_id))
    return answer(
        {
            "project": project,
            "snapshot_insights": insights,
            "workspaces": [shown_workspace(workspace, cloud.epoch) for workspace in found],
            "snapshots": await snapshots.list_by_project(reader, account.user_id, project_id, 10, "~"),
            "events": await activity.list_activity(reader, account.user_id, project_id, 20, ""),
        }
    )


async def list_snapshots(request: web.Request) -> web.Response:
    """A project's snapshots, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    limit = asked_number(request, "limit", 50, 1, 100)
    found = await snapshots.list_by_project(cloud.read(), account.user_id, project.id, limit, request.query.get("before", "~"))
    return answer({"snapshots": found})


async def list_activity(request: web.Request) -> web.Response:
    """What happened in a project, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    limit = asked_number(request, "limit", 20, 1, 100)
    return answer(
        {"events": await activity.list_activity(cloud.read(), account.user_id, project.id, limit, request.query.get("before", ""))}
    )


async def show_status(request: web.Request) -> web.Response:
    """The little that a poll needs."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await activity.list_activity(cloud.read(), account.user_id, project.id, 1, "")
    last = {"type": found[0].type, "created_at": found[0].created_at} if found else None
    return answer({"last_snapshot_id": project.last_snapshot_id, "updated_at": project.updated_at, "last_activity": last})


class SentBrief(msgspec.Struct, frozen=True):
    """The body of a PATCH."""

    intent: str
    brief: msgspec.Raw
    actor: str = "cli"


async def show_brief(request: web.Request) -> web.Response:
    """What the project is for; null where nobody has said."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    return answer({"intent": project.intent, "brief": None if project.brief is None else msgspec.Raw(project.brief.encode())})


async def set_brief(request: web.Request) -> web.Response:
    """One of eight intents, and a brief of that intent."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")
    asked = await read_json(request, SentBrief)
    actor, brief = checked_actor(asked.actor), checked_brief(asked.intent, asked.brief)

    async def work(tx: Tx) -> None:
        project = await projects.get_open_project(tx, account.user_id, project_id)
        if (project.intent, project.brief) != (asked.intent, brief):
            await projects.set_brief(tx, project_id, asked.intent, brief, cloud.now())
            await activity.add_activity(tx, cloud.now_ms(), project_id, "project.brief_changed", actor, message=asked.intent)

    await cloud.write(work)
    return answer({"intent": asked.intent, "brief": msgspec.Raw(brief.encode())})


ROUTES = [
    web.get("/v1/projects", list_projects),
    web.post("/v1/projects", create_project),
    web.get("/v1/projects/{project}", show_project),
    web.get("/v1/projects/{project}/status", show_status),
    web.get("/v1/projects/{project}/brief", show_brief),
    web.patch("/v1/projects/{project}/brief", set_brief),
    web.get("/v1/projects/{project}/snapshots", list_snapshots),
    web.get("/v1/projects/{project}/events", list_activity),
]
