"""The harness's own book of contents that must never be lost (R1), kept without asking the product what it keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.lab.compare import digests_in, shown
from tests.lab.machine import Machine

ASK_AT_ONCE = 2
BY_COMMAND = 4
"""So many are asked of `fst cat` itself, all others of the daemon behind it."""


class Ledger:
    """The digests of all contents that were in a machine's folder while its status said `settled: true`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.owed: dict[str, str] = {}
        """digest -> a path that held it"""

    def note(self, timeout_s: float = 60) -> int:
        """Wait for settled, read the whole folder, and owe what was read if it is still settled. How many are new."""
        self.machine.wait_settled(timeout_s)
        found = digests_in(self.machine.root)
        if not self.machine.status()["settled"]:
            return 0
        before = len(self.owed)
        for path, digest in found.items():
            self.owed.setdefault(digest, path)
        return len(self.owed) - before

    def check(self) -> int:
        """Every owed content is in the folder, or can be had again. How many had to be asked for."""
        here = set(digests_in(self.machine.root).values())
        asked = [digest for digest in self.owed if digest not in here]
        with ThreadPoolExecutor(ASK_AT_ONCE) as pool:
            given = list(pool.map(self.machine.has_content, asked))
        given = [is_given and (at >= BY_COMMAND or self.machine.prints_content(asked[at])) for at, is_given in enumerate(given)]
        lost = [f"{digest} (was {self.owed[digest]!r})" for digest, is_given in zip(asked, given, strict=True) if not is_given]
        assert not lost, f"{self.machine.name} lost {len(lost)} of {len(self.owed)} settled contents:\n{shown(lost)}"
        return len(asked)
