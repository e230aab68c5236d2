"""/v1/workspaces/{id}/drift: how far a workspace is from main or another one. Reading writes nothing."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.database import Tx
from cloud.heads.body import checked_actor
from cloud.merges.drift import MAX_PATHS, compare, show_comparison
from cloud.merges.meeting import find_pair
from cloud.records.moments import ms_of
from cloud.records.work import activity, drift, projects, workspaces
from cloud.records.work.drift import Report
from cloud.routes.envelope import account_of, answer, asked_number, cloud_of, named_id, read_json
from store.errors import InvalidValue, TooLarge
from store.types import new_ulid
from sync.core.wire import Number

MAX_SUMMARY = 1_000
HOUR_MS = 60 * 60 * 1000


class Counters(msgspec.Struct, frozen=True):
    """The body of a POST: what a client counted itself."""

    files_added: Number = 0
    files_modified: Number = 0
    files_deleted: Number = 0
    bytes_changed: Number = 0
    source_workspace_id: str | None = None
    summary: str | None = None
    actor: str = "cli"


async def report_drift(request: web.Request) -> web.Response:
    """201; an activity event when it is any."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    sent = await read_json(request, Counters)
    actor = checked_actor(sent.actor)
    if len(sent.summary or "") > MAX_SUMMARY:
        raise TooLarge(f"a summary of over {MAX_SUMMARY} characters")

    async def work(tx: Tx) -> Report:
        workspace, source_snapshot = await workspaces.get_workspace(tx, account.user_id, workspace_id), None
        if sent.source_workspace_id is not None:
            _, _, source = await find_pair(tx, account, workspace_id, sent.source_workspace_id)
            source_snapshot = source.current_snapshot_id
        report = Report(
            new_ulid(cloud.now_ms()), workspace.id, sent.source_workspace_id, workspace.current_snapshot_id, source_snapshot,
            sent.files_added, sent.files_modified, sent.files_deleted, sent.bytes_changed, sent.summary, cloud.now(),
        )  # fmt: skip
        await drift.add_report(tx, report)
        await workspaces.touch_workspaces(tx, account.user_id, [workspace.id], report.reported_at)
        if sent.files_added + sent.files_modified + sent.files_deleted:
            message = f"Drift: +{sent.files_added} ~{sent.files_modified} -{sent.files_deleted}"
            await activity.add_activity(
                tx, cloud.now_ms(), workspace.project_id, "drift.reported", actor, workspace_id=workspace.id, message=message
            )
        return report

    return answer({"drift_report": shown_report(await cloud.write(work), cloud.now_ms())}, 201)


async def list_drift(request: web.Request) -> web.Response:
    """What was reported, newest first; the newest of all, and of each source."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    limit = asked_number(request, "limit", 10, 1, 100)
    found = await drift.list_reports(cloud.read(), workspace.id, limit, request.query.get("before", "~"))
    latest = [shown_report(each, cloud.now_ms()) for each in await drift.latest_reports(cloud.read(), workspace.id)]
    reports = [shown_report(each, cloud.now_ms()) for each in found]
    return answer({"drift_reports": reports, "latest": latest[0] if latest else None, "latest_by_source": latest})


def shown_report(report: Report, now_ms: int) -> dict[str, object]:
    """The row and its age."""
    hours = round(max(0, now_ms - ms_of(report.reported_at)) / HOUR_MS, 1)
    total = report.files_added + report.files_modified + report.files_deleted
    return msgspec.structs.asdict(report) | {"total_drift_files": total, "staleness_hours": hours}


async def compare_drift(request: web.Request) -> web.Response:
    """Drawn from the two states as they are now."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    source_id, dirty = request.query.get("source_workspace_id"), request.query.get("include_dirty", "false")
    if dirty not in ("true", "false"):
        raise InvalidValue("include_dirty is true or false")
    limit = asked_number(request, "paths", 1_000, 0, MAX_PATHS)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, workspace_id)
    project = await projects.get_project(cloud.read(), account.user_id, workspace.project_id)
    asked, is_main = source_id or project.main_workspace_id, project.main_workspace_id == workspace.id
    if asked is None:
        return answer(_nothing("The project has no main workspace.", is_main=False))
    if asked == workspace.id:
        return answer(_nothing(f"{workspace.name} is not compared with itself.", is_main=is_main))
    compared = await compare(cloud, account, workspace_id, asked, include_dirty=dirty == "true")
    if isinstance(compared, str):
        return answer(_nothing(compared, is_main=is_main))
    source = {"id": compared.source.id, "name": compared.source.name}
    shown = show_comparison(compared, cloud.now(), limit)
    return answer({"drift": shown, "is_main_workspace": is_main, "source_workspace": source})


def _nothing(message: str, *, is_main: bool) -> dict[str, object]:
    return {"drift": None, "is_main_workspace": is_main, "message": message}


ROUTES = [
    web.get("/v1/workspaces/{workspace}/drift", list_drift),
    web.post("/v1/workspaces/{workspace}/drift", report_drift),
    web.get("/v1/workspaces/{workspace}/drift/compare", compare_drift),
]
