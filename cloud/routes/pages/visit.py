"""Who looks at a page: cookies, the word that every form carries, and pages for what fails.

Theory. Two cookies. `visit` is random and belongs to the browser; `session` is a token of scope `web`, which no route of the API accepts.
A form carries a hash over both. It is believed when it has the right word and does not say that it comes from another origin: SameSite,
Origin and the word each stop what the others might let through.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from cloud.accounts.session import WEB, who_holds
from cloud.records.people.accounts import Account
from cloud.routes.envelope import cloud_of, for_everybody, note_use, public_url
from cloud.routes.pages.markup import Markup, element, hidden, note, page
from cloud.routes.people.fields import FORM, Fields, read_fields
from store.errors import Corrupt, FastestError, NotSignedIn, RateLimited, Refused

VISIT: Final = "fst_visit"
SESSION: Final = "fst_session"
WEB_DAYS: Final = 7
VISIT_SECONDS: Final = 24 * 60 * 60
MAX_COOKIE: Final = 200


@dataclass(slots=True)
class Visit:
    """One request for a page. `fields` are those of a form that is believed."""

    browser: str
    token: str
    account: Account | None
    fields: Fields = field(default_factory=dict)

    @property
    def word(self) -> str:
        """What this browser's forms carry."""
        return hashlib.sha256(f"form\0{self.browser}\0{self.token}".encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def person(self) -> Account:
        """Who is signed in. Raises NotSignedIn."""
        if self.account is None:
            raise NotSignedIn("sign in first")
        return self.account

    def form(self, *children: Markup | str | None, to: str) -> Markup:
        """A form that will be believed."""
        return element("form", hidden("word", self.word), *children, method="post", action=to)


Show = Callable[[web.Request, Visit], Awaitable[web.Response]]


def shown(show: Show) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Decorator: a page. What fails is a page too, and who is not signed in is sent to do so."""

    @for_everybody
    async def answer(request: web.Request) -> web.StreamResponse:
        visit = await _visit_of(request)
        try:
            if request.method == "POST":
                visit.fields = await _believed_fields(request, visit)
            response = await show(request, visit)
        except NotSignedIn:
            response = lead_to("sign-in", code_asked(request, visit))
        except FastestError as error:
            if isinstance(error, Corrupt):
                raise
            response = _failed(error, visit)
        if visit.browser != request.cookies.get(cookie_name(request, VISIT)):
            set_cookie(request, response, VISIT, visit.browser, VISIT_SECONDS)
        return response

    answer.__module__, answer.__doc__ = show.__module__, show.__doc__
    return answer


def lead_to(place: str, user_code: str = "") -> web.Response:
    """Another page of ours, by its relative name; it then knows which machine is meant."""
    query = f"?user_code={user_code}" if user_code else ""
    return web.Response(status=303, headers={"Location": place + query, "Cache-Control": "no-store"})


def code_asked(request: web.Request, visit: Visit) -> str:
    """The code of the machine that this is all about, as far as it may stand in an address."""
    text = visit.fields.get("user_code") or request.query.get("user_code", "")
    plain = "".join(text.split())
    return plain if len(plain) <= 20 and plain.isascii() and plain.replace("-", "").isalnum() else ""


def begin_web_session(request: web.Request, response: web.Response, token: str) -> None:
    """This browser is signed in from here on."""
    set_cookie(request, response, SESSION, token, WEB_DAYS * 24 * 60 * 60)


def end_web_session(request: web.Request, response: web.Response) -> None:
    """And no longer."""
    response.del_cookie(cookie_name(request, SESSION), path="/", secure=_is_secure(request), httponly=True, samesite="Strict")


def set_cookie(request: web.Request, response: web.Response, name: str, value: str, seconds: int, same_site: str = "Strict") -> None:
    """A cookie that no script reads and no other site sends."""
    response.set_cookie(
        cookie_name(request, name), value, max_age=seconds, path="/", secure=_is_secure(request), httponly=True, samesite=same_site
    )


def cookie_name(request: web.Request, name: str) -> str:
    """Over https with the prefix that keeps other names of the same domain from setting it."""
    return f"__Host-{name}" if _is_secure(request) else name


async def _visit_of(request: web.Request) -> Visit:
    cloud = cloud_of(request)
    browser = request.cookies.get(cookie_name(request, VISIT), "")
    token = request.cookies.get(cookie_name(request, SESSION), "")
    account = await who_holds(cloud.read(), token, cloud.now_ms(), WEB)
    if account is not None:
        await note_use(cloud, account)
    if not 40 <= len(browser) <= MAX_COOKIE:
        browser = secrets.token_urlsafe(32)
    return Visit(browser, token if account else "", account)


async def _believed_fields(request: web.Request, visit: Visit) -> Fields:
    origin = request.headers.get("Origin")
    own = {urlsplit(public_url(request)).netloc, request.host}
    elsewhere = origin is not None and urlsplit(origin).netloc not in own
    if elsewhere or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refused("this form was sent by another site", "Open the page here and send it again.")
    if request.content_type != FORM:
        raise Refused("that is not a form of ours")
    fields = await read_fields(request)
    if not hmac.compare_digest(fields.get("word", "").encode(), visit.word.encode()):
        raise Refused("this page is out of date", "Go back, load it again, and send the form once more. Cookies must be allowed.")
    return fields


def _failed(error: FastestError, visit: Visit) -> web.Response:
    email = visit.account.email if visit.account else ""
    title = "Too many tries" if isinstance(error, RateLimited) else "That did not work"
    again = element("p", element("a", "Enter a code", href="device"), " or see ", element("a", "your account", href="account"), ".")
    hint = element("p", error.hint) if error.hint else None
    response = page(title, note(_sentence(error.message)), hint, again, status=error.http_status, email=email)
    if "retry_after_seconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retry_after_seconds"])
    return response


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _is_secure(request: web.Request) -> bool:
    return public_url(request).startswith("https:")
