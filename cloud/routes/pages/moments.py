"""Times and machines, as people read them."""

from __future__ import annotations

from typing import Final

from cloud.routes.pages.markup import Markup, element

MAX_NAME: Final = 60
_BROWSERS: Final = (("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS: Final = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def told_time(moment: str | None) -> Markup:
    """`22 Nov 2026 09:30 UTC` would need a language; this needs none: `2026-11-22 09:30 UTC`."""
    if not moment:
        return element("span", "never")
    return element("time", f"{moment[:10]} {moment[11:16]} UTC", datetime=moment)


def browser_name(agent: str) -> str:
    """A browser's own long name, short."""
    browser = next((name for sign, name in _BROWSERS if sign in agent), "a browser")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    return f"{browser} on {system}" if system else browser
