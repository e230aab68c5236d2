"""Wherever a sealed text stands, of whatever table."""

from __future__ import annotations

from typing import Final

from cloud.database import Tx

_SECRETS: Final = (
    "DELETE FROM user_api_keys WHERE key_value LIKE 'enc:v1:%'",
    "DELETE FROM project_env_vars WHERE value LIKE 'enc:v1:%'",
    "DELETE FROM provider_credentials WHERE api_token LIKE 'enc:v1:%'",
)


async def forget_sealed(tx: Tx) -> int:
    """The key is lost: what it sealed is let go, and another key may seal from here on. How many secrets it were."""
    gone = sum([await tx.run(sql) for sql in _SECRETS])
    await tx.run("DELETE FROM meta WHERE key IN ('sealing_key', 'address_key')")
    return gone
