"""Who am I, and no longer: /v1/auth."""

from __future__ import annotations

from aiohttp import web

from cloud.records.people.accounts import remove_session
from cloud.routes.envelope import account_of, answer, cloud_of


async def show_health(request: web.Request) -> web.Response:
    """Open to everybody, and says nothing about anybody."""
    return answer({"status": "ok", "timestamp": cloud_of(request).now()})


async def show_me(request: web.Request) -> web.Response:
    """The account behind the token."""
    account = account_of(request)
    return answer({"user": {"id": account.user_id, "email": account.email, "name": account.name, "picture": account.picture}})


async def sign_out(request: web.Request) -> web.Response:
    """Revoke the session this request came with."""
    cloud, account = cloud_of(request), account_of(request)
    await cloud.write(lambda tx: remove_session(tx, account.user_id, account.session_id))
    await cloud.hub.end_session(account.session_id)
    return answer({"success": True})


ROUTES = [
    web.get("/health", show_health),
    web.get("/v1/health", show_health),
    web.get("/v1/auth/me", show_me),
    web.post("/v1/auth/logout", sign_out),
]
