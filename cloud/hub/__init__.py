"""Who listens, and what they are told: messages to the open WebSockets of a user.

A listener that does not keep up is cut off, not waited for and never skipped over: it connects again and catches up by asking,
so that what it hears never has a gap it does not know of. The same holds for a process that may have missed a message of another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from sync.core.wire import EventHeader, Section, pack_section

if TYPE_CHECKING:
    from cloud.hub.local import Listener


class Telling(msgspec.Struct, frozen=True):
    """One message. `machines`: who hears it (None: all; a listener that is no machine always does). `sender` gets `lean` for `full`."""

    full: bytes
    machines: frozenset[str] | None = None
    sender: str = ""
    lean: bytes = b""


class Hub(Protocol):
    """All listeners of all processes. Its methods raise nothing: what cannot be told is caught up with later."""

    async def join(self, listener: Listener) -> None:
        """Begin to hear: whatever is told after the return is heard."""
        ...

    async def leave(self, listener: Listener) -> None:
        """Hear no more."""
        ...

    async def seen(self, listener: Listener) -> None:
        """It showed that it is still there."""
        ...

    async def online(self, user_id: str) -> set[str]:
        """The machines that listen right now."""
        ...

    async def tell(self, user_id: str, telling: Telling) -> None:
        """To each listener of a user that it is for."""
        ...

    async def end_session(self, session_id: str) -> None:
        """Cut off whoever listens with a revoked session."""
        ...

    def end_all(self) -> None:
        """Cut off the listeners of this process: it is going down, or has missed something."""
        ...

    async def ping(self) -> None:
        """Raises Busy when nobody at another process can be told anything."""
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...


def pack_message(header: EventHeader, deltas: Iterable[bytes] = (), frames: Iterable[bytes] = ()) -> bytes:
    """An event message: header, deltas, frames, as sections."""
    parts = [pack_section(Section.HEADER, msgspec.json.encode(header))]
    parts += [pack_section(Section.DELTA, delta) for delta in deltas]
    parts += [pack_section(Section.FRAME, frame) for frame in frames]
    return b"".join(parts)
