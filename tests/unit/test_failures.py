"""What a failed answer of the cloud becomes. What liars say is in tests/hostile."""

from __future__ import annotations

import msgspec
import pytest

from daemon.remote.failures import failure_of
from store.errors import (
    BlobsMissing,
    Conflicting,
    EpochChanged,
    FastestError,
    NoSpace,
    NotFound,
    NotSignedIn,
    Offline,
    RateLimited,
    Refused,
    TooLarge,
    VersionMoved,
    wire_code,
)
from store.types import Digest
from sync.core.wire import ErrorBody, Head

HEAD = Head("W", "E", 3, "0" * 64)


def said(cls: type[FastestError], **details: object) -> bytes:
    return msgspec.json.encode({"error": ErrorBody(wire_code(cls.code), "what", "next", details)})


@pytest.mark.parametrize("cls", [BlobsMissing, Conflicting, EpochChanged, NotFound, TooLarge, VersionMoved])
def test_an_error_of_the_protocol_comes_back_as_itself(cls: type[FastestError]) -> None:
    error = failure_of(cls.http_status, said(cls))
    assert type(error) is cls and (error.message, error.hint) == ("what", "next")


def test_details_are_read() -> None:
    error = failure_of(409, said(VersionMoved, head=HEAD, hashes=["ab" * 32]))
    assert error.details == {"head": HEAD, "digests": [Digest(bytes.fromhex("ab" * 32))]}


@pytest.mark.parametrize(
    ("status", "cls"), [(401, NotSignedIn), (429, RateLimited), (500, Offline), (503, Offline), (507, NoSpace), (418, Refused)]
)
def test_a_status_says_what_to_do_next(status: int, cls: type[FastestError]) -> None:
    assert type(failure_of(status, said(Refused))) is cls
