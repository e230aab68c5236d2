"""One history: machines, their cloud and their people on one simulated clock, then rest, and judgement."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from store.database import Database
from tests.simulation import judges
from tests.simulation.cloud import NAMES, SimulatedCloud, make_cloud
from tests.simulation.disk import KEYS, Died
from tests.simulation.features import Action, Features
from tests.simulation.loop import VirtualLoop
from tests.simulation.machine import Machine, make_store
from tests.simulation.people import Ledger, Person
from tests.simulation.system import Sizes, Stores, System, installed

REST_ROUNDS = 60
LAST_SECONDS = 1.5
"""What is still to go wrong has so long after the last action."""
_numbers = itertools.count()


class History(NamedTuple):
    seed: int
    machines: int
    actions: tuple[Action, ...]
    sizes: Sizes = Sizes()
    features: Features = Features()


class Outcome(NamedTuple):
    blamed: list[str]
    counts: Counter[str]
    trace: list[Any]


@cache
def templates() -> Path:
    """Ready data folders, copied for each history; in memory where the system has a place for that."""
    shm = Path("/dev/shm")
    top = Path(tempfile.mkdtemp(prefix="fst-simulation-", dir=shm if os.access(shm, os.W_OK) else None))
    make_cloud(top / "cloud")
    for name in NAMES:
        make_store(top / name, name)
    return top


class World:
    def __init__(self, history: History) -> None:
        self.history = history
        self.rng = random.Random(history.seed)
        self.loop = VirtualLoop(self.rng)
        self.system = System()
        self.stores = Stores()
        self.ledger = Ledger()
        self.blamed: list[str] = []
        self.counts: Counter[str] = Counter()
        self.trace: list[Any] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        top = templates()
        self._folder = top / str(next(_numbers))
        self.machines: dict[str, Machine] = {}
        for name in NAMES[: history.machines]:
            shutil.copytree(top / name, self._folder / name)
            machine = self.machines[name] = Machine(self, name, self._folder / name)
            self.system.disks[b"/" + name.encode()] = machine.disk
            self.stores.disks[str(machine.folder)] = machine.disk
            machine.disk.unlinked = lambda node, machine=machine: self.ledger.owe_unlinked(machine, node)  # type: ignore[misc]
            machine.disk.told = lambda path, names, name=name: self.trace.append((self.loop.now, name, path, names))  # type: ignore[misc]
        machine.disk.key = KEYS.get(history.features.folds)  # the last one's
        if "markers" in history.features.styles:
            self.ledger.lines |= {b"<<<<<<< ours", b"=======", b">>>>>>> theirs"}
        shutil.copytree(top / "cloud", self._folder / "cloud")

    def blame(self, kind: str, what: str) -> None:
        self.blamed.append(f"{kind}: {what}")

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.blame("broken", repr(task.exception()))

    def near_commit(self, db: Database, is_over: bool) -> None:
        folder = str(db.path.parent)
        for machine in self.machines.values():
            if str(machine.folder) == folder:
                machine.disk.change()
                if is_over:
                    machine.disk.fresh.clear()
                return
        self.cloud.disk.change()

    # --- what happens ---------------------------------------------------------------------------------------------------------------

    def play(self, action: Action) -> None:
        _, who, verb, *arguments = action
        if who == "cloud":
            self._trouble_cloud(verb, *arguments)
            return
        machine = self.machines.get(who)
        if machine is None:
            return
        if verb in judges.TROUBLES:
            getattr(self, "_" + verb)(machine, *arguments)
        else:
            Person(machine, self.ledger).act(verb, *arguments)
            self.count("edits")

    def _trouble_cloud(self, verb: str, *arguments: Any) -> None:
        cloud = self.cloud
        match verb:
            case "kill":
                cloud.disk.plan_at(arguments[0], cloud.die)
            case "back_up":
                cloud.back_up()
            case _:
                cloud.restore()

    def _kill(self, machine: Machine, changes: int, seconds: float) -> None:
        machine.disk.plan_at(changes, lambda: machine.die(cut=False, seconds=seconds))

    def _cut(self, machine: Machine, changes: int, seconds: float) -> None:
        machine.disk.plan_at(changes, lambda: machine.die(cut=True, seconds=seconds))

    def _meet(self, machine: Machine, changes: int, verb: str, *arguments: Any) -> None:
        """A person acts right before the engine's change that is so many ahead."""
        machine.disk.plan_at(changes, lambda: self.play((0, machine.name, verb, *arguments)))

    def _fault(self, machine: Machine, kind: str) -> None:
        machine.remote.faults.append(kind)

    def _drop(self, machine: Machine) -> None:
        self.count("connection cut")
        machine.hang_up()

    def _jump(self, machine: Machine, seconds: float) -> None:
        self.count("clock jumped")
        machine.skew_seconds += seconds

    def _deafen(self, machine: Machine, seconds: float) -> None:
        if machine.is_running and not machine.disk.is_dead:
            self.count("events lost")
            machine.ears.go_deaf(seconds)

    def _ask(self, machine: Machine, verb: str, *arguments: Any) -> None:
        if machine.is_running and not machine.disk.is_dead:
            machine.asker.ask(verb, *arguments)

    def _hold(self, machine: Machine, holds: bool) -> None:
        machine.set_holding(holds)

    def _git(self, machine: Machine, seconds: float) -> None:
        self.count("git at work")
        machine.git.holders += 1
        self.loop.call_later(seconds, machine.git.end)

    def _tidy(self, machine: Machine) -> None:
        """`fst gc`, between two verbs."""
        if machine.is_running and not machine.disk.is_dead and not machine.supervisor._lock.locked():
            with suppress(Died):
                machine.collect_garbage()

    # --- from the beginning to the end ------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        state = random.getstate()
        random.seed(self.history.seed)
        broken = _Broken()
        logger = logging.getLogger("fastest")
        logger.addHandler(broken)
        asyncio.set_event_loop(None)
        try:
            with installed(self.system, self.stores, self.history.sizes, self.near_commit, chunks=self.history.features.chunks):
                self.cloud = SimulatedCloud(self, self._folder / "cloud")
                self.stores.disks[str(self.cloud.folder)] = self.cloud.disk
                self.cloud.open()
                self.loop.run_until_complete(self._live())
        finally:
            logger.removeHandler(broken)
            random.setstate(state)
            shutil.rmtree(self._folder)
            self.loop.close()
        self.blamed += [f"broken: {text}" for text in broken.said]
        self.counts["changes"] = sum(machine.disk.changes for machine in self.machines.values())
        return Outcome(self.blamed, self.counts, self.trace)

    async def _live(self) -> None:
        began = self.loop.now
        for machine in self.machines.values():
            machine.start()
        for action in self.history.actions:
            if (wait := began + action[0] - self.loop.now) > 0:
                await self.loop.pause(wait)
            self.play(action)
        await self.loop.pause(LAST_SECONDS)
        await self._rest()
        judges.judge(self)
        for machine in self.machines.values():
            await machine.asker.leave()
            await machine.supervisor.stop()
            machine.close()
        self.cloud.close()

    async def _rest(self) -> None:
        """Trouble ends, everybody comes back, and a person approves what waits for one; then it must come to rest."""
        for disk in (self.cloud.disk, *(machine.disk for machine in self.machines.values())):
            disk.plans.clear()
        for machine in self.machines.values():
            machine.remote.faults.clear()
            if self.history.features.secrets and self.history.features.lets_go:
                machine.set_holding(False)
        for _ in range(REST_ROUNDS):
            await self.loop.pause(1.0)
            up = self.cloud.is_up and all(each.is_running and not each.disk.is_dead for each in self.machines.values())
            if up:
                for machine in self.machines.values():
                    machine.approve()
                    if machine.supervisor.engine.replica.row.paused_until_ms:
                        machine.asker.ask("resume")
                if judges.is_at_rest(self):
                    return
        self.blame("diverged", judges.describe(self))


class _Broken(logging.Handler):
    """What the product itself calls a mistake of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))
