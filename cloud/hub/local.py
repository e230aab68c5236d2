"""The listeners of one server process, each with a written bound for what waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from cloud.hub import Telling

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


class LocalHub:
    """`cloud.hub.Hub` for one process. Used by the event loop's thread only."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    async def join(self, listener: Listener) -> None:
        """Begin to hear."""
        self.add(listener)

    async def leave(self, listener: Listener) -> None:
        """Hear no more."""
        self.remove(listener)

    def add(self, listener: Listener) -> bool:
        """True for the first of its user."""
        listeners = self._listeners.setdefault(listener.user_id, set())
        listeners.add(listener)
        return len(listeners) == 1

    def remove(self, listener: Listener) -> bool:
        """True for the last of its user."""
        left = self._listeners.get(listener.user_id, set())
        left.discard(listener)
        if not left:
            self._listeners.pop(listener.user_id, None)
        return not left

    async def seen(self, listener: Listener) -> None:
        """Nothing: an open listener is there."""

    async def online(self, user_id: str) -> set[str]:
        """The machines that listen right now."""
        return {listener.machine_id for listener in self._listeners.get(user_id, ()) if listener.machine_id}

    async def tell(self, user_id: str, telling: Telling) -> None:
        """To each listener of a user that it is for."""
        self.tell_now(user_id, telling)

    def tell_now(self, user_id: str, telling: Telling) -> None:
        """`tell`, for whoever cannot wait."""
        for listener in self._listeners.get(user_id, ()):
            if telling.machines is None or not listener.machine_id or listener.machine_id in telling.machines:
                listener.put(telling.lean if listener.machine_id and listener.machine_id == telling.sender else telling.full)

    async def end_session(self, session_id: str) -> None:
        """Cut off whoever listens with a revoked session."""
        self.end_session_now(session_id)

    def end_session_now(self, session_id: str) -> None:
        """`end_session`, for whoever cannot wait."""
        for listeners in self._listeners.values():
            for listener in listeners:
                if listener.session_id == session_id:
                    listener.end()

    def end_all(self) -> None:
        """Cut everybody off: the process is going down, or has missed something."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()

    async def ping(self) -> None:
        """There is no other process."""

    async def close(self) -> None:
        """Nothing to let go."""
