"""Attach a folder to a workspace: `up` makes a new one, `clone` follows or forks one of the cloud's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from daemon.remote import CloudRemote
from store import workspaces
from store.atomic import Folder
from store.database import Database, Tx
from store.errors import Conflicting, InvalidValue, NotFound, RootRefused
from store.manifest import EMPTY_ROOT
from store.types import new_ulid, show_path
from store.workspaces import Replica, Workspace
from sync.core.wire import WireProject, WireWorkspace
from sync.ports import Clock

MAX_NAME: Final = 100
FIRST_VERSION: Final = 1
Row = TypeVar("Row")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f/]")


class Attached(msgspec.Struct, frozen=True):
    """What a folder is now: `created` is False when it was so already."""

    workspace: Workspace
    replica: Replica
    created: bool


def check_root(root: bytes, taken: Iterable[bytes], forbidden: Iterable[bytes]) -> None:
    """A folder may become a root. Raises RootRefused for `/`, a home, a nested root, our own folders."""
    shown = show_path(root)
    home = os.path.realpath(os.path.expanduser(b"~"))  # noqa: PTH111 - bytes
    if root == b"/" or root == home:
        raise RootRefused(f"{shown} is too much for one workspace", "Choose the folder of one project: `fst up PATH`.")
    for other in taken:
        if _is_within(root, other) or _is_within(other, root):
            raise RootRefused(
                f"{shown} and the workspace {show_path(other)} would lie in one another",
                "Workspaces cannot be nested: choose a folder beside it, or work in that one.",
            )
    for ours in forbidden:
        if _is_within(root, ours) or _is_within(ours, root):
            raise RootRefused(f"{shown} holds Fastest's own files", "Choose a folder of yours.")


def check_title(text: str, what: str) -> str:
    """A project's or a workspace's name, trimmed. Raises InvalidValue."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or _CONTROL.search(name):
        raise InvalidValue(f"not a name for a {what}: {text[:80]!r}", f"1 to {MAX_NAME} characters, without `/` and control characters.")
    return name


def make_workspace(clock: Clock, project: WireProject | None, project_name: str, name: str) -> Workspace:
    """A new line of work, in an existing project or in a new one."""
    now_ms = clock.now_ms()
    project_id = new_ulid(now_ms) if project is None else project.id
    title = project_name if project is None else project.name
    return Workspace(new_ulid(now_ms), project_id, check_title(title, "project"), check_title(name, "workspace"), now_ms, False)


def attach(db: Database, clock: Clock, workspace: Workspace, root: bytes, agreed_version: int) -> Replica:
    """Keep the rows of a new replica in this folder."""
    with Folder.open_root(root) as folder:
        dev, ino = folder.identity()
    replica = Replica(
        new_ulid(clock.now_ms()), workspace.id, root, dev, ino, EMPTY_ROOT, EMPTY_ROOT, EMPTY_ROOT, agreed_version, EMPTY_ROOT, "", 0
    )  # fmt: skip

    def work(tx: Tx) -> None:
        workspaces.add_workspace(tx, workspace)
        workspaces.add_replica(tx, replica)

    db.write_now(work)
    return replica


async def find_project(remote: CloudRemote | None, db: Database, name: str) -> WireProject | None:
    """The one project of this name or id, here or in the cloud; None when there is none. Raises InvalidValue for several."""
    known = {row.project_id: WireProject(row.project_id, row.project_name) for row in workspaces.list_workspaces(db.read())}
    if remote is not None:
        known |= {project.id: project for project in await remote.projects()}
    found = [project for project in known.values() if name in (project.id, project.name)]
    if len(found) > 1:
        ids = ", ".join(sorted(project.id for project in found))
        raise InvalidValue(f"{len(found)} projects are called {name!r}", f"Give the id of one: {ids}.")
    return found[0] if found else None


async def find_source(remote: CloudRemote, wanted: str) -> tuple[WireProject, WireWorkspace]:
    """`PROJECT[/WORKSPACE]` -> the cloud's project and workspace. Raises NotFound, InvalidValue."""
    project_name, _, workspace_name = wanted.partition("/")
    found = [project for project in await remote.projects() if project_name in (project.id, project.name)]
    project = _only(found, f"project called {project_name!r}", "`fst workspaces` lists what there is.")
    rows = await remote.workspaces(project.id)
    if workspace_name:
        rows = [row for row in rows if workspace_name in (row.id, row.name)]
    elif len(rows) > 1 and project.main_workspace_id is not None:
        rows = [row for row in rows if row.id == project.main_workspace_id] or rows
    what = f"workspace {workspace_name!r} in {project.name}" if workspace_name else f"main workspace in {project.name}"
    return project, _only(rows, what, f"Name it: `fst clone {project.name}/WORKSPACE PATH`.")


def make_empty_root(path: bytes, *, dry_run: bool) -> None:
    """The folder a clone goes into: made, or empty. Raises Conflicting."""
    folder = Path(os.fsdecode(path))
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise Conflicting(f"{show_path(path)} is not an empty folder", "Clone into a new or an empty folder.")
    elif not dry_run:
        folder.mkdir(parents=True)


def real_root(text: bytes) -> bytes:
    """The one name of a folder, links resolved."""
    return os.path.realpath(text)


def _is_within(path: bytes, other: bytes) -> bool:
    return path == other or path.startswith(other.rstrip(b"/") + b"/")


def _only(found: list[Row], what: str, hint: str) -> Row:
    if not found:
        raise NotFound(f"there is no {what}", hint)
    if len(found) > 1:
        raise InvalidValue(f"there is more than one {what}", hint)
    return found[0]
