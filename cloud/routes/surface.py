"""/openapi.json: the API's own description."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from cloud.routes.declare import get
from cloud.routes.envelope import for_everybody

DOCUMENT: Final = web.AppKey("document", dict[str, Any])


@for_everybody
async def show_document(request: web.Request) -> dict[str, object]:
    """This document, OpenAPI 3.1; open to everybody."""
    return request.app[DOCUMENT]


ROUTES = [get("/openapi.json", show_document), get("/v1/openapi.json", show_document)]
