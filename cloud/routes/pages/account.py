"""/account: where one is signed in, and what happened lately."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from cloud.accounts import keys
from cloud.accounts.keys import Masked
from cloud.accounts.revoke import end_all_sessions, end_one_session
from cloud.accounts.session import WEB
from cloud.records.people.accounts import Account, AccountEvent, list_events
from cloud.records.people.sessions import Session, list_sessions
from cloud.routes.declare import FORM, PAGE, get, post
from cloud.routes.envelope import address_of, cloud_of, for_everybody, plain_id
from cloud.routes.pages.markup import Markup, button, element, field, hidden, page, table
from cloud.routes.pages.moments import told_time
from cloud.routes.pages.visit import Visit, end_web_session, lead_to, shown

EVENTS_SHOWN: Final = 20
HAPPENED: Final = {
    "session.began": "Signed in",
    "session.revoked": "Session revoked",
    "machine.approved": "Machine approved",
    "machine.denied": "Machine denied",
    "key.set": "Key set",
    "key.removed": "Key removed",
    "key.released": "Key given out",
}


@shown
async def show_account(request: web.Request, visit: Visit) -> web.Response:
    """All of it on one page."""
    person, cloud = visit.person, cloud_of(request)
    found = await list_sessions(cloud.read(), person.user_id, cloud.now())
    kept = await keys.list_masked(cloud.read(), cloud.vault, person.user_id)
    happened = await list_events(cloud.read(), person.user_id, EVENTS_SHOWN)
    return page(
        "Your account",
        element("p", element("a", "Your projects", href="work"), " or ", element("a", "let a machine in", href="device")),
        element("h2", "Where you are signed in"),
        _sessions(visit, person, found),
        visit.form(
            button("Sign out here", "sign-out", kind="plain"), button("Sign out everywhere", "revoke-all", kind="stop"), to="account"
        ),
        element("h2", "Keys of providers"),
        element("p", "Sealed when they come here. They are never shown again, and never logged."),
        _keys(visit, kept) if kept else None,
        _new_key(visit),
        element("h2", "Lately"),
        _events(happened),
        email=person.email,
    )  # fmt: skip


@shown
async def change_account(request: web.Request, visit: Visit) -> web.Response:
    """Revoke one session, this one, or all; set or remove a key."""
    person, cloud, address = visit.person, cloud_of(request), address_of(request)
    action, provider = visit.fields.get("action", ""), visit.fields.get("provider", "")
    if action == "set-key":
        key = visit.fields.get("key", "")
        await cloud.write(lambda tx: keys.set_key(tx, cloud.vault, person, provider, key, cloud.now_ms(), address))
    elif action == "remove-key":
        await cloud.write(lambda tx: keys.drop_key(tx, person, provider, cloud.now_ms(), address))
    elif action == "revoke-all":
        await end_all_sessions(cloud, person, address)
    else:
        ended = person.session_id if action == "sign-out" else plain_id(visit.fields.get("session", ""))
        await end_one_session(cloud, person, ended, address)
    if action in ("sign-out", "revoke-all"):
        response = lead_to("sign-in")
        end_web_session(request, response)
        return response
    return lead_to("account")


@for_everybody
async def show_start(request: web.Request) -> web.StreamResponse:
    """The root leads here."""
    return lead_to("account")


def _sessions(visit: Visit, person: Account, found: list[Session]) -> Markup:
    return table(
        ("Machine", "Address", "Since", "Last seen", ""), [_session_row(visit, each, each.id == person.session_id) for each in found]
    )


def _session_row(visit: Visit, session: Session, is_current: bool) -> Markup:
    kind = "this page" if is_current else "web pages" if session.scope == WEB else "" if session.scope == "user" else session.scope
    named = session.machine or "unnamed"
    name = element("td", named, element("small", kind) if kind else None)
    revoke = visit.form(
        hidden("session", session.id), element("button", "Revoke", type="submit", name="action", value="revoke", class_="stop",
                                               aria_label=f"Revoke {named}"), to="account",
    )  # fmt: skip
    times = [element("td", told_time(each)) for each in (session.created_at, session.last_seen_at)]
    return element("tr", name, element("td", session.address or "unknown"), *times, element("td", None if is_current else revoke))


def _keys(visit: Visit, kept: list[Masked]) -> Markup:
    return table(("Provider", "Key", "Since", ""), [_key_row(visit, each) for each in kept])


def _key_row(visit: Visit, key: Masked) -> Markup:
    remove = element(
        "button", "Remove", type="submit", name="action", value="remove-key", class_="stop", aria_label=f"Remove {key.provider}"
    )  # fmt: skip
    form = visit.form(hidden("provider", key.provider), remove, to="account")
    name = element("td", key.provider, element("small", key.key_name))
    return element("tr", name, element("td", key.value), element("td", told_time(key.updated_at)), element("td", form))


def _new_key(visit: Visit) -> Markup:
    choices = [element("option", provider, value=provider) for provider in keys.PROVIDERS]
    longest = str(keys.MAX_KEY)
    return visit.form(
        element("label", "Provider", for_="provider"),
        element("select", *choices, id="provider", name="provider"),
        field("Key", "key", hint="Replaces the one before.", type="password", required=True, autocomplete="off", maxlength=longest),
        button("Set key", "set-key", kind="plain"),
        to="account",
    )


def _events(happened: list[AccountEvent]) -> Markup:
    rows = [
        element("tr", element("td", told_time(each.created_at)),
                element("td", HAPPENED.get(each.type, each.type), element("small", each.detail) if each.detail else None),
                element("td", each.address or "the server"))
        for each in happened
    ]  # fmt: skip
    return table(("When", "What", "Address"), rows)


ROUTES = [get("/", show_start, **PAGE), get("/account", show_account, **PAGE), post("/account", change_account, **FORM, **PAGE)]
