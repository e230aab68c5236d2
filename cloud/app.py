"""Build the cloud and serve it: one process, one data folder, drained before it stops."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from cloud.config import Settings, parse_arguments
from cloud.context import Cloud
from cloud.database import epoch_of, open_database, renew_epoch
from cloud.drain import Drain, counted
from cloud.events import Hub
from cloud.fsck import find_problems
from cloud.routes import accounts, blobs, conflicts, events, projects, replicas, snapshots, versions, workspaces
from cloud.routes.envelope import CLOUD, MAX_BODY_BYTES, wrap
from cloud.session import sign_in
from cloud.upkeep import keep_up
from store.blobs import BlobStore
from store.database import Database
from store.errors import AlreadyRunning, FastestError, Unwritable

log = logging.getLogger(f"fastest.{__name__}")

THREADS: Final = 4
DRAIN_SECONDS: Final = 10
DRAIN: Final = web.AppKey("drain", Drain)
READ_BUFFER_BYTES: Final = 512 * 1024
SWITCH_SECONDS: Final = 0.0005
"""A thread that checks a large push must not hold up the loop (research/stack.md 5)."""
ROOMS: Final = (accounts, projects, workspaces, replicas, snapshots, versions, blobs, conflicts, events)


def main(arguments: Sequence[str]) -> int:
    """Run one verb; the exit code."""
    settings = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        return VERBS[settings.verb](settings)
    except FastestError as error:
        print(f"fst cloud: {error.message}", error.hint, sep="\n" if error.hint else "", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def serve(settings: Settings) -> int:
    """Until SIGTERM or SIGINT."""
    sys.setswitchinterval(SWITCH_SECONDS)
    with lock_data(settings.data), opened(settings.data) as db, asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_serve(settings, db))


def print_token(settings: Settings) -> int:
    """A new session's token on stdout; works beside a running cloud."""
    make_private(settings.data)
    with opened(settings.data) as db:
        print(sign_in(db, settings.email, wall_ms()))
    return 0


def check(settings: Settings) -> int:
    """Every problem as a line on stdout; 1 when there is one. A cloud may be running on the folder."""
    with opened(settings.data) as db:
        store = BlobStore(db, settings.data / "blobs")
        if settings.repair:
            damaged = {problem.digest for problem in store.verify() if problem.digest is not None}
            store.forget_damaged(damaged, settings.data / "quarantine")
        found = 0
        for problem in find_problems(db, store):
            print(problem)
            found += 1
        store.close()
    print("clean" if not found else f"{found} problems", file=sys.stderr)
    return 1 if found else 0


def note_restore(settings: Settings) -> int:
    """Begin a new epoch."""
    with lock_data(settings.data), opened(settings.data) as db:
        print(f"new epoch {db.write_now(renew_epoch)}")
    return 0


VERBS: Final[dict[str, Callable[[Settings], int]]] = {
    "serve": serve, "token": print_token, "fsck": check, "restored": note_restore,
}  # fmt: skip


@contextmanager
def opened(data: Path) -> Iterator[Database]:
    """The database of a data folder."""
    db = open_database(data)
    try:
        yield db
    finally:
        db.close()


@asynccontextmanager
async def running(db: Database, data: Path, now_ms: Callable[[], int]) -> AsyncIterator[web.Application]:
    """The application over an open database."""
    pool = ThreadPoolExecutor(THREADS, "cloud")
    store = BlobStore(db, data / "blobs")
    cloud = Cloud(db, store, Hub(), pool, now_ms, epoch_of(db.read()), data)
    try:
        yield build(cloud)
    finally:
        pool.shutdown()
        store.close()


def build(cloud: Cloud) -> web.Application:
    """All routes over what they stand on."""
    drain = Drain()
    app = web.Application(middlewares=[wrap, counted(drain)], client_max_size=MAX_BODY_BYTES)
    app[CLOUD] = cloud
    app[DRAIN] = drain
    for room in ROOMS:
        app.add_routes(room.ROUTES)
    return app


async def _serve(settings: Settings, db: Database) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(db, settings.data, wall_ms) as app:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, read_bufsize=READ_BUFFER_BYTES)
        await runner.setup()
        try:
            port = await _listen(runner, settings)
            shown = f"[{settings.address}]" if ":" in settings.address else settings.address
            print(f"listening on http://{shown}:{port}", flush=True)
            upkeep = asyncio.create_task(keep_up(app[CLOUD]))
            await asyncio.wait([upkeep, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            upkeep.cancel()
            await _finish(runner, app)
        finally:
            await runner.cleanup()
    log.info("cloud stopped")
    return 0


async def _finish(runner: web.AppRunner, app: web.Application) -> None:
    """No new connections, listeners told to come back, and time for what is being sent: aiohttp's own shutdown would not read on."""
    for site in list(runner.sites):
        await site.stop()
    app[CLOUD].hub.end_all()
    if not await app[DRAIN].finish(DRAIN_SECONDS):
        log.warning("requests were cut off", extra={"seconds": DRAIN_SECONDS})


async def _listen(runner: web.AppRunner, settings: Settings) -> int:
    site = web.TCPSite(runner, settings.address, settings.port, reuse_address=True)
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


@contextmanager
def lock_data(data: Path) -> Iterator[None]:
    """Nobody else serves or checks this folder meanwhile. Raises AlreadyRunning, Unwritable."""
    make_private(data)
    try:
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unwritable(f"cannot write to {data}: {error.strerror}") from error
    try:
        _take_lock(lock, data)
        yield
    finally:
        os.close(lock)


def _take_lock(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"another cloud holds {data}", "Stop it, or give another --data DIR.") from None


def make_private(data: Path) -> None:
    """The folder, for its owner only. Raises Unwritable."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"cannot make {data}: {error.strerror}") from error


def wall_ms() -> int:
    """UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000
