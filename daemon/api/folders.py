"""Handlers that attach folders and steer their reconciling."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from daemon import verbs
from daemon.api.attach import (
    FIRST_VERSION,
    Attached,
    attach,
    check_root,
    check_title,
    find_project,
    find_source,
    make_empty_root,
    make_workspace,
    real_root,
)
from daemon.api.progress import TELL_SECONDS, Teller, follow_work
from daemon.api.shapes import Seconds, asked_path, path_bytes, path_document, path_within, read_body
from daemon.git import GitFolder
from store import snapshots, workspaces
from store.atomic import Folder
from store.errors import Broken, Conflicting, FastestError, NotFound
from store.index import StatIndex, is_folder
from store.manifest import EMPTY_ROOT, manifest_totals
from store.types import Digest, File, new_ulid, show_path
from store.workspaces import Workspace
from sync.core.secrets import name_reason
from sync.core.state import Halt, State
from sync.progress import Phase, Progress
from sync.replica import LocalReplica
from sync.rules import IgnoreSource
from sync.scan import Scanner
from sync.share import SECRET

if TYPE_CHECKING:
    from daemon.app import Daemon
    from daemon.supervisor import Supervisor

PAUSE_FOREVER_MS: Final = 1 << 52
REBUILT: Final = frozenset({b"node_modules", b".venv", b"venv", b"target", b"__pycache__"})
LARGE_FILES: Final = 1000


class UpBody(msgspec.Struct):
    """The body of `POST /v1/up`."""

    path: str | None = None
    path_b64: str | None = None
    project: str | None = None
    name: str | None = None
    dry_run: bool = False


async def bring_up(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Make a folder a workspace and take its first snapshot; harmless when it is one already."""
    body = await read_body(request, UpBody)
    root = real_root(path_bytes(body.path, body.path_b64))
    attached = daemon.find_attached(root)
    if attached is None:
        check_root(root, daemon.roots(), daemon.own_folders())
        project_name = check_title(body.project or show_path(root.rpartition(b"/")[2]), "project")
        project = await find_project(await daemon.link.reach(), daemon.db, project_name) if body.project else None
        name = body.name or ("main" if project is None else daemon.machine_name)
        workspace = make_workspace(daemon.clock, project, project_name, name)
        if not body.dry_run:
            attached = Attached(workspace, attach(daemon.db, daemon.clock, workspace, root, FIRST_VERSION), True)
    else:
        workspace = attached.workspace
    return _follow_up(daemon, workspace, root, attached)


async def _follow_up(daemon: Daemon, workspace: Workspace, root: bytes, attached: Attached | None) -> AsyncIterator[dict[str, Any]]:
    if attached is None:
        progress = Progress()
        work = daemon.start_work(asyncio.to_thread(_preview_document, workspace, root, progress))
        async for line in follow_work(work, progress, daemon.clock.steady):
            yield line
        return
    supervisor = daemon.supervisors.get(attached.replica.id) or daemon.start_replica(attached.replica.id)
    async for line in _watch(daemon, supervisor, lambda: supervisor.has_looked):
        yield line
    yield {"result": await asyncio.to_thread(_up_document, daemon, supervisor, workspace, attached.created)}


def _preview_document(workspace: Workspace, root: bytes, progress: Progress) -> dict[str, Any]:
    """What `up` would do: nothing is kept, and secrets are told by their names alone."""
    progress.begin(Phase.LOOKING)
    with Folder.open_root(root) as folder:
        found = Scanner(StatIndex(), IgnoreSource(), Nowhere(), time.time_ns, progress=progress).scan(folder)
    files = [(change.path, change.new) for change in found.changes if isinstance(change.new, File)]
    held = [(path, reason) for path, _ in files if (reason := name_reason(path)) is not None]
    return {
        "workspace": workspace.name, "project": workspace.project_name, "path": show_path(root), "created": False, "dry_run": True,
        "files": len(files), "bytes": sum(entry.size for _, entry in files), "ignored": found.ignored,
        "held_back": [{**path_document(path), "reason": str(reason)} for path, reason in held],
    }  # fmt: skip


class Nowhere:
    """Where a preview's contents go."""

    @contextmanager
    def bulk(self) -> Iterator[Nowhere]:
        """Takes everything, keeps nothing."""
        yield self

    def add(self, digest: Digest, data: bytes) -> None:
        """Nothing."""

    def has(self, digest: Digest) -> bool:
        """Nothing is ever here."""
        return False

    def add_file(self, fd: int, size: int) -> Digest:
        """Nothing; the digest is not asked for."""
        return EMPTY_ROOT


def _up_document(daemon: Daemon, supervisor: Supervisor, workspace: Workspace, created: bool) -> dict[str, Any]:
    row, reader = supervisor.engine.replica.row, daemon.db.read()
    totals = manifest_totals(row.full_root, daemon.blobs)
    newest = snapshots.list_snapshots(reader, row.workspace_id, newest=1)
    apart = workspaces.list_apart(reader, row.id)
    return {
        "workspace": workspace.name, "workspace_id": workspace.id, "project": workspace.project_name, "replica": row.id,
        "path": show_path(row.root), "created": created, "files": totals.files, "bytes": totals.bytes,
        "snapshot": newest[0][0].id if newest else None, "undo": f"fst restore --from {newest[0][0].id}" if newest else None,
        "held_back": [{**path_document(one.path), "reason": one.reason} for one in apart.values() if one.kind == SECRET],
        "ignored": supervisor.engine.ignored_files, "large": large_folders(supervisor.engine.replica), "cloud": daemon.link.state,
    }  # fmt: skip


class CloneBody(msgspec.Struct):
    """The body of `POST /v1/clone`."""

    project: str
    workspace: str | None = None
    path: str | None = None
    path_b64: str | None = None
    mirror: bool = False
    name: str | None = None
    dry_run: bool = False


async def clone(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Follow a workspace of the cloud in an empty folder (`mirror`), or fork its head into a new one."""
    body = await read_body(request, CloneBody)
    root = real_root(path_bytes(body.path, body.path_b64))
    wanted = f"{body.project}/{body.workspace}" if body.workspace else body.project
    project, source = await find_source(await daemon.link.need(), wanted)
    check_root(root, daemon.roots(), daemon.own_folders())
    make_empty_root(root, dry_run=body.dry_run)
    now_ms = daemon.clock.now_ms()
    if body.mirror:
        workspace = Workspace(source.id, project.id, project.name, source.name, now_ms, True)
    else:
        name = check_title(body.name or f"{daemon.machine_name}-{show_path(root.rpartition(b'/')[2])}", "workspace")
        workspace = Workspace(new_ulid(now_ms), project.id, project.name, name, now_ms, True)
    return _follow_clone(daemon, workspace, root, source.id, body)


async def _follow_clone(
    daemon: Daemon, workspace: Workspace, root: bytes, source_id: str, body: CloneBody
) -> AsyncIterator[dict[str, Any]]:
    result = {"workspace": workspace.name, "workspace_id": workspace.id, "project": workspace.project_name, "path": show_path(root)}
    if body.dry_run:
        yield {"result": {**result, "created": False, "dry_run": True}}
        return
    remote = daemon.link.remote
    if remote is not None and not body.mirror:
        fork = {"id": workspace.id, "name": workspace.name, "machine_id": daemon.machine_id, "base_workspace_id": source_id}
        await remote.add_workspace(workspace.project_id, fork)
    replica = await asyncio.to_thread(attach, daemon.db, daemon.clock, workspace, root, 0)
    supervisor = daemon.start_replica(replica.id)
    async for line in _watch(daemon, supervisor, lambda: supervisor.engine.replica.row.agreed_version > 0 and supervisor.is_settled):
        yield line
    totals = await asyncio.to_thread(manifest_totals, supervisor.engine.replica.row.full_root, daemon.blobs)
    version = supervisor.engine.replica.row.agreed_version
    yield {"result": {**result, "created": True, "files": totals.files, "bytes": totals.bytes, "version": version, "replica": replica.id}}


async def _watch(daemon: Daemon, supervisor: Supervisor, holds: Any) -> AsyncIterator[dict[str, Any]]:
    """Progress lines until it holds; what makes it halt is raised."""
    teller = Teller(supervisor.engine.progress, daemon.clock.steady)
    while not holds():
        error = supervisor.last_error
        if error is not None and (supervisor.state in (State.HALTED, State.WAITING) or isinstance(error, Broken)):
            raise error
        for line in teller.lines():
            yield line
        await daemon.upkeep.changed(TELL_SECONDS)


class PathBody(msgspec.Struct):
    """A body that names a folder."""

    path: str | None = None
    path_b64: str | None = None
    dry_run: bool = False
    rescan: bool = False
    for_s: Seconds | None = None


async def sync_now(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """One whole cycle now."""
    body = await read_body(request, PathBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    return follow_work(daemon.start_work(_reconcile(supervisor, body)), supervisor.engine.progress, daemon.clock.steady)


async def _reconcile(supervisor: Supervisor, body: PathBody) -> dict[str, Any]:
    if not body.dry_run:
        await supervisor.reconcile(rescan=body.rescan)
    row = supervisor.engine.replica.row
    return {"schema": 1, "version": row.agreed_version, "settled": supervisor.is_settled, "uploaded": supervisor.is_uploaded}


async def pause(daemon: Daemon, request: web.Request) -> Any:
    """Transfer rests, for a time or until `resume`; states are kept here all the same."""
    body = await read_body(request, PathBody)
    until_ms = PAUSE_FOREVER_MS if body.for_s is None else daemon.clock.now_ms() + int(body.for_s * 1000)
    return await _set_paused(daemon, body, until_ms)


async def resume(daemon: Daemon, request: web.Request) -> Any:
    """Transfer goes on."""
    return await _set_paused(daemon, await read_body(request, PathBody), 0)


async def _set_paused(daemon: Daemon, body: PathBody, until_ms: int) -> Any:
    all_of_them = body.path is None and body.path_b64 is None
    chosen = list(daemon.supervisors.values()) if all_of_them else [daemon.find(path_bytes(body.path, body.path_b64))]
    for supervisor in chosen if not body.dry_run else ():
        async with supervisor.turn() as engine:
            await engine.verb(verbs.set_paused, until_ms)
        supervisor.poke()
    return {
        "schema": 1,
        "workspaces": [supervisor.workspace_id for supervisor in chosen],
        "undo": "fst resume" if until_ms else "fst pause",
    }


async def approve(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Let past what a person looked at: a mass change, a replaced root, a cloud that was restored."""
    body = await read_body(request, PathBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    halt = supervisor.halt
    if halt is None:
        raise NotFound("nothing waits for your approval", "`fst status` says how things stand.")
    work = daemon.start_work(_approve(supervisor, halt, dry_run=body.dry_run))
    return follow_work(work, supervisor.engine.progress, daemon.clock.steady)


async def _approve(supervisor: Supervisor, halt: Halt, *, dry_run: bool) -> dict[str, Any]:
    if not dry_run:
        async with supervisor.turn(alone=True) as engine:
            await engine.verb(verbs.approve, halt.code, engine.newest_root)
        try:
            await supervisor.reconcile(rescan=True)
        except FastestError as error:
            if error.code == halt.code:
                raise Conflicting(f"it is still held: {error.message}", error.hint) from None
            raise
    return {"schema": 1, "approved": halt.code, "message": halt.message, "undo": "fst undo"}


async def explain_ignore(daemon: Daemon, request: web.Request) -> Any:
    """Which rule decides about a path, and whether it is carried."""
    supervisor = daemon.find(asked_path(request))
    path = path_within(supervisor.engine.replica.row.root, path_bytes_of(request))
    git = GitFolder(supervisor.engine.replica.row.root, os.environ)
    return {"schema": 1, **path_document(path), **await supervisor.engine.verb(verbs.explain, path, git.excludes())}


def large_folders(replica: LocalReplica) -> list[dict[str, Any]]:
    """Folders that are usually rebuilt and not kept: what they cost, and the line for `.fstignore` that leaves them out."""
    found = []
    for folder in [path for path, record in replica.index.below(b"") if is_folder(record)]:
        name = folder.rpartition(b"/")[2]
        if name in REBUILT and not any(part in REBUILT for part in folder.split(b"/")[:-1]):
            files = [record for _, record in replica.index.below(folder) if not is_folder(record)]
            if len(files) >= LARGE_FILES:
                found.append({**path_document(folder), "files": len(files), "line": f"{show_path(name)}/"})
    return found


def path_bytes_of(request: web.Request) -> bytes:
    """`file` or `file_b64` of the query."""
    return path_bytes(request.query.get("file"), request.query.get("file_b64"))
