"""Who am I, where else am I signed in, and no longer: /v1/auth."""

from __future__ import annotations

import msgspec
from aiohttp import web

from cloud.accounts.revoke import end_all_sessions, end_one_session
from cloud.accounts.session import TICKET_SECONDS, make_ticket
from cloud.records.people.sessions import list_sessions
from cloud.routes.envelope import account_of, address_of, answer, cloud_of, for_everybody, named_id


@for_everybody
async def show_health(request: web.Request) -> web.Response:
    """Open to everybody, and says nothing about anybody."""
    return answer({"status": "ok", "timestamp": cloud_of(request).now()})


async def show_me(request: web.Request) -> web.Response:
    """The account behind the token."""
    account = account_of(request)
    return answer({"user": {"id": account.user_id, "email": account.email, "name": account.name, "picture": account.picture}})


async def show_sessions(request: web.Request) -> web.Response:
    """Where this account is signed in."""
    cloud, account = cloud_of(request), account_of(request)
    found = await list_sessions(cloud.read(), account.user_id, cloud.now())
    told = [{**msgspec.to_builtins(each), "is_current": each.id == account.session_id} for each in found]
    return answer({"sessions": told})


async def sign_out(request: web.Request) -> web.Response:
    """Revoke the session this request came with."""
    account = account_of(request)
    await end_one_session(cloud_of(request), account, account.session_id, address_of(request))
    return answer({"success": True})


async def revoke_session(request: web.Request) -> web.Response:
    """Revoke one session of this account."""
    await end_one_session(cloud_of(request), account_of(request), named_id(request, "session"), address_of(request))
    return answer({"success": True})


async def revoke_sessions(request: web.Request) -> web.Response:
    """Revoke all sessions of this account, this one too."""
    count = await end_all_sessions(cloud_of(request), account_of(request), address_of(request))
    return answer({"success": True, "count": count})


async def give_ticket(request: web.Request) -> web.Response:
    """A word that opens one stream, once, within half a minute."""
    cloud, account = cloud_of(request), account_of(request)
    ticket = await cloud.write(lambda tx: make_ticket(tx, account.session_id, cloud.now_ms()))
    return answer({"ticket": ticket, "expires_in": TICKET_SECONDS}, 201)


ROUTES = [
    web.get("/health", show_health),
    web.get("/v1/health", show_health),
    web.get("/v1/auth/me", show_me),
    web.post("/v1/auth/logout", sign_out),
    web.get("/v1/auth/sessions", show_sessions),
    web.delete("/v1/auth/sessions", revoke_sessions),
    web.delete("/v1/auth/sessions/{session}", revoke_session),
    web.post("/v1/auth/ticket", give_ticket),
]
