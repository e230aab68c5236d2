"""Build the cloud and serve it, drained before it stops; and the other verbs of `fst cloud`."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from cloud import backup
from cloud.accounts.keys import SCOPE_DAYS, checked_scope
from cloud.accounts.session import SESSION_DAYS, USER, sign_in
from cloud.config import Settings, parse_arguments
from cloud.context import Cloud
from cloud.database.schema import epoch_of, renew_epoch
from cloud.drain import Drain, counted
from cloud.merges.drift import Drifts
from cloud.operate import collect
from cloud.operate.fsck import find_problems
from cloud.operate.migrate import migrate
from cloud.operate.upkeep import keep_up
from cloud.parts import Parts, lock_data, opened
from cloud.routes import blobs, events, pace, raw, surface, watching
from cloud.routes.envelope import CLOUD, MAX_BODY_BYTES, sign_answer, who_asks, wrap
from cloud.routes.origins import answer_preflights, let_read
from cloud.routes.pages import account, device, federated, signing, work
from cloud.routes.people import accounts, keys, oauth
from cloud.routes.surface import ALL_ROUTES, AllRoutes
from cloud.routes.work import conflicts, drift, merges, projects, replicas, retiring, snapshots, variables, versions, workspaces
from cloud.telemetry.lines import set_up_log
from cloud.telemetry.metrics import Metrics
from cloud.telemetry.ready import READINESS, Readiness
from cloud.telemetry.requests import observe
from store.errors import FastestError, Unwritable

log = logging.getLogger(f"fastest.{__name__}")

DRAIN_SECONDS: Final = 10
DRAIN: Final = web.AppKey("drain", Drain)
READ_BUFFER_BYTES: Final = 512 * 1024
SWITCH_SECONDS: Final = 0.0005
"""A thread that checks a large push must not hold up the loop (research/stack.md 5)."""
ROOMS: Final = (
    versions,  # first: aiohttp tries the routes below /v1/workspaces one by one, and pushes are most of them
    *(accounts, keys, oauth),
    *(device, signing, federated, account, work),
    *(projects, variables, workspaces, retiring, replicas, snapshots, merges, drift, blobs, raw, conflicts, events, surface),
    watching,
)


def main(arguments: Sequence[str]) -> int:
    """Run one verb; the exit code."""
    settings = parse_arguments(arguments)
    set_up_log(settings.log_level)
    try:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            return runner.run(VERBS[settings.verb](settings))
    except FastestError as error:
        print(f"fst cloud: {error.message}", error.hint, sep="\n" if error.hint else "", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


async def serve(settings: Settings) -> int:
    """Until SIGTERM or SIGINT."""
    sys.setswitchinterval(SWITCH_SECONDS)
    _allow_many_streams()
    # A folder that is all there is belongs to one process; beside a database any number may serve.
    with nullcontext() if settings.database else lock_data(settings.data):
        async with opened(settings, upgrade=True) as parts:
            return await _serve(settings, await over(parts, settings.data, wall_ms, settings.metrics_token))


async def print_token(settings: Settings) -> int:
    """A new session's token on stdout; works beside a running cloud."""
    scope = checked_scope(settings.scope)
    days = SESSION_DAYS if scope == USER else SCOPE_DAYS
    async with opened(settings) as parts:
        print(await parts.db.write(lambda tx: sign_in(tx, settings.email, wall_ms(), scope, days=days)))
    return 0


async def check(settings: Settings) -> int:
    """Every problem as a line on stdout; 1 when there is one. A cloud may be running on the folder."""
    found = 0
    async with opened(settings) as parts:
        if settings.repair:
            await parts.objects.forget_damaged(settings.data / "quarantine")
        async for problem in find_problems(parts.db, parts.objects):
            print(problem)
            found += 1
    print("clean" if not found else f"{found} problems", file=sys.stderr)
    return 1 if found else 0


async def note_restore(settings: Settings) -> int:
    """Begin a new epoch."""
    with nullcontext() if settings.database else lock_data(settings.data):
        async with opened(settings) as parts:
            print(f"new epoch {await parts.db.write(renew_epoch)}")
    return 0


async def collect_garbage(settings: Settings) -> int:
    """What would go, and then it goes. The embedded store has one process: a cloud that serves the folder collects by itself."""
    with nullcontext() if settings.database or settings.dry_run else lock_data(settings.data):
        async with opened(settings) as parts:
            plan = await collect.plan_collection(parts.db, parts.objects, collect.limits_at(wall_ms()))
            for what in ("condemn", "pardon", "remove"):
                print("{}: {} blobs, {} nodes".format(what, *plan.count(what)))
            if not settings.dry_run:
                done = await collect.execute(parts.db, parts.objects, plan)
                print(f"let go: {done.swept_blobs} blobs of {done.swept_bytes} bytes, {done.swept_nodes} nodes")
    return 0


VERBS: Final[dict[str, Callable[[Settings], Coroutine[Any, Any, int]]]] = {
    "serve": serve, "token": print_token, "fsck": check, "restored": note_restore, "gc": collect_garbage,
    "migrate": migrate, "backup": backup.back_up, "restore": backup.restore,
}  # fmt: skip


async def over(parts: Parts, data: Path, now_ms: Callable[[], int], metrics_token: str = "") -> Cloud:
    """What the routes stand on."""
    epoch, metrics = await epoch_of(parts.db.read()), Metrics(metrics_token)
    metrics.watch_database(parts.db.load)
    return Cloud(parts.db, parts.objects, parts.hub, parts.pool, parts.vault, parts.gate, now_ms, epoch, data, Drifts(), metrics)


def build(cloud: Cloud) -> web.Application:
    """All routes over what they stand on."""
    drain = Drain()
    app = web.Application(
        middlewares=[answer_preflights, observe, wrap, counted(drain), pace.bounded(who_asks)], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.extend([sign_answer, let_read])
    app[CLOUD] = cloud
    app[DRAIN] = drain
    app[READINESS] = Readiness(cloud)
    routes = [route for room in ROOMS for route in room.ROUTES]
    app.add_routes(routes)
    app[ALL_ROUTES] = AllRoutes(routes)
    return app


def running(app: web.Application) -> web.AppRunner:
    """What answers for an application."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=1, read_bufsize=READ_BUFFER_BYTES, keepalive_timeout=pace.KEEP_SECONDS)


async def _serve(settings: Settings, cloud: Cloud) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = build(cloud)
    runner = running(app)
    await runner.setup()
    try:
        port = await _listen(runner, settings)
        shown = f"[{settings.address}]" if ":" in settings.address else settings.address
        print(f"listening on http://{shown}:{port}", flush=True)
        upkeep = asyncio.create_task(keep_up(cloud))
        await stop.wait()
        upkeep.cancel()
        await _give_notice(app, settings.notice_seconds, stop)
        await _finish(runner, app)
    finally:
        await runner.cleanup()
    log.info("cloud stopped")
    return 0


def _allow_many_streams() -> None:
    """Each daemon holds one connection; the usual soft limit ends at a thousand, and is there for programs that cannot stand more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _give_notice(app: web.Application, seconds: float, stop: asyncio.Event) -> None:
    """Balancers are told first, and are served until they have seen it; a second signal cuts that short."""
    app[READINESS].leave()
    stop.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _finish(runner: web.AppRunner, app: web.Application) -> None:
    """No new connections, listeners told to come back, and time for what is being sent: aiohttp's own shutdown would not read on."""
    for site in list(runner.sites):
        await site.stop()
    app[CLOUD].hub.end_all()
    if not await app[DRAIN].finish(DRAIN_SECONDS):
        log.warning("requests were cut off", extra={"seconds": DRAIN_SECONDS})


async def _listen(runner: web.AppRunner, settings: Settings) -> int:
    site = pace.Door(runner, settings.address, settings.port, pace.most_connections())
    try:
        await site.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise Unwritable(
            f"cannot listen on {settings.address}:{settings.port}: {reason}", "Stop what uses it, or give another --listen HOST:PORT."
        ) from error
    return int(runner.addresses[0][1])


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def wall_ms() -> int:
    """UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000
