"""Messages of the cloud that wait for one workspace's turn, within bounds: what is over them is asked for instead."""

from __future__ import annotations

from collections import deque
from typing import Final

from daemon.remote.messages import Incoming

MAX_MESSAGES: Final = 64
MAX_BYTES: Final = 8 * 1024 * 1024
CHANGE_BYTES: Final = 500
"""What one change takes in memory, about."""


class Inbox:
    """In the order in which they came. Used by the supervisor alone, on the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Incoming] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, incoming: Incoming) -> bool:
        """Let it wait. False when that is too much: then nothing waits any more, and the whole must be asked for."""
        self._bytes += _weight(incoming)
        if len(self._waiting) >= MAX_MESSAGES or self._bytes > MAX_BYTES:
            self.clear()
            return False
        self._waiting.append(incoming)
        return True

    def take(self) -> Incoming:
        """The one that came first."""
        incoming = self._waiting.popleft()
        self._bytes -= _weight(incoming)
        return incoming

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self._bytes = 0


def _weight(incoming: Incoming) -> int:
    return incoming.size_bytes + len(incoming.delta or ()) * CHANGE_BYTES
