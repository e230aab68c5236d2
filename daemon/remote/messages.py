"""What the cloud answers and tells -> values and our errors. The door of aiohttp's own errors is here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import aiohttp
import msgspec

from store.errors import FastestError, InvalidReply, InvalidValue, NoSpace, NotSignedIn, Offline, RateLimited, TooLarge
from store.types import Digest, parse_digest
from sync.core.wire import (
    Delta,
    ErrorBody,
    EventHeader,
    Head,
    Section,
    WireConflict,
    WireSnapshot,
    error_of,
    parse_delta,
    parse_section_head,
    split_sections,
    wire_code,
)

CONTENT_TYPES: Final = frozenset({"application/json", "application/octet-stream"})
"""Of the cloud's answers. Whatever else comes is somebody else's: a hotel's sign-in page, a proxy's."""
MAX_WAIT_SECONDS: Final = 3600.0
MAX_JSON_BYTES: Final = 4 * 1024 * 1024
T = TypeVar("T")


class Incoming(msgspec.Struct, frozen=True):
    """What leads from `parent_root` to the head (`sync.ports.CatchUp`), plus what kind of message brought it."""

    type: str
    head: Head | None
    parent_root: Digest | None
    delta: Delta | None
    frames: tuple[bytes, ...]
    snapshots: tuple[WireSnapshot, ...]
    conflicts: tuple[WireConflict, ...]
    replica_id: str


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The door of aiohttp: its errors become ours."""
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Offline(
            f"the cloud at {url} does not answer ({type(error).__name__})", "Work goes on here; it is sent when it is back."
        ) from error


def wait_seconds(retry_after: str | None) -> float:
    """A Retry-After in seconds, up to an hour; 0 for none and for what is none."""
    try:
        asked = float(retry_after or 0)
    except ValueError:
        try:
            asked = (parsedate_to_datetime(retry_after or "").astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except ValueError:
            return 0.0
    return min(max(0.0, asked), MAX_WAIT_SECONDS) if math.isfinite(asked) else 0.0


def check_type(origin: str, content_type: str) -> None:
    """An answer is of the kinds that the cloud gives. Raises Offline: not the cloud answered, and it may be back soon."""
    if content_type not in CONTENT_TYPES:
        raise Offline(f"something else than the cloud answers at {origin}", "Does this network want a sign-in? Open any web page to see.")


def failure_of(status: int, body: bytes, retry_after: str | None = None) -> FastestError:
    """A failed answer -> the error it stands for."""
    wait = wait_seconds(retry_after)
    if status == 429:
        return RateLimited("the cloud asks to slow down", retry_after_seconds=max(1.0, wait))
    try:
        said = msgspec.json.decode(body, type=dict[str, ErrorBody])["error"]
    except (msgspec.DecodeError, KeyError):
        if status == 413:
            return TooLarge("a server on the way to the cloud refuses requests of this size", "Its limit must be raised.")
        return Offline(f"the cloud answered {status} and nothing that can be read", retry_after_seconds=wait)
    if said.code == wire_code(NoSpace.code):
        return NoSpace("the cloud has no room left; what is new is kept here", "It is sent once there is room.", retry_after_seconds=wait)
    if status >= 500:
        return Offline(f"the cloud answered {status}: {said.message}", retry_after_seconds=wait)
    if status == 401:
        return NotSignedIn("the cloud does not accept this sign-in", "Sign in again: `fst login --cloud URL --token-stdin`.")
    return error_of(status, said)


def parse_incoming(body: bytes) -> Incoming:
    """A framed message -> values. Raises InvalidReply."""
    try:
        sections = list(split_sections(body))
        if not sections or sections[0][0] is not Section.HEADER:
            raise InvalidReply("a message without a header")
        header = msgspec.json.decode(sections[0][1], type=EventHeader)
        deltas = [payload for kind, payload in sections[1:] if kind is Section.DELTA]
        if len(deltas) != header.sections:
            raise InvalidReply(f"{len(deltas)} delta sections where {header.sections} were announced")
        parent = None if header.parent_root is None else parse_digest(header.parent_root)
        delta = None if parent is None else [change for payload in deltas for change in parse_delta(payload)]
    except (msgspec.DecodeError, InvalidValue) as error:
        raise InvalidReply(f"a message that cannot be read: {error}") from None
    frames = tuple(payload for kind, payload in sections[1:] if kind is Section.FRAME)
    return Incoming(
        header.type, header.head, parent, delta, frames, tuple(header.snapshots), tuple(header.conflicts), header.replica_id
    )  # fmt: skip


def decode(body: bytes, shape: type[T]) -> T:
    """A JSON answer. Raises InvalidReply."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise InvalidReply(f"the cloud answered something unexpected: {error}") from None


def listed_in(answer: dict[str, list[T]], name: str) -> list[T]:
    """The list an answer was asked for. Raises InvalidReply: one that is not there is not an empty one."""
    if name not in answer:
        raise InvalidReply(f"the cloud answered without {name}")
    return answer[name]


async def read_bounded(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """A whole answer. Raises InvalidReply when it is longer."""
    parts, total = [], 0
    with translated(str(answer.url.origin())):
        async for part in answer.content.iter_any():
            total += len(part)
            if total > limit_bytes:
                raise InvalidReply(f"an answer over {limit_bytes} bytes")
            parts.append(part)
    return b"".join(parts)


async def read_frames(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The frames of an answer, one at a time. Raises Offline when it is cut short."""
    origin = str(answer.url.origin())
    while True:
        with translated(origin):
            try:
                head = await answer.content.readexactly(5)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise Offline("a stream of blobs was cut short") from None
                return
            kind, length = parse_section_head(head)
            try:
                payload = await answer.content.readexactly(length)
            except asyncio.IncompleteReadError:
                raise Offline("a stream of blobs was cut short") from None
        if kind is not Section.FRAME:
            raise InvalidReply(f"a section of kind {kind} among blobs")
        yield payload
