"""/v1/workspaces/{id}/drift: how far a workspace is from main or another one. Reading writes nothing."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec
from aiohttp import web

from cloud.database import Tx
from cloud.merges.answers import Drift
from cloud.merges.drift import MAX_PATHS, compare, show_comparison
from cloud.merges.meeting import find_pair
from cloud.records.moments import ms_of
from cloud.records.work import activity, drift, projects, workspaces
from cloud.records.work.drift import Report
from cloud.routes.asking import RowId
from cloud.routes.declare import get, post
from cloud.routes.envelope import account_of, cloud_of, named_id
from store.types import new_ulid
from sync.core.wire import Actor, Named, Number

MAX_SUMMARY = 1_000
HOUR_MS = 60 * 60 * 1000


class Counters(msgspec.Struct, frozen=True):
    """The body of a POST: what a client counted itself."""

    files_added: Number = 0
    files_modified: Number = 0
    files_deleted: Number = 0
    bytes_changed: Number = 0
    source_workspace_id: Named | None = None
    summary: Annotated[str, msgspec.Meta(max_length=MAX_SUMMARY)] | None = None
    actor: Actor = "cli"


class ShownReport(Report, frozen=True, kw_only=True):
    """The row and its age."""

    total_drift_files: int
    staleness_hours: float


class OneReport(TypedDict):
    """The row that was made."""

    drift_report: ShownReport


class Reports(TypedDict):
    """One page, the newest of all, and the newest from each source."""

    drift_reports: list[ShownReport]
    latest: ShownReport | None
    latest_by_source: list[ShownReport]


class LastReports(msgspec.Struct, frozen=True):
    """A page; `before` is the last id of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    before: RowId | None = None


class Comparing(msgspec.Struct, frozen=True):
    """With what, of heads or snapshots, and how many paths of each set are told."""

    source_workspace_id: str | None = None
    include_dirty: bool = False
    paths: Annotated[int, msgspec.Meta(ge=0, le=MAX_PATHS)] = 1_000


class Source(TypedDict):
    """What is compared with."""

    id: str
    name: str


class ComparedDrift(TypedDict):
    """A comparison; without one `message` says why."""

    drift: Drift | None
    is_main_workspace: bool
    source_workspace: NotRequired[Source]
    message: NotRequired[str]


async def report_drift(request: web.Request, asked: Counters) -> OneReport:
    """201; an activity event when it is any."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")

    async def work(tx: Tx) -> Report:
        workspace, source_snapshot = await workspaces.get_workspace(tx, account.user_id, workspace_id), None
        if asked.source_workspace_id is not None:
            _, _, source = await find_pair(tx, account, workspace_id, asked.source_workspace_id)
            source_snapshot = source.current_snapshot_id
        report = Report(
            new_ulid(cloud.now_ms()), workspace.id, asked.source_workspace_id, workspace.current_snapshot_id, source_snapshot,
            asked.files_added, asked.files_modified, asked.files_deleted, asked.bytes_changed, asked.summary, cloud.now(),
        )  # fmt: skip
        await drift.add_report(tx, report)
        await workspaces.touch_workspaces(tx, account.user_id, [workspace.id], report.reported_at)
        if asked.files_added + asked.files_modified + asked.files_deleted:
            message = f"Drift: +{asked.files_added} ~{asked.files_modified} -{asked.files_deleted}"
            await activity.add_activity(
                tx, cloud.now_ms(), workspace.project_id, "drift.reported", asked.actor, workspace_id=workspace.id, message=message
            )
        return report

    return {"drift_report": shown_report(await cloud.write(work), cloud.now_ms())}


async def list_drift(request: web.Request, query: LastReports) -> Reports:
    """What was reported, newest first; the newest of all, and of each source."""
    cloud, account = cloud_of(request), account_of(request)
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, named_id(request, "workspace"))
    found = await drift.list_reports(cloud.read(), workspace.id, query.limit, query.before or "~")
    latest = [shown_report(each, cloud.now_ms()) for each in await drift.latest_reports(cloud.read(), workspace.id)]
    reports = [shown_report(each, cloud.now_ms()) for each in found]
    return {"drift_reports": reports, "latest": latest[0] if latest else None, "latest_by_source": latest}


def shown_report(report: Report, now_ms: int) -> ShownReport:
    """The row and its age."""
    hours = round(max(0, now_ms - ms_of(report.reported_at)) / HOUR_MS, 1)
    total = report.files_added + report.files_modified + report.files_deleted
    return ShownReport(**msgspec.structs.asdict(report), total_drift_files=total, staleness_hours=hours)


async def compare_drift(request: web.Request, query: Comparing) -> ComparedDrift:
    """Drawn from the two states as they are now."""
    cloud, account, workspace_id = cloud_of(request), account_of(request), named_id(request, "workspace")
    workspace = await workspaces.get_workspace(cloud.read(), account.user_id, workspace_id)
    project = await projects.get_project(cloud.read(), account.user_id, workspace.project_id)
    asked, is_main = query.source_workspace_id or project.main_workspace_id, project.main_workspace_id == workspace.id
    if asked is None:
        return _nothing("The project has no main workspace.", is_main=False)
    if asked == workspace.id:
        return _nothing(f"{workspace.name} is not compared with itself.", is_main=is_main)
    compared = await compare(cloud, account, workspace_id, asked, include_dirty=query.include_dirty)
    if isinstance(compared, str):
        return _nothing(compared, is_main=is_main)
    source: Source = {"id": compared.source.id, "name": compared.source.name}
    return {"drift": show_comparison(compared, cloud.now(), query.paths), "is_main_workspace": is_main, "source_workspace": source}


def _nothing(message: str, *, is_main: bool) -> ComparedDrift:
    return {"drift": None, "is_main_workspace": is_main, "message": message}


ROUTES = [
    get("/v1/workspaces/{workspace}/drift", list_drift),
    post("/v1/workspaces/{workspace}/drift", report_drift, status=201),
    get("/v1/workspaces/{workspace}/drift/compare", compare_drift),
]
