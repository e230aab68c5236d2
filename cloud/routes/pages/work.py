"""/work: a person's projects with their workspaces, and which one is main."""

from __future__ import annotations

from aiohttp import web

from cloud.records.work.projects import Project, list_projects
from cloud.records.work.workspaces import Workspace, list_workspaces
from cloud.routes.declare import FORM, PAGE, get, post
from cloud.routes.envelope import cloud_of, plain_id
from cloud.routes.pages.markup import Markup, element, hidden, page, table, together
from cloud.routes.pages.moments import told_time
from cloud.routes.pages.visit import Visit, lead_to, shown
from cloud.routes.work.merges import make_main


@shown
async def show_work(request: web.Request, visit: Visit) -> web.Response:
    """What is at work, the last changed first."""
    person, reader = visit.person, cloud_of(request).read()
    found = await list_projects(reader, person.user_id, "open")
    shown_projects = [_project(visit, each, await list_workspaces(reader, person.user_id, each.id)) for each in found]
    nothing = element("p", "Nothing yet: ", element("code", "fst up"), " in a folder makes it one.")
    account = element("p", element("a", "Your account", href="account"))
    return page("Your projects", *(shown_projects or [nothing]), account, email=person.email)


@shown
async def change_work(request: web.Request, visit: Visit) -> web.Response:
    """Make a workspace its project's main one."""
    await make_main(cloud_of(request), visit.person, plain_id(visit.fields.get("workspace", "")), "web")
    return lead_to("work")


def _project(visit: Visit, project: Project, found: list[Workspace]) -> Markup:
    rows = [_row(visit, each, each.id == project.main_workspace_id) for each in found]
    return together(element("h2", project.name), table(("Workspace", "Version", "Last change", ""), rows))


def _row(visit: Visit, workspace: Workspace, is_main: bool) -> Markup:
    name = element("td", workspace.name, element("small", "main: what a clone of the project takes") if is_main else None)
    make = element("button", "Make main", type="submit", class_="plain", aria_label=f"Make {workspace.name} main")
    form = None if is_main else visit.form(hidden("workspace", workspace.id), make, to="work")
    return element("tr", name, element("td", str(workspace.version)), element("td", told_time(workspace.last_seen_at)), element("td", form))


ROUTES = [get("/work", show_work, **PAGE), post("/work", change_work, **FORM, **PAGE)]
