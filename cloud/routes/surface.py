"""/openapi.json: the API's own description."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from aiohttp import web

from cloud.openapi.document import draw_document
from cloud.routes.declare import Route, get
from cloud.routes.envelope import for_everybody


class AllRoutes:
    """What is served, and its document once somebody asked for it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    @cached_property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return draw_document(self._routes)


ALL_ROUTES: Final = web.AppKey("routes", AllRoutes)


@for_everybody
async def show_document(request: web.Request) -> dict[str, object]:
    """This document, OpenAPI 3.1; open to everybody."""
    return request.app[ALL_ROUTES].document


ROUTES = [get("/openapi.json", show_document), get("/v1/openapi.json", show_document)]
