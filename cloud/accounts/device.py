"""Letting a machine in, by RFC 8628: it shows a code, somebody who is signed in approves it on a page, and one poll gets the token.

Theory. A code goes pending -> authorized -> consumed, or pending -> denied. Each step is one UPDATE that names the state it leaves, so
of any number of people who decide, and of any number of polls, one wins. Only a hash of the machine's secret is kept; what a
person reads is short, and so is looked up only by those who are signed in, a few times a minute.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

from cloud.accounts.session import Origin, begin_session, hash_of, note
from cloud.database import Reader, Tx
from cloud.records.moments import ms_of, text_of
from cloud.records.people import codes
from cloud.records.people.codes import Waiting
from store.errors import Busy, CodeExpired, CodeInvalid, CodeUsed
from store.types import new_ulid

CODE_SECONDS: Final = 15 * 60
INTERVAL_SECONDS: Final = 5
SLOWER_SECONDS: Final = 5
TOLD_SECONDS: Final = 60 * 60
"""So long after its end a code is still said to be expired, and not unknown."""
LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without I and O, which read as digits."""
TRIES: Final = 8
_CODE: Final = re.compile(r"[A-Z]{4}[0-9]{4}\Z")


class Started(NamedTuple):
    """What the machine gets: its secret, and what it shows."""

    secret: str
    user_code: str


class Polled(NamedTuple):
    """An answer to a poll: a token and whose it is, or the error's word."""

    error: str = ""
    token: str = ""
    user_id: str = ""


async def start(tx: Tx, origin: Origin, now_ms: int) -> Started:
    """A machine asks to be let in."""
    at, ends = text_of(now_ms), text_of(now_ms + CODE_SECONDS * 1000)
    await codes.purge_codes(tx, at, text_of(max(0, now_ms - TOLD_SECONDS * 1000)))
    for _ in range(TRIES):
        secret, user_code = secrets.token_urlsafe(32), _new_code()
        waiting = Waiting(
            new_ulid(now_ms), user_code, None, "pending", ends, at, INTERVAL_SECONDS, None, origin.machine, origin.address
        )  # fmt: skip
        if await codes.add_waiting(tx, waiting, hash_of(secret)):
            return Started(secret, user_code)
    raise Busy("too many machines ask to be let in at once")


async def poll(tx: Tx, secret: str, now_ms: int) -> Polled:
    """What the machine is told; the token, once."""
    now = text_of(now_ms)
    waiting = await codes.find_by_secret(tx, hash_of(secret))
    if waiting is None or waiting.status == "consumed":
        return Polled("invalid_grant")
    if waiting.status == "denied":
        return Polled("access_denied")
    if waiting.expires_at <= now:
        return Polled("expired_token")
    if waiting.status == "authorized" and waiting.user_id is not None:
        if not await codes.consume(tx, waiting.id, now):
            return Polled("invalid_grant")
        token = await begin_session(tx, waiting.user_id, now_ms, origin=Origin(waiting.machine, waiting.address))
        return Polled(token=token, user_id=waiting.user_id)
    is_early = waiting.polled_at is not None and now_ms - ms_of(waiting.polled_at) < waiting.interval_seconds * 1000
    await codes.note_poll(tx, waiting.id, waiting.interval_seconds + (SLOWER_SECONDS if is_early else 0), now)
    return Polled("slow_down" if is_early else "authorization_pending")


async def look_up(reader: Reader, user_code: str, now_ms: int) -> Waiting:
    """The machine that shows this code, while it waits. Raises CodeInvalid, CodeExpired, CodeUsed."""
    found = await codes.find_by_user_code(reader, parse_user_code(user_code))
    if found is None:
        raise CodeInvalid("no machine shows this code", "Look at the machine again; letters I and O are never used.")
    if found.status != "pending":
        raise CodeUsed("this code was approved or denied before", "Run `fst login` again for a new one.")
    if found.expires_at <= text_of(now_ms):
        raise CodeExpired("this code has expired", "Run `fst login` again for a new one.")
    return found


async def approve(tx: Tx, user_code: str, user_id: str, now_ms: int, address: str = "") -> Waiting:
    """Let the machine in as this user. Raises CodeInvalid, CodeExpired, CodeUsed."""
    return await _decide(tx, user_code, user_id, now_ms, "authorized", address)


async def deny(tx: Tx, user_code: str, user_id: str, now_ms: int, address: str = "") -> Waiting:
    """Send the machine away. Raises CodeInvalid, CodeExpired, CodeUsed."""
    return await _decide(tx, user_code, user_id, now_ms, "denied", address)


def parse_user_code(text: str) -> str:
    """`LLLL-DDDD`, however it was typed. Raises CodeInvalid."""
    plain = re.sub(r"[\s-]", "", text[:40]).upper()
    if not _CODE.match(plain):
        raise CodeInvalid("a code is four letters and four digits")
    return f"{plain[:4]}-{plain[4:]}"


async def _decide(tx: Tx, user_code: str, user_id: str, now_ms: int, status: str, address: str) -> Waiting:
    waiting = await look_up(tx, user_code, now_ms)
    if not await codes.decide(tx, waiting.id, status, user_id, text_of(now_ms)):
        raise CodeUsed("this code was approved or denied just now")
    kind = "machine.approved" if status == "authorized" else "machine.denied"
    await note(tx, user_id, kind, now_ms, f"{waiting.machine} at {waiting.address}".strip(), address)
    return waiting


def _new_code() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(4)) + f"-{secrets.randbelow(10_000):04}"
