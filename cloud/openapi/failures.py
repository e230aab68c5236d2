"""What a route may refuse, by status: told from what it takes, with the codes that each status may carry."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from http import HTTPStatus
from typing import Any, Final

from cloud.routes.declare import Media, Route
from cloud.routes.envelope import HTTP_CODES
from store.errors import SPOKEN, wire_code

Json = dict[str, Any]
RETRIED: Final = {429, 503, 504}
RETRY_AFTER: Final[Json] = {"description": "Seconds.", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}}


def codes_by_status() -> dict[int, list[str]]:
    """Every code that the cloud may say, under its status."""
    found: dict[int, set[str]] = {status: {code} for status, code in HTTP_CODES.items()}
    for error in SPOKEN:
        found.setdefault(error.http_status, set()).add(wire_code(error.code))
    return {status: sorted(codes) for status, codes in sorted(found.items())}


def shared_responses(body: Json, headers: Json) -> Json:
    """A response for each status, all in the one envelope."""
    return {_name(status): _shared(status, codes, body, headers) for status, codes in codes_by_status().items()}


def failures_of(route: Route, refs: Mapping[Hashable, Json]) -> Json:
    """The responses of one route."""
    if route.gives is Media.PAGE:
        page = {"description": "A page that says what is wrong.", "content": {Media.PAGE.value: {"schema": {"type": "string"}}}}
        return {"4XX": page, "500": _ref(500), "503": page, "504": page}
    told = {str(status): _ref(status) for status in _statuses(route)}
    if route.failure is not None:
        content = {Media.JSON.value: {"schema": refs[route.failure]}}
        told |= {status: {"description": "As of RFC 6749 and RFC 8628.", "content": content} for status in ("400", "429")}
    return told


def _statuses(route: Route) -> list[int]:
    asks = route.body is not None or route.query is not None or "{" in route.path
    found = {500, 503}
    found |= {400, 404, 422} if asks else set()
    found |= {401} if not route.is_open or route.needs else set()
    found |= {409} if route.method != "GET" else set()
    found |= {413, 429, 504} if route.body is not None else set()
    found |= {415} if route.takes is Media.JSON and route.body is not None else set()
    found |= {416} if 206 in route.statuses else set()
    found |= {429} if route.takes is Media.FORM else set()
    return sorted(found)


def _shared(status: int, codes: list[str], body: Json, headers: Json) -> Json:
    error = body | {"properties": body["properties"] | {"code": {"enum": codes}}, "required": [*body["properties"]]}
    schema = {"type": "object", "properties": {"error": error}, "required": ["error"]}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers | ({"Retry-After": RETRY_AFTER} if status in RETRIED else {}),
        "content": {Media.JSON.value: {"schema": schema}},
    }


def _name(status: int) -> str:
    return f"Refused{status}"


def _ref(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_name(status)}"}
