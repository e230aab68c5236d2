"""A cloud and two machines that mirror one workspace, and what must hold when they have come to rest."""

from __future__ import annotations

import json
import time

from tests.lab.cloud import Cloud
from tests.lab.compare import litter, shown, tree_differences
from tests.lab.machine import Machine
from tests.lab.process import Lab, log_tail
from tests.waiting import wait_until

PROJECT = "pair"


class Pair:
    """`a` owns the folder at first, `b` mirrors it."""

    def __init__(self, lab: Lab, *, settings: dict[str, str] | None = None) -> None:
        self.lab = lab
        self.cloud = Cloud(lab)
        self.a = Machine(lab, "a", settings=settings)
        self.b = Machine(lab, "b", settings=settings)

    @property
    def machines(self) -> tuple[Machine, Machine]:
        """Both."""
        return (self.a, self.b)

    def open(self) -> dict[str, object]:
        """Everything up: `a.root` (made by the caller, or empty) becomes the project, `b` its mirror. What `fst up` told."""
        self.a.root.mkdir(exist_ok=True)
        self.cloud.start()
        token = self.cloud.token()
        for machine in self.machines:
            machine.start()
            machine.login(self.cloud.url, token)
        told = self.a.up(PROJECT)
        self.a.wait_uploaded(300)
        self.b.mirror(PROJECT)
        self.b.wait_settled(300)
        return told

    def converge(self, timeout_s: float = 60, *, held: bool = False) -> None:
        """Until both say that they are done and have the same bytes. `held`: files kept back may be on one side only."""
        deadline = time.monotonic() + timeout_s
        seen = ["nothing was compared"]

        def at_rest() -> bool:
            nonlocal seen
            states = [machine.status() for machine in self.machines]
            if not all(state["settled"] and state["uploaded"] for state in states) or states[0]["version"] != states[1]["version"]:
                seen = [f"not at rest: {json.dumps(states)}"]
                return False
            seen = [] if held else tree_differences(self.a.root, self.b.root)
            return not seen

        try:
            wait_until(at_rest, max(1.0, deadline - time.monotonic()), "both machines agree")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{shown(seen)}\n{self.said()}") from None
        assert not (left := [*litter(self.a.root), *litter(self.b.root)]), f"temporary files were left: {left}"

    def check(self) -> None:
        """`fsck` on both machines and on the cloud."""
        for machine in self.machines:
            machine.fsck()
        self.cloud.fsck()

    def said(self) -> str:
        """The ends of the three's logs."""
        return "\n".join([self.a.said(), self.b.said(), f"--- {self.cloud.log}\n{log_tail(self.cloud.log)}"])
