"""Two real machines, random operations on the same small tree, kills and cuts: seeded, and bounded in time.

SEEDS=1,2,3 chooses the seeds, SOAK_SECONDS the time for each (`make test`: one seed, 20 s).
The schedule comes from the seed; what the processes make of it in time does not, so a seed is a good start, not a proof.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.compare import look
from tests.lab.ledger import Ledger
from tests.lab.machine import Machine
from tests.lab.pair import Pair

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "1").split(",")]
NAMES = ("a", "b", "c", "d.txt", "e.txt", "é", "f g", "A")
REST_EVERY = 25
MOST_FILES = 40
"""Below the brake: no sequence of deletions between two rests can reach more than 50 files."""


class Soak:
    """One run: every step is one operation of one of the machines, of the cloud, or a wait for rest."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.rng = random.Random(seed)
        self.ledgers = [Ledger(machine) for machine in pair.machines]
        self.count = 0
        self.down: set[str] = set()

    def step(self) -> None:
        machine = self.rng.choice(self.pair.machines)
        operations: list[tuple[int, Callable[[Machine], None]]] = [
            (30, self.write),
            (10, self.append),
            (10, self.remove),
            (10, self.rename),
            (5, self.make_folder),
            (5, self.link),
            (5, self.flip_executable),
            (5, self.burst),
            (3, self.swap_kind),
            (3, self.kill),
            (3, self.cut),
            (5, self.pause),
        ]
        self.rng.choices([op for _, op in operations], [weight for weight, _ in operations])[0](machine)

    # --- edits: any of them may meet the daemon's own work on the same path, as a person's would ---

    def paths(self, machine: Machine, kind: str) -> list[str]:
        return sorted(path for path, seen in look(machine.root).items() if seen.kind == kind)

    def somewhere(self, machine: Machine) -> Path:
        folders = ["", *self.paths(machine, "folder")]
        return machine.root / self.rng.choice(folders) / self.rng.choice(NAMES)

    def fresh(self) -> bytes:
        self.count += 1
        return b"".join(b"%d %d %d\n" % (self.count, line, self.rng.randrange(10)) for line in range(self.rng.randrange(1, 200)))

    def write(self, machine: Machine) -> None:
        target = self.somewhere(machine)
        if target.is_dir() or len(self.paths(machine, "file")) >= MOST_FILES:
            return
        target.write_bytes(self.fresh())

    def append(self, machine: Machine) -> None:
        if files := self.paths(machine, "file"):
            with (machine.root / self.rng.choice(files)).open("ab") as file:
                file.write(self.fresh())

    def remove(self, machine: Machine) -> None:
        if files := self.paths(machine, "file"):
            (machine.root / self.rng.choice(files)).unlink()

    def rename(self, machine: Machine) -> None:
        if paths := sorted(look(machine.root)):
            (machine.root / self.rng.choice(paths)).rename(self.somewhere(machine))

    def make_folder(self, machine: Machine) -> None:
        self.somewhere(machine).mkdir()

    def link(self, machine: Machine) -> None:
        self.somewhere(machine).symlink_to(self.rng.choice(NAMES))

    def flip_executable(self, machine: Machine) -> None:
        if files := self.paths(machine, "file"):
            target = machine.root / self.rng.choice(files)
            target.chmod(target.stat().st_mode ^ 0o111)

    def burst(self, machine: Machine) -> None:
        for _ in range(self.rng.randrange(5, 20)):
            self.write(machine)

    def swap_kind(self, machine: Machine) -> None:
        folders = self.paths(machine, "folder")
        if folders:
            target = machine.root / self.rng.choice(folders)
            shutil.rmtree(target)
            target.write_bytes(self.fresh())

    # --- trouble ---

    def kill(self, machine: Machine) -> None:
        if machine.name not in self.down:
            machine.kill()
            self.down.add(machine.name)
        else:
            self.revive(machine)

    def cut(self, machine: Machine) -> None:
        if "cloud" in self.down:
            self.pair.cloud.start()
            self.down.discard("cloud")
        else:
            self.pair.cloud.kill()
            self.down.add("cloud")

    def revive(self, machine: Machine) -> None:
        if machine.name in self.down:
            machine.start()
            self.down.discard(machine.name)

    def pause(self, machine: Machine) -> None:
        threading.Event().wait(self.rng.random() * 0.3)

    def rest(self) -> None:
        """Everything up; both settle, owe what they hold, agree."""
        if "cloud" in self.down:
            self.cut(self.pair.a)
        for machine in self.pair.machines:
            self.revive(machine)
        for ledger in self.ledgers:
            ledger.note(90)
        self.pair.converge(90)


@pytest.mark.e2e
@pytest.mark.timeout(SOAK_SECONDS + 600)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_work_on_two_machines(make_pair: Callable[..., Pair], seed: int) -> None:
    print(f"SEEDS={seed} SOAK_SECONDS={SOAK_SECONDS:g}")
    pair = make_pair()
    soak = Soak(pair, seed)
    until = time.monotonic() + SOAK_SECONDS
    steps = 0
    while time.monotonic() < until:
        steps += 1
        try:
            soak.step()
        except OSError as refused:  # the path moved under the edit, or a folder went below itself: as a person would meet it
            print(f"step {steps}: {refused}")
        if steps % REST_EVERY == 0:
            soak.rest()
    soak.rest()
    for ledger in soak.ledgers:
        print(f"{ledger.machine.name}: {steps} steps, {len(ledger.owed)} settled contents, {ledger.check()} of them asked of `fst cat`")
    pair.check()
