"""Being let in by a cloud (RFC 8628): ask for a code, have it shown, and poll until somebody has decided.

Theory. What keeps a sign-in from succeeding is said by the cloud in one word; everything else (no network, a proxy's page, a server
that restarts) may pass, and is waited out within the code's life. The interval only ever grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from daemon.login import parse_token
from daemon.remote.exchange import MAX_JSON_BYTES, PATIENCE_SECONDS, Exchange, Patience, open_session
from daemon.remote.failures import failure_of, translated, wait_seconds
from store.errors import InvalidReply, InvalidValue, NotSignedIn, Offline, TimedOut
from store.types import UNREADABLE

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
POLL_SECONDS: Final = 30
SLOWER_SECONDS: Final = 5
MOST_INTERVAL_SECONDS: Final = 60
MOST_LIFE_SECONDS: Final = 30 * 60
MAX_WORD_BYTES: Final = 64 * 1024
MAX_CODE: Final = 64
MAX_ADDRESS: Final = 2000
_AGAIN: Final = "Run `fst login` again for a new code."


class Asked(msgspec.Struct, frozen=True):
    """What the cloud gave us: a secret of ours, and what a person needs."""

    secret: str = msgspec.field(name="device_code")
    user_code: str
    page: str = msgspec.field(name="verification_uri")
    full_page: str = msgspec.field(name="verification_uri_complete", default="")
    life_seconds: float = msgspec.field(name="expires_in", default=900)
    interval_seconds: float = msgspec.field(name="interval", default=5)


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _Word(msgspec.Struct, frozen=True):
    error: str


async def sign_in(
    url: str, machine: str, show: Callable[[Asked], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> str:  # fmt: skip
    """A session's token. Raises NotSignedIn when it is denied, TimedOut when nobody decides, Offline, InvalidReply."""
    async with open_session() as session:
        asked = await _ask(session, url, machine)
        show(asked)
        return await _wait(session, url, asked, sleep)


async def _ask(session: aiohttp.ClientSession, url: str, machine: str) -> Asked:
    body = msgspec.json.encode({"machine": machine})
    async with Exchange(session, url, Patience(PATIENCE_SECONDS), "POST", "/v1/oauth/device", data=body) as answer:
        told = await answer.read(MAX_JSON_BYTES)
    try:
        asked = msgspec.json.decode(told, type=Asked)
    except UNREADABLE as error:
        raise InvalidReply(f"the cloud's answer cannot be read: {error}") from None
    for page in (asked.page, asked.full_page or asked.page):
        _check_page(page)
    if not 0 < len(asked.user_code) <= MAX_CODE or not asked.user_code.isprintable() or not asked.secret:
        raise InvalidReply("the cloud gave a code that nobody could type")
    return asked


async def _wait(session: aiohttp.ClientSession, url: str, asked: Asked, sleep: Callable[[float], Awaitable[None]]) -> str:
    interval = min(max(asked.interval_seconds, 1.0), MOST_INTERVAL_SECONDS)
    left = min(asked.life_seconds, MOST_LIFE_SECONDS)
    while left > 0:
        await sleep(interval)
        left -= interval
        try:
            status, body, retry_after = await _poll(session, url, asked)
        except Offline:
            # Asked less and less often (RFC 8628, 3.5), but at least once more before the code's end.
            interval = min(interval * 2, MOST_INTERVAL_SECONDS)
            continue
        if status == 200:
            return _token_in(body)
        if status == 429:
            interval = min(max(interval, wait_seconds(retry_after)), MOST_INTERVAL_SECONDS)
        elif status < 500:
            interval += _slower(status, body)
    raise TimedOut("nobody approved this machine in time", _AGAIN)


async def _poll(session: aiohttp.ClientSession, url: str, asked: Asked) -> tuple[int, bytes, str | None]:
    form = {"grant_type": GRANT, "device_code": asked.secret}
    within = aiohttp.ClientTimeout(total=POLL_SECONDS)
    with translated(url):
        async with session.post(f"{url}/v1/oauth/token", data=form, timeout=within) as response:
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_WORD_BYTES:
                    raise InvalidReply("the cloud's answer has no end")
            return response.status, bytes(body), response.headers.get("Retry-After")


def _slower(status: int, body: bytes) -> float:
    """How much longer to wait from now on. Raises NotSignedIn, TimedOut, and what else the cloud's word means."""
    try:
        word = msgspec.json.decode(body, type=_Word).error
    except UNREADABLE:
        raise failure_of(status, body) from None
    match word:
        case "authorization_pending":
            return 0
        case "slow_down":
            return SLOWER_SECONDS
        case "access_denied":
            raise NotSignedIn("the sign-in was denied", "If that was a mistake, run `fst login` again.")
        case "expired_token":
            raise TimedOut("nobody approved this machine in time", _AGAIN)
        case _:
            raise NotSignedIn(f"the cloud refused the sign-in: {word[:100]!r}", _AGAIN)


def _token_in(body: bytes) -> str:
    try:
        return parse_token(msgspec.json.decode(body, type=_Token).access_token)
    except (*UNREADABLE, InvalidValue):
        raise InvalidReply("the cloud gave a token that is none") from None


def _check_page(page: str) -> None:
    try:
        parts = urlsplit(page)
        named = parts.hostname
    except ValueError:
        named = None
    is_plain = page.isascii() and page.isprintable() and " " not in page and len(page) <= MAX_ADDRESS
    if not named or parts.scheme not in ("http", "https") or not is_plain:
        raise InvalidReply("the cloud names a page that nobody could open")
