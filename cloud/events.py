"""Who listens, and what they are told: messages to the open WebSockets of a user, with a written bound for each.

A listener that does not keep up is cut off, not waited for and never skipped over: it connects again and catches up by asking,
so that what it hears never has a gap it does not know of.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec

from sync.core.wire import EventHeader, Section, pack_section

MAX_WAITING_MESSAGES: Final = 1024
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024


class Listener:
    """One open WebSocket. `machine_id` is empty for a listener that is no machine: it hears of all workspaces."""

    def __init__(self, user_id: str, session_id: str, machine_id: str) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self.machine_id = machine_id
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._stirred = asyncio.Event()
        self.cut = False
        """No more messages come; close the socket."""

    def put(self, message: bytes) -> None:
        """Queue a message, or cut off when too much waits already."""
        if self.cut:
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        if len(self._waiting) > MAX_WAITING_MESSAGES or self._waiting_bytes > MAX_WAITING_BYTES:
            self.end()
        self._stirred.set()

    def end(self) -> None:
        """Cut off: what waits is dropped."""
        self.cut = True
        self._waiting.clear()
        self._stirred.set()

    async def take(self) -> bytes | None:
        """The next message; None once cut off."""
        while not self._waiting:
            if self.cut:
                return None
            self._stirred.clear()
            await self._stirred.wait()
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message)
        return message


class Hub:
    """All listeners, by user. Used by the event loop's thread only."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    def join(self, listener: Listener) -> None:
        """Begin to hear."""
        self._listeners.setdefault(listener.user_id, set()).add(listener)

    def leave(self, listener: Listener) -> None:
        """Hear no more."""
        left = self._listeners.get(listener.user_id, set())
        left.discard(listener)
        if not left:
            self._listeners.pop(listener.user_id, None)

    def online(self, user_id: str) -> set[str]:
        """The machines that listen right now."""
        return {listener.machine_id for listener in self._listeners.get(user_id, ()) if listener.machine_id}

    def has_listeners(self, user_id: str) -> bool:
        """Somebody would hear a message."""
        return user_id in self._listeners

    def tell(self, user_id: str, message_for: Callable[[str], bytes], machines: Collection[str] | None = None) -> None:
        """Queue for each listener of a user what `message_for(its machine)` gives; with `machines`, machines besides those hear nothing."""
        for listener in self._listeners.get(user_id, ()):
            if machines is None or not listener.machine_id or listener.machine_id in machines:
                listener.put(message_for(listener.machine_id))

    def end_session(self, session_id: str) -> None:
        """Cut off whoever listens with a revoked session."""
        for listeners in self._listeners.values():
            for listener in listeners:
                if listener.session_id == session_id:
                    listener.end()

    def end_all(self) -> None:
        """Cut everybody off: the cloud is going down."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()


def pack_message(header: EventHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> bytes:
    """An event message: header, deltas, frames, as sections."""
    parts = [pack_section(Section.HEADER, msgspec.json.encode(header))]
    parts += [pack_section(Section.DELTA, delta) for delta in deltas]
    parts += [pack_section(Section.FRAME, frame) for frame in frames]
    return b"".join(parts)
