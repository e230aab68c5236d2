"""One machine: the real supervisor, engine, scanner, store and database over a simulated disk; killed, cut off, restarted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daemon import verbs
from daemon.agenda import Agenda
from daemon.api.operate import _collect
from daemon.app import Daemon
from daemon.lookout import Lookout
from daemon.mend.kept import kept_roots, trace
from daemon.mend.rescue import COMPONENTS
from daemon.remote import CloudRemote
from daemon.remote.messages import parse_event
from daemon.supervisor import Supervisor
from store import workspaces
from store.atomic import TEMP_PREFIX
from store.blobs import BlobStore
from store.blobs.segments import SEGMENT_MAX
from store.database import Database
from store.manifest import EMPTY_ROOT
from store.types import Digest, Spot
from store.workspaces import Replica, Workspace
from sync.core.brake import Limits
from sync.core.merge.style import Style
from sync.core.settle import Pace
from sync.engine import Engine, Policy
from sync.outgoing.steps import Bounds
from sync.progress import Progress
from sync.replica import LocalReplica
from sync.scan import Scanner
from tests.simulation.asking import Asker
from tests.simulation.cloud import MACHINES, NAMES, PROJECT, REPLICAS, WORKSPACE
from tests.simulation.disk import FIRST_INODE, Died, Disk
from tests.simulation.network import Remote
from tests.simulation.people import Tree, contents_in, tree_of

if TYPE_CHECKING:
    from tests.simulation.world import World

FIRST_NS = 1_700_000_000_000_000_000
EVENT_SECONDS = 0.005
RECONNECT_SECONDS = 0.3
ROOMY = Limits(1_000_000, 1.0)
SMALL_SEGMENT = 4096


def make_store(folder: Path, name: str) -> None:
    """A store with the rows of an empty replica; the first machine made the workspace, the others join it."""
    folder.mkdir(parents=True)
    db = Database.open(folder / "store.db", COMPONENTS, threaded=False)
    number = NAMES.index(name)
    row = Replica(
        REPLICAS[name], WORKSPACE, b"/" + name.encode(), number, FIRST_INODE + 1, EMPTY_ROOT, EMPTY_ROOT, EMPTY_ROOT,
        0 if number else 1, EMPTY_ROOT, "", 0,
    )  # fmt: skip
    db.write_now(lambda tx: workspaces.set_machine(tx, MACHINES[name], name))
    db.write_now(lambda tx: workspaces.add_workspace(tx, Workspace(WORKSPACE, PROJECT, "thing", "main", 1, True)))
    db.write_now(lambda tx: workspaces.add_replica(tx, row))
    db.close()


class Ears(Lookout):
    """A watcher that hears of each change a little later; while it is deaf, of none, and that it was deaf once that ends."""

    def __init__(self, agenda: Agenda, machine: Machine, wake: Any) -> None:
        super().__init__(agenda, machine, wake)
        self._machine = machine
        self._loop = machine.world.loop
        self._spots: set[Spot] = set()
        self._is_open = False
        self.is_deaf = False

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def has_died(self) -> bool:
        return False

    @property
    def has_news(self) -> bool:
        return bool(self._spots) or self.is_deaf

    async def open(self, root: bytes) -> None:
        self._is_open, self._agenda.rescan = True, True
        self._machine.disk.heard = self._note

    def close(self) -> None:
        self._is_open = False
        self._spots.clear()

    async def catch_up(self) -> None:
        self._tell()

    def _note(self, spot: Spot) -> None:
        if self._is_open and not self.is_deaf:
            if not self._spots:
                self._loop.call_later(self._loop.rng.random() * EVENT_SECONDS, self._tell)
            self._spots.add(spot)

    def _tell(self) -> None:
        if self._spots:
            self._agenda.add_dirty(self._spots, self._loop.now)
            self._spots = set()
            self._wake()

    def go_deaf(self, seconds: float) -> None:
        self.is_deaf = True
        self._loop.call_later(seconds, self._hear_again)

    def _hear_again(self) -> None:
        self.is_deaf, self._agenda.rescan = False, True
        self._wake()


class SimulatedGit:
    """A folder of git's, from when a person first does anything with it."""

    def __init__(self) -> None:
        self.commits = 0
        self.holders = 0

    def head(self) -> str:
        return f"commit {self.commits}" if self.commits else ""

    def is_at_work(self) -> bool:
        return self.holders > 0

    def excludes(self) -> tuple[bytes, bytes]:
        return b"", b""

    def end(self) -> None:
        self.holders -= 1
        self.commits += 1


class Machine:
    """It plays the clock and, for registering, the daemon."""

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self.world = world
        self.name = name
        self.folder = folder
        self.machine_id = MACHINES[name]
        self.skew_seconds = 0.0
        self.boots = 0
        self.is_running = self.is_online = False
        self.features = world.history.features
        self.holds_secrets = self.features.secrets
        self.has_let_go = not self.holds_secrets
        self.approvals = 0
        self.taken: dict[str, Tree] = {}
        """What was in the folder when a snapshot was taken that a person asked for."""
        self.acted: Tree = {}
        """What restores and the like left where they changed something; a path that is not there any more is an empty entry."""
        self.git = SimulatedGit()
        self.disk = Disk(NAMES.index(name), world.rng, self.wall_ns)
        self.remote = Remote(self)
        self.exposed: set[bytes] = set()
        """Paths that the engine changed just before it died, until its next life has kept what it found."""
        self._connects = 0

    # --- its clock ------------------------------------------------------------------------------------------------------------------

    def wall_ns(self) -> int:
        return FIRST_NS + int((self.world.loop.now + self.skew_seconds) * 1e9)

    def now_ms(self) -> int:
        return self.wall_ns() // 1_000_000

    def steady(self) -> float:
        return self.world.loop.now

    # --- its life -------------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self.db = Database.open(self.folder / "store.db", COMPONENTS, threaded=False)
        self.blobs = BlobStore(self.db, self.folder / "segments", SMALL_SEGMENT if self.features.chunks else SEGMENT_MAX)

    def start(self) -> None:
        """A daemon's start; the store is checked first when it is not the first one."""
        self.disk.is_dead = False
        self.open()
        if self.boots or self.exposed:
            for problem in self.problems():
                self.world.blame("fsck", f"{self.name}: {problem}")
        styles = self.features.styles
        replica = LocalReplica(
            self.db, self.blobs, self, REPLICAS[self.name], Style(styles[NAMES.index(self.name)]) if styles else Style.RECORD
        )
        scanner = Scanner(replica.index, replica.ignore, self.blobs, self.wall_ns, progress=replica.progress)
        engine = Engine(replica, scanner, self.git, self._policy, self._run, Bounds(self.world.history.sizes.push_changes))
        daemon = cast(Daemon, self)
        self.asker = Asker(self)
        self.supervisor = Supervisor(
            engine, self, Pace, lambda remote: Daemon._register(daemon, engine, remote), lambda it: Daemon._begin(daemon, it), self._tell
        )
        agenda = self.supervisor._agenda
        self.ears = self.supervisor.lookout = Ears(agenda, self, self.supervisor._wake.set)
        self.supervisor.start()
        self.is_running = True
        self._connect_soon()

    def _policy(self) -> Policy:
        suspect = (lambda path, entry: Daemon._suspect(cast(Daemon, self), path, entry)) if self.holds_secrets else None
        limits = Limits(self.features.brake_files, 0.01) if self.features.brake_files else ROOMY
        return Policy(limits, suspect, f"boot {self.boots}")

    async def _run(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Blocking work of the engine. It takes its time, in which somebody may ask whether all is settled."""
        self._owe_if_settled(self.supervisor)
        return await (self._run_judged if self.features.brake_files else asyncio.to_thread)(work, *arguments, **options)

    async def _run_judged(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """It must not take away more than the brake lets pass."""

        def act() -> Any:
            noted, before = self.world.ledger.noted, contents_in(tree_of(self))
            try:
                return work(*arguments, **options)
            finally:
                if not self.approvals and noted == self.world.ledger.noted:
                    self._judge_taken(before, contents_in(tree_of(self)))

        return await asyncio.to_thread(act)

    def _judge_taken(self, before: dict[bytes, bytes], after: dict[bytes, bytes]) -> None:
        arrived = [data for path, data in after.items() if before.get(path) != data]
        gone = [data for path, data in before.items() if path not in after and data not in arrived]
        if len(gone) > self.features.brake_files:
            self.world.blame("mass delete", f"{self.name}: {sorted(before)} became {sorted(after)}")

    def _tell(self, supervisor: Supervisor) -> None:
        if self._owe_if_settled(supervisor):
            self.exposed.clear()

    def _owe_if_settled(self, supervisor: Supervisor) -> bool:
        is_settled = supervisor.is_settled and not self.ears.has_news
        if is_settled:
            self.world.ledger.owe(self)
        return is_settled

    def die(self, *, cut: bool, seconds: float) -> None:
        """The daemon is killed, or the power is cut; it is back after so long."""
        if not self.is_running or self.disk.is_dead:
            return
        self.disk.is_dead = True
        self.disk.plans.clear()
        self.world.count("power cut" if cut else "killed")
        self.exposed |= self.disk.fresh
        self.disk.fresh.clear()
        self.world.loop.call_soon(lambda: self.world.spawn(self._bury(cut, seconds)))

    async def _bury(self, cut: bool, seconds: float) -> None:
        task = self.supervisor._task
        assert task is not None
        await self.asker.leave()
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(ended, Died | asyncio.CancelledError):
            self.world.blame("died", f"{self.name}: {ended!r}")
        self.is_running = self.is_online = False
        self.ears.close()
        self.world.system.let_go(self.disk)
        if cut:
            self.boots += 1
            self._cut_power()
        else:
            self.close()
        self.world.ledger.look_for_torn(self)
        self.world.loop.call_later(seconds, self._start_again)

    def _start_again(self) -> None:
        if not self.is_running:
            self.start()

    def _cut_power(self) -> None:
        """Of the database what is committed stays: SQLite syncs its log before COMMIT returns, if it was told to."""
        files = {suffix: self.folder / f"store.db{suffix}" for suffix in ("", "-wal")}
        kept = {suffix: file.read_bytes() if file.exists() else b"" for suffix, file in files.items()}
        if self.db._connection.pragma("synchronous") != 2:
            kept["-wal"] = b""
        self.close()
        rng = self.world.rng
        kept["-wal"] += rng.choice((b"", bytes(4096), rng.randbytes(5000)))
        for suffix, file in files.items():
            file.write_bytes(kept[suffix])
        harmed = self.disk.cut_power() + self.world.stores.cut_power(str(self.folder / "segments"), rng)
        self.world.count("lost or torn by a power cut", harmed)

    def close(self) -> None:
        self.blobs.close()
        self.db.close()

    # --- its connection -------------------------------------------------------------------------------------------------------------

    def _connect_soon(self) -> None:
        self._connects += 1
        self.world.loop.call_later(self.world.rng.random() * RECONNECT_SECONDS, self._connect, self._connects)

    def _connect(self, attempt: int) -> None:
        if attempt != self._connects or not self.is_running or self.disk.is_dead or self.is_online:
            return
        if not self.world.cloud.is_up:
            self._connect_soon()
            return
        self.is_online = True
        self.supervisor.connected(cast(CloudRemote, self.remote))

    def hang_up(self) -> None:
        """The connection is cut; a new one is tried soon."""
        if self.is_online and self.is_running and not self.disk.is_dead:
            self.is_online = False
            self.supervisor.disconnected()
            self._connect_soon()

    def hear(self, message: bytes) -> None:
        if self.is_online and self.is_running and not self.disk.is_dead:
            self.supervisor.hear(parse_event(message))

    # --- what a person may ask of it ------------------------------------------------------------------------------------------------

    def approve(self) -> None:
        """Let pass what it waits for, if it does."""
        halt = self.supervisor.halt
        if halt is not None:
            self.approvals += 1
            verbs.approve(self.supervisor.engine.replica, halt.code, self.supervisor.engine.newest_root)
            self.supervisor.poke()

    def set_holding(self, holds: bool) -> None:
        """The setting `secrets.hold`."""
        self.holds_secrets = holds
        self.has_let_go = self.has_let_go or not holds
        if self.is_running and not self.disk.is_dead:
            self.supervisor.poke()

    def collect_garbage(self) -> None:
        _collect(cast(Daemon, self), False, Progress())

    def problems(self) -> list[str]:
        """What `fst fsck` says."""
        found = [str(problem) for problem in self.blobs.verify()]
        daemon = cast(Daemon, self)
        traced = trace(daemon, kept_roots(daemon), Progress())
        lacking = self.blobs.lacking(traced.wanted)
        return found + [*traced.broken.values()] + [f"blob {digest.hex()} is named and not here" for digest in lacking]

    def keeps(self, digest: Digest, data: bytes) -> bool:
        return self.blobs.has(digest) and self.blobs.get(digest) == data

    def temporaries(self) -> list[bytes]:
        return [path for path, _ in self.disk.walk() if path.rpartition(b"/")[2].startswith(TEMP_PREFIX)]

    def remove(self) -> None:
        shutil.rmtree(self.folder)
