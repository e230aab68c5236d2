"""HTML made of elements. Text becomes markup in one place, `element`, which escapes it; nothing else can."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import web

STYLE: Final = (Path(__file__).parent / "page.css").read_text("utf-8")
_VOID: Final = frozenset({"input", "meta", "link"})
_ALLOWED_STYLE: Final = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    # No script, frame, picture or font can be loaded, wherever it comes from; forms lead to ourselves.
    "Content-Security-Policy": f"default-src 'none'; style-src '{_ALLOWED_STYLE}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Markup(str):
    """Text that is HTML already. Made by this module alone."""

    __slots__ = ()


Child = str | None
"""Text, which is escaped; Markup, which is not; or nothing."""


def element(tag: str, *children: Child, **attributes: str | bool) -> Markup:
    """`<tag ...>children</tag>`. `for_` stands for the attribute `for`, `aria_label` for `aria-label`; True has no value."""
    named = "".join(_attribute(name, value) for name, value in attributes.items() if value is not False)
    if tag in _VOID:
        return Markup(f"<{tag}{named}>")
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children if child is not None)
    return Markup(f"<{tag}{named}>{inside}</{tag}>")


def together(*children: Child) -> Markup:
    """One after another."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child is not None))


def page(title: str, *children: Child, status: int = 200, then: str = "", email: str = "") -> web.Response:
    """A whole page. `then`: where it leads by itself; `email`: who is signed in."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="robots", content="noindex"),
        element("meta", http_equiv="refresh", content=f"0; url={then}") if then else None,
        element("title", f"{title} - Fastest"),
        element("style", Markup(STYLE)),
    )
    who = element("p", "Signed in as ", element("a", email, href="account"), class_="who") if email else None
    top = element("header", element("p", "Fastest", class_="name"), who)
    body = element("body", top, element("main", element("h1", title), *children))
    html = Markup("<!doctype html>\n") + element("html", head, body, lang="en")
    return web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=HEADERS)


def field(label: str, name: str, *, hint: str = "", **attributes: str | bool) -> Markup:
    """An input with its label; the hint is read out with it."""
    described: dict[str, str | bool] = {"aria_describedby": f"{name}-hint"} if hint else {}
    return together(
        element("label", label, for_=name),
        element("input", id=name, name=name, **attributes, **described),
        element("p", hint, id=f"{name}-hint", class_="hint") if hint else None,
    )


def button(text: str, action: str = "", *, kind: str = "") -> Markup:
    """Sends its form; `action` is the field of this name."""
    chosen: dict[str, str | bool] = {"name": "action", "value": action} if action else {}
    styled: dict[str, str | bool] = {"class_": kind} if kind else {}
    return element("button", text, type="submit", **chosen, **styled)


def hidden(name: str, value: str) -> Markup:
    """A field that nobody sees."""
    return element("input", type="hidden", name=name, value=value)


def note(text: str, *more: Child) -> Markup:
    """What a person must not miss."""
    return element("p", text, *more, class_="note", role="alert")


def facts(*rows: tuple[str, Child]) -> Markup:
    """What is known of a thing, name by name."""
    return element("dl", *(together(element("dt", name), element("dd", value)) for name, value in rows))


def table(names: Iterable[str], rows: Iterable[Markup]) -> Markup:
    """Columns by name, then rows. Whoever comes by keyboard can scroll it, too."""
    head = element("tr", *(element("th", name, scope="col") for name in names))
    return element("div", element("table", element("thead", head), element("tbody", together(*rows))), class_="wide", tabindex="0")


def _attribute(name: str, value: str | bool) -> str:
    plain = name.rstrip("_").replace("_", "-")
    return f" {plain}" if value is True else f' {plain}="{escape(str(value))}"'
