"""For what watches over the cloud: may requests be sent here, and what was counted."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final, Literal, TypedDict

from aiohttp import web

from cloud.routes.declare import Media, get
from cloud.routes.envelope import cloud_of, for_everybody, is_proxy
from cloud.telemetry.metrics import CONTENT_TYPE
from cloud.telemetry.ready import READINESS
from store.errors import Busy, NotSignedIn

FORWARDED: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")


class Ready(TypedDict):
    """It may be asked; `degraded` names what works less well for now."""

    status: Literal["ready"]
    degraded: list[str]


@for_everybody
async def show_ready(request: web.Request) -> Ready:
    """Open to everybody: it names parts, and nothing about them."""
    standing = await request.app[READINESS].standing()
    if standing.lacking:
        raise Busy(f"not ready: {', '.join(standing.lacking)}", "Ask another server.", lacking=standing.lacking)
    return {"status": "ready", "degraded": standing.degraded}


@for_everybody
async def show_metrics(request: web.Request) -> web.Response:
    """To whoever has the token; without one, to this machine alone. Raises NotSignedIn."""
    if not _may_watch(request):
        raise NotSignedIn("metrics are not for everybody", "See docs/OPERATING.md.")
    return web.Response(body=cloud_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def _may_watch(request: web.Request) -> bool:
    token = cloud_of(request).metrics.token
    if token:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(shown, f"Bearer {token}".encode())
    # A reverse proxy on this machine brings the whole world from the same address.
    brought = is_proxy(cloud_of(request), request.remote or "") or any(name in request.headers for name in FORWARDED)
    return not brought and _is_loopback(request.remote or "") and _is_loopback(request.url.host or "")


def _is_loopback(address: str) -> bool:
    """Of a `Host` too: a page in a browser of this machine, whose name was made to lead here, asks under that name."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


ROUTES = [
    get("/ready", show_ready),
    get("/metrics", show_metrics, gives=Media.TEXT, needs="the metrics' token, or to be asked from this machine"),
]
