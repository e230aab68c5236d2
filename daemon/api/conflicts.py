"""Handlers for conflict records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from daemon import verbs
from daemon.api.shapes import asked_path, decode_base64, path_bytes, path_document, paths_within, read_body
from store import conflicts
from store.conflicts import Conflict
from store.errors import InvalidValue, NotFound
from store.types import RelPath, show_path

if TYPE_CHECKING:
    from daemon.app import Daemon

HOWS = ("ours", "theirs", "both", "edit")


def conflict_document(conflict: Conflict) -> dict[str, Any]:
    """A record for people and programs."""
    sides = {
        side: None
        if record is None
        else {key: value for key, value in msgspec.to_builtins(record).items() if key not in ("path", "path_b64")}
        for side, record in (("base", conflict.base), ("ours", conflict.ours), ("theirs", conflict.theirs))
    }
    return {
        "id": conflict.id,
        **path_document(conflict.path),
        "kind": conflict.kind,
        **sides,
        "created_ms": conflict.created_ms,
        "state": conflict.state,
    }


async def list_conflicts(daemon: Daemon, request: web.Request) -> Any:
    """The open records of a workspace."""
    supervisor = daemon.find(asked_path(request))
    rows = await asyncio.to_thread(lambda: conflicts.list_conflicts(daemon.db.read(), supervisor.workspace_id))
    return {"schema": 1, "conflicts": [conflict_document(row) for row in rows]}


class ResolveBody(msgspec.Struct):
    """The body of `POST /v1/resolve`; no paths mean all."""

    how: str
    path: str | None = None
    path_b64: str | None = None
    paths: list[str] = []
    paths_b64: list[str] = []
    text: str | None = None
    dry_run: bool = False


async def resolve(daemon: Daemon, request: web.Request) -> Any:
    """Settle records: the chosen content is an ordinary change of the folder, undoable as one."""
    body = await read_body(request, ResolveBody)
    if body.how not in HOWS:
        raise InvalidValue(f"cannot resolve by {body.how!r}", f"One of {', '.join(HOWS)}.")
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    wanted: set[RelPath] = set(paths_within(supervisor.engine.replica.row.root, body.paths, body.paths_b64))
    rows = await asyncio.to_thread(lambda: conflicts.list_conflicts(daemon.db.read(), supervisor.workspace_id))
    chosen = [row for row in rows if not wanted or row.path in wanted]
    absent = wanted - {row.path for row in chosen}
    if absent or not chosen:
        named = show_path(min(absent)) if absent else "this workspace"
        raise NotFound(f"no conflict waits in {named}", "`fst conflicts` lists them.")
    text = None if body.text is None else decode_base64(body.text)
    undo = None
    if not body.dry_run:
        await supervisor.look_now()
        async with supervisor.turn() as engine:
            undo = await engine.verb(verbs.resolve, chosen, body.how, text)
    return {"schema": 1, "resolved": [conflict_document(row) for row in chosen], "undo": "fst undo", "act": undo}
