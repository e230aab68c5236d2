"""Draw the document: paths from the routes (cloud/routes/declare.py), schemas from the shapes that are read and answered."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from cloud.openapi.failures import failures_of, shared_responses
from cloud.routes.declare import Media, Route
from sync.core.wire import ErrorBody

Json = dict[str, Any]
Refs = Mapping[Hashable, Json]
"""Shape -> where its schema is, or the schema."""
SCHEMAS: Final = "#/components/schemas/{name}"
ANYTHING: Final[Json] = {"description": "Any value."}
ABOUT: Final = (
    "Ids are ULIDs; creating is idempotent by id. Somebody else's id is a 404. Answers may gain fields. "
    "Bodies of bytes are sections, digests and frames: docs/WIRE.md has their bytes, and what each route means."
)
PATH_WORDS: Final[dict[str, Json]] = {
    "hash": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256, in hex."},
    "key": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,254}$"},
    "provider": {"type": "string", "pattern": "^[a-z]+$"},
}
AN_ID: Final[Json] = {"type": "string", "pattern": "^[!-~]{1,200}$"}
TOLD: Final[Json] = {
    "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
    "X-Fastest-Epoch": {"$ref": "#/components/headers/Epoch"},
}
ASKED_ID: Final[Json] = {
    "name": "X-Request-Id", "in": "header", "required": False,
    "description": "Comes back, and stands in the server's log, if it is 1 to 64 of A-Za-z0-9_-; else another is made up.",
    "schema": {"type": "string"},
}  # fmt: skip
ANSWERED_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
RANGE: Final[Json] = {
    "name": "Range", "in": "header", "required": False, "description": "`bytes=N-` goes on after a cut, `bytes=N-M` takes a part.",
    "schema": {"type": "string"}, "example": "bytes=1024-",
}  # fmt: skip
SAID: Final = {
    101: "A WebSocket.", 200: "Done.", 201: "Made.", 206: "The part that was asked for.", 303: "The page is elsewhere.",
}  # fmt: skip


def draw_document(routes: Sequence[Route]) -> Json:
    """The whole document, as JSON values."""
    shapes = [shape for route in routes for shape in (route.body, route.query, route.answer, route.failure) if _is_named(shape)]
    drawn, schemas = msgspec.json.schema_components([*shapes, ErrorBody], schema_hook=lambda _: dict(ANYTHING), ref_template=SCHEMAS)
    refs: Refs = dict(zip(shapes, drawn, strict=False))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, schemas)
    queries = {refs[route.query]["$ref"].rpartition("/")[2] for route in routes if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fastest", "version": version("fastest"), "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"session": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(schemas.items()) if name not in queries | {"ErrorBody"}},
            "responses": shared_responses(schemas["ErrorBody"], TOLD),
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer", "description": "The token of POST /v1/oauth/token."}},
            "headers": {
                "RequestId": {"description": "Of this request.", "required": True, "schema": ANSWERED_ID},
                "Epoch": {"description": "Another one after a restore from a backup.", "required": True, "schema": {"type": "string"}},
            },
        },
    }  # fmt: skip


def _is_named(shape: Any) -> bool:
    return shape is not None and shape is not bytes


def _operation(route: Route, refs: Refs, schemas: Json) -> Json:
    sentence, _, more = route.sentence.partition("\n")
    drawn: Json = {
        "operationId": route.method.lower() + re.sub(r"\W+", "_", route.path.rstrip("/}")).lower(),
        "tags": [route.room],
        "summary": sentence,
        "parameters": [*_path_words(route), *_query_words(route, refs, schemas), *([RANGE] if 206 in route.statuses else []), ASKED_ID],
        "responses": {str(status): _response(route, status, refs) for status in route.statuses} | failures_of(route, refs),
    }
    if more or route.needs:
        drawn["description"] = " ".join([*more.split(), *([f"Needs {route.needs}."] if route.needs else [])])
    if route.is_open:
        drawn["security"] = []
    if route.body is not None:
        drawn["requestBody"] = {
            "required": route.needs_body,
            "content": {each.value: {"schema": _body(route, refs)} for each in _takes(route)},
        }
    return drawn


def _takes(route: Route) -> Iterable[Media]:
    """A form of the API's may as well be JSON; a page's may not."""
    return (Media.FORM, Media.JSON) if route.takes is Media.FORM and route.gives is not Media.PAGE else (route.takes,)


def _body(route: Route, refs: Refs) -> Json:
    return {"type": "string", "format": "binary"} if route.body is bytes else refs[route.body]


def _response(route: Route, status: int, refs: Refs) -> Json:
    drawn: Json = {"description": SAID[status]}
    if status not in (101, 303):
        drawn["headers"] = TOLD
        schema = refs[route.answer] if _is_named(route.answer) else {"type": "string"}
        drawn["content"] = {route.gives.value: {"schema": schema}}
    return drawn


def _path_words(route: Route) -> list[Json]:
    words = re.findall(r"\{(\w+)\}", route.path)
    return [{"name": word, "in": "path", "required": True, "schema": PATH_WORDS.get(word, AN_ID)} for word in words]


def _query_words(route: Route, refs: Refs, schemas: Json) -> list[Json]:
    if route.query is None:
        return []
    shape = schemas[refs[route.query]["$ref"].rpartition("/")[2]]
    needed = set(shape.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _said(schema)} for name, schema in shape["properties"].items()
    ]


def _said(schema: Json) -> Json:
    """A query has no null: what may be null may be left out."""
    some: list[Json] = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not some:
        return {name: value for name, value in schema.items() if value is not None}
    return some[0] | {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
