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
from store import conflicts, history, journal, snapshots, workspaces
from store.blobs import Problem
from store.errors import FastestError
from store.manifest import check_manifest, node_digests
from store.types import Digest, parse_digest, show_path
from sync.progress import Phase, Progress
from sync.transfer import fetch_blobs

if TYPE_CHECKING:
    from daemon.app import Daemon

LOW_DISK_BYTES: Final = 1024 * 1024 * 1024
SHOWN_PROBLEMS: Final = 1000


class FsckBody(msgspec.Struct):
    """The body of `POST /v1/fsck`."""

    repair: bool = False
    cloud: bool = False


async def check_store(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
    """Read every byte back; `repair` fetches what is damaged or missing from the cloud."""
    body = await read_body(request, FsckBody)
    progress = Progress()
    return follow_work(daemon.start_work(_check(daemon, body, progress)), progress, daemon.clock.steady)


async def _check(daemon: Daemon, body: FsckBody, progress: Progress) -> dict[str, Any]:
    found = await asyncio.to_thread(_read_back, daemon, progress)
    if body.repair:
        # What cannot be read is lacking from now on, and can be fetched.
        await asyncio.to_thread(daemon.blobs.forget_damaged, [one.digest for one in found if one.digest is not None])
    problems = [one.message for one in found]
    wanted, broken = await asyncio.to_thread(_check_manifests, daemon, progress)
    problems += broken
    lacking = await asyncio.to_thread(daemon.blobs.lacking, wanted)
    repaired = 0
    if lacking and body.repair and daemon.link.remote is not None:
        try:
            await fetch_blobs(daemon.link.remote, daemon.blobs, {digest: wanted[digest] for digest in sorted(lacking)}, progress)
            repaired, lacking, problems = len(lacking), set(), list(broken)
        except FastestError as error:
            problems.append(f"not repaired: {error.message}")
    problems += [f"blob {digest.hex()} is named by a kept state and is not here" for digest in sorted(lacking)]
    return {"schema": 1, "clean": not problems, "blobs": len(wanted), "repaired": repaired, "problems": problems[:SHOWN_PROBLEMS]}


def _read_back(daemon: Daemon, progress: Progress) -> list[Problem]:
    progress.begin(Phase.READING, daemon.blobs.bytes_to_read())
    return list(daemon.blobs.verify(progress.add))


def _check_manifests(daemon: Daemon, progress: Progress) -> tuple[dict[Digest, int], list[str]]:
    """The content every kept state names with its size, and what is wrong with their manifests."""
    wanted: dict[Digest, int] = {}
    broken: list[str] = []
    seen: set[Digest] = set()
    roots = sorted(kept_roots(daemon))
    progress.begin(Phase.TRACING, len(roots))
    for root in roots:
        try:
            check_manifest(root, daemon.blobs)
            wanted |= file_sizes(daemon, root, seen)
        except FastestError as error:
            broken.append(f"manifest {root.hex()}: {error.message}")
        progress.add()
    return wanted, broken


def kept_roots(daemon: Daemon) -> set[Digest]:
    """Every manifest root that something on this machine names and has: replicas, log, acts, snapshots, journal."""
    reader = daemon.db.read()
    roots = history.log_roots(reader)
    for row in workspaces.list_replicas(reader):
        roots |= {row.full_root, row.shared_root, row.shared_full, row.agreed_root}
        left = journal.pending(reader, row.id)
        if left is not None:
            roots |= {left.from_root, left.to_root}
    learned = snapshots.snapshot_roots(reader) - roots
    # A snapshot the cloud told of names a manifest that may never have been needed here.
    return roots | (learned - daemon.blobs.lacking_nodes(learned))


def file_sizes(daemon: Daemon, root: Digest, seen: set[Digest]) -> dict[Digest, int]:
    """The content of every file under this root with its size, without the nodes in `seen` (which grows)."""
    found: dict[Digest, int] = {}
    for digest in node_digests(root, daemon.blobs, seen):
        for record in daemon.blobs.read_node(digest).entries:
            if record.hash is not None:
                found[parse_digest(record.hash)] = record.size or 0
    return found


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
        elif supervisor.is_polling:
            fix = "Raise the limit: sudo sysctl fs.inotify.max_user_watches=1048576"
            checks.append({"name": name, "status": "warn", "message": "too many folders to watch: polling instead", "fix": fix})
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
