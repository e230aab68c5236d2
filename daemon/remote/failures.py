"""What can go wrong between here and the cloud, as our errors. The door of aiohttp's own errors is here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import msgspec

from store.errors import (
    BlobsMissing,
    Conflicting,
    EpochChanged,
    FastestError,
    HashMismatch,
    InvalidJson,
    InvalidReply,
    InvalidValue,
    NotFound,
    NotSignedIn,
    Offline,
    RateLimited,
    Refused,
    TooLarge,
    VersionMoved,
)
from store.types import UNREADABLE, parse_digest
from sync.core.wire import Head, wire_code

MAX_TEXT: Final = 500
"""Characters of what the cloud says that are shown to a person."""
MAX_RETRY_SECONDS: Final = 3600
_SPOKEN: Final[tuple[type[FastestError], ...]] = (
    BlobsMissing, Conflicting, EpochChanged, HashMismatch, InvalidJson, InvalidValue, NotFound, TooLarge, VersionMoved,
)  # fmt: skip
"""What a cloud may say of a request. All else (a damaged store, a lost root) is ours to say of this machine."""


class Details(msgspec.Struct, frozen=True):
    """What of an answer's details is understood."""

    head: Head | None = None
    hashes: list[str] = []


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
    if status == 429:
        return RateLimited("the cloud asks to slow down", retry_after_seconds=retry_seconds(retry_after))
    if status < 400:
        return InvalidReply(f"the cloud answered {status}, which says neither yes nor no")
    try:
        said = msgspec.json.decode(body, type=_Failed).error
    except UNREADABLE:
        return Offline(f"the cloud answered {status} and nothing that can be read")
    if status >= 500:
        return Offline(f"the cloud answered {status}: {said.message[:MAX_TEXT]}")
    if status == 401:
        return NotSignedIn("the cloud does not accept this sign-in", "Sign in again: `fst login --cloud URL`.")
    return error_of(said)


def error_of(said: Said) -> FastestError:
    """The error that a failed answer stands for; a code that is not of the protocol only says that the request was refused.

    VersionMoved and EpochChanged carry `head` as a Head, BlobsMissing `digests` as a list of Digests. Raises InvalidReply.
    """
    known = {wire_code(each.code): each for each in _SPOKEN}
    details: dict[str, object] = {}
    if said.details.head is not None:
        details["head"] = said.details.head
    if said.details.hashes:
        try:
            details["digests"] = [parse_digest(text) for text in said.details.hashes]
        except InvalidValue as error:
            raise InvalidReply(f"details that cannot be read: {error}") from None
    return known.get(said.code, Refused)(said.message[:MAX_TEXT], said.hint[:MAX_TEXT], **details)


def retry_seconds(text: str | None) -> float:
    """A `Retry-After` as far as it is one."""
    return float(min(int(text), MAX_RETRY_SECONDS)) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1.0
