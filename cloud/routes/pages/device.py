"""/device: see which machine asks to be let in, and approve or deny it."""

from __future__ import annotations

from aiohttp import web

from cloud.accounts import device
from cloud.limits import DECIDE
from cloud.records.people.codes import Waiting
from cloud.routes.declare import FORM, PAGE, get, post
from cloud.routes.envelope import address_of, admit, cloud_of
from cloud.routes.pages.markup import button, element, facts, field, hidden, note, page
from cloud.routes.pages.moments import told_time
from cloud.routes.pages.visit import Visit, code_asked, shown
from store.errors import CodeExpired, CodeInvalid, CodeUsed


@shown
async def ask_device(request: web.Request, visit: Visit) -> web.Response:
    """The machine that shows this code; without one, a place to type it."""
    person, code = visit.person, code_asked(request, visit)
    if not code:
        return _type_code(visit, "" if not request.query.get("user_code") else "That is no code: it is four letters and four digits.")
    await admit(request, DECIDE, person.user_id)
    cloud = cloud_of(request)
    try:
        waiting = await device.look_up(cloud.read(), code, cloud.now_ms())
    except (CodeInvalid, CodeExpired, CodeUsed) as error:
        return _type_code(visit, f"{error.message.capitalize()}. {error.hint}", error.http_status)
    return _consent(visit, waiting)


@shown
async def decide_device(request: web.Request, visit: Visit) -> web.Response:
    """Approve or deny."""
    person, code = visit.person, code_asked(request, visit)
    await admit(request, DECIDE, person.user_id)
    cloud, address = cloud_of(request), address_of(request)
    approves = visit.fields.get("action") == "approve"
    work = device.approve if approves else device.deny
    try:
        waiting = await cloud.write(lambda tx: work(tx, code, person.user_id, cloud.now_ms(), address))
    except (CodeInvalid, CodeExpired, CodeUsed) as error:
        return _type_code(visit, f"{error.message.capitalize()}. {error.hint}", error.http_status)
    name = waiting.machine or "The machine"
    if approves:
        said = element("p", element("b", name), " is signed in as ", element("b", person.email), ". You can close this page.")
        return page("Approved", said, element("p", element("a", "See where you are signed in", href="account")), email=person.email)
    return page("Denied", element("p", element("b", name), " was sent away. Nothing was shared."), email=person.email)


def _type_code(visit: Visit, problem: str = "", status: int = 200) -> web.Response:
    typed = field(
        "Code", "user_code", hint="Four letters and four digits, as your machine shows them.", required=True, maxlength="20",
        autocomplete="off", autocapitalize="characters", spellcheck="false", class_="code", placeholder="ABCD-1234",
    )  # fmt: skip
    form = element("form", typed, button("Continue"), method="get", action="device")
    return page("Let a machine in", note(problem) if problem else None, form, status=status, email=visit.person.email)


def _consent(visit: Visit, waiting: Waiting) -> web.Response:
    known = facts(
        ("Code", element("span", waiting.user_code, class_="code")),
        ("Machine", waiting.machine or "did not say its name"),
        ("Address", waiting.address or "unknown"),
        ("Asked", told_time(waiting.created_at)),
        ("Lets it in as", visit.person.email),
    )
    warning = note("Approve only if you have just run ", element("code", "fst login"), " yourself and that terminal shows this very code. ",
                   "Whoever holds the machine can then read and change all your files.")  # fmt: skip
    form = visit.form(
        hidden("user_code", waiting.user_code), button("Approve", "approve"), button("Deny", "deny", kind="stop"), to="device"
    )  # fmt: skip
    return page("Let this machine in?", known, warning, form, email=visit.person.email)


ROUTES = [get("/device", ask_device, **PAGE), post("/device", decide_device, **FORM, **PAGE)]
