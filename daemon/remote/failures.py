"""What can go wrong between here and the cloud, as our errors. The door of aiohttp's own errors is here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import msgspec

from store.errors import (
    SPOKEN,
    FastestError,
    InvalidReply,
    InvalidValue,
    NoSpace,
    NotSignedIn,
    Offline,
    RateLimited,
    Refused,
    TooLarge,
    wire_code,
)
from store.types import MAX_PATH_BYTES, UNREADABLE, parse_digest
from sync.core.wire import Head

INSUFFICIENT_STORAGE: Final = 507
"""Of a proxy on the way; the cloud itself says 503 and NO_SPACE."""
MAX_TEXT: Final = 500
"""Characters of what the cloud says that are shown to a person."""
MAX_WAIT_SECONDS: Final = 3600.0
CONTENT_TYPES: Final = frozenset({"application/json", "application/octet-stream"})
"""Of the cloud's answers. Whatever else comes is somebody else's: a hotel's sign-in page, a proxy's."""
PORTAL_HINT: Final = (
    "Does this network want a sign-in? Open any web page to see. Else sign in with the address that the cloud is reached at."
)


class Details(msgspec.Struct, frozen=True):
    """What of an answer's details is understood."""

    head: Head | None = None
    hashes: list[str] = []
    missing: list[str] = []


class Said(msgspec.Struct, frozen=True):
    """What stands under `error`."""

    code: str
    message: str
    hint: str = ""
    details: Details = Details()


class _Failed(msgspec.Struct, frozen=True):
    error: Said


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The door of aiohttp: its errors become ours."""
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Offline(
            f"the cloud at {url} does not answer ({type(error).__name__})", "Work goes on here; it is sent when it is back."
        ) from error


def failure_of(status: int, body: bytes, retry_after: str | None = None) -> FastestError:
    """A failed answer -> the error it stands for. Raises InvalidReply."""
    wait = wait_seconds(retry_after)
    if status == 429:
        return RateLimited("the cloud asks to slow down", retry_after_seconds=max(1.0, wait))
    if 300 <= status < 400:
        return Offline(f"something at the cloud's address answers {status} and leads elsewhere", PORTAL_HINT, retry_after_seconds=wait)
    if status < 400:
        return InvalidReply(f"the cloud answered {status}, which says neither yes nor no")
    try:
        said = msgspec.json.decode(body, type=_Failed).error
    except UNREADABLE:
        if status == TooLarge.http_status:
            return TooLarge("a server on the way to the cloud refuses requests of this size", "Its limit must be raised.")
        return Offline(f"the cloud answered {status} and nothing that can be read", retry_after_seconds=wait)
    if status == INSUFFICIENT_STORAGE or said.code == wire_code(NoSpace.code):
        hint = "Whoever runs the cloud must make some; what is new is kept here, and the work goes on by itself."
        return NoSpace("no room on the cloud's disk", hint, retry_after_seconds=wait)
    if status >= 500:
        return Offline(f"the cloud answered {status}: {said.message[:MAX_TEXT]}", retry_after_seconds=wait)
    if status == 401:
        return NotSignedIn("the cloud does not accept this sign-in", "Sign in again: `fst login --cloud URL`.")
    return error_of(said)


def error_of(said: Said) -> FastestError:
    """The error that a failed answer stands for; a code that is not of the protocol only says that the request was refused.

    VersionMoved and EpochChanged carry `head` as a Head, BlobsMissing `digests` as a list of Digests, MissingDecisions `missing`.
    Raises InvalidReply.
    """
    known = {wire_code(each.code): each for each in SPOKEN}
    details: dict[str, object] = {}
    if said.details.head is not None:
        details["head"] = said.details.head
    if said.details.missing:
        details["missing"] = [path[:MAX_PATH_BYTES] for path in said.details.missing]
    if said.details.hashes:
        try:
            details["digests"] = [parse_digest(text) for text in said.details.hashes]
        except InvalidValue as error:
            raise InvalidReply(f"details that cannot be read: {error}") from None
    if said.code not in known:
        return Refused(f"the cloud refuses it: {said.message[:MAX_TEXT]}", said.hint[:MAX_TEXT])
    return known[said.code](said.message[:MAX_TEXT], said.hint[:MAX_TEXT], **details)


def wait_seconds(retry_after: str | None) -> float:
    """A Retry-After in seconds, up to an hour; 0 for none and for what is none."""
    try:
        asked = float(retry_after or 0)
    except ValueError:
        try:
            asked = (parsedate_to_datetime(retry_after or "").astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError, OSError):
            return 0.0
    return min(max(0.0, asked), MAX_WAIT_SECONDS) if math.isfinite(asked) else 0.0


def check_type(origin: str, content_type: str) -> None:
    """An answer is of the kinds that the cloud gives. Raises Offline: not the cloud answered, and it may be back soon."""
    if content_type not in CONTENT_TYPES:
        raise Offline(f"something else than the cloud answers at {origin}", PORTAL_HINT)
