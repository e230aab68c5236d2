"""What goes for good: projects and workspaces some time after they were deleted, and what happened long ago."""

from __future__ import annotations

from functools import partial
from typing import Final

from cloud.context import Cloud
from cloud.database import Tx
from cloud.records.moments import text_of
from cloud.records.people import accounts
from cloud.records.work import activity, retiring

DAY_MS: Final = 24 * 60 * 60 * 1000
RETENTION_DAYS: Final = 30
"""How long a deleted project or workspace can be restored."""
EVENT_DAYS: Final = 365
EVENTS_KEPT: Final = 1_000
"""Of each project, the newest, however old."""
PROJECTS_AT_ONCE: Final = 1_000


async def purge_deleted(cloud: Cloud) -> str:
    """What was deleted over RETENTION_DAYS ago; what it named is then collected in its own time."""
    before = text_of(max(0, cloud.now_ms() - RETENTION_DAYS * DAY_MS))
    names = await cloud.reading(lambda reader: retiring.overdue_projects(reader, before))
    projects = [name for name in names if await cloud.write(partial(retiring.purge_project, project_id=name, deleted_before=before))]
    gone = 0
    for workspace_id, project_id, name in await cloud.reading(lambda reader: retiring.overdue_workspaces(reader, before)):

        async def work(tx: Tx, workspace_id: str = workspace_id, project_id: str = project_id, name: str = name) -> bool:
            if not await retiring.purge_workspace(tx, workspace_id, before):
                return False
            await activity.add_activity(
                tx, cloud.now_ms(), project_id, "workspace.purged", "system", workspace_id=workspace_id, message=name
            )
            return True

        gone += await cloud.write(work)
    return f"{len(projects)} projects, {gone} workspaces"


async def prune_events(cloud: Cloud) -> str:
    """Activity over EVENT_DAYS old that is not among a project's newest EVENTS_KEPT, and what happened to accounts before then."""
    before = text_of(max(0, cloud.now_ms() - EVENT_DAYS * DAY_MS))
    last, pruned = "", 0
    while found := await cloud.reading(partial(activity.projects_after, after=last, before=before, limit=PROJECTS_AT_ONCE)):
        last = found[-1][0]
        for project_id in [name for name, has_older in found if has_older]:
            pruned += await cloud.write(partial(activity.prune, project_id=project_id, before=before, kept=EVENTS_KEPT))
    await cloud.write(partial(accounts.purge_events, before=before))
    return f"{pruned} events"
