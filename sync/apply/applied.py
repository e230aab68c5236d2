"""What came of a plan: what was done, and what was left alone and why."""

from __future__ import annotations

import msgspec

from store.types import Digest, RelPath
from sync.core.plan import Action


class Applied(msgspec.Struct, frozen=True):
    """What came of a plan."""

    done: list[Action]
    seen: dict[RelPath, bytes | None]
    """New records for the index, for what was done."""
    problems: dict[RelPath, str]
    """What the system or the store refused, with a sentence."""
    stale: list[RelPath]
    """What was not as expected any more: look again."""
    rescued: list[tuple[RelPath, Digest]]
    """Saves that were overtaken by a newer one while we had them in hand; they are kept under these digests."""
    misnamed: set[RelPath]
    """Those of the problems that are about a name: this disk cannot hold it, or takes it for another's."""

    @classmethod
    def nothing(cls) -> Applied:
        """An empty plan's outcome."""
        return cls([], {}, {}, [], [], set())

    def forget_below(self, folder: RelPath) -> set[RelPath]:
        """What was left alone below a folder, which is not told any more."""
        gone = {path for path in (*self.stale, *self.problems) if path.startswith(folder + b"/")}
        self.stale[:] = [path for path in self.stale if path not in gone]
        for path in gone:
            self.problems.pop(path, None)
            self.misnamed.discard(path)
        return gone
