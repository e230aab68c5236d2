"""Keys of providers: /v1/auth/api-keys."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from aiohttp import web

from cloud.accounts import keys
from cloud.accounts.session import who_is
from cloud.routes.asking import Done
from cloud.routes.declare import delete, get, post
from cloud.routes.envelope import account_of, address_of, cloud_of, for_everybody, named_id


class GivenKey(msgspec.Struct, frozen=True):
    """The body that sets one."""

    provider: str
    key_value: str


class ShownKey(TypedDict):
    """Of the value only the end is shown."""

    provider: str
    key_name: str
    key_value: str
    updated_at: str


class ShownKeys(TypedDict):
    """One of each provider at most."""

    api_keys: list[ShownKey]


class ReleasedKey(TypedDict):
    """In the clear, under the name of its environment variable."""

    env_vars: dict[str, str]


async def show_keys(request: web.Request) -> ShownKeys:
    """Which there are, and how they end."""
    cloud = cloud_of(request)
    found = await keys.list_masked(cloud.read(), cloud.vault, account_of(request).user_id)
    told: list[ShownKey] = [
        {"provider": each.provider, "key_name": each.key_name, "key_value": each.value, "updated_at": each.updated_at} for each in found
    ]
    return {"api_keys": told}


async def set_key(request: web.Request, asked: GivenKey) -> Done:
    """Keep one, in place of the one before."""
    cloud, account, address = cloud_of(request), account_of(request), address_of(request)
    await cloud.write(lambda tx: keys.set_key(tx, cloud.vault, account, asked.provider, asked.key_value, cloud.now_ms(), address))
    return {"success": True}


async def drop_key(request: web.Request) -> Done:
    """Forget one."""
    cloud, account, address, provider = cloud_of(request), account_of(request), address_of(request), named_id(request, "provider")
    await cloud.write(lambda tx: keys.drop_key(tx, account, provider, cloud.now_ms(), address))
    return {"success": True}


@for_everybody
async def release_key(request: web.Request) -> ReleasedKey:
    """The plain key, to a session that is good for nothing else."""
    cloud, address, provider = cloud_of(request), address_of(request), named_id(request, "provider")
    account = await who_is(cloud.read(), request.headers.get("Authorization", ""), cloud.now_ms(), keys.SCOPE + provider)
    found = await cloud.write(lambda tx: keys.release(tx, cloud.vault, account, provider, cloud.now_ms(), address))
    return {"env_vars": {found.key_name: found.key_value}}


ROUTES = [
    get("/v1/auth/api-keys", show_keys),
    post("/v1/auth/api-keys", set_key),
    delete("/v1/auth/api-keys/{provider}", drop_key),
    get("/v1/auth/api-keys/{provider}/value", release_key, is_secret=True, needs="a session of the scope `key:PROVIDER`"),
]
