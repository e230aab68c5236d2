"""Keys that a user gives for providers of models: sealed when they come, shown by their end only, given out one at a time and told.

Theory. The plain key leaves by one door, `release`, which asks for a session whose scope is that very key: such a session is made on the
server (`fst cloud token --scope key:PROVIDER`), for a program that runs work on behalf of the user. The transaction that reads the
key also notes that it was given out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cloud.accounts.session import USER, note
from cloud.accounts.vault import PREFIX, Vault
from cloud.context import Cloud
from cloud.database import Reader, Tx
from cloud.records.moments import text_of
from cloud.records.people import keys
from cloud.records.people.accounts import Account
from cloud.records.people.keys import ProviderKey
from store.errors import InvalidValue, NotFound, SecretDamaged
from store.types import new_ulid, parse_ulid

PROVIDERS: Final = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GOOGLE_API_KEY",
    "azure": "AZURE_API_KEY",
    "aws": "AWS_ACCESS_KEY_ID",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
}
COLUMN: Final = "user_api_keys.key_value"
SCOPE: Final = "key:"
"""And the provider: what such a session is good for."""
ENVIRONMENT: Final = "env:"
"""And the project: good for the values of its variables."""
SCOPE_DAYS: Final = 1 / 24
MASK: Final = "\u2022" * 20
SHOWN: Final = 4
SHOWN_OF_AT_LEAST: Final = 9
MAX_KEY: Final = 4096
RESEALED_AT_ONCE: Final = 200


class Masked(NamedTuple):
    """What is shown of a key."""

    provider: str
    key_name: str
    value: str
    updated_at: str


def checked_provider(provider: str) -> str:
    """One of those we know. Raises InvalidValue."""
    if provider not in PROVIDERS:
        raise InvalidValue("an unknown provider", f"It is one of {', '.join(PROVIDERS)}.")
    return provider


def checked_scope(scope: str) -> str:
    """What `fst cloud token --scope` may make. Raises InvalidValue."""
    kind, _, named = scope.partition(":")
    if scope == USER:
        return scope
    if kind == "env":
        return ENVIRONMENT + parse_ulid(named)
    if kind != "key":
        raise InvalidValue(f"an unknown scope: {scope[:80]!r}", "It is user, key:PROVIDER, or env:PROJECT with the project's id.")
    return SCOPE + checked_provider(named)


async def set_key(tx: Tx, vault: Vault, account: Account, provider: str, key: str, now_ms: int, address: str) -> None:
    """Seal and keep it. Raises InvalidValue."""
    plain = key.strip()
    if not plain or len(plain) > MAX_KEY or not plain.isascii() or not plain.isprintable():
        raise InvalidValue(f"a key is 1 to {MAX_KEY} printable characters")
    at, sealed = text_of(now_ms), vault.seal(plain, account.user_id, checked_provider(provider), COLUMN)
    await keys.put_key(tx, new_ulid(now_ms), account.user_id, ProviderKey(provider, PROVIDERS[provider], sealed, at, at))
    await note(tx, account.user_id, "key.set", now_ms, provider, address)


async def drop_key(tx: Tx, account: Account, provider: str, now_ms: int, address: str) -> None:
    """Nothing happens when there is none. Raises InvalidValue."""
    if await keys.remove_key(tx, account.user_id, checked_provider(provider)):
        await note(tx, account.user_id, "key.removed", now_ms, provider, address)


async def list_masked(reader: Reader, vault: Vault, user_id: str) -> list[Masked]:
    """All of a user; of one that does not open nothing is shown."""
    kept = await keys.list_keys(reader, user_id)
    return [Masked(each.provider, each.key_name, _masked(vault, user_id, each), each.updated_at) for each in kept]


async def release(tx: Tx, vault: Vault, account: Account, provider: str, now_ms: int, address: str) -> ProviderKey:
    """The plain key, told to its owner. Raises NotFound, SecretDamaged."""
    found = await keys.find_key(tx, account.user_id, provider)
    if found is None:
        raise NotFound("no key of this provider is kept")
    plain = vault.open(found.key_value, account.user_id, provider, COLUMN)
    await note(tx, account.user_id, "key.released", now_ms, provider, address)
    return ProviderKey(provider, found.key_name, plain, found.created_at, found.updated_at)


async def reseal(cloud: Cloud) -> None:
    """What an older key has sealed, with the new one; what does not open stays as it is."""
    vault = cloud.vault
    found = await keys.sealed_otherwise(cloud.read(), f"{PREFIX}{vault.sealing_key}:", RESEALED_AT_ONCE)
    anew: list[tuple[str, str, str, str]] = []
    for user_id, provider, sealed in found:
        try:
            plain = vault.open(sealed, user_id, provider, COLUMN)
        except SecretDamaged:
            continue
        anew.append((user_id, provider, sealed, vault.seal(plain, user_id, provider, COLUMN)))

    async def work(tx: Tx) -> None:
        for user_id, provider, before, after in anew:
            await keys.replace_value(tx, user_id, provider, before, after)

    if anew:
        await cloud.write(work)


def _masked(vault: Vault, user_id: str, key: ProviderKey) -> str:
    try:
        plain = vault.open(key.key_value, user_id, key.provider, COLUMN)
    except SecretDamaged:
        return MASK
    return MASK + (plain[-SHOWN:] if len(plain) >= SHOWN_OF_AT_LEAST else "")
