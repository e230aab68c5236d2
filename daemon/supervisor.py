"""One task a replica: it decides when to look, pull and push, and what becomes of an error.

What moved is remembered in the agenda, beside the state, so nothing is lost between cycles and no work is ever queued: each cycle
starts from what is true then. The table of states is `sync.core.state`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

from daemon.agenda import OWED_SECONDS, PASSING_TRIES, RETRY_MAX_SECONDS, Agenda
from daemon.lookout import Lookout
from daemon.remote import CloudRemote
from daemon.remote.messages import Incoming
from daemon.remote.patience import PatientRemote
from store.errors import Broken, Busy, Corrupt, FastestError, NoSpace, RootLost, Stale, Transient, VersionMoved
from store.types import RelPath, show_path, spot_of
from sync.adopt import Adopted
from sync.core.plan import Problem
from sync.core.settle import Pace
from sync.core.state import Halt, Signal, Standing, State, halt_of, signal_of, step
from sync.core.wire import BeatReplica
from sync.engine import Engine
from sync.ports import Clock
from sync.share import OWED

log = logging.getLogger(f"fastest.{__name__}")

STALE_TRIES: Final = 8
BROKEN_MAX_SECONDS: Final = 60.0
GLANCE_SECONDS: Final = 2.0
PASSING: Final = frozenset({NoSpace.code, Busy.code})
HALTING: Final = frozenset({Signal.REFUSED, Signal.CORRUPT})


class Supervisor:
    """One replica's task. All methods run on the daemon's loop; blocking work goes through the engine."""

    def __init__(
        self, engine: Engine, clock: Clock, pace: Callable[[], Pace], register: Callable[[PatientRemote], Awaitable[None]],
        begin: Callable[[Engine], Awaitable[None]], tell: Callable[[Supervisor], None],
    ) -> None:  # fmt: skip
        self.engine = engine
        self._clock = clock
        self._pace = pace
        self._register = register
        self._begin = begin
        self._tell_others = tell
        self._standing = Standing()
        self._agenda = Agenda()
        self._remote: PatientRemote | None = None
        self._registered = False
        self._failures = 0
        self._wake = asyncio.Event()
        self._cycling = asyncio.Lock()
        """Held for a whole cycle."""
        self._lock = asyncio.Lock()
        """Held by whoever is in the engine; free while a cycle waits for the cloud."""
        self.lookout = Lookout(self._agenda, clock, self._wake.set)
        self._task: asyncio.Task[None] | None = None
        self.has_looked = False
        self.problems: dict[RelPath, Problem] = {}
        self.last_error: FastestError | None = None

    # --- what others see --------------------------------------------------------------------------------------------------------

    @property
    def replica_id(self) -> str:
        """The replica's id."""
        return self.engine.replica.id

    @property
    def workspace_id(self) -> str:
        """The workspace's id."""
        return self.engine.replica.row.workspace_id

    @property
    def state(self) -> State:
        """What it is doing now."""
        return self._standing.state

    @property
    def halt(self) -> Halt | None:
        """Why it stands still, if it does; while it tries again, why it did."""
        error = self.last_error
        return self._standing.halt if error is None or signal_of(error) not in HALTING else halt_of(error)

    @property
    def keeps_failing(self) -> bool:
        """What goes wrong is no passing thing."""
        return self._failures > (STALE_TRIES if isinstance(self.last_error, Stale) else PASSING_TRIES)

    @property
    def is_paused(self) -> bool:
        """Transfer rests; states are kept here all the same."""
        return self._clock.now_ms() < self.engine.replica.row.paused_until_ms

    @property
    def is_settled(self) -> bool:
        """Nothing seen or known is still to be scanned, pulled or applied here."""
        busy = self._standing.state in (State.SCANNING, State.PLANNING, State.APPLYING)
        behind = self._agenda.behind and not self.is_paused
        return not (busy or self._agenda.waiting or behind or self._agenda.incoming or self._has_owed or self.engine.replica.again)

    @property
    def is_uploaded(self) -> bool:
        """The cloud's head is this state, as far as is known."""
        told = self.engine.replica.row.is_agreed and self._registered
        return told and not (self._agenda.unpushed or self._agenda.behind or self._agenda.incoming)

    @property
    def pending(self) -> int:
        """Names and folders still to be looked at, and messages still to be applied."""
        return self._agenda.waiting + len(self._agenda.incoming)

    @property
    def _has_owed(self) -> bool:
        return any(row.kind == OWED for row in self.engine.apart.values())

    @property
    def standing(self) -> BeatReplica:
        """How far this replica has come, for the cloud."""
        row = self.engine.replica.row
        return BeatReplica(row.id, row.agreed_version, row.agreed_root.hex(), str(self.state))

    # --- what moves it ----------------------------------------------------------------------------------------------------------

    def connected(self, remote: CloudRemote) -> None:
        """The cloud answers: catch up."""
        self._remote, self._registered = PatientRemote(remote, self._lock, self._meanwhile), False
        self._failures = 0
        self._agenda.begin_transfer()
        self._wake.set()

    def disconnected(self) -> None:
        """The cloud is gone: work goes on here."""
        if self._remote is not None:
            self._remote = None
            self._agenda.end_transfer()
            self._wake.set()

    def hear(self, incoming: Incoming) -> None:
        """A message of the cloud for this workspace. Its own name on a push it did not make: a copy of this machine made that (Q5)."""
        agreed, pushing = self.engine.replica.row.agreed_version, self._standing.state is State.PUSHING
        if incoming.replica_id != self.replica_id:
            self._agenda.hear(incoming)
        elif incoming.head is not None and not self._agenda.is_echo(incoming.head.version, agreed, pushing=pushing):
            self._agenda.ask_anew()
        self._wake.set()

    def poke(self, *, rescan: bool = False) -> None:
        """Go on now: whatever made it wait or halt may be gone."""
        self._agenda.hurry(rescan=rescan, online=self._remote is not None)
        self._wake.set()

    # --- its life ---------------------------------------------------------------------------------------------------------------

    def start(self, halt: Halt | None = None) -> None:
        """Begin; the first cycle recovers, watches and looks at everything. With `halt` a person has to resume first."""
        self._task = asyncio.create_task(self._live(halt), name=f"replica {self.replica_id}")

    async def stop(self) -> None:
        """End after the step that runs now."""
        if self._task is not None:
            async with self._lock:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.lookout.close()

    @asynccontextmanager
    async def turn(self, *, alone: bool = False) -> AsyncIterator[Engine]:
        """The engine for one verb, while no cycle is in it (`alone`: nor waits for the cloud); afterwards a cycle follows."""
        try:
            async with self._cycling if alone else nullcontext(), self._lock:
                yield self.engine
        finally:  # what was done before it failed is to be sent, too
            self._agenda.unpushed = True
            self._wake.set()

    async def reconcile(self, *, rescan: bool = False) -> None:
        """One whole cycle now; what goes wrong in it is raised."""
        await self.lookout.catch_up()
        self._failures = 0
        for _ in range(STALE_TRIES):
            self.poke(rescan=rescan)
            error = await self._cycle()
            if not isinstance(error, Stale):
                break
            rescan = False
        if error is not None:
            raise error

    async def look_now(self) -> None:
        """Keep what is in the folder at this moment, without the cloud."""
        await self.lookout.catch_up()
        async with self._lock:
            await self._open_eyes()
            self._agenda.rushed = True
            await self._look()

    async def _live(self, halt: Halt | None) -> None:
        crashes = 0
        if halt is not None:
            self._standing = Standing(State.HALTED, halt)
            await self._sleep()
        while True:
            try:
                error = await self._cycle()
                crashes = 0
                if not isinstance(error, Stale):
                    await self._sleep()
            except Exception:  # the task boundary: a mistake of ours must not end the daemon or touch other workspaces
                crashes += 1
                log.exception("a cycle broke", extra={"replica": self.replica_id})
                self.last_error = Broken("a mistake of ours stopped this workspace's cycle; nothing was lost", "The log tells it.")
                self._agenda.rescan, self._standing = True, Standing()
                await asyncio.sleep(min(BROKEN_MAX_SECONDS, 0.5 * 2 ** min(crashes, 7)))

    async def _cycle(self) -> FastestError | None:
        """One cycle, alone. Returns what stopped it."""
        async with self._cycling, self._lock:
            return await self._go_round()

    async def _go_round(self) -> FastestError | None:
        """scanning -> planning -> applying -> pushing -> idle, as far as it gets."""
        try:
            if self._standing.state in (State.WAITING, State.HALTED):
                self._agenda.rushed = True
            if self._standing.state is not State.SCANNING:
                self._signal(Signal.NUDGE if self._standing.state is State.IDLE else Signal.RESUME)
            await self._open_eyes()
            await self._look()
            self._signal(Signal.DONE)
            await self._pull()
            self._signal(Signal.DONE)
            await self._push()
            self._signal(Signal.DONE)
        except FastestError as error:
            self._fail(error)
            return error
        finally:
            self._agenda.add_dirty(self.engine.replica.take_again(), self._clock.steady())
            self._tell_others(self)
        self._failures, self.last_error = 0, None
        return None

    def _fail(self, error: FastestError) -> None:
        before, self.last_error, now = self.last_error, error, self._clock.steady()
        self._failures += 1
        if isinstance(error, VersionMoved):
            self._agenda.ask_anew()
        if isinstance(error, Stale) and self._failures <= STALE_TRIES:
            self._standing = step(self._standing, Signal.STALE)
            return
        self._agenda.hush()
        signal = Signal.TRANSIENT if isinstance(error, Stale) else signal_of(error)
        if isinstance(error, Transient | Stale):
            self._agenda.back_off(now, self._failures, error.details.get("retry_after_seconds"))
        else:
            self._agenda.resume_at = now + RETRY_MAX_SECONDS
            if before is None or before.code != error.code:
                level = logging.ERROR if isinstance(error, Corrupt) else logging.WARNING
                log.log(level, "halted", extra={"code": error.code, "replica": self.replica_id})
        self._standing = step(self._standing, signal, halt_of(error) if signal in HALTING else None)

    def _signal(self, signal: Signal) -> None:
        self._standing = step(self._standing, signal)

    # --- the steps --------------------------------------------------------------------------------------------------------------

    async def _open_eyes(self) -> None:
        """Recover and watch, once; again after the watcher died or the root was lost."""
        if not self.lookout.is_open:
            self.lookout.claim(self.engine.replica.row.root)
            await self.engine.recover()
            await self.lookout.open(self.engine.replica.row.root)

    async def _look(self) -> None:
        taken = self._agenda.take_dirty(self._clock.steady(), self._pace())
        rushed, self._agenda.rushed = self._agenda.rushed, False
        if taken is None or (not (rushed or taken.everything or self.problems) and self.engine.replica.is_as_recorded(taken.spots)):
            return
        try:
            with self._agenda.looking(taken):
                result = await self.engine.look(None if taken.everything else taken.spots)
        except RootLost:
            self.lookout.close()
            raise
        self._agenda.note_looked(taken, result.deferred, self._clock.steady())
        self._agenda.unpushed |= bool(result.changes)
        kept = {path: one for path, one in self.problems.items() if not result.covers(path)}
        self.problems = kept | {problem.path: problem for problem in result.problems}
        if troubled := {spot_of(problem.path) for problem in self.problems.values() if problem.code in PASSING}:
            self._agenda.add_troubled(troubled, self._clock.steady())
        if not self.has_looked:
            await self._begin(self.engine)
            self.has_looked = True
            self._tell_others(self)

    async def _meanwhile(self) -> None:
        """A cycle waits for the cloud: what is saved in that time is kept here at once all the same."""
        if self.engine.replica.again or self._agenda.moved_due(self._clock.steady(), self._pace()):
            async with self._lock:
                self._agenda.add_dirty(self.engine.replica.take_again(), self._clock.steady())
                try:
                    await self._look()
                except FastestError as error:  # what could not be looked at is still to be done, and the next cycle says so
                    log.info("no look beside the transfer", extra={"code": error.code, "replica": self.replica_id})
            self._tell_others(self)

    @property
    def _reachable(self) -> PatientRemote | None:
        """The cloud, when it may be asked now."""
        return None if self.is_paused or self._clock.steady() < self._agenda.transfer_at else self._remote

    async def _pull(self) -> None:
        remote = self._reachable
        if remote is None:
            if self._remote is None:  # it may have gone while a cycle waited for it, which then asked for its head
                self._agenda.end_transfer()
            self._signal(Signal.DONE)
            return
        if not self._registered:
            await self._register(remote)
            self._registered = True
        while self._agenda.incoming or self._agenda.behind:
            incoming = None if self._agenda.behind else self._agenda.incoming.take()
            try:
                adopted = await self.engine.pull(remote, incoming, self._begin_applying)
            except FastestError:
                self._agenda.ask_anew()
                raise
            if incoming is None:
                self._agenda.behind = False
            if adopted is not None:
                self._after_pull(adopted)
        self._begin_applying()
        await self._retry_owed()

    def _begin_applying(self) -> None:
        if self._standing.state is State.PLANNING:
            self._signal(Signal.DONE)

    def _after_pull(self, adopted: Adopted) -> None:
        now, stale = self._clock.steady(), adopted.stale
        self._agenda.unpushed |= adopted.clashes > 0
        if adopted.problems:
            self._agenda.owed_at = now + OWED_SECONDS
        if stale:
            self._agenda.add_dirty({spot_of(path) for path in stale}, now)
            self._agenda.rushed = self._agenda.behind = True
            raise Stale(f"{show_path(stale[0])} changed while it was being updated")

    async def _retry_owed(self) -> None:
        if self.engine.is_plan_due or (self._has_owed and self._clock.steady() >= self._agenda.owed_at):
            self._agenda.owed_at = self._clock.steady() + OWED_SECONDS
            self._after_pull(await self.engine.plan_again())

    async def _push(self) -> None:
        remote = self._reachable
        # Agreed may have moved by itself: to a push whose answer was lost, from which the folder has gone on, or back.
        if remote is None or (self.engine.replica.row.is_agreed and not self._agenda.unpushed):
            return
        self._agenda.unpushed = False
        try:
            await self.engine.push(remote)
        except FastestError:
            self._agenda.unpushed = True
            raise
        finally:
            self._agenda.settle_echo(self.engine.replica.row.agreed_version)

    # --- waiting ----------------------------------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Until something moves or a time comes."""
        while True:
            self._wake.clear()
            if self._should_go():
                return
            stopped = self._standing.state in (State.WAITING, State.HALTED)
            has_owed = self._has_owed and self._reachable is not None  # without the cloud there is nothing to be awake for
            at = self._agenda.next_at(self._pace(), stopped=stopped, has_owed=has_owed)
            try:  # a pause that runs out is seen at a glance, too
                async with asyncio.timeout(max(0.0, min(at - self._clock.steady(), GLANCE_SECONDS))):
                    await self._wake.wait()
            except TimeoutError:
                self._agenda.notice_sleep(self._clock.now_ms(), self._clock.steady())
                self.lookout.glance(self.engine.has_root, is_lost=self.halt is not None and self.halt.code == RootLost.code)

    def _should_go(self) -> bool:
        standing, has_owed = self._standing, self._has_owed
        if standing.halt is not None and standing.halt.corrupt:
            return self._agenda.rushed
        stopped, online = standing.state in (State.WAITING, State.HALTED), self._reachable is not None
        return self._agenda.should_go(self._clock.steady(), self._pace(), stopped=stopped, online=online, has_owed=has_owed)
