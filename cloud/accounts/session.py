"""Who is asking: bearer tokens of 256 bits, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

from cloud.database import Reader, Tx
from cloud.records.moments import text_of
from cloud.records.people import accounts
from cloud.records.people.accounts import Account
from store.errors import InvalidValue, NotSignedIn
from store.types import new_ulid

SESSION_DAYS: Final = 30
DAY_MS: Final = 24 * 60 * 60 * 1000
_ADDRESS: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,254}\Z")


async def sign_in(tx: Tx, email: str, now_ms: int) -> str:
    """A new session's token for the user with this address, who is created if need be. Raises InvalidValue."""
    address = email.strip().lower()
    if not _ADDRESS.match(address):
        raise InvalidValue(f"not an e-mail address: {email[:80]!r}")
    token = secrets.token_urlsafe(32)
    at = text_of(now_ms)
    await accounts.purge_sessions(tx, at)
    user_id = await accounts.find_user(tx, address)
    if user_id is None:
        user_id = new_ulid(now_ms)
        await accounts.add_user(tx, user_id, address, at)
    await accounts.add_session(tx, new_ulid(now_ms), user_id, hash_of(token), text_of(now_ms + SESSION_DAYS * DAY_MS), at)
    return token


async def who_is(reader: Reader, header: str, now_ms: int) -> Account:
    """The account behind an Authorization header. Raises NotSignedIn."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer" and 0 < len(token) <= 200:
        # The look-up is by hash, so its time tells nothing about a token; the comparison after it leaves no doubt.
        hashed = hash_of(token)
        found = await accounts.find_session(reader, hashed, text_of(now_ms))
        if found is not None and hmac.compare_digest(found[0], hashed):
            return found[1]
    raise NotSignedIn("no valid session", "Sign in with `fst login`.")


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
