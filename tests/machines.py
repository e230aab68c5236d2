"""Machines and one cloud in memory, moved by the real planner: the model that test_two_machines drives.

A machine does what the engine must: it records clashes before it touches a file, carries out steps that still find what they expect,
and lets `agreed` move only when every step was taken (J1, J2, A2). Held paths are laid over the folder when it pushes, and left out of
base and local when it plans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.types import Entry, File, Link, RelPath
from sync.core.plan import Action, Clash, Fold, Plan
from tests.alphabet import Tree
from tests.planning import Contents, plan_trees, take_step


@dataclass
class Cloud:
    """One head, moved by compare-and-swap."""

    version: int = 0
    head: Tree = field(default_factory=dict)
    records: list[Clash] = field(default_factory=list)

    def push(self, expected_version: int, entries: Tree) -> bool:
        if expected_version != self.version:
            return False
        self.version, self.head = self.version + 1, dict(entries)
        return True


@dataclass
class Machine:
    """One replica: its folder, and what it last agreed on with the cloud."""

    contents: Contents
    fold: Fold | None = None
    disk: Tree = field(default_factory=dict)
    agreed: Tree = field(default_factory=dict)
    agreed_version: int = 0
    held: set[RelPath] = field(default_factory=set)

    def shared(self) -> Tree:
        """What the cloud should see: the folder, and what the folder cannot take."""
        return {**{place: self.agreed[place] for place in self.held}, **self.disk}

    def plan_to(self, remote: Tree) -> Plan:
        base = {place: entry for place, entry in self.agreed.items() if place not in self.held}
        return plan_trees(base, self.disk, remote, join=self.contents.join, fold=self.fold)

    def pull(self, cloud: Cloud, most: int | None = None, amid: Callable[[], object] = lambda: None) -> None:
        """Follow the head; cut short after `most` steps, with `amid` happening once the plan is made."""
        version, remote = cloud.version, dict(cloud.head)
        if remote == self.agreed and not self.held:
            self.agreed_version = version
            return
        plan = self.plan_to(remote)
        cloud.records += plan.clashes
        amid()
        done = [self.take(action) for action in plan.actions[:most]]
        if all(done) and len(done) == len(plan.actions):
            self.agreed, self.agreed_version = remote, version
            self.held = {problem.path for problem in plan.held}

    def take(self, action: Action) -> bool:
        """One step, unless the folder is no longer what the plan expected."""
        try:
            take_step(self.disk, action, self.fold)
        except AssertionError:
            return False
        return True

    def push(self, cloud: Cloud, answered: bool = True) -> None:
        """Send the folder if the head is the one agreed on; without the answer nothing is learnt."""
        if self.held:
            # A held path may have been made here since: only a plan tells.
            self.pull(cloud)
        shared = self.shared()
        if shared != self.agreed and cloud.push(self.agreed_version, shared) and answered:
            self.agreed, self.agreed_version = shared, cloud.version


def words_of(entry: Entry | None, contents: Contents) -> frozenset[bytes]:
    """What a person would miss: a text's words, other bytes or a link's target as one."""
    if isinstance(entry, File):
        return contents.words(entry)
    return frozenset([entry.target]) if isinstance(entry, Link) else frozenset()
