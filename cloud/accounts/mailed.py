"""Signing in with a code that was mailed.

Theory. What is kept is a hash over the code, the address and a secret of the browser that asked: whoever reads the table learns
nothing, and a code is worth nothing in another browser. A row takes five tries, counted before they are compared, and lets one person
in once. Whether an address is known is never told.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from cloud.accounts.session import hash_of, know_user
from cloud.database import Tx
from cloud.records.moments import text_of
from cloud.records.people import codes
from cloud.records.people.codes import MailedCode
from store.types import new_ulid

CODE_MINUTES: Final = 10
CODE_DIGITS: Final = 8
TRIES: Final = 5


async def make_code(tx: Tx, email: str, browser: str, now_ms: int) -> tuple[str, str]:
    """The row's id, and the code to mail."""
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    row_id = new_ulid(now_ms)
    ends = text_of(now_ms + CODE_MINUTES * 60_000)
    await codes.add_mailed(tx, MailedCode(row_id, email, _hash(row_id, email, browser, code), ends, text_of(now_ms)))
    return row_id, f"{code[:4]} {code[4:]}"


async def try_code(tx: Tx, row_id: str, code: str, browser: str, now_ms: int) -> str | None:
    """The id of the user whom this code lets in, created if need be; None for a wrong one, which is counted."""
    mailed = await codes.try_mailed(tx, row_id, TRIES, text_of(now_ms))
    if mailed is None or not hmac.compare_digest(mailed.code, _hash(row_id, mailed.email, browser, "".join(code.split()))):
        return None
    user_id = await know_user(tx, mailed.email, now_ms)
    await codes.use_mailed(tx, row_id, user_id)
    return user_id


def _hash(row_id: str, email: str, browser: str, code: str) -> str:
    return hashlib.sha256("\0".join((row_id, email, hash_of(browser), code)).encode("utf-8", "surrogateescape")).hexdigest()
