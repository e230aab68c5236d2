"""Table user_api_keys: one sealed key for each provider of a user."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx


class ProviderKey(msgspec.Struct, frozen=True):
    """`key_value` is sealed."""

    provider: str
    key_name: str
    key_value: str
    created_at: str
    updated_at: str


async def put_key(tx: Tx, key_id: str, user_id: str, key: ProviderKey) -> None:
    """Keep it, in place of the one before."""
    await tx.run(
        "INSERT INTO user_api_keys (id, user_id, provider, key_name, key_value, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (user_id, provider) DO UPDATE SET key_name = excluded.key_name, key_value = excluded.key_value,"
        " updated_at = excluded.updated_at",
        (key_id, user_id, key.provider, key.key_name, key.key_value, key.created_at, key.updated_at),
    )


async def list_keys(reader: Reader, user_id: str) -> list[ProviderKey]:
    """By provider."""
    rows = await reader.rows(
        "SELECT provider, key_name, key_value, created_at, updated_at FROM user_api_keys WHERE user_id = $1 ORDER BY provider", (user_id,)
    )
    return [ProviderKey(*row) for row in rows]


async def find_key(reader: Reader, user_id: str, provider: str) -> ProviderKey | None:
    """The user's for this provider."""
    row = await reader.one(
        "SELECT provider, key_name, key_value, created_at, updated_at FROM user_api_keys WHERE user_id = $1 AND provider = $2",
        (user_id, provider),
    )
    return None if row is None else ProviderKey(*row)


async def remove_key(tx: Tx, user_id: str, provider: str) -> bool:
    """False when there is none."""
    return await tx.run("DELETE FROM user_api_keys WHERE user_id = $1 AND provider = $2", (user_id, provider)) == 1


async def sealed_otherwise(reader: Reader, begin: str, limit: int) -> list[tuple[str, str, str]]:
    """User, provider and value of those that do not begin so."""
    rows = await reader.rows(
        "SELECT user_id, provider, key_value FROM user_api_keys WHERE substr(key_value, 1, $1) <> $2 LIMIT $3", (len(begin), begin, limit)
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def replace_value(tx: Tx, user_id: str, provider: str, before: str, after: str) -> None:
    """The same key, sealed anew; nothing happens when it was changed meanwhile."""
    await tx.run(
        "UPDATE user_api_keys SET key_value = $1 WHERE user_id = $2 AND provider = $3 AND key_value = $4",
        (after, user_id, provider, before),
    )
