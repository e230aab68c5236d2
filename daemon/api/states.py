"""Handlers that tell the truth about what is and is not done, and let a caller wait for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from daemon.api.progress import TELL_SECONDS, Teller, progress_document
from daemon.api.shapes import Seconds, asked_path, path_bytes, path_document, read_body
from store import conflicts, snapshots, workspaces
from store.errors import Busy, InvalidValue, Offline, Stale, TimedOut, Unwritable
from store.manifest import manifest_totals
from store.types import show_path
from sync.progress import Phase
from sync.share import OWED, SECRET, list_untaken

if TYPE_CHECKING:
    from daemon.app import Daemon
    from daemon.supervisor import Supervisor

EVENT_SECONDS: Final = 15
ASK_SECONDS: Final = 0.1
POLLED: Final = "polled"
"""The code of a problem that only tells: changes are found by looking, since not all of them are told."""


async def get_health(daemon: Daemon, request: web.Request) -> Any:
    """It answers."""
    return {"status": "ok", "pid": os.getpid()}


async def get_status(daemon: Daemon, request: web.Request) -> Any:
    """The document of `fst status --json`. Raises NotAWorkspace when a path is given that is in none."""
    if request.query.get("path") or request.query.get("path_b64"):
        chosen = [daemon.find(asked_path(request))]
    else:
        chosen = list(daemon.supervisors.values())
    await asyncio.gather(*(supervisor.lookout.catch_up() for supervisor in chosen))
    return await asyncio.to_thread(status_document, daemon, chosen)


def status_document(daemon: Daemon, chosen: list[Supervisor]) -> dict[str, Any]:
    """Daemon and workspaces, as they are now."""
    from daemon.app import VERSION

    about = {"pid": os.getpid(), "version": VERSION, "cloud": daemon.link.state}
    if daemon.link.message:
        about["message"] = daemon.link.message
    return {"schema": 1, "daemon": about, "workspaces": [_workspace_document(daemon, supervisor) for supervisor in chosen]}


def _workspace_document(daemon: Daemon, supervisor: Supervisor) -> dict[str, Any]:
    replica = supervisor.engine.replica
    row, reader = replica.row, daemon.db.read()
    workspace = workspaces.get_workspace(reader, row.workspace_id)
    totals = manifest_totals(row.full_root, daemon.blobs)
    newest = snapshots.list_snapshots(reader, row.workspace_id, newest=1)
    waiting = conflicts.list_conflicts(reader, row.workspace_id)
    apart = workspaces.list_apart(reader, row.id)
    problems = [{**path_document(one.path), "code": one.code, "message": one.message} for one in supervisor.problems.values()]
    problems += [
        {**path_document(one.path), "code": Unwritable.code if one.kind == OWED else one.kind, "message": one.reason}
        for one in list_untaken(apart).values()
    ]
    if why := supervisor.lookout.why_polling:
        problems.append({"path": ".", "code": POLLED, "message": why})
    error = supervisor.last_error
    passing = Busy if supervisor.keeps_failing else Offline | Stale | Busy
    if error is not None and supervisor.halt is None and not isinstance(error, passing):
        problems.append({"path": ".", "code": error.code, "message": error.message, "hint": error.hint})
    document = {
        "id": workspace.id, "name": workspace.name, "project": workspace.project_name, "path": show_path(row.root),
        "state": "paused" if supervisor.is_paused and supervisor.halt is None else str(supervisor.state),
        "settled": supervisor.is_settled, "uploaded": supervisor.is_uploaded, "version": row.agreed_version,
        "snapshot": newest[0][0].id if newest else None, "files": totals.files, "bytes": totals.bytes, "pending": supervisor.pending,
        "conflicts": len(waiting), "problems": problems,
        "held_back": [{**path_document(one.path), "reason": one.reason} for one in apart.values() if one.kind == SECRET],
        "replica": row.id,
    }  # fmt: skip
    moving = supervisor.engine.progress.now
    if moving.phase is not Phase.REST:
        document["progress"] = progress_document(moving)
    halt = supervisor.halt
    if halt is not None:
        document["halt"] = {"code": halt.code, "message": halt.message, "hint": halt.hint}
    return document


class WaitBody(msgspec.Struct):
    """The body of `POST /v1/wait`."""

    path: str | None = None
    path_b64: str | None = None
    for_: str = msgspec.field(name="for", default="settled")
    machine: str | None = None
    timeout_s: Seconds | None = None


async def wait_for_state(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Block until it is settled, uploaded, or on another machine. Raises TimedOut."""
    body = await read_body(request, WaitBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    if body.for_ not in ("settled", "uploaded", "on"):
        raise InvalidValue(f"cannot wait for {body.for_!r}", "One of settled, uploaded, on.")
    await supervisor.lookout.catch_up()
    return _wait(daemon, supervisor, body)


async def _wait(daemon: Daemon, supervisor: Supervisor, body: WaitBody) -> AsyncIterator[dict[str, Any]]:
    deadline = None if body.timeout_s is None else asyncio.get_running_loop().time() + body.timeout_s
    teller = Teller(supervisor.engine.progress, daemon.clock.steady)
    while not (supervisor.is_settled and (body.for_ == "settled" or supervisor.is_uploaded)):
        if _left(deadline) == 0.0:
            raise TimedOut("not there in time", "`fst status` says what is still to be done.")
        for line in teller.lines():
            yield line
        await daemon.upkeep.changed(TELL_SECONDS)
    if body.for_ == "on":
        await _wait_on_machine(daemon, supervisor, body.machine or "", deadline)
    yield {"result": {"schema": 1, "waited_for": body.for_}}


async def _wait_on_machine(daemon: Daemon, supervisor: Supervisor, name: str, deadline: float | None) -> None:
    version = supervisor.engine.replica.row.agreed_version
    remote = daemon.link.remote
    while remote is not None:
        machines = {machine.id: machine.name for machine in await remote.machines()}
        for row in await remote.replicas(supervisor.workspace_id):
            there = name in (row.machine_id, machines.get(row.machine_id)) and row.id != supervisor.replica_id
            if there and row.agreed_version is not None and row.agreed_version >= version:
                return
        left = _left(deadline)
        if left == 0.0:
            raise TimedOut(f"{name} does not have it yet", "`fst machines` says when it was last seen.")
        await asyncio.sleep(ASK_SECONDS if left is None else min(ASK_SECONDS, left))
        remote = daemon.link.remote
    raise Offline("the cloud is not connected")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


async def stream_events(daemon: Daemon, request: web.Request) -> web.StreamResponse:
    """Server-sent events: a `status` document whenever it changed."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    number, last = 0, b""
    while not daemon.stopping.is_set():
        document = await asyncio.to_thread(status_document, daemon, list(daemon.supervisors.values()))
        data = msgspec.json.encode(document)
        if data != last:
            number, last = number + 1, data
            await response.write(b"id: %d\nevent: status\ndata: %s\n\n" % (number, data))
        await wait_for_news(daemon)
    return response


async def wait_for_news(daemon: Daemon) -> None:
    """Until something was told of, or a work has gone on for a second; for EVENT_SECONDS at most."""
    for _ in range(EVENT_SECONDS):
        is_told = await daemon.upkeep.changed(1.0)
        if is_told or any(one.engine.progress.now.phase is not Phase.REST for one in daemon.supervisors.values()):
            return


async def list_workspaces(daemon: Daemon, request: web.Request) -> Any:
    """This machine's workspaces, and the account's when the cloud answers."""
    reader = daemon.db.read()
    roots = {row.workspace_id: show_path(row.root) for row in workspaces.list_replicas(reader)}
    rows: dict[str, dict[str, Any]] = {
        row.id: {"id": row.id, "name": row.name, "project": row.project_name, "project_id": row.project_id, "path": roots.get(row.id)}
        for row in workspaces.list_workspaces(reader) if row.id in roots
    }  # fmt: skip
    remote = await daemon.link.reach()
    if remote is not None:
        for project in await remote.projects():
            for one in await remote.workspaces(project.id):
                found = rows.setdefault(one.id, {"id": one.id, "name": one.name, "path": None})
                is_main = project.main_workspace_id == one.id
                found.update({"project": project.name, "project_id": project.id, "version": one.version, "main": is_main})
    return {"schema": 1, "workspaces": list(rows.values())}
