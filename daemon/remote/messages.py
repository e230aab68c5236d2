"""What the cloud answers and tells -> values, within bounds. Nothing here is believed yet; that is for `sync.incoming`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

import msgspec

from store.blobs.frames import parse_head
from store.errors import FastestError, InvalidReply
from store.types import UNREADABLE, Digest, parse_digest
from sync.core.wire import (
    INLINE_EVENT_BYTES,
    MAX_STEP_CHANGES,
    Delta,
    EventHeader,
    Head,
    Section,
    WireConflict,
    WireMachine,
    WireProject,
    WireReplica,
    WireSnapshot,
    WireVersion,
    WireWorkspace,
    parse_delta,
    split_sections,
)

EVENT_BYTES: Final = 4 * 1024 * 1024
"""Of one event message: a cloud cuts off a listener before it lets more wait."""
EVENT_CHANGES: Final = 16_384
"""Changes of an event that are held until their turn; more are asked for then."""
MAX_CATCH_UP_BYTES: Final = 96 * 1024 * 1024
T = TypeVar("T")


class Incoming(msgspec.Struct, frozen=True):
    """What leads from `parent_root` to the head (`sync.ports.CatchUp`), plus what kind of message brought it, and how much it is."""

    type: str
    head: Head | None
    parent_root: Digest | None
    delta: Delta | None
    frames: tuple[bytes, ...]
    snapshots: tuple[WireSnapshot, ...]
    conflicts: tuple[WireConflict, ...]
    replica_id: str
    size_bytes: int = 0


class User(msgspec.Struct, frozen=True):
    """Who is signed in."""

    id: str = ""
    email: str = ""
    name: str | None = None
    picture: str | None = None


class Me(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/auth/me`."""

    user: User


class Projects(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/projects`."""

    projects: list[WireProject]


class Workspaces(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/projects/{p}/workspaces`."""

    workspaces: list[WireWorkspace]


class Machines(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/machines`."""

    machines: list[WireMachine]


class Replicas(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/workspaces/{w}/replicas`."""

    replicas: list[WireReplica]


class Versions(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/workspaces/{w}/versions/list`."""

    versions: list[WireVersion]


def parse_event(body: bytes) -> Incoming:
    """An event message -> values. Raises InvalidReply."""
    try:
        header, *rest = split_sections(body)
    except (FastestError, ValueError) as error:
        raise InvalidReply(f"a message that cannot be read: {error}") from None
    deltas = [payload for kind, payload in rest if kind is Section.DELTA]
    if sum(map(len, deltas)) > INLINE_EVENT_BYTES:
        raise InvalidReply(f"an event with deltas of over {INLINE_EVENT_BYTES} bytes")
    frames = tuple(payload for kind, payload in rest if kind is Section.FRAME)
    return _incoming(_header(header), deltas, frames, EVENT_CHANGES, len(body))


async def read_catch_up(sections: AsyncIterator[tuple[Section, bytes]]) -> Incoming:
    """The answer to `versions?since=` -> values; read no further than it may go. Raises InvalidReply."""
    header: EventHeader | None = None
    deltas: list[bytes] = []
    size_bytes = 0
    async for kind, payload in sections:
        size_bytes += len(payload)
        if header is None:
            header = _header((kind, payload))
        elif kind is not Section.DELTA or len(deltas) == header.sections:
            raise InvalidReply(f"a section of kind {kind} where none was announced")
        else:
            deltas.append(payload)
        if size_bytes > MAX_CATCH_UP_BYTES:
            raise InvalidReply(f"an answer over {MAX_CATCH_UP_BYTES} bytes")
    if header is None:
        raise InvalidReply("a message without a header")
    return _incoming(header, deltas, (), MAX_STEP_CHANGES, size_bytes)


def decode(body: bytes, shape: type[T]) -> T:
    """A JSON answer. Raises InvalidReply."""
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as error:
        raise InvalidReply(f"the cloud answered something unexpected: {error}") from None


def _header(section: tuple[Section, bytes]) -> EventHeader:
    if section[0] is not Section.HEADER:
        raise InvalidReply("a message without a header")
    return decode(section[1], EventHeader)


def _incoming(header: EventHeader, deltas: list[bytes], frames: tuple[bytes, ...], most_changes: int, size_bytes: int) -> Incoming:
    if len(deltas) != header.sections:
        raise InvalidReply(f"{len(deltas)} delta sections where {header.sections} were announced")
    try:
        parent = None if header.parent_root is None else parse_digest(header.parent_root)
        delta = None if parent is None else _changes(deltas, most_changes)
        raw_bytes = sum(parse_head(frame).raw_bytes for frame in frames)
    except FastestError as error:
        raise InvalidReply(f"a message that cannot be read: {error}") from None
    if raw_bytes > INLINE_EVENT_BYTES:
        raise InvalidReply(f"a message with contents of over {INLINE_EVENT_BYTES} bytes")
    # Too much of a change to be held: it is asked for.
    parent = None if delta is None else parent
    return Incoming(
        header.type, header.head, parent, delta, frames, tuple(header.snapshots), tuple(header.conflicts), header.replica_id, size_bytes
    )  # fmt: skip


def _changes(deltas: Iterable[bytes], most: int) -> Delta | None:
    """All of them in a row; None when there are more."""
    changes: Delta = []
    for payload in deltas:
        changes += parse_delta(payload)
        if len(changes) > most:
            return None
    return changes
