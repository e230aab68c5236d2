"""Bodies of forms, and those that may be a form or JSON."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from cloud.routes.envelope import read_body
from store.errors import InvalidJson, InvalidValue, TooLarge
from store.types import UNREADABLE

MAX_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 20
FORM: Final = "application/x-www-form-urlencoded"
Fields = dict[str, str]


async def read_fields(request: web.Request) -> Fields:
    """The texts of a form, or of a JSON object; none of an empty body. Raises InvalidJson, InvalidValue, TooLarge."""
    if (request.content_length or 0) > MAX_BYTES:
        raise TooLarge(f"the body is over {MAX_BYTES} bytes")
    body = await read_body(request)
    if len(body) > MAX_BYTES:
        raise TooLarge(f"the body is over {MAX_BYTES} bytes")
    if not body.strip():
        return {}
    return parse_form(body) if request.content_type == FORM else _parse_json(body)


def parse_form(body: bytes) -> Fields:
    """Raises InvalidValue, also for a field that is there twice."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidValue("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidValue("a field is there twice")
    return fields


def _parse_json(body: bytes) -> Fields:
    try:
        return msgspec.json.decode(body, type=Fields)
    except msgspec.ValidationError:
        raise InvalidValue("the body is not a JSON object of texts") from None
    except UNREADABLE as error:
        raise InvalidJson(f"the body is not JSON: {error}") from None


def asked_text(fields: Fields, name: str, most: int) -> str:
    """One field, without the space around it. Raises InvalidValue when it is missing, long or not printable."""
    text = fields.get(name, "").strip()
    if not text or len(text) > most or not text.isprintable():
        raise InvalidValue(f"{name} is 1 to {most} printable characters")
    return text
