"""Who is asking: bearer tokens of 256 bits, of which only the SHA-256 is kept. A session is good for its scope and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from cloud.database import Reader, Tx
from cloud.records.moments import text_of
from cloud.records.people import accounts, sessions
from cloud.records.people.accounts import Account, AccountEvent
from cloud.records.people.sessions import Session
from store.errors import InvalidValue, NotSignedIn
from store.types import new_ulid

SESSION_DAYS: Final = 30
DAY_MS: Final = 24 * 60 * 60 * 1000
TICKET_SECONDS: Final = 30
SEEN_MS: Final = 5 * 60 * 1000
"""A session's last use is noted no oftener."""
USER: Final = "user"
WEB: Final = "web"
_ADDRESS: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,254}\Z")


class Origin(NamedTuple):
    """Where a session came from, for its owner to recognise."""

    machine: str = ""
    address: str = ""


NOWHERE: Final = Origin()


async def sign_in(tx: Tx, email: str, now_ms: int, scope: str = USER, origin: Origin = NOWHERE, days: float = SESSION_DAYS) -> str:
    """A new session's token for the user with this address, who is created if need be. Raises InvalidValue."""
    return await begin_session(tx, await know_user(tx, email, now_ms), now_ms, scope, origin, days)


async def know_user(tx: Tx, email: str, now_ms: int) -> str:
    """The id of the user with this address, created if need be. Raises InvalidValue."""
    address = parse_address(email)
    return await accounts.find_user(tx, address) or await accounts.add_user(tx, new_ulid(now_ms), address, text_of(now_ms))


async def begin_session(
    tx: Tx, user_id: str, now_ms: int, scope: str = USER, origin: Origin = NOWHERE, days: float = SESSION_DAYS
) -> str:  # fmt: skip
    """A new session's token."""
    token = secrets.token_urlsafe(32)
    at = text_of(now_ms)
    await sessions.purge_sessions(tx, at)
    ends = text_of(now_ms + int(days * DAY_MS))
    await sessions.add_session(
        tx, Session(new_ulid(now_ms), scope, origin.machine, origin.address, at, None, ends), user_id, hash_of(token)
    )
    await note(tx, user_id, "session.began", now_ms, origin.machine, origin.address)
    return token


async def note(tx: Tx, user_id: str, kind: str, now_ms: int, detail: str = "", address: str = "") -> None:
    """Tell the account's owner what happened. Never holds a secret."""
    await accounts.add_event(tx, new_ulid(now_ms), user_id, AccountEvent(kind, detail, address, text_of(now_ms)))


async def who_is(reader: Reader, header: str, now_ms: int, scope: str = USER) -> Account:
    """The account behind an Authorization header. Raises NotSignedIn."""
    scheme, _, token = header.partition(" ")
    found = await who_holds(reader, token, now_ms, scope) if scheme.lower() == "bearer" else None
    if found is None and scope != USER:
        raise NotSignedIn(
            f"no valid session of the scope {scope}", "It is made on the server: `fst cloud token --email ADDRESS --scope SCOPE`."
        )
    if found is None:
        raise NotSignedIn("no valid session", "Sign in with `fst login`.")
    return found


async def who_holds(reader: Reader, token: str, now_ms: int, scope: str) -> Account | None:
    """The account of a token of this scope."""
    if not 0 < len(token) <= 200:
        return None
    # The look-up is by hash, so its time tells nothing about a token; the comparison after it leaves no doubt.
    hashed = hash_of(token)
    found = await sessions.find_session(reader, hashed, scope, text_of(now_ms))
    return found[1] if found is not None and hmac.compare_digest(found[0], hashed) else None


async def make_ticket(tx: Tx, session_id: str, now_ms: int) -> str:
    """A word that opens one stream, once, soon. It may stand in an address, for it is worth nothing afterwards."""
    ticket = secrets.token_urlsafe(32)
    await sessions.add_ticket(tx, hash_of(ticket), session_id, text_of(now_ms + TICKET_SECONDS * 1000))
    return ticket


def use_ticket(ticket: str, now_ms: int) -> Callable[[Tx], Coroutine[Any, Any, Account]]:
    """A work: whose ticket it is, used up. Raises NotSignedIn."""

    async def work(tx: Tx) -> Account:
        found = await sessions.find_ticket(tx, hash_of(ticket), text_of(now_ms)) if 0 < len(ticket) <= 200 else None
        if found is None or not await sessions.remove_ticket(tx, hash_of(ticket)):
            raise NotSignedIn("no valid ticket", "Ask for a new one: each opens one stream.")
        return found

    return work


def parse_address(email: str) -> str:
    """An e-mail address in lower case. Raises InvalidValue."""
    address = email.strip().lower()
    if not _ADDRESS.match(address):
        raise InvalidValue(f"not an e-mail address: {email[:80]!r}")
    return address


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
