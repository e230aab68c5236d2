"""Handlers that examine, check, clean and stop."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from daemon.api.progress import follow_work
from daemon.api.shapes import read_body
from daemon.mend.check import FsckBody, check
from daemon.mend.kept import file_sizes, kept_roots
from store import conflicts
from store.types import Digest, show_path
from sync.progress import Phase, Progress

if TYPE_CHECKING:
    from daemon.app import Daemon

LOW_DISK_BYTES: Final = 1024 * 1024 * 1024


async def check_store(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Read every byte back; `repair` brings back what is damaged or missing, `cloud` asks whether the cloud has what it should."""
    body = await read_body(request, FsckBody)
    progress = Progress()
    return follow_work(daemon.start_work(check(daemon, body, progress)), progress, daemon.clock.steady)


class GcBody(msgspec.Struct):
    """The body of `POST /v1/gc`."""

    dry_run: bool = False


async def collect_garbage(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Let go of what no kept state names."""
    body = await read_body(request, GcBody)
    progress = Progress()
    work = daemon.start_work(asyncio.to_thread(_collect, daemon, body.dry_run, progress))
    return follow_work(work, progress, daemon.clock.steady)


def _collect(daemon: Daemon, dry_run: bool, progress: Progress) -> dict[str, Any]:
    era = daemon.blobs.begin_sweep()
    nodes: set[Digest] = set()
    blobs = conflicts.conflict_digests(daemon.db.read())
    roots = kept_roots(daemon)
    progress.begin(Phase.NAMING, len(roots))
    for root in roots:
        blobs.update(file_sizes(daemon, root, nodes))
        progress.add()
    plan = daemon.blobs.plan_sweep(era, blobs, nodes)
    if not dry_run:
        progress.begin(Phase.REMOVING, plan.blobs + plan.nodes)
        plan.execute(progress.add)
    return {"schema": 1, "blobs": plan.blobs, "nodes": plan.nodes, "bytes": plan.bytes, "dry_run": dry_run}


async def examine(daemon: Daemon, request: web.Request) -> Any:
    """What a doctor would look at, each with its mend."""
    checks = [_check_cloud(daemon), await asyncio.to_thread(_check_disk, daemon)]
    for supervisor in daemon.supervisors.values():
        halt = supervisor.halt
        name = show_path(supervisor.engine.replica.row.root)
        if halt is not None:
            checks.append({"name": name, "status": "fail", "message": halt.message, "fix": halt.hint})
        elif why := supervisor.lookout.why_polling:
            checks.append({"name": name, "status": "warn", "message": "not all of it can be watched: polling instead", "fix": why})
        else:
            checks.append({"name": name, "status": "ok", "message": "watched", "fix": ""})
    return {"schema": 1, "checks": checks}


def _check_cloud(daemon: Daemon) -> dict[str, str]:
    if daemon.link.state == "connected":
        return {"name": "cloud", "status": "ok", "message": f"connected to {daemon.link.url}", "fix": ""}
    if daemon.link.state == "signed-out":
        message = daemon.link.message or "not signed in: everything stays on this machine"
        return {"name": "cloud", "status": "warn", "message": message, "fix": "fst login --cloud URL"}
    message = daemon.link.message or "not connected"
    return {"name": "cloud", "status": "warn", "message": message, "fix": "Work goes on here; it is sent when the cloud is back."}


def _check_disk(daemon: Daemon) -> dict[str, str]:
    usage = shutil.disk_usage(daemon.settings.places.data)
    status = "ok" if usage.free > LOW_DISK_BYTES else "warn"
    fix = "" if status == "ok" else "Free some space, or let go of old states with `fst gc`."
    return {"name": "disk", "status": status, "message": f"{usage.free // 1_000_000:,} MB free for the history", "fix": fix}


async def go_down(daemon: Daemon, request: web.Request) -> Any:
    """Stop after this answer."""
    asyncio.get_running_loop().call_later(0.05, daemon.stopping.set)
    return {"schema": 1, "stopping": True}
