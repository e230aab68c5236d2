"""How a request comes in and an answer goes out: JSON bodies, sections, and one envelope for every error."""

from __future__ import annotations

import ipaddress
import logging
import math
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from aiohttp import ClientError, HttpVersion11, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from cloud.accounts.session import SEEN_MS, who_is
from cloud.context import Cloud
from cloud.limits import Limit, network_of
from cloud.records.moments import text_of
from cloud.records.people.accounts import Account
from cloud.records.people.sessions import touch_session
from cloud.routes.pace import RETRY_SECONDS, Pace, read_whole
from store.errors import (
    SPOKEN,
    FastestError,
    InvalidJson,
    InvalidReply,
    InvalidValue,
    NotFound,
    RateLimited,
    Transient,
    wire_code,
)
from store.types import UNREADABLE, parse_ulid
from sync.core.wire import MISSING_DIGESTS, ErrorBody, Section, parse_section_head, split_sections

log = logging.getLogger(f"fastest.{__name__}")
T = TypeVar("T")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
H = TypeVar("H", bound=Callable[..., Awaitable[object]])
S = TypeVar("S", bound=msgspec.Struct)

CLOUD: Final = web.AppKey("cloud", Cloud)
REQUEST_ID: Final = web.RequestKey("request_id", str)
ACCOUNT: Final = web.RequestKey("account", Account)
_OPEN: Final[set[object]] = set()
MAX_BODY_BYTES: Final = 32 * MISSING_DIGESTS
"""Of a body that is read whole: the longest list of digests. Streams have bounds of their own."""
MAX_NAME: Final = 200
PIECE_BYTES: Final = 256 * 1024
SMALL_BODY_BYTES: Final = 256 * 1024
SECTION_HEAD_BYTES: Final = 5
CUT: Final = (ClientError, ConnectionError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises when a body ends before its time."""
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?\Z|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?\Z")
_ID: Final = re.compile(r"[!-~]{1,200}\Z")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
HTTP_CODES: Final = {
    400: "BAD_REQUEST", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE",
    416: "RANGE_NOT_SATISFIABLE", 426: "UPGRADE_REQUIRED", 500: "INTERNAL_ERROR",
}  # fmt: skip
"""What HTTP itself refuses, and what only the cloud's log tells."""
JSON: Final = "application/json"
UNSAID: Final = "application/octet-stream"
"""What aiohttp takes a body for that says nothing of itself."""


def cloud_of(request: web.Request) -> Cloud:
    """What the route stands on."""
    return request.app[CLOUD]


def account_of(request: web.Request) -> Account:
    """Who is asking; every route but the open ones has one."""
    return request[ACCOUNT]


def route_of(request: web.Request) -> tuple[str, str]:
    """Its method, and its path with the names of ids in place of ids; what is no route of ours has one name, whatever it is."""
    resource = request.match_info.route.resource
    return (request.method, resource.canonical) if resource is not None else ("ANY", "none")


def for_everybody(handler: H) -> H:
    """Decorator: this route needs no session, or looks for one by itself."""
    _OPEN.add(handler)
    return handler


def is_open(handler: object) -> bool:
    """True for a route that was marked so."""
    return handler in _OPEN


async def note_use(cloud: Cloud, account: Account) -> None:
    """When this session was used last, now and then. A database that cannot be written to must not keep anybody from reading."""
    if account.last_seen_at is None or account.last_seen_at < text_of(max(0, cloud.now_ms() - SEEN_MS)):
        at = cloud.now()
        with suppress(FastestError):
            await cloud.write(lambda tx: touch_session(tx, account.session_id, at))


async def admit(request: web.Request, limit: Limit, who: str = "") -> None:
    """Count a try of this address, or of `who`. Raises RateLimited."""
    cloud = cloud_of(request)
    wait = await cloud.gate.limits.take(limit, who or network_of(address_of(request)), cloud.now_ms())
    if wait:
        seconds = math.ceil(wait)
        raise RateLimited("too many tries", f"Try again in {seconds} s.", retry_after_seconds=seconds)


def address_of(request: web.Request) -> str:
    """Where the request comes from; a proxy that we know says it for others."""
    peer = request.remote or ""
    if not is_proxy(cloud_of(request), peer):
        return peer
    # Each proxy puts the address it sees last: what stands before it is only what it was told.
    told = [text.strip() for text in request.headers.get("X-Forwarded-For", "").split(",")]
    for address in reversed([text for text in told if text]):
        if not is_proxy(cloud_of(request), address):
            return address[:64]
    return peer


def is_proxy(cloud: Cloud, address: str) -> bool:
    """True for a reverse proxy of ours."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in cloud.gate.proxies)


def public_url(request: web.Request) -> str:
    """The address under which people reach this cloud, without a trailing slash."""
    cloud = cloud_of(request)
    if cloud.gate.public_url:
        return cloud.gate.public_url
    scheme = request.scheme
    if is_proxy(cloud, request.remote or "") and request.headers.get("X-Forwarded-Proto") in ("http", "https"):
        scheme = request.headers["X-Forwarded-Proto"]
    return f"{scheme}://{request.host}" if _AUTHORITY.match(request.host) else ""


@web.middleware
async def wrap(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Say who is asking, and put every failure into the one envelope."""
    request_id = id_of(request)
    cloud = cloud_of(request)
    try:
        if request.match_info.handler not in _OPEN:
            request[ACCOUNT] = account = await who_is(cloud.read(), request.headers.get("Authorization", ""), cloud.now_ms())
            await note_use(cloud, account)
        response = await handler(request)
    except FastestError as error:
        response = refusal(error, request_id)
    except web.HTTPException as error:
        response = _told(error, request_id)
    except ConnectionError:
        response = web.Response(status=400)  # the client is gone: nobody will read this
    except Exception:  # the boundary of one request: whatever it is must not show its insides
        method, route = route_of(request)
        log.exception("request failed", extra={"request_id": request_id, "method": method, "route": route})
        response = _hidden(request_id)
    if not response.prepared and request.writer.output_size and request.transport is not None:
        # An answer was half sent when it failed. The client must see that it was cut, not a second answer inside the first.
        request.transport.abort()
    return response


def id_of(request: web.Request) -> str:
    """What its asker calls it, if that is fit to be shown and logged; else one that is made up."""
    if REQUEST_ID not in request:
        asked = request.headers.get("X-Request-Id", "")
        request[REQUEST_ID] = asked if _REQUEST_ID.match(asked) else secrets.token_hex(8)
    return request[REQUEST_ID]


async def go_on(request: web.Request) -> None:
    """Answer `Expect: 100-continue`. Others may be left alone (RFC 9110, 10.1.1); aiohttp would refuse them past the envelope."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Not a part of the answer, which has not begun.
        request.writer.output_size = 0


async def sign_answer(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries, a stream's and a WebSocket's too: as it begins, for no middleware sees those before they are sent."""
    response.headers["X-Request-Id"] = id_of(request)
    response.headers["X-Fastest-Epoch"] = cloud_of(request).epoch


def refusal(error: FastestError, request_id: str) -> web.Response:
    """An error as its envelope. What only we can mend is logged, and not shown."""
    if type(error) not in SPOKEN:
        log.error("request met damage", extra={"request_id": request_id, "code": error.code, "reason": error.message})
        return _hidden(request_id)
    body = ErrorBody(wire_code(error.code), error.message, error.hint, error.details, request_id)
    response = answer({"error": body}, error.http_status)
    if isinstance(error, Transient):
        response.headers["Retry-After"] = str(error.details.get("retry_after_seconds", RETRY_SECONDS))
    return response


def _hidden(request_id: str) -> web.Response:
    body = ErrorBody("INTERNAL_ERROR", "The cloud failed.", f"Its log says why, under request {request_id}.", request_id=request_id)
    return answer({"error": body}, 500)


def _told(error: web.HTTPException, request_id: str) -> web.Response:
    """What aiohttp refuses by itself."""
    body = ErrorBody(HTTP_CODES.get(error.status, "REFUSED"), error.reason, request_id=request_id)
    response = answer({"error": body}, error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def answer(value: object, status: int = 200) -> web.Response:
    """A value as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type=JSON)


async def read_json(request: web.Request, shape: type[T]) -> T:
    """The body as this shape. Raises InvalidJson, InvalidValue, HTTPUnsupportedMediaType when it is said to be something else."""
    if request.content_type not in (JSON, UNSAID) and not request.content_type.endswith("+json"):
        raise web.HTTPUnsupportedMediaType
    try:
        return msgspec.json.decode(await read_body(request), type=shape)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"the body is not what is expected: {error}") from None
    except UNREADABLE as error:
        raise InvalidJson(f"the body is not JSON: {error}") from None


async def read_body(request: web.Request) -> bytes:
    """A whole body within the application's bound. Raises InvalidValue when the connection is cut, TimedOut."""
    try:
        return await read_whole(request)
    except CUT as error:
        raise InvalidValue("the connection was cut") from error


async def read_sections(request: web.Request) -> AsyncIterator[tuple[Section, bytes]]:
    """The sections of a body until its end. Raises InvalidValue for what is no section or was cut short, TooLarge, TimedOut."""
    body, pace = request.content, Pace()
    if request.content_length is not None and request.content_length <= SMALL_BODY_BYTES:
        # Waiting piece by piece would cost more than the bytes.
        try:
            for section in split_sections(await read_body(request)):
                yield section
        except InvalidReply as error:
            raise InvalidValue(error.message) from error
        return
    while head := await _read(body, pace, SECTION_HEAD_BYTES, may_end=True):
        try:
            kind, length = parse_section_head(head)
        except InvalidReply as error:
            raise InvalidValue(error.message) from error
        yield kind, await _read(body, pace, length)


async def read_pieces(body: StreamReader) -> AsyncIterator[bytes]:
    """A body as it comes, until its end. Raises InvalidValue when the connection is cut, TimedOut."""
    pace = Pace()
    while piece := await _read_some(body, pace, PIECE_BYTES):
        yield piece


async def _read(body: StreamReader, pace: Pace, length: int, *, may_end: bool = False) -> bytes:
    """Exactly `length` bytes; none when the body ends where it may."""
    taken = bytearray()
    while len(taken) < length:
        piece = await _read_some(body, pace, min(length - len(taken), PIECE_BYTES))
        if not piece and may_end and not taken:
            return b""
        if not piece:
            raise InvalidValue("the body was cut short")
        taken += piece
    return bytes(taken)


async def _read_some(body: StreamReader, pace: Pace, most: int) -> bytes:
    try:
        return await pace.read(body, most)
    except CUT as error:
        raise InvalidValue("the connection was cut") from error


def who_asks(request: web.Request) -> str:
    """The account, or else the network that a request comes from."""
    account = request.get(ACCOUNT)
    return network_of(address_of(request)) if account is None else account.user_id


def read_query(request: web.Request, shape: type[S]) -> S:
    """The query as this shape; what it does not name is left alone. Raises InvalidValue."""
    named = msgspec.structs.fields(shape)
    for field in named:
        if len(request.query.getall(field.encode_name, ())) > 1:
            raise InvalidValue(f"{field.encode_name} is there twice")
    given = {field.encode_name: request.query[field.encode_name] for field in named if field.encode_name in request.query}
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"the query is not what is expected: {error}") from None


def named_id(request: web.Request, name: str) -> str:
    """An id from the path. What is no id at all is no more found than an unknown one."""
    return plain_id(request.match_info[name])


def plain_id(text: str) -> str:
    """What may be an id. Raises NotFound: the database would not even look for some texts."""
    if not _ID.match(text):
        raise NotFound("no such thing")
    return text


def checked_id(text: str) -> str:
    """A ULID that a client minted. Raises InvalidValue."""
    return parse_ulid(text)


def checked_name(text: str) -> str:
    """A name without the space around it. Raises InvalidValue when nothing is left, or too much."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidValue("a name is 1 to 200 printable characters")
    return name
