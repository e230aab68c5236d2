"""Pages of other origins that may ask the API: those that the settings name, and no others (OPS-3)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from cloud.routes.envelope import Answer, cloud_of

API: Final = "/v1/"
"""The pages of our own are for browsers that have come here: nobody else's script reads them."""
ASKED: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Range, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
SHOWN: Final = "X-Request-Id, X-Fastest-Epoch, Retry-After, Content-Range, ETag"


@web.middleware
async def answer_preflights(request: web.Request, handler: Answer) -> web.StreamResponse:
    """A browser asks first, without a session, whether it may ask. For an origin that is not named this is a request like any other."""
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers and _is_named(request):
        return web.Response(status=204, headers=ASKED)
    return await handler(request)


async def let_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser show the answer to a page of a named origin. No cookie counts here, so none is ever asked for."""
    if cloud_of(request).gate.origins and request.path.startswith(API):
        response.headers.add("Vary", "Origin")
        if _is_named(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = SHOWN


def _is_named(request: web.Request) -> bool:
    return request.path.startswith(API) and request.headers.get("Origin") in cloud_of(request).gate.origins
