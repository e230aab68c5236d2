"""Two heads of one project, and where their histories part: the state that both sides' edits are counted from (SYNC-1)."""

from __future__ import annotations

from typing import Final

import msgspec

from cloud.context import Cloud
from cloud.database import Reader
from cloud.merges.answers import Mode
from cloud.records.people.accounts import Account
from cloud.records.work import merges, projects, snapshots, workspaces
from cloud.records.work.projects import Project
from cloud.records.work.workspaces import Workspace
from store.errors import InvalidOperation, NoMainWorkspace
from store.manifest import EMPTY_ROOT
from sync.core.history import merge_bases
from sync.core.wire import Head

MAX_BASES: Final = 8


class Meeting(msgspec.Struct, frozen=True):
    """A workspace and the one it meets. `bases` are snapshots, `roots` theirs; without any the two have no history in common."""

    project: Project
    workspace: Workspace
    source: Workspace
    roots: list[str]
    bases: list[str]

    @property
    def mode(self) -> Mode:
        """How a merge of the two is counted."""
        return "three-way" if self.bases else "two-way"


async def find_pair(reader: Reader, account: Account, workspace_id: str, source_id: str | None) -> tuple[Project, Workspace, Workspace]:
    """A workspace and another one of its project: main unless named. Raises NotFound, InvalidOperation, NoMainWorkspace."""
    workspace = await workspaces.get_workspace(reader, account.user_id, workspace_id)
    project = await projects.get_project(reader, account.user_id, workspace.project_id)
    asked = source_id if source_id is not None else project.main_workspace_id
    if asked is None:
        raise NoMainWorkspace("the project has no main workspace", "Set one as main, or name another workspace.")
    if asked == workspace.id:
        raise InvalidOperation(f"{workspace.name} is {'the main' if source_id is None else 'that'} workspace itself", "Name another one.")
    source = await workspaces.get_workspace(reader, account.user_id, asked)
    if source.project_id != project.id:
        raise InvalidOperation("the other workspace is of another project")
    return project, workspace, source


async def meet(cloud: Cloud, account: Account, workspace_id: str, source_id: str | None) -> Meeting:
    """The heads as they are now. Raises NotFound, InvalidOperation, NoMainWorkspace."""
    project, workspace, source = await find_pair(cloud.read(), account, workspace_id, source_id)
    roots, bases = await find_base(cloud, account, project.id, workspace.current_snapshot_id, source.current_snapshot_id)
    return Meeting(project, workspace, source, roots, bases)


async def find_base(cloud: Cloud, account: Account, project_id: str, one: str | None, other: str | None) -> tuple[list[str], list[str]]:
    """The roots to count from, the best first, and their snapshots; the empty root without a history in common.

    What `merge_history` says is never asked.
    """
    bases: list[str] = []
    if one is not None and other is not None:
        parents = await cloud.reading(lambda reader: snapshots.all_parents(reader, project_id))
        undone = await merges.list_undone(cloud.read(), project_id)
        bases = await cloud.compute(lambda: merge_bases(one, other, parents, undone))
    found = [(await snapshots.get_snapshot(cloud.read(), account.user_id, each)).manifest_hash for each in bases[:MAX_BASES]]
    return list(dict.fromkeys(found)) or [EMPTY_ROOT.hex()], bases


def head_of(cloud: Cloud, workspace: Workspace) -> Head:
    """Where a workspace stands."""
    return Head(workspace.id, cloud.epoch, workspace.version, workspace.current_manifest_hash, workspace.current_snapshot_id)


async def has_moved(reader: Reader, user_id: str, head: Head) -> Head | None:
    """The head that it is now, when it is another one. Raises NotFound."""
    now = await workspaces.get_head(reader, user_id, head.workspace_id)
    return None if (now.epoch, now.version, now.root) == (head.epoch, head.version, head.root) else now
