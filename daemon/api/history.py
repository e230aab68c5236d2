"""Handlers for snapshots, the log, and the bytes of any kept content."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from daemon import verbs
from daemon.api.shapes import (
    asked_path,
    change_document,
    count_kinds,
    encode_text,
    path_bytes,
    path_document,
    path_within,
    paths_within,
    read_body,
)
from daemon.verbs import Author
from store import history, snapshots
from store.blobs import BlobStore
from store.database import Reader
from store.errors import BlobMissing, InvalidReply, InvalidValue, NotFound
from store.history import LogEntry
from store.manifest import EMPTY_ROOT, diff_manifests, find_entry, manifest_totals
from store.snapshots import Snapshot
from store.types import Change, Digest, Entry, File, RelPath, parse_digest, show_path
from sync.progress import Progress
from sync.replica import LocalReplica
from sync.transfer import fetch_blobs

if TYPE_CHECKING:
    from daemon.app import Daemon
    from daemon.supervisor import Supervisor

LOG_LIMIT: Final = 50
HISTORY_STATES: Final = 10_000
DIFF_BYTES: Final = 1024 * 1024


class SnapshotBody(msgspec.Struct):
    """The body of `POST /v1/snapshot`."""

    path: str | None = None
    path_b64: str | None = None
    message: str = ""
    author_name: str = ""
    author_email: str = ""
    agent: str = ""
    dry_run: bool = False


async def take_snapshot(daemon: Daemon, request: web.Request) -> Any:
    """A point in the history, of what is in the folder now."""
    body = await read_body(request, SnapshotBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    await supervisor.look_now()
    if body.dry_run:
        newest = await asyncio.to_thread(snapshots.list_snapshots, daemon.db.read(), supervisor.workspace_id, newest=1)
        return {"schema": 1, "snapshot": newest[0][0].id if newest else None, "created": False, "dry_run": True}
    async with supervisor.turn() as engine:
        await engine.share()
        author = Author(body.author_name, body.author_email, body.agent)
        taken = await engine.verb(verbs.take_snapshot, body.message, author)
    rows = await asyncio.to_thread(lambda: snapshots.list_snapshots(daemon.db.read(), supervisor.workspace_id, newest=1))
    snapshot_id = rows[0][0].id if taken is None else taken.id
    return {"schema": 1, "snapshot": snapshot_id, "created": taken is not None, "undo": f"fst restore --from {snapshot_id}"}


def snapshot_document(daemon: Daemon, snapshot: Snapshot, full_root: Digest, before: Digest) -> dict[str, Any]:
    """A snapshot with what it changed since the one before it."""
    document = {
        "id": snapshot.id, "time_ms": snapshot.created_ms, "source": snapshot.source, "message": snapshot.message,
        "author_name": snapshot.author_name, "author_email": snapshot.author_email, "agent": snapshot.agent,
        "parents": list(snapshot.parents), "manifest": snapshot.manifest_hash.hex(),
    }  # fmt: skip
    try:
        document["files"] = manifest_totals(full_root, daemon.blobs).files
        return document | count_kinds(diff_manifests(before, full_root, daemon.blobs))
    except BlobMissing:
        # A snapshot that the cloud told of, whose manifest was never needed here.
        return document


async def list_log(daemon: Daemon, request: web.Request) -> Any:
    """The snapshots of a workspace, newest first."""
    supervisor = daemon.find(asked_path(request))
    limit = _limit(request, LOG_LIMIT)
    return await asyncio.to_thread(_log_document, daemon, supervisor, limit)


def _log_document(daemon: Daemon, supervisor: Supervisor, limit: int) -> Any:
    rows = snapshots.list_snapshots(daemon.db.read(), supervisor.workspace_id, newest=limit + 1)
    full_root = supervisor.engine.replica.row.full_root
    found = []
    for at, (snapshot, root) in enumerate(rows[:limit]):
        before = rows[at + 1][1] if at + 1 < len(rows) else EMPTY_ROOT
        found.append({**snapshot_document(daemon, snapshot, root, before), "current": at == 0 and root == full_root})
    return {"schema": 1, "snapshots": found}


async def show_snapshot(daemon: Daemon, request: web.Request) -> Any:
    """One snapshot and every path it changed."""
    supervisor = daemon.find(asked_path(request))
    return await asyncio.to_thread(_show_document, daemon, supervisor, request.query.get("id", ""))


def _show_document(daemon: Daemon, supervisor: Supervisor, name: str) -> Any:
    reader = daemon.db.read()
    snapshot, root = snapshots.get_snapshot(reader, name)
    before = root_before(reader, daemon.blobs, snapshot)
    changes = [change_document(change) for change in diff_manifests(before, root, daemon.blobs)]
    return {"schema": 1, "snapshot": snapshot_document(daemon, snapshot, root, before), "changes": changes}


def root_before(reader: Reader, blobs: BlobStore, snapshot: Snapshot) -> Digest:
    """What a snapshot's changes are shown against: the newest parent whose manifest is here, else nothing.

    A merge has another machine's line behind it, and a fork its origin's: their manifests may never have been needed here.
    """
    parents = [snapshots.find_snapshot(reader, parent) for parent in reversed(snapshot.parents)]
    roots = [found[1] for found in parents if found is not None]
    lacking = blobs.lacking_nodes(roots)
    return next((root for root in roots if root not in lacking), EMPTY_ROOT)


async def file_history(daemon: Daemon, request: web.Request) -> Any:
    """Every state of one file that is still kept, newest first."""
    supervisor = daemon.find(asked_path(request))
    file = path_bytes(request.query.get("file"), request.query.get("file_b64"))
    path = path_within(supervisor.engine.replica.row.root, file)
    return await asyncio.to_thread(_file_document, daemon, supervisor, path)


def _file_document(daemon: Daemon, supervisor: Supervisor, path: RelPath) -> Any:
    reader = daemon.db.read()
    by_root = {root: one.id for one, root in reversed(snapshots.list_snapshots(reader, supervisor.workspace_id, newest=HISTORY_STATES))}
    log = list(reversed(history.list_log(reader, supervisor.replica_id, newest=HISTORY_STATES)))
    rows: list[dict[str, Any]] = []
    last: Entry | None = None
    for entry in log:
        found = find_entry(entry.full_root, path, daemon.blobs)
        if found != last:
            rows.append(_state_document(entry, found, by_root.get(entry.full_root)))
            last = found
    if not rows:
        raise NotFound(f"{show_path(path)} was never kept in this workspace", "Is it ignored? `fst ignore explain PATH` says so.")
    return {"schema": 1, **path_document(path), "history": rows[::-1]}


def _state_document(entry: LogEntry, found: Entry | None, snapshot_id: str | None) -> dict[str, Any]:
    return {
        "time_ms": entry.time_ms, "sequence": entry.sequence, "snapshot": snapshot_id, "version": entry.version, "actor": entry.actor,
        "digest": found.digest.hex() if isinstance(found, File) else None, "size": found.size if isinstance(found, File) else None,
    }  # fmt: skip


async def show_diff(daemon: Daemon, request: web.Request) -> Any:
    """What differs between two states; by default between the newest snapshot and now."""
    supervisor = daemon.find(asked_path(request))
    await supervisor.look_now()
    return await asyncio.to_thread(_diff_document, daemon, supervisor, request.query.get("a"), request.query.get("b"))


def _diff_document(daemon: Daemon, supervisor: Supervisor, a: str | None, b: str | None) -> Any:
    replica = supervisor.engine.replica
    newest = snapshots.list_snapshots(daemon.db.read(), supervisor.workspace_id, newest=1)
    old = verbs.find_root(replica, a) if a else (newest[0][1] if newest else EMPTY_ROOT)
    new = verbs.find_root(replica, b) if b else replica.row.full_root
    changes = []
    for change in diff_manifests(old, new, daemon.blobs):
        changes.append({**change_document(change), "text": _unified(daemon, change)})
    return {"schema": 1, "changes": changes}


def _unified(daemon: Daemon, change: Change) -> str | None:
    """A unified diff, or None for what is not text or too large to show."""
    sides = []
    for entry in (change.old, change.new):
        if entry is not None and not isinstance(entry, File):
            return None
        if entry is not None and entry.size > DIFF_BYTES:
            return None
        data = b"" if entry is None else daemon.blobs.get(entry.digest)
        if b"\0" in data[:8000]:
            return None
        sides.append(data.decode("utf-8", "replace").splitlines(keepends=True))
    name = show_path(change.path)
    return "".join(
        line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(sides[0], sides[1], f"a/{name}", f"b/{name}")
    )


async def stream_content(daemon: Daemon, request: web.Request) -> web.StreamResponse:
    """The bytes of any kept content: a digest, or ID:PATH. From the cloud when they are not here."""
    what = request.query.get("what", "")
    digest = parse_digest(what) if len(what) == 64 and ":" not in what else await _named_content(daemon, request, what)
    if not await asyncio.to_thread(daemon.blobs.has, digest):
        remote = await daemon.link.reach()
        if remote is None:
            raise NotFound(f"no kept content {digest.hex()}", "It may be in the cloud, which is not connected.")
        try:
            await fetch_blobs(remote, daemon.blobs, {digest: None}, Progress())
        except (InvalidReply, NotFound):
            raise NotFound(f"no kept content {digest.hex()}", "Neither this machine nor its cloud account keeps it.") from None
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    pieces = daemon.blobs.stream(digest)
    first = await asyncio.to_thread(next, pieces, b"")
    await response.prepare(request)
    await response.write(first)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        await response.write(piece)
    await response.write_eof()
    return response


async def _named_content(daemon: Daemon, request: web.Request, what: str) -> Digest:
    name, colon, raw = what.partition(":")
    if not colon:
        raise InvalidValue(f"not a content: {what[:80]!r}", "Give a whole SHA-256 in hex, or ID:PATH.")
    supervisor = daemon.find(asked_path(request))
    return await asyncio.to_thread(_find_content, supervisor.engine.replica, name, raw)


def _find_content(replica: LocalReplica, name: str, raw: str) -> Digest:
    path = path_within(replica.row.root, encode_text(raw))
    entry = find_entry(verbs.find_root(replica, name), path, replica.draft())
    if not isinstance(entry, File):
        raise NotFound(f"{show_path(path)} is no file in {name}", "`fst show ID` lists what a snapshot holds.")
    return entry.digest


class RestoreBody(msgspec.Struct):
    """The body of `POST /v1/restore` and `POST /v1/undo`; no paths mean everything."""

    path: str | None = None
    path_b64: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    paths: list[str] = []
    paths_b64: list[str] = []
    dry_run: bool = False


async def restore(daemon: Daemon, request: web.Request) -> Any:
    """Bring back a state or paths of it; what is there now is snapshotted first."""
    body = await read_body(request, RestoreBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    paths = paths_within(supervisor.engine.replica.row.root, body.paths, body.paths_b64)
    await supervisor.look_now()
    async with supervisor.turn() as engine:
        name = body.from_ or await asyncio.to_thread(_newest_id, daemon, supervisor)
        if not body.dry_run:
            await engine.share()
            await engine.verb(verbs.take_snapshot, f"Before restoring from {name}", Author(), source="system")
        count, act = await engine.verb(verbs.restore, name, paths, dry_run=body.dry_run)
        if act is not None:
            await engine.share()
            await engine.verb(verbs.take_snapshot, f"Restored from {name}", Author(), source="system")
    return {
        "schema": 1,
        "changed": count,
        "from": name,
        "act": None if act is None else act.id,
        "undo": "fst undo",
        "dry_run": body.dry_run,
    }


def _newest_id(daemon: Daemon, supervisor: Supervisor) -> str:
    newest = snapshots.list_snapshots(daemon.db.read(), supervisor.workspace_id, newest=1)
    if not newest:
        raise NotFound("there is no snapshot yet", "`fst snapshot` takes one.")
    return newest[0][0].id


async def undo(daemon: Daemon, request: web.Request) -> Any:
    """Reverse the newest act; what was edited since stays."""
    body = await read_body(request, RestoreBody)
    supervisor = daemon.find(path_bytes(body.path, body.path_b64))
    await supervisor.look_now()
    async with supervisor.turn() as engine:
        if not body.dry_run:
            await engine.share()
            await engine.verb(verbs.take_snapshot, "Before undo", Author(), source="system")
        count, act = await engine.verb(verbs.undo, dry_run=body.dry_run)
    return {"schema": 1, "changed": count, "verb": act.verb, "act": act.id, "undo": "fst undo", "dry_run": body.dry_run}


def _limit(request: web.Request, default: int) -> int:
    text = request.query.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= HISTORY_STATES:
        raise InvalidValue(f"not a limit: {text[:20]!r}", f"A number from 1 to {HISTORY_STATES}.")
    return int(text)
