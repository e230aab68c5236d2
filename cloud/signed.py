"""Addresses that are good for one blob, one method and a quarter of an hour, without a session: signed by the cloud.

Theory. An address names the user it acts for, the digest, the method and when it ends; the signature is an HMAC-SHA-256 over all of
them, under a key that is made once and lies in the database, sealed by the vault: every server process knows it, a dump does not tell it.
It gives nothing that its user could not have: ownership is asked when it is used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

from cloud.context import Cloud
from cloud.database import Tx
from store.errors import NotSignedIn
from store.types import Digest

VALID_SECONDS: Final = 15 * 60
PLACE: Final = ("meta", "address_key")
_TICKET: Final = re.compile(r"([0-9A-Z]{26})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})\Z")


async def signing_key(cloud: Cloud) -> bytes:
    """Made the first time somebody asks; of two who do at once one wins."""
    row = await cloud.read().one("SELECT value FROM meta WHERE key = 'address_key'")
    if row is None:
        sealed = cloud.vault.seal(secrets.token_hex(32), *PLACE)
        row = await cloud.write(lambda tx: _keep_key(tx, sealed))
    return bytes.fromhex(cloud.vault.open(str(row[0]), *PLACE))


async def _keep_key(tx: Tx, sealed: str) -> tuple[str]:
    await tx.run("INSERT INTO meta (key, value) VALUES ('address_key', $1) ON CONFLICT (key) DO NOTHING", (sealed,))
    row = await tx.one("SELECT value FROM meta WHERE key = 'address_key'")
    return (sealed if row is None else str(row[0]),)


def sign(key: bytes, user_id: str, digest: Digest, method: str, ends_s: int) -> str:
    """What goes into the address. In it stands no secret."""
    return f"{user_id}.{ends_s}.{_signature(key, user_id, digest, method, ends_s)}"


def check(key: bytes, ticket: str, digest: Digest, method: str, now_ms: int) -> str:
    """The user an address acts for. Raises NotSignedIn when it was made up, changed, for something else, or has ended."""
    found = _TICKET.match(ticket)
    if found is not None:
        user_id, ends_s = found[1], int(found[2])
        if hmac.compare_digest(_signature(key, user_id, digest, method, ends_s), found[3]) and now_ms < ends_s * 1000:
            return user_id
    raise NotSignedIn("this address is not valid, or no longer", "Ask for a new one.")


def _signature(key: bytes, user_id: str, digest: Digest, method: str, ends_s: int) -> str:
    signed = hmac.new(key, f"{method} {digest.hex()} {user_id} {ends_s}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")
