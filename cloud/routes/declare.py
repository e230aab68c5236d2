"""A route as its handler's annotations declare it: what is read, checked, answered and documented comes from that one place.

Theory. A handler is `async def name(request, query: Query, asked: Body) -> Answer`; the last two and the answer as it needs them. Body and
Query are msgspec Structs, or `asked: bytes` for a whole raw body; what has a default may be left out. Answer is a Struct or TypedDict
(JSON), `bytes`, or aiohttp's own for streams and pages. An answer that has `created` is a 201 when it is true, else a 200.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from aiohttp import web

from cloud.routes.envelope import Answer, answer, for_everybody, go_on, is_open, read_body, read_json, read_query

Handler = Callable[..., Awaitable[object]]
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Media(Enum):
    """What travels, where it is not JSON."""

    JSON = "application/json"
    BYTES = "application/octet-stream"
    FORM = "application/x-www-form-urlencoded"
    PAGE = "text/html"
    TEXT = "text/plain"


PAGE: Final = {"gives": Media.PAGE, "statuses": (200, 303)}
"""A page for people, that leads elsewhere or stands there."""
FORM: Final = {"takes": Media.FORM, "body": dict[str, str]}
"""What a page's form sends."""


@dataclass(frozen=True)
class Route(web.AbstractRouteDef):
    """One route, and all that its document says."""

    method: str
    path: str
    handler: Answer
    room: str
    sentence: str
    body: Any
    """None: none. `bytes`: raw. Else a shape of JSON, or of a form's fields."""
    takes: Media
    needs_body: bool
    query: Any
    answer: Any
    gives: Media
    statuses: tuple[int, ...]
    failure: Any
    """The shape of a 400 and of a 429, where it is not the envelope."""
    needs: str
    """What an open route asks for all the same, in place of a session."""

    def register(self, router: web.UrlDispatcher) -> list[web.AbstractRoute]:
        """As aiohttp asks for it; what is got can be asked for its head."""
        if self.method == "GET":
            resource = router.add_resource(self.path)
            return [resource.add_route(method, self.handler, expect_handler=go_on) for method in ("GET", "HEAD")]
        return [router.add_route(self.method, self.path, self.handler, expect_handler=go_on)]

    @property
    def is_open(self) -> bool:
        """Needs no session, or looks for one by itself."""
        return is_open(self.handler)


def get(path: str, handler: Handler, **told: Any) -> Route:
    """A route that changes nothing. `told` as of `declare`."""
    return declare("GET", path, handler, **told)


def post(path: str, handler: Handler, **told: Any) -> Route:
    """The same for POST."""
    return declare("POST", path, handler, **told)


def put(path: str, handler: Handler, **told: Any) -> Route:
    """The same for PUT."""
    return declare("PUT", path, handler, **told)


def patch(path: str, handler: Handler, **told: Any) -> Route:
    """The same for PATCH."""
    return declare("PATCH", path, handler, **told)


def delete(path: str, handler: Handler, **told: Any) -> Route:
    """The same for DELETE."""
    return declare("DELETE", path, handler, **told)


def declare(
    method: str,
    path: str,
    handler: Handler,
    *,
    status: int = 200,
    statuses: tuple[int, ...] = (),
    takes: Media = Media.JSON,
    body: Any = None,
    gives: Media | None = None,
    is_secret: bool = False,
    failure: Any = None,
    needs: str = "",
) -> Route:
    """A route of this handler.

    `status` of a JSON answer; `statuses` of one that the handler makes itself; `takes` and `body`: what it reads itself. Raises TypeError.
    """
    hints, found = get_type_hints(handler, include_extras=True), inspect.signature(handler).parameters
    if set(found) - {"request", "query", "asked"}:
        raise TypeError(f"{handler.__qualname__} takes what no request has")
    gives_shape, asked, query = _shape_of(hints["return"]), hints.get("asked"), hints.get("query")
    shape = body if asked is None else asked
    needs_body = found["asked"].default is inspect.Parameter.empty if "asked" in found else _has_needed(shape)
    if not statuses:
        statuses = (200, 201) if "created" in _fields(gives_shape) else (status,)
    answering = _answering(handler, asked, query, needs_body, statuses, NO_STORE if is_secret else {})
    if is_open(handler):
        for_everybody(answering)
    return Route(
        method, path, answering, handler.__module__.rpartition(".")[2], inspect.getdoc(handler) or "",
        body=shape,
        takes=Media.BYTES if asked is bytes else takes,
        needs_body=needs_body and shape is not bytes,
        query=query,
        answer=gives_shape,
        gives=gives or (Media.BYTES if gives_shape in (bytes, None) else Media.JSON),
        statuses=statuses,
        failure=failure,
        needs=needs,
    )  # fmt: skip


def _shape_of(said: Any) -> Any:
    """What of an annotation is ours to answer; None where the handler makes its answer itself."""
    kinds = get_args(said) if get_origin(said) in (Union, UnionType) else (said,)
    ours = [kind for kind in kinds if not (inspect.isclass(kind) and issubclass(kind, web.StreamResponse))]
    return ours[0] if ours else None


def _fields(shape: Any) -> Mapping[str, Any]:
    return get_type_hints(shape) if is_typeddict(shape) or (inspect.isclass(shape) and issubclass(shape, msgspec.Struct)) else {}


def _has_needed(shape: Any) -> bool:
    return inspect.isclass(shape) and issubclass(shape, msgspec.Struct) and any(field.required for field in msgspec.structs.fields(shape))


def _answering(handler: Handler, asked: Any, query: Any, needs_body: bool, statuses: tuple[int, ...], headers: Mapping[str, str]) -> Answer:
    """What aiohttp calls: reads, asks the handler, and answers."""

    async def answering(request: web.Request) -> web.StreamResponse:
        given: dict[str, object] = {}
        if query is not None:
            given["query"] = read_query(request, query)
        if asked is bytes:
            given["asked"] = await read_body(request)
        elif asked is not None and (needs_body or request.can_read_body):
            given["asked"] = await read_json(request, asked)
        value = await handler(request, **given)
        if isinstance(value, web.StreamResponse):
            return value
        if isinstance(value, bytes):
            response = web.Response(body=value, content_type=Media.BYTES.value)
        else:
            response = answer(value, (201 if _is_new(value) else 200) if len(statuses) > 1 else statuses[0])
        response.headers.update(headers)
        return response

    return answering


def _is_new(value: object) -> bool:
    return bool(value["created"] if isinstance(value, dict) else getattr(value, "created", False))
