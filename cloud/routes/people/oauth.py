"""The device flow (RFC 8628), as machines speak it: /v1/oauth."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

import msgspec
from aiohttp import web

from cloud.accounts import device
from cloud.accounts.device import CODE_SECONDS, INTERVAL_SECONDS
from cloud.accounts.session import DAY_MS, SESSION_DAYS, USER, Origin, who_holds
from cloud.limits import DECIDE, POLL, START
from cloud.routes.asking import Done
from cloud.routes.declare import NO_STORE, Media, post
from cloud.routes.envelope import account_of, address_of, admit, answer, cloud_of, for_everybody, public_url
from cloud.routes.people.fields import Fields, asked_text, read_fields
from store.errors import FastestError, InvalidValue, RateLimited

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
MAX_MACHINE: Final = 100
MAX_CODE: Final = 40
SAID: Final = {
    "authorization_pending": "nobody has approved this code yet",
    "slow_down": "ask less often: the interval is five seconds longer now",
    "access_denied": "this code was denied",
    "expired_token": "this code has expired",
    "invalid_grant": "this code is unknown, or was used",
    "unsupported_grant_type": f"the only grant is {GRANT}",
    "invalid_request": "grant_type and device_code are needed, each once",
}


class AskedDevice(msgspec.Struct, frozen=True):
    """A machine may say its name."""

    machine: Annotated[str, msgspec.Meta(max_length=MAX_MACHINE)] = ""


class StartedDevice(TypedDict):
    """As of RFC 8628."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class AskedToken(msgspec.Struct, frozen=True):
    """As of RFC 8628."""

    grant_type: str
    device_code: str


class Holder(TypedDict):
    """Whose token it is."""

    id: str
    email: str


class GivenToken(TypedDict):
    """As of RFC 6749."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    user: Holder


class RefusedToken(TypedDict):
    """As of RFC 6749."""

    error: str
    error_description: str


class ShownCode(msgspec.Struct, frozen=True):
    """What a machine shows."""

    user_code: Annotated[str, msgspec.Meta(max_length=MAX_CODE)]


class Approved(TypedDict):
    """And a sentence for the person."""

    success: bool
    message: str


@for_everybody
async def start_device(request: web.Request) -> StartedDevice:
    """A machine asks to be let in; it may say its name."""
    await admit(request, START)
    fields = await read_fields(request)
    machine = asked_text(fields, "machine", MAX_MACHINE) if fields.get("machine") else ""
    cloud, origin = cloud_of(request), Origin(machine, address_of(request))
    url = public_url(request)
    if not url:
        raise InvalidValue("the header Host is not an address", "Set --public-url on the server.")
    started = await cloud.write(lambda tx: device.start(tx, origin, cloud.now_ms()))
    return {
        "device_code": started.secret,
        "user_code": started.user_code,
        "verification_uri": f"{url}/device",
        "verification_uri_complete": f"{url}/device?user_code={started.user_code}",
        "expires_in": CODE_SECONDS,
        "interval": INTERVAL_SECONDS,
    }


@for_everybody
async def give_token(request: web.Request) -> GivenToken | web.Response:
    """A machine polls. Failures are those of RFC 6749 and RFC 8628, in their shape."""
    try:
        await admit(request, POLL)
        fields = await read_fields(request)
    except RateLimited as error:
        reply = _refuse("slow_down", 429)
        reply.headers["Retry-After"] = str(error.details["retry_after_seconds"])
        return reply
    except FastestError as error:
        if error.http_status >= 500:
            raise
        return _refuse("invalid_request")
    if missing := _missing(fields):
        return _refuse(missing)
    cloud = cloud_of(request)
    polled = await cloud.write(lambda tx: device.poll(tx, fields["device_code"], cloud.now_ms()))
    if polled.error:
        return _refuse(polled.error)
    account = await who_holds(cloud.read(), polled.token, cloud.now_ms(), USER)
    seconds = SESSION_DAYS * DAY_MS // 1000
    user: Holder = {"id": polled.user_id, "email": account.email if account else ""}
    return {"access_token": polled.token, "token_type": "Bearer", "expires_in": seconds, "user": user}


async def approve_device(request: web.Request) -> Approved:
    """Somebody who is signed in lets a machine in."""
    cloud, account, address = cloud_of(request), account_of(request), address_of(request)
    code = await _code_in(request)
    waiting = await cloud.write(lambda tx: device.approve(tx, code, account.user_id, cloud.now_ms(), address))
    return {"success": True, "message": f"{waiting.machine or 'The machine'} is signed in now."}


async def deny_device(request: web.Request) -> Done:
    """Somebody who is signed in sends a machine away."""
    cloud, account, address = cloud_of(request), account_of(request), address_of(request)
    code = await _code_in(request)
    await cloud.write(lambda tx: device.deny(tx, code, account.user_id, cloud.now_ms(), address))
    return {"success": True}


async def _code_in(request: web.Request) -> str:
    await admit(request, DECIDE, account_of(request).user_id)
    return asked_text(await read_fields(request), "user_code", MAX_CODE)


def _missing(fields: Fields) -> str:
    """The error of a request that asks for nothing we give."""
    grant = fields.get("grant_type", "")
    if grant and grant != GRANT:
        return "unsupported_grant_type"
    return "" if grant and fields.get("device_code") else "invalid_request"


def _refuse(word: str, status: int = 400) -> web.Response:
    reply = answer({"error": word, "error_description": SAID[word]}, status)
    reply.headers.update(NO_STORE)
    return reply


ROUTES = [
    post("/v1/oauth/device", start_device, takes=Media.FORM, body=AskedDevice, is_secret=True),
    post("/v1/oauth/token", give_token, takes=Media.FORM, body=AskedToken, is_secret=True, failure=RefusedToken),
    post("/v1/oauth/device/authorize", approve_device, takes=Media.FORM, body=ShownCode),
    post("/v1/oauth/device/deny", deny_device, takes=Media.FORM, body=ShownCode),
]
