"""/sign-in: with a code that is mailed."""

from __future__ import annotations

from aiohttp import web

from cloud.accounts import mailed
from cloud.accounts.mailed import CODE_MINUTES
from cloud.accounts.session import WEB, Origin, begin_session, parse_address
from cloud.context import Cloud
from cloud.database import Tx
from cloud.limits import MAIL, SIGN_IN
from cloud.routes.declare import FORM, PAGE, get, post
from cloud.routes.envelope import address_of, admit, cloud_of, plain_id, public_url
from cloud.routes.pages.markup import button, element, field, hidden, note, page
from cloud.routes.pages.moments import browser_name
from cloud.routes.pages.visit import WEB_DAYS, Visit, begin_web_session, code_asked, lead_to, shown
from store.errors import InvalidValue


@shown
async def show_sign_in(request: web.Request, visit: Visit) -> web.Response:
    """Where one types an address."""
    code = code_asked(request, visit)
    return lead_to("device" if code else "account", code) if visit.account else _ask_address(request, visit, code)


@shown
async def mail_code(request: web.Request, visit: Visit) -> web.Response:
    """Send a code, and ask for it. The answer is the same for every address."""
    await admit(request, SIGN_IN)
    user_code = code_asked(request, visit)
    try:
        email = parse_address(visit.fields.get("email", ""))
    except InvalidValue:
        return _ask_address(request, visit, user_code, "That is not an e-mail address.", 422)
    await admit(request, MAIL, email)
    cloud = cloud_of(request)
    row_id, code = await cloud.write(lambda tx: mailed.make_code(tx, email, visit.browser, cloud.now_ms()))
    if cloud.gate.lets_in(email):
        cloud.gate.begin(cloud.gate.mailer.send_code(email, code, public_url(request), CODE_MINUTES))
    return _ask_code(visit, row_id, email, user_code)


@shown
async def take_code(request: web.Request, visit: Visit) -> web.Response:
    """Let in whoever has the code."""
    await admit(request, SIGN_IN)
    cloud, user_code = cloud_of(request), code_asked(request, visit)
    row_id, code, email = plain_id(visit.fields.get("sent", "")), visit.fields.get("code", ""), visit.fields.get("email", "")
    origin = Origin(browser_name(request.headers.get("User-Agent", "")), address_of(request))
    token = await cloud.write(lambda tx: _let_in(tx, cloud, visit, row_id, code, origin))
    if token is None:
        problem = f"That code is wrong, or older than {CODE_MINUTES} minutes, or was tried too often. Only the newest letter counts."
        return _ask_code(visit, row_id, email, user_code, problem, 400)
    response = lead_to("device" if user_code else "account", user_code)
    begin_web_session(request, response, token)
    return response


async def _let_in(tx: Tx, cloud: Cloud, visit: Visit, row_id: str, code: str, origin: Origin) -> str | None:
    user_id = await mailed.try_code(tx, row_id, code, visit.browser, cloud.now_ms())
    return None if user_id is None else await begin_session(tx, user_id, cloud.now_ms(), WEB, origin, WEB_DAYS)


def _ask_address(request: web.Request, visit: Visit, user_code: str, problem: str = "", status: int = 200) -> web.Response:
    issuers = cloud_of(request).gate.issuers
    asked = field("E-mail address", "email", type="email", required=True, autocomplete="email", maxlength="320", autofocus=True)
    form = visit.form(asked, hidden("user_code", user_code), button("Send me a code"), to="sign-in")
    query = f"&user_code={user_code}" if user_code else ""
    leading = [(f"Continue with {name}", f"sign-in-with?issuer={name}{query}") for name in issuers]
    others = [element("p", element("a", text, href=there, class_="other")) for text, there in leading]
    return page("Sign in", note(problem) if problem else None, *others, form, status=status)


def _ask_code(visit: Visit, row_id: str, email: str, user_code: str, problem: str = "", status: int = 200) -> web.Response:
    asked = field(
        "Code from the letter", "code", hint="Eight digits.", required=True, inputmode="numeric",
        autocomplete="one-time-code", maxlength="20", autofocus=True, class_="code",
    )  # fmt: skip
    told = element("p", "If ", element("b", email), f" may sign in here, a code is on its way. It is good for {CODE_MINUTES} minutes.")
    sent = [hidden("sent", row_id), hidden("email", email), hidden("user_code", user_code)]
    form = visit.form(asked, *sent, button("Sign in"), to="sign-in-code")
    again = element("p", element("a", "Another address, or a new code", href=f"sign-in?user_code={user_code}" if user_code else "sign-in"))
    return page("Look into your mailbox", note(problem) if problem else told, form, again, status=status)


ROUTES = [
    get("/sign-in", show_sign_in, **PAGE),
    post("/sign-in", mail_code, **FORM, **PAGE),
    post("/sign-in-code", take_code, **FORM, **PAGE),
]
