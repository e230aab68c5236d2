"""Fastest as its user runs it: two machines and a cloud, on loopback, with counting proxies where bytes are asked for."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.measure import cpu_seconds
from benchmarks.proxy import CountingProxy
from tests.lab.compare import digests_in
from tests.lab.machine import Machine
from tests.lab.pair import PROJECT, Pair
from tests.lab.process import Lab, Process

# npm packages and libraries hold things that look like keys; a mirror that is measured must be whole.
SETTINGS = {"FASTEST_SECRETS_HOLD": "false"}
NAME = "Fastest"
SAMPLE = 100


class Mirror:
    """A mirror of two folders by way of a cloud."""

    def __init__(self, lab: Lab, *, counted: bool = False) -> None:
        self.name = NAME
        self.pair = Pair(lab, settings=SETTINGS)
        self.counted = counted
        self.proxies: list[CountingProxy] = []

    def start(self, a: Path, b: Path) -> None:
        """Run until B is A. B must not exist yet."""
        self.start_a(a)
        self.start_b(b)

    def start_a(self, a: Path) -> None:
        """The cloud and machine A, until the cloud has everything."""
        pair = self.pair
        pair.a.root = a
        pair.cloud.start()
        self._sign_in(pair.a)
        pair.a.up(PROJECT, timeout_s=900)
        pair.a.wait_uploaded(900)

    def start_b(self, b: Path) -> None:
        """Machine B, and its mirror."""
        machine = self.pair.b = self.add_machine("b", b)
        machine.mirror(PROJECT, timeout_s=900)
        machine.wait_settled(900)

    def add_machine(self, name: str, root: Path) -> Machine:
        """A further machine, signed in, with nothing to mirror yet."""
        machine = Machine(self.pair.lab, name, settings=SETTINGS)
        machine.root = root
        self._sign_in(machine)
        return machine

    def processes(self) -> list[Process]:
        """Cloud, daemons and all their children."""
        return self.pair.lab.processes()

    @property
    def moved(self) -> int:
        """Bytes between the cloud and all machines, both directions."""
        return sum(proxy.moved for proxy in self.proxies)

    def _sign_in(self, machine: Machine) -> None:
        machine.start()
        port = self.pair.cloud.port
        if self.counted:
            self.proxies.append(CountingProxy(port))
            port = self.proxies[-1].port
        machine.login(f"http://127.0.0.1:{port}", self.pair.cloud.token())


def single(lab: Lab, root: Path) -> Machine:
    """A machine without an account."""
    machine = Machine(lab, "a", settings=SETTINGS)
    machine.root = root
    return machine


def cpu_so_far(lab: Lab) -> float:
    """CPU seconds of every living process of ours."""
    return sum(cpu_seconds(lab.processes()).values())


def check_contents(machine: Machine, seed: int, count: int = SAMPLE) -> None:
    """A random sample of the folder's files comes back from the store by its digest."""
    digests = sorted(set(digests_in(machine.root).values()))
    for digest in random.Random(seed).sample(digests, min(count, len(digests))):
        assert machine.has_content(digest), f"{digest} cannot be read back"
