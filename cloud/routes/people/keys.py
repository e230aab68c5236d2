"""Keys of providers: /v1/auth/api-keys."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.accounts import keys
from cloud.accounts.session import who_is
from cloud.routes.envelope import account_of, address_of, answer, cloud_of, for_everybody, named_id, read_json


class GivenKey(msgspec.Struct, frozen=True):
    """The body that sets one."""

    provider: str
    key_value: str


async def show_keys(request: web.Request) -> web.Response:
    """Which there are, and how they end."""
    cloud = cloud_of(request)
    found = await keys.list_masked(cloud.read(), cloud.vault, account_of(request).user_id)
    told = [
        {"provider": each.provider, "key_name": each.key_name, "key_value": each.value, "updated_at": each.updated_at} for each in found
    ]
    return answer({"api_keys": told})


async def set_key(request: web.Request) -> web.Response:
    """Keep one, in place of the one before."""
    cloud, account, address = cloud_of(request), account_of(request), address_of(request)
    given = await read_json(request, GivenKey)
    await cloud.write(lambda tx: keys.set_key(tx, cloud.vault, account, given.provider, given.key_value, cloud.now_ms(), address))
    return answer({"success": True})


async def drop_key(request: web.Request) -> web.Response:
    """Forget one."""
    cloud, account, address, provider = cloud_of(request), account_of(request), address_of(request), named_id(request, "provider")
    await cloud.write(lambda tx: keys.drop_key(tx, account, provider, cloud.now_ms(), address))
    return answer({"success": True})


@for_everybody
async def release_key(request: web.Request) -> web.Response:
    """The plain key, to a session that is good for nothing else."""
    cloud, address, provider = cloud_of(request), address_of(request), named_id(request, "provider")
    account = await who_is(cloud.read(), request.headers.get("Authorization", ""), cloud.now_ms(), keys.SCOPE + provider)
    found = await cloud.write(lambda tx: keys.release(tx, cloud.vault, account, provider, cloud.now_ms(), address))
    response = answer({"env_vars": {found.key_name: found.key_value}})
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES = [
    web.get("/v1/auth/api-keys", show_keys),
    web.post("/v1/auth/api-keys", set_key),
    web.delete("/v1/auth/api-keys/{provider}", drop_key),
    web.get("/v1/auth/api-keys/{provider}/value", release_key),
]
