"""Each request, once it has ended: counted, timed, and one line in the log."""

from __future__ import annotations

import logging
import time
from typing import Final

from aiohttp import web

from cloud.routes.envelope import ACCOUNT, REQUEST_ID, Answer, cloud_of, route_of

log = logging.getLogger(f"fastest.{__name__}")

CUT: Final = 499
"""Ended without an answer: the client went, or the process did."""
PROBES: Final = frozenset({"/health", "/v1/health", "/ready", "/metrics"})
"""Asked every few seconds by machines: in the log only at the level `debug`."""


@web.middleware
async def observe(request: web.Request, handler: Answer) -> web.StreamResponse:
    """The outermost middleware. The line has the route's template: a path may hold ids, and an address that is signed."""
    began, status = time.perf_counter(), CUT
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        seconds, (method, route) = time.perf_counter() - began, route_of(request)
        cloud_of(request).metrics.count_request(method, route, status, seconds)
        level = logging.DEBUG if route in PROBES else logging.INFO
        if log.isEnabledFor(level):
            account = request.get(ACCOUNT)
            told = {"request_id": request.get(REQUEST_ID, ""), "method": method, "route": route, "status": status}
            told |= {"ms": round(seconds * 1000, 2)} | ({"user": account.user_id} if account else {})
            log.log(level, "request", extra=told)
