"""SIGKILL and SIGSTOP in the middle of work: the phase is read from status or seen on disk, then the victim dies or stands still at once.

One that stands still keeps its locks, its connections and its plans, while the other machine and both people go on; then it continues as
if nothing had been.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.lab.author import Author
from tests.lab.compare import digests_in
from tests.lab.ledger import Ledger
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import signal_all

ROUNDS = (
    ("a", "import"),
    ("b", "apply"),
    ("cloud", "push"),
    ("a", "push"),
    ("b", "import"),
    ("a", "apply"),
    ("cloud", "apply"),
    ("b", "push"),
)
HUNT_SECONDS = 10.0
REST_EVERY = 3
"""Only every third kill is followed by a rest: the others fall on a recovery that is still under way."""
PAUSE_SECONDS = 0.004
STOP_EVERY = 3
"""Every third trouble is a SIGSTOP."""
STOPS_SECONDS = (0.3, 1.0, 4.0)
LONG_STOP_SECONDS = 40.0
"""Longer than every heartbeat and connection lasts."""
LONG_STOP_EVERY = 30


@dataclass(frozen=True, slots=True)
class Hit:
    """One trouble: who died (or stood still for `stopped_s`), what it was to be and was seen to be in the middle of."""

    victim: str
    wanted: str
    seen: str
    stopped_s: float = 0.0

    @property
    def in_work(self) -> bool:
        return self.seen in ("import", "push", "apply")


class Storm:
    """Two authors, one a machine; what each wrote last and every settled content is checked at the end."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.hits: list[Hit] = []
        self.ledgers = [Ledger(machine) for machine in pair.machines]
        self.authors = {machine.name: Author(machine.root, share, seed) for share, machine in enumerate(pair.machines)}
        self._random = random.Random(seed)

    def run(self, kills: int) -> None:
        """That many kills and stops, then everything up and at rest."""
        self._note()
        for number in range(kills):
            victim, phase = ROUNDS[number % len(ROUNDS)]
            writer, reader = self._sides(victim, phase)
            self.hits.append(self._round(number, victim, phase, writer, reader))
            print(f"kill {number + 1}/{kills}: {self.hits[-1]}", flush=True)
            if number % REST_EVERY == REST_EVERY - 1:
                self._note()
        self.pair.converge(180)

    def check(self) -> None:
        """Both identical (told by `converge`), every last edit in place, every settled content within reach, stores clean."""
        digests = digests_in(self.pair.a.root)
        for author in self.authors.values():
            author.check(digests)
        for ledger in self.ledgers:
            asked = ledger.check()
            print(f"{ledger.machine.name}: {len(ledger.owed)} settled contents, {asked} of them asked of `fst cat`")
        self.pair.check()

    def told(self) -> str:
        """How many kills fell on which phase."""
        counted = Counter((hit.victim, "stopped" if hit.stopped_s else "killed", hit.seen) for hit in self.hits)
        return ", ".join(f"{victim} {how} in {phase}: {count}" for (victim, how, phase), count in sorted(counted.items()))

    def _note(self) -> None:
        for ledger in self.ledgers:
            ledger.note(120)

    def _sides(self, victim: str, phase: str) -> tuple[Machine, Machine]:
        a, b = self.pair.machines
        if victim == "cloud":
            return (a, b) if self._random.random() < 0.5 else (b, a)
        return (a, b) if (victim == "a") == (phase != "apply") else (b, a)

    def _round(self, number: int, victim: str, phase: str, writer: Machine, reader: Machine) -> Hit:
        author = self.authors[writer.name]
        arriving = [reader.root / path for path in author.burst_paths(number)]
        # Found before the hunt: looking through all processes takes longer than some phases last.
        doomed = self.pair.lab.processes(victim)
        writing = threading.Thread(target=author.play_burst, args=(number,), kwargs={"pause_s": PAUSE_SECONDS})
        writing.start()
        seen = _hunt_apply(arriving) if phase == "apply" else _hunt_phase(writer, phase)
        stop_s = self._stop_seconds(number)
        signal_all(doomed, signal.SIGSTOP if stop_s else signal.SIGKILL)
        writing.join()
        if stop_s:
            self._go_on_without(number, stop_s)
            signal_all(doomed, signal.SIGCONT)
        else:
            self._restart(victim)
        return Hit(victim, phase, seen, stop_s)

    def _stop_seconds(self, number: int) -> float:
        """How long the victim stands still; 0: it dies."""
        if number % STOP_EVERY != STOP_EVERY - 1:
            return 0.0
        return LONG_STOP_SECONDS if number % LONG_STOP_EVERY == LONG_STOP_EVERY - 1 else self._random.choice(STOPS_SECONDS)

    def _go_on_without(self, number: int, seconds: float) -> None:
        """Both people work on, for that long at least."""
        pace, until = threading.Event(), time.monotonic() + seconds
        for machine in self.pair.machines:
            self.authors[machine.name].play_burst(number + 10_000, files=40, changes=6, removals=0, pause_s=PAUSE_SECONDS)
        pace.wait(max(0.0, until - time.monotonic()))

    def _restart(self, victim: str) -> None:
        for role in (self.pair.a, self.pair.b, self.pair.cloud):
            if role.name == victim:
                role.kill()
                role.start()


def _hunt_phase(machine: Machine, wanted: str) -> str:
    deadline = time.monotonic() + HUNT_SECONDS
    seen = "nothing"
    while seen != wanted and time.monotonic() < deadline:
        seen = machine.phase()
    return seen


def _hunt_apply(arriving: list[Path]) -> str:
    """Apply is seen on disk: some of a burst's files have arrived, others not yet."""
    deadline = time.monotonic() + HUNT_SECONDS
    pace = threading.Event()
    while time.monotonic() < deadline:
        if any(path.exists() for path in arriving[:20]):
            return "apply" if not arriving[-1].exists() else "after apply"
        pace.wait(0.001)
    return "nothing"
