"""A push's body off the wire: a header, the deltas it counts, then frames of small blobs; read within bounds, not yet believed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from store.blobs.frames import frame_digests
from store.errors import InvalidReply, InvalidValue, TooLarge
from store.types import UNREADABLE, parse_digest
from sync.core.wire import MAX_DELTA_BYTES, MAX_INLINE_BYTES, MAX_STEPS, PROTOCOL, PushHeader, Section


class Push(msgspec.Struct, frozen=True):
    """A whole body, read within its bounds and not yet believed."""

    header: PushHeader
    deltas: list[bytes]
    frames: list[bytes]


async def read_header(sections: AsyncIterator[tuple[Section, bytes]]) -> PushHeader:
    """The first section of a push. Raises InvalidValue."""
    async for kind, payload in sections:
        if kind is not Section.HEADER:
            break
        try:
            header = msgspec.json.decode(payload, type=PushHeader)
        except UNREADABLE as error:
            raise InvalidValue(f"a push header that cannot be read: {error}") from None
        _check_shape(header)
        return header
    raise InvalidValue("a push begins with its header")


async def read_rest(sections: AsyncIterator[tuple[Section, bytes]], header: PushHeader) -> Push:
    """The deltas that the header counts, then frames. Raises InvalidValue, TooLarge."""
    expected = sum(step.sections for step in header.steps)
    deltas: list[bytes] = []
    frames: list[bytes] = []
    delta_bytes = raw_bytes = 0
    async for kind, payload in sections:
        if kind is not (Section.DELTA if len(deltas) < expected else Section.FRAME):
            raise InvalidValue(f"a {kind.name} section where none is expected")
        if kind is Section.DELTA:
            deltas.append(payload)
            delta_bytes += len(payload)
        else:
            frames.append(payload)
            raw_bytes += _raw_bytes(payload)
        if delta_bytes > MAX_DELTA_BYTES or raw_bytes > MAX_INLINE_BYTES:
            raise TooLarge("a push of too many bytes", "Send blobs through /v1/blobs/batch first, and changes in several pushes.")
    if len(deltas) < expected:
        raise InvalidValue(f"the header counts {expected} deltas, {len(deltas)} came")
    return Push(header, deltas, frames)


def _check_shape(header: PushHeader) -> None:
    if header.protocol != PROTOCOL:
        raise InvalidValue(f"protocol {header.protocol}: this cloud speaks {PROTOCOL}", "Update the older of the two.")
    if not 1 <= len(header.steps) <= MAX_STEPS or any(step.sections < 0 for step in header.steps):
        raise InvalidValue(f"a push has 1 to {MAX_STEPS} steps")
    parse_digest(header.parent_root)
    for step in header.steps:
        parse_digest(step.root)


def _raw_bytes(frame: bytes) -> int:
    try:
        return sum(size for _, size in frame_digests(frame))
    except InvalidReply as error:
        raise InvalidValue(error.message) from error
