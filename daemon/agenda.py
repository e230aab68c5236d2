"""What one replica still has to look at, hear and send, and when it is time: facts beside the state machine, no work queued.

A look takes what is there (`take_dirty`), and until it has ended (`looking`) that is still to be done: nothing noticed is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from typing import Final

import msgspec

from daemon.remote.inbox import Inbox
from daemon.remote.messages import Incoming
from store.types import Spot
from sync.core.settle import CALM_SECONDS, Burst, Pace, Warmth, add_event, due_seconds, warm_up

RESCAN_SECONDS: Final = 300.0
POLL_SECONDS: Final = 10.0
DEFERRED_SECONDS: Final = 0.1
OWED_SECONDS: Final = 15.0
TROUBLED_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.5
RETRY_MAX_SECONDS: Final = 30.0
PASSING_TRIES: Final = 4
"""Of what may pass by itself; what goes on is told."""
SLEPT_SECONDS: Final = 30.0
WARM_SPOTS: Final = 1_000
"""From so many on, those that came to rest are forgotten."""


class Looked(msgspec.Struct, frozen=True):
    """What a look took from the agenda; `everything` is a full rescan."""

    everything: bool
    spots: frozenset[Spot]
    began: float


class Agenda:
    """Used by the supervisor alone, on the loop."""

    def __init__(self) -> None:
        self.rescan = True
        self.behind = False
        self.unpushed = True
        self.rushed = False
        self.polling = False
        self._burst: Burst | None = None
        self._dirty: set[Spot] = set()
        self._looked_at: Looked | None = None
        """What a look is at now."""
        self._deferred: set[Spot] = set()
        self._deferred_at = 0.0
        self._troubled: set[Spot] = set()
        self._troubled_at = 0.0
        self._warm: dict[Spot, Warmth] = {}
        self._resting: set[Spot] = set()
        self._rested_at = 0.0
        self._rescan_at = 0.0
        self.owed_at = 0.0
        self.resume_at = 0.0
        self.transfer_at = 0.0
        """The cloud asked not to be asked before; 0: it did not."""
        self.incoming = Inbox()
        """Messages of the cloud that are still to be followed."""
        self._echo = 0
        self._last_seen: tuple[int, float] | None = None

    @property
    def waiting(self) -> int:
        """How many spots are still to be looked at, or are right now; a full rescan counts as one."""
        now = self._looked_at or Looked(False, frozenset(), 0.0)
        return len(self._dirty | self._deferred | self._troubled | self._resting | now.spots) + (self.rescan or now.everything)

    def add_dirty(self, spots: Set[Spot], now: float) -> None:
        """Events came for these."""
        if quick := self._let_rest(spots, now):
            self._dirty |= quick
            self._burst = add_event(self._burst, now, len(self._dirty))

    def note_looked(self, looked: Looked, deferred: Set[Spot], now: float) -> None:
        """A look ended. Whoever is looked at again and again must rest in between; what is still being written is looked at again."""
        if len(self._warm) > WARM_SPOTS:
            self._warm = {spot: warmth for spot, warmth in self._warm.items() if now <= warmth.until + CALM_SECONDS}
        for spot in looked.spots:
            self._warm[spot] = warm_up(self._warm.get(spot), looked.began, now, len(looked.spots))
        if quick := self._let_rest(deferred, now):
            self._deferred |= quick
            self._deferred_at = now + DEFERRED_SECONDS

    def _let_rest(self, spots: Set[Spot], now: float) -> Set[Spot]:
        """Put those aside that must rest; the others are returned."""
        quick = set()
        for spot in spots:
            warmth = self._warm.get(spot)
            if warmth is None or now >= warmth.until:
                quick.add(spot)
            else:
                self._rested_at = min(self._rested_at, warmth.until) if self._resting else warmth.until
                self._resting.add(spot)
        return quick

    def add_troubled(self, spots: Iterable[Spot], now: float) -> None:
        """Something there could not be kept for want of room: try again, less soon."""
        self._troubled = set(spots)
        self._troubled_at = now + TROUBLED_SECONDS

    def look_due(self, now: float, pace: Pace) -> bool:
        """It is time to look at what moved, or at everything."""
        return self.rescan or now >= self._rescan_at or self.moved_due(now, pace)

    def moved_due(self, now: float, pace: Pace) -> bool:
        """Something moved since the last look, and it has settled."""
        settled = self._burst is not None and now >= due_seconds(self._burst, pace)
        waited = bool(self._deferred) and now >= self._deferred_at
        rested = bool(self._resting) and now >= self._rested_at
        return settled or waited or rested or (bool(self._troubled) and now >= self._troubled_at)

    def take_dirty(self, now: float, pace: Pace) -> Looked | None:
        """What to look at now, or None when it is not time."""
        if not (self.look_due(now, pace) or (self.rushed and self.waiting)):
            return None
        everything = self.rescan or now >= self._rescan_at
        resting = set() if everything or self.rushed else self._still_resting(now)
        taken = Looked(everything, frozenset(self._dirty | self._deferred | self._troubled | self._resting) - resting, now)
        self._burst, self.rescan = None, False
        self._dirty, self._deferred, self._troubled, self._resting = set(), set(), set(), resting
        if everything:
            period = POLL_SECONDS if self.polling else RESCAN_SECONDS
            self._rescan_at = now + period * random.uniform(0.75, 1.25)
        return taken

    def _still_resting(self, now: float) -> set[Spot]:
        untils = {spot: self._warm[spot].until for spot in self._resting if spot in self._warm}
        resting = {spot for spot, until in untils.items() if now < until}
        self._rested_at = min((untils[spot] for spot in resting), default=0.0)
        return resting

    @contextmanager
    def looking(self, taken: Looked) -> Iterator[None]:
        """Held while a look is at these. One that fails is still to be done, but not at once again: the next rush or event takes it."""
        self._looked_at, has_ended = taken, False
        try:
            yield
            has_ended = True
        finally:
            self._looked_at = None
            if not has_ended:
                self._dirty |= taken.spots
                self.rescan = self.rescan or taken.everything

    def hush(self) -> None:
        """A cycle failed: what was due is still to be done, but only news or the time to resume call for it."""
        self._burst, self.rushed = None, False
        if self.incoming:  # left waiting, it would call for the next cycle at once, for ever
            self.ask_anew()
        self._dirty |= self._deferred | self._troubled | self._resting
        self._deferred, self._troubled, self._resting = set(), set(), set()

    def back_off(self, now: float, failures: int, asked_seconds: object = None) -> None:
        """Try again later, each time later, with jitter; transfer not before the cloud asked for, whatever is saved meanwhile."""
        wait_seconds = min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2 ** min(failures, 8))
        self.resume_at = now + wait_seconds * random.uniform(0.8, 1.2)
        if isinstance(asked_seconds, float) and asked_seconds:
            self.transfer_at = now + asked_seconds * random.uniform(1.0, 1.2)

    def hurry(self, *, rescan: bool, online: bool) -> None:
        """A person wants it now: no wait counts any more."""
        self.rescan, self.behind = self.rescan or rescan, self.behind or online
        self.unpushed = self.rushed = True
        self.resume_at = self.transfer_at = self.owed_at = 0.0

    def begin_transfer(self) -> None:
        """The cloud is there: what it has and what it lacks is not known."""
        self.behind = self.unpushed = True
        self.resume_at = 0.0

    def end_transfer(self) -> None:
        """It is gone."""
        self.behind = False
        self.incoming.clear()

    def hear(self, incoming: Incoming) -> None:
        """A message came. Too many to be followed one by one are asked for as one."""
        if not self.incoming.put(incoming):
            self.ask_anew()

    def is_echo(self, version: int, agreed_version: int, *, pushing: bool) -> bool:
        """Whether a message of a push under our own name tells of what we did; while a push is under way that is seen once it ended."""
        self._echo = max(self._echo, version) if pushing else 0
        return pushing or version <= agreed_version

    def settle_echo(self, agreed_version: int) -> None:
        """A push ended: what was heard meanwhile beyond it was not ours."""
        if self._echo > agreed_version:
            self.ask_anew()
        self._echo = 0

    def ask_anew(self) -> None:
        """Messages do not lead to the head: ask for it."""
        self.behind = True
        self.incoming.clear()

    def should_go(self, now: float, pace: Pace, *, stopped: bool, online: bool, has_owed: bool) -> bool:
        """It is time for a cycle; `stopped`: the last one failed."""
        if stopped:
            return self.rushed or self.moved_due(now, pace) or bool(self.incoming) or now >= self.resume_at
        transfer = self.unpushed or self.behind or bool(self.incoming) or (has_owed and now >= self.owed_at)
        return self.rushed or self.look_due(now, pace) or (online and transfer)

    def next_at(self, pace: Pace, *, stopped: bool, has_owed: bool) -> float:
        """When something is due by itself, on the steady clock."""
        times = [self.resume_at if stopped else self._rescan_at]
        if self._burst is not None:
            times.append(due_seconds(self._burst, pace))
        if self._deferred:
            times.append(self._deferred_at)
        if self._resting:
            times.append(self._rested_at)
        if self._troubled:
            times.append(self._troubled_at)
        if has_owed and not stopped:
            times.append(self.owed_at)
        return min(times)

    def notice_sleep(self, now_ms: int, now: float) -> None:
        """Wall time that ran ahead of steady time: the machine slept, and events may be lost."""
        if self._last_seen is not None and (now_ms - self._last_seen[0]) / 1000 - (now - self._last_seen[1]) > SLEPT_SECONDS:
            self.rescan = True
        self._last_seen = now_ms, now
