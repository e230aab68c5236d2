"""Build the daemon's parts, start and stop them in order, and hold the lock that keeps it single."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import uvloop

from daemon import verbs
from daemon.api import serve_api
from daemon.api.attach import FIRST_VERSION, Attached
from daemon.client.place import SOCKET_RECORD
from daemon.config import Settings, make_places
from daemon.git import GitFolder
from daemon.login import Accounts, system_keyring, write_private
from daemon.logs import start_logging
from daemon.mend.folders import note_folders
from daemon.mend.rescue import SEGMENTS, STORE_FILE, open_store
from daemon.mend.starts import FAST_SECONDS, Crashes, hold_lock
from daemon.remote.link import CloudLink
from daemon.remote.patience import PatientRemote
from daemon.supervisor import Supervisor
from daemon.upkeep import Upkeep, share_heaps
from daemon.verbs import Author
from store import snapshots, workspaces
from store.blobs import BlobStore
from store.database import Database, Tx, drop_copy
from store.errors import Busy, NotAWorkspace, NotFound, NotSignedIn
from store.manifest import EMPTY_ROOT
from store.types import File, RelPath, new_ulid, show_path
from sync.core.brake import Limits
from sync.core.merge.style import Style
from sync.core.secrets import CONTENT_BYTES, looks_secret
from sync.core.settle import Pace
from sync.core.state import Halt, halt_of
from sync.engine import Engine, Policy
from sync.incoming import check_state, epoch_changed
from sync.replica import LocalReplica
from sync.scan import Scanner

log = logging.getLogger(f"fastest.{__name__}")
T = TypeVar("T")

VERSION: Final = "0.1.0"
THREADS: Final = 4
SWITCH_SECONDS: Final = 0.0005
"""A thread that hashes must not hold up the loop (research/stack.md 5)."""


class SystemClock:
    """The real one."""

    def now_ms(self) -> int:
        """UTC milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def steady(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class Daemon:
    """Everything that lives while the daemon runs; the API's handlers are given this."""

    def __init__(self, settings: Settings, db: Database, blobs: BlobStore) -> None:
        self.settings = settings
        self.db = db
        self.blobs = blobs
        self.clock = SystemClock()
        self.boot_id = _boot_id()
        self.accounts = Accounts(settings.places.account_file, settings.places.account_key, system_keyring(settings.places))
        self.machine_id, self.machine_name = _this_machine(db, self.clock, settings.machine_name)
        self.supervisors: dict[str, Supervisor] = {}
        self.link = CloudLink(
            (self.machine_id, self.machine_name, platform.system().lower(), VERSION), lambda: list(self.supervisors.values())
        )
        self.upkeep = Upkeep(self)
        self.stopping = asyncio.Event()
        self._works: set[asyncio.Task[Any]] = set()

    def start_work(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Something that goes on to its end even when whoever asked for it has hung up."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._end_work)
        return task

    def _end_work(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled():
            task.exception()  # asked for here, so that one nobody waited for is no complaint of the loop's

    # --- replicas ---------------------------------------------------------------------------------------------------------------

    def start_replica(self, replica_id: str, halt: Halt | None = None) -> Supervisor:
        """One more task: recover, watch, look, follow; `halt`: only once a person says so."""
        replica = LocalReplica(self.db, self.blobs, self.clock, replica_id, Style(self.settings.conflict_style))
        scanner = Scanner(replica.index, replica.ignore, self.blobs, time.time_ns, progress=replica.progress)
        git = GitFolder(replica.row.root, os.environ)
        engine = Engine(replica, scanner, git, self._policy, asyncio.to_thread)
        supervisor = Supervisor(
            engine, self.clock, self._pace, lambda remote: self._register(engine, remote), self._begin, self.upkeep.notice
        )
        self.supervisors[replica_id] = supervisor
        supervisor.start(halt)
        note_folders(self.settings.places.state, self.db.read())
        if self.link.remote is not None:
            supervisor.connected(self.link.remote)
        return supervisor

    def find(self, path: bytes) -> Supervisor:
        """The replica whose folder holds this path. Raises NotAWorkspace."""
        real = os.path.realpath(path)
        for supervisor in self.supervisors.values():
            root = supervisor.engine.replica.row.root
            if real == root or real.startswith(root + b"/"):
                return supervisor
        raise NotAWorkspace(f"{show_path(path)} is in no workspace", "Make it one with `fst up`.")

    def find_attached(self, root: bytes) -> Attached | None:
        """What this very folder is already."""
        for supervisor in self.supervisors.values():
            row = supervisor.engine.replica.row
            if row.root == root:
                return Attached(workspaces.get_workspace(self.db.read(), row.workspace_id), row, False)
        return None

    def own_folders(self) -> list[bytes]:
        """Where our own files are: no workspace may hold or lie in these."""
        places = self.settings.places
        return [os.path.realpath(os.fsencode(folder)) for folder in (places.data, places.state, places.config, places.runtime)]

    def roots(self) -> list[bytes]:
        """Every folder that is a workspace here."""
        return [supervisor.engine.replica.row.root for supervisor in self.supervisors.values()]

    async def _begin(self, engine: Engine) -> None:
        """The first look is kept: a workspace that begins here gets its first snapshot before anything is sent."""
        row = engine.replica.row
        if row.agreed_root == EMPTY_ROOT and row.agreed_version == FIRST_VERSION and row.full_root != EMPTY_ROOT:
            await engine.share()
            if not snapshots.list_snapshots(self.db.read(), row.workspace_id, newest=1):
                await engine.verb(verbs.take_snapshot, "First state", Author(), source="system")

    # --- the cloud --------------------------------------------------------------------------------------------------------------

    async def _register(self, engine: Engine, remote: PatientRemote) -> None:
        """Make project, workspace and replica known; all idempotent by id. Learn the epoch, or see that it changed."""
        row, cloud = engine.replica.row, remote.cloud
        workspace = workspaces.get_workspace(self.db.read(), row.workspace_id)
        if not workspace.registered:
            await self._add_workspace(workspace, remote)
        try:
            known = await remote.workspace(row.workspace_id)
        except NotFound as error:
            if row.epoch:
                # Deleted over there, or younger than the backup that the cloud was restored from.
                raise epoch_changed() if error.details.get("epoch", row.epoch) != row.epoch else error from error
            await self._add_workspace(workspace, remote)  # a person said so (`fst approve`)
            known = await remote.workspace(row.workspace_id)
        await remote.aside(cloud.add_replica(row.workspace_id, row.id, self.machine_id, show_path(row.root)))
        if row.epoch:
            check_state(row, known)
        if not workspace.registered or not row.epoch:

            def work(tx: Tx) -> None:
                workspaces.set_registered(tx, row.workspace_id)
                workspaces.set_agreed(tx, row.id, row.agreed_version, row.agreed_root, known.epoch)

            await asyncio.to_thread(self.db.write_now, work)
            engine.replica.row = msgspec.structs.replace(engine.replica.row, epoch=known.epoch)

    async def _add_workspace(self, workspace: workspaces.Workspace, remote: PatientRemote) -> None:
        body = {"id": workspace.id, "name": workspace.name, "machine_id": self.machine_id}
        await remote.aside(remote.cloud.add_project(workspace.project_id, workspace.project_name))
        await remote.aside(remote.cloud.add_workspace(workspace.project_id, body))

    def sign_in(self) -> None:
        """Take up the stored sign-in, if there is one."""
        try:
            account = self.accounts.read()
        except (Busy, NotSignedIn) as error:
            self.link.message = f"{error.message}. {error.hint}"
            log.warning("sign-in not readable", extra={"code": error.code})
            return
        if account is not None:
            self.link.sign_in(account.url, account.token)

    # --- policy -----------------------------------------------------------------------------------------------------------------

    def _policy(self) -> Policy:
        settings = self.settings
        suspect = self._suspect if settings.secrets_hold else None
        return Policy(Limits(settings.brake_files, settings.brake_share), suspect, self.boot_id)

    def _suspect(self, path: RelPath, entry: File) -> str | None:
        data = self.blobs.get(entry.digest) if entry.size <= CONTENT_BYTES else self._beginning(entry)
        return looks_secret(path, data)

    def _beginning(self, entry: File) -> bytes:
        pieces, size = [], 0
        for piece in self.blobs.stream(entry.digest):
            pieces.append(piece)
            size += len(piece)
            if size >= CONTENT_BYTES:
                break
        return b"".join(pieces)

    def _pace(self) -> Pace:
        return Pace(quiet_ms=self.settings.settle_quiet_ms, max_ms=self.settings.settle_max_ms)


def run(settings: Settings) -> int:
    """The daemon, in the foreground, until it is told to stop. Raises AlreadyRunning, NewerStore, StoreDamaged."""
    places = settings.places
    make_places(places)
    with hold_lock(places.state) as was_cut_off:
        start_logging(places.logs)
        crashes = Crashes(places.state)
        with crashes.watch(places.state):
            db = open_store(places, doubted=was_cut_off)
            try:
                sys.setswitchinterval(SWITCH_SECONDS)
                share_heaps()
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_live(settings, db, BlobStore(db, places.data / SEGMENTS), crashes))
            finally:
                db.close()
        drop_copy(places.data / STORE_FILE)
    return 0


async def _live(settings: Settings, db: Database, blobs: BlobStore, crashes: Crashes) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="work"))
    daemon = Daemon(settings, db, blobs)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, daemon.stopping.set)
    await asyncio.to_thread(daemon.sign_in)
    loop.call_later(FAST_SECONDS, crashes.forget)
    loop_error = crashes.loop
    if loop_error is not None:
        log.error("safe mode", extra={"code": loop_error.code})
    for row in workspaces.list_replicas(db.read()):
        daemon.start_replica(row.id, None if loop_error is None else halt_of(loop_error))
    tasks = [asyncio.create_task(daemon.link.run(), name="link"), asyncio.create_task(daemon.upkeep.run(), name="upkeep")]
    places = settings.places
    async with serve_api(daemon, places.socket):
        write_private(places.state / SOCKET_RECORD, os.fsencode(places.socket))
        log.info("daemon up", extra={"pid": os.getpid(), "workspaces": len(daemon.supervisors)})
        await daemon.stopping.wait()
    await asyncio.gather(*(supervisor.stop() for supervisor in daemon.supervisors.values()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.info("daemon down")


def _this_machine(db: Database, clock: SystemClock, chosen: str) -> tuple[str, str]:
    known = workspaces.get_machine(db.read())
    if known is None:
        known = new_ulid(clock.now_ms()), socket.gethostname() or "machine"
        db.write_now(lambda tx: workspaces.set_machine(tx, *known))
    return known[0], chosen or known[1]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
