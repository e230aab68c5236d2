"""/sign-in-with and /sign-in-back: to an OpenID issuer, and back."""

from __future__ import annotations

import base64
import logging
from typing import Final

from aiohttp import web

from cloud.accounts.oidc import LIFE_MS, know_person, read_begun
from cloud.accounts.session import WEB, Origin, begin_session
from cloud.database import Tx
from cloud.limits import SIGN_IN
from cloud.routes.declare import PAGE, get
from cloud.routes.envelope import address_of, admit, cloud_of, public_url
from cloud.routes.pages.markup import element, page
from cloud.routes.pages.moments import browser_name
from cloud.routes.pages.visit import WEB_DAYS, Visit, begin_web_session, code_asked, cookie_name, set_cookie, shown
from store.errors import NotFound, Refused

log = logging.getLogger(f"fastest.{__name__}")

BEGUN: Final = "fst_begun"
MAX_QUERY: Final = 4096


@shown
async def go_to_issuer(request: web.Request, visit: Visit) -> web.Response:
    """Off to the issuer."""
    await admit(request, SIGN_IN)
    cloud = cloud_of(request)
    issuer = cloud.gate.issuers.get(request.query.get("issuer", ""))
    if issuer is None:
        raise NotFound("no such issuer")
    back = f"{public_url(request)}/sign-in-back"
    there, kept = await issuer.begin(cloud.vault, back, code_asked(request, visit), cloud.now_ms())
    response = web.Response(status=303, headers={"Location": there, "Cache-Control": "no-store"})
    # Lax: the issuer sends the browser back, so it comes from another site.
    set_cookie(request, response, BEGUN, base64.urlsafe_b64encode(kept.encode()).decode().rstrip("="), LIFE_MS // 1000, "Lax")
    return response


@shown
async def come_back(request: web.Request, visit: Visit) -> web.Response:
    """Back from the issuer: signed in, if all is as it should be."""
    await admit(request, SIGN_IN)
    cloud, query = cloud_of(request), request.query
    begun = read_begun(cloud.vault, _kept(request), query.get("state", ""), cloud.now_ms())
    issuer = cloud.gate.issuers.get(begun.issuer)
    if issuer is None or query.get("iss", issuer.settings.url) != issuer.settings.url:
        raise Refused("this sign-in was begun with another issuer", "Begin again.")
    code = query.get("code", "")
    if not 0 < len(code) <= MAX_QUERY:
        raise Refused("the issuer did not let you in", "Begin again, or sign in with a code by e-mail.")
    try:
        claims = await issuer.finish(begun, code, cloud.now_ms())
    except Refused as error:
        log.warning("a sign-in through %s failed: %s", begun.issuer, error.message)
        raise
    if not cloud.gate.lets_in(claims.email.strip().lower()):
        raise Refused("this address may not sign in here", "Ask who runs this cloud.")
    origin = Origin(browser_name(request.headers.get("User-Agent", "")), address_of(request))

    async def let_in(tx: Tx) -> str:
        return await begin_session(tx, await know_person(tx, claims, cloud.now_ms()), cloud.now_ms(), WEB, origin, WEB_DAYS)

    token = await cloud.write(let_in)
    there = f"device?user_code={begun.user_code}" if begun.user_code else "account"
    # A page of ours that leads on, for a browser that comes from another site keeps our cookies to itself until then.
    response = page("Signed in", element("p", element("a", "Continue", href=there)), then=there)
    begin_web_session(request, response, token)
    set_cookie(request, response, BEGUN, "", 0, "Lax")
    return response


def _kept(request: web.Request) -> str:
    text = request.cookies.get(cookie_name(request, BEGUN), "")[:MAX_QUERY]
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""


ROUTES = [get("/sign-in-with", go_to_issuer, **PAGE), get("/sign-in-back", come_back, **PAGE)]
