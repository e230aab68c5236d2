"""How far the work that goes on now is: what it is, how much of it is done, and of how much. When to show that is others' business."""

from __future__ import annotations

from enum import Enum
from types import TracebackType


class Phase(Enum):
    """A long work's parts, each in words for people and with the unit it is counted in; empty: nobody counts."""

    REST = "", ""
    PREPARING = "preparing", ""
    LOOKING = "looking", "files"
    KEEPING = "adding to the history", ""
    CHECKING = "checking for secrets", "files"
    ASKING = "waiting for the cloud", ""
    ENTRIES = "fetching the list", "bytes"
    FETCHING = "fetching", "bytes"
    PLANNING = "planning", ""
    APPLYING = "applying", "changes"
    SENDING = "sending", "bytes"
    READING = "reading what is kept", "bytes"
    TRACING = "checking manifests", "states"
    NAMING = "finding what is named", "states"
    REMOVING = "removing", "blobs"

    def __init__(self, word: str, unit: str) -> None:
        self.word = word
        self.unit = unit


class Count:
    """One phase's count. Phase and total stay what they are, `done` only grows: who holds it never sees two phases mixed."""

    __slots__ = ("done", "phase", "total")

    def __init__(self, phase: Phase, total: int | None) -> None:
        self.phase = phase
        self.total = total
        self.done = 0


class Progress:
    """Moved by whoever works, in batches; read by whoever shows it, from any thread and without a lock.

    As a context: whatever went on in it is over once it is left.
    """

    def __init__(self) -> None:
        self.now = Count(Phase.REST, None)

    def begin(self, phase: Phase, total: int | None = None) -> None:
        """Another phase. `total` None, or 0 which says as little: nobody knows yet."""
        self.now = Count(phase, total or None)

    def add(self, amount: int = 1) -> None:
        """So much more is done."""
        self.now.done += amount

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.begin(Phase.REST)
