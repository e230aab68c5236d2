"""Who am I, where else am I signed in, and no longer: /v1/auth."""

from __future__ import annotations

from typing import Literal, TypedDict

import msgspec
from aiohttp import web

from cloud.accounts.revoke import end_all_sessions, end_one_session
from cloud.accounts.session import TICKET_SECONDS, make_ticket
from cloud.records.people.sessions import Session, list_sessions
from cloud.routes.asking import Done
from cloud.routes.declare import delete, get, post
from cloud.routes.envelope import account_of, address_of, cloud_of, for_everybody, named_id


class Health(TypedDict):
    """It answers."""

    status: Literal["ok"]
    timestamp: str


class Person(TypedDict):
    """An account."""

    id: str
    email: str
    name: str | None
    picture: str | None


class Me(TypedDict):
    """Who is asking."""

    user: Person


class ShownSession(Session, frozen=True, kw_only=True):
    """A session, and whether it is the one that asks."""

    is_current: bool


class Sessions(TypedDict):
    """The newest first."""

    sessions: list[ShownSession]


class EndedSessions(TypedDict):
    """How many were ended."""

    success: bool
    count: int


class Ticket(TypedDict):
    """Good once, for so many seconds."""

    ticket: str
    expires_in: int


@for_everybody
async def show_health(request: web.Request) -> Health:
    """Open to everybody, and says nothing about anybody."""
    return {"status": "ok", "timestamp": cloud_of(request).now()}


async def show_me(request: web.Request) -> Me:
    """The account behind the token."""
    account = account_of(request)
    return {"user": {"id": account.user_id, "email": account.email, "name": account.name, "picture": account.picture}}


async def show_sessions(request: web.Request) -> Sessions:
    """Where this account is signed in."""
    cloud, account = cloud_of(request), account_of(request)
    found = await list_sessions(cloud.read(), account.user_id, cloud.now())
    return {"sessions": [ShownSession(**msgspec.structs.asdict(each), is_current=each.id == account.session_id) for each in found]}


async def sign_out(request: web.Request) -> Done:
    """Revoke the session this request came with."""
    account = account_of(request)
    await end_one_session(cloud_of(request), account, account.session_id, address_of(request))
    return {"success": True}


async def revoke_session(request: web.Request) -> Done:
    """Revoke one session of this account."""
    await end_one_session(cloud_of(request), account_of(request), named_id(request, "session"), address_of(request))
    return {"success": True}


async def revoke_sessions(request: web.Request) -> EndedSessions:
    """Revoke all sessions of this account, this one too."""
    count = await end_all_sessions(cloud_of(request), account_of(request), address_of(request))
    return {"success": True, "count": count}


async def give_ticket(request: web.Request) -> Ticket:
    """A word that opens one stream, once, within half a minute."""
    cloud, account = cloud_of(request), account_of(request)
    ticket = await cloud.write(lambda tx: make_ticket(tx, account.session_id, cloud.now_ms()))
    return {"ticket": ticket, "expires_in": TICKET_SECONDS}


ROUTES = [
    get("/health", show_health),
    get("/v1/health", show_health),
    get("/v1/auth/me", show_me),
    post("/v1/auth/logout", sign_out),
    get("/v1/auth/sessions", show_sessions),
    delete("/v1/auth/sessions", revoke_sessions),
    delete("/v1/auth/sessions/{session}", revoke_session),
    post("/v1/auth/ticket", give_ticket, status=201),
]
