"""What a failed answer of the cloud becomes. What liars say is in tests/hostile."""

from __future__ import annotations

import re

import msgspec
import pytest

from cloud.openapi.failures import codes_by_status
from cloud.routes.envelope import HTTP_CODES
from daemon.remote.failures import failure_of
from store.errors import (
    SPOKEN,
    Busy,
    Corrupt,
    FastestError,
    MissingDecisions,
    NoSpace,
    NotSignedIn,
    Offline,
    RateLimited,
    Refused,
    TimedOut,
    Unwritable,
    VersionMoved,
    wire_code,
)
from store.types import Digest
from sync.core.wire import ErrorBody, Head
from tests.house.draw_reference import every_error
from tests.house.sources import modules

HEAD = Head("W", "E", 3, "0" * 64)


def said(cls: type[FastestError], **details: object) -> bytes:
    return msgspec.json.encode({"error": ErrorBody(wire_code(cls.code), "what", "next", details)})


# What the status alone says the next step of.
BY_STATUS: dict[type[FastestError], type[FastestError]] = {Busy: Offline, Offline: Offline, TimedOut: Offline, Unwritable: Offline}


@pytest.mark.parametrize("cls", [cls for cls in SPOKEN if cls not in (NotSignedIn, NoSpace, RateLimited)], ids=lambda cls: cls.code)
def test_every_code_of_the_cloud_comes_back_as_itself(cls: type[FastestError]) -> None:
    error = failure_of(cls.http_status, said(cls))
    assert type(error) is BY_STATUS.get(cls, cls)
    assert cls in BY_STATUS or (error.message, error.hint) == ("what", "next")


def test_what_the_cloud_may_say_is_what_its_document_says() -> None:
    """And of each: a class of its own, or what HTTP refuses, which only says that the request was refused."""
    told = {code for codes in codes_by_status().values() for code in codes}
    assert told == {wire_code(cls.code) for cls in SPOKEN} | set(HTTP_CODES.values())
    for status, codes in codes_by_status().items():
        for code in codes:
            error = failure_of(status, msgspec.json.encode({"error": ErrorBody(code, "what", "next")}))
            classes = [cls for cls in SPOKEN if wire_code(cls.code) == code]
            assert type(error) in ([BY_STATUS.get(classes[0], classes[0])] if classes else [Refused, Offline]), code


def test_whatever_else_happens_in_the_cloud_is_its_own_fault() -> None:
    raised = {name for module in modules("cloud") for name in re.findall(r"raise (\w+)\(", module.text)}
    errors = {error.__name__: error for error in every_error()}
    own = {name for name in raised & set(errors) if errors[name] not in SPOKEN and not issubclass(errors[name], Corrupt)}
    assert own == {"AlreadyRunning"}, "said by `fst cloud` as it starts, and to nobody over HTTP"


def test_details_are_read() -> None:
    error = failure_of(409, said(VersionMoved, head=HEAD, hashes=["ab" * 32]))
    assert error.details == {"head": HEAD, "digests": [Digest(bytes.fromhex("ab" * 32))]}
    assert failure_of(400, said(MissingDecisions, missing=["a/b"])).details == {"missing": ["a/b"]}


@pytest.mark.parametrize(
    ("status", "cls"), [(401, NotSignedIn), (429, RateLimited), (500, Offline), (503, Offline), (507, NoSpace), (418, Refused)]
)
def test_a_status_says_what_to_do_next(status: int, cls: type[FastestError]) -> None:
    assert type(failure_of(status, said(Refused))) is cls
