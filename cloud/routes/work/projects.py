"""/v1/projects."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from aiohttp import web

from cloud.briefs import Intent, checked_brief
from cloud.database import Tx
from cloud.records.work import activity, projects, snapshots, workspaces
from cloud.records.work.activity import Activity, Insights
from cloud.records.work.projects import Project
from cloud.routes.asking import FewLast, Last, OnShelf
from cloud.routes.declare import get, patch, post
from cloud.routes.envelope import account_of, checked_name, cloud_of, named_id
from cloud.routes.work.snapshots import ShownSnapshot, shown_snapshot
from cloud.routes.work.workspaces import ListedWorkspace, listed_workspaces
from store.errors import Conflicting
from store.types import new_ulid
from sync.core.wire import Actor, NewProject


class CreatedProject(TypedDict):
    """A project, and whether it is new."""

    project: Project
    created: bool


class Projects(TypedDict):
    """Those of one shelf."""

    projects: list[Project]


class ProjectInFull(TypedDict):
    """A project and what is in it."""

    project: Project
    snapshot_insights: Insights
    workspaces: list[ListedWorkspace]
    snapshots: list[ShownSnapshot]
    events: list[Activity]


class Snapshots(TypedDict):
    """One page of them."""

    snapshots: list[ShownSnapshot]


class Activities(TypedDict):
    """One page of them."""

    events: list[Activity]


class LastActivity(TypedDict):
    """The newest of them."""

    type: str
    created_at: str


class ProjectStatus(TypedDict):
    """The little that a poll needs."""

    last_snapshot_id: str | None
    updated_at: str
    last_activity: LastActivity | None


async def create_project(request: web.Request, asked: NewProject) -> CreatedProject:
    """201, or 200 when the same one was created before."""
    cloud, account = cloud_of(request), account_of(request)
    name, actor = checked_name(asked.name), asked.actor
    project_id = asked.id or new_ulid(cloud.now_ms())

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
    return {"project": project, "created": is_new}


async def list_projects(request: web.Request, query: OnShelf) -> Projects:
    """One's own, the last changed first; with `?shelf=archived` or `deleted`, those."""
    return {"projects": await projects.list_projects(cloud_of(request).read(), account_of(request).user_id, query.shelf)}


async def show_project(request: web.Request) -> ProjectInFull:
    """A project with its workspaces, its newest snapshots and what happened last."""
    cloud, account = cloud_of(request), account_of(request)
    reader, project_id = cloud.read(), named_id(request, "project")
    project = await projects.get_project(reader, account.user_id, project_id)
    found = await workspaces.list_workspaces(reader, account.user_id, project_id)
    insights = await cloud.reading(lambda reader: activity.draw_insights(reader, project_id))
    return {
        "project": project,
        "snapshot_insights": insights,
        "workspaces": await listed_workspaces(cloud, project_id, found),
        "snapshots": list(map(shown_snapshot, await snapshots.list_by_project(reader, account.user_id, project_id, 10, "~"))),
        "events": await activity.list_activity(reader, account.user_id, project_id, 20, ""),
    }


async def list_snapshots(request: web.Request, query: Last) -> Snapshots:
    """A project's snapshots, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await snapshots.list_by_project(cloud.read(), account.user_id, project.id, query.limit, query.before or "~")
    return {"snapshots": list(map(shown_snapshot, found))}


async def list_activity(request: web.Request, query: FewLast) -> Activities:
    """What happened in a project, newest first; `before` is the last id of the page before."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    return {"events": await activity.list_activity(cloud.read(), account.user_id, project.id, query.limit, query.before or "")}


async def show_status(request: web.Request) -> ProjectStatus:
    """The little that a poll needs."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await activity.list_activity(cloud.read(), account.user_id, project.id, 1, "")
    last: LastActivity | None = {"type": found[0].type, "created_at": found[0].created_at} if found else None
    return {"last_snapshot_id": project.last_snapshot_id, "updated_at": project.updated_at, "last_activity": last}


class SentBrief(msgspec.Struct, frozen=True):
    """The body of a PATCH."""

    intent: Intent
    brief: msgspec.Raw
    actor: Actor = "cli"


class KeptBrief(TypedDict):
    """What a project is for; null where nobody has said."""

    intent: str | None
    brief: msgspec.Raw | None


async def show_brief(request: web.Request) -> KeptBrief:
    """What the project is for; null where nobody has said."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    return {"intent": project.intent, "brief": None if project.brief is None else msgspec.Raw(project.brief.encode())}


async def set_brief(request: web.Request, asked: SentBrief) -> KeptBrief:
    """One of eight intents, and a brief of that intent."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")
    brief = checked_brief(asked.intent, asked.brief)

    async def work(tx: Tx) -> None:
        project = await projects.get_open_project(tx, account.user_id, project_id)
        if (project.intent, project.brief) != (asked.intent, brief):
            await projects.set_brief(tx, project_id, asked.intent, brief, cloud.now())
            await activity.add_activity(tx, cloud.now_ms(), project_id, "project.brief_changed", asked.actor, message=asked.intent)

    await cloud.write(work)
    return {"intent": asked.intent, "brief": msgspec.Raw(brief.encode())}


ROUTES = [
    get("/v1/projects", list_projects),
    post("/v1/projects", create_project),
    get("/v1/projects/{project}", show_project),
    get("/v1/projects/{project}/status", show_status),
    get("/v1/projects/{project}/brief", show_brief),
    patch("/v1/projects/{project}/brief", set_brief),
    get("/v1/projects/{project}/snapshots", list_snapshots),
    get("/v1/projects/{project}/events", list_activity),
]
