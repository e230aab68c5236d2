"""Documents, paths and streams as the local API speaks them."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from store.errors import FastestError, InvalidValue
from store.manifest import record_of
from store.types import Change, Dir, Entry, File, RelPath, parse_path

T = TypeVar("T")
Seconds = Annotated[float, msgspec.Meta(ge=0, le=100 * 366 * 86_400)]
"""A wait of up to a century."""


def json_answer(document: Any, status: int = 200) -> web.Response:
    """One JSON document."""
    return web.Response(body=msgspec.json.encode(document), content_type="application/json", status=status)


def error_fields(error: FastestError) -> dict[str, Any]:
    """What stands under `error`."""
    details = {key: value for key, value in error.details.items() if isinstance(value, str | int | float | bool)}
    return {
        "code": error.code, "message": error.message, "hint": error.hint, "details": details, "exit_code": error.exit_code,
    }  # fmt: skip


async def stream_answer(request: web.Request, lines: AsyncIterator[dict[str, Any]]) -> web.StreamResponse:
    """One JSON document a line: `{"progress": ...}` any number of times, then `{"result": ...}` or `{"error": ...}`."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        async for line in lines:
            await response.write(msgspec.json.encode(line) + b"\n")
    except FastestError as error:
        await response.write(msgspec.json.encode({"error": error_fields(error)}) + b"\n")
    await response.write_eof()
    return response


async def read_body(request: web.Request, shape: type[T]) -> T:
    """The request's JSON body. Raises msgspec's errors, answered as 400."""
    return msgspec.json.decode(await request.read() or b"{}", type=shape)


def asked_path(request: web.Request) -> bytes:
    """`path` or `path_b64` of the query. Raises InvalidValue."""
    return path_bytes(request.query.get("path"), request.query.get("path_b64"))


def path_bytes(text: str | None, coded: str | None) -> bytes:
    """An absolute path of this machine, as bytes. Raises InvalidValue."""
    raw = decode_base64(coded) if coded else encode_text(text or "")
    if not raw.startswith(b"/") or b"\0" in raw:
        raise InvalidValue("`path` must be absolute", "Give the whole path.")
    return raw


def encode_text(text: str) -> bytes:
    """The bytes of a name as the system has them. Raises InvalidValue for what is no text."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidValue("a text with half a character in it") from None


def decode_base64(coded: str) -> bytes:
    """Raises InvalidValue: what is not base64 must not come to mean nothing, which stands for everything."""
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError:
        raise InvalidValue(f"not base64: {coded[:40]!r}") from None


def paths_within(root: bytes, texts: list[str], coded: list[str]) -> list[RelPath]:
    """Absolute or root-relative paths -> paths of the workspace. Raises InvalidValue for one outside."""
    found = []
    for raw in [encode_text(text) for text in texts] + [decode_base64(text) for text in coded]:
        found.append(path_within(root, raw))
    return found


def path_within(root: bytes, raw: bytes) -> RelPath:
    """One path of the workspace; the root itself is `b""`. Raises InvalidValue."""
    if b"\0" in raw or not raw:
        raise InvalidValue("not a path: it is empty, or has NUL in it")
    if not raw.startswith(b"/"):
        return parse_path(raw) if raw != b"." else RelPath(b"")
    folder = os.path.realpath(os.path.dirname(raw))  # noqa: PTH120 - bytes
    real = os.path.join(folder, os.path.basename(raw)) if raw != root else root  # noqa: PTH118, PTH119
    if real == root:
        return RelPath(b"")
    if not real.startswith(root + b"/"):
        raise InvalidValue(f"{os.fsdecode(raw)!r} is not in this workspace", "Name a path inside it.")
    return parse_path(real[len(root) + 1 :])


def path_document(path: bytes) -> dict[str, str]:
    """`path`, or `path_b64` when its bytes are not UTF-8."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path_b64": base64.b64encode(path).decode()}


def entry_document(entry: Entry | None) -> dict[str, Any] | None:
    """An entry without its path."""
    if entry is None:
        return None
    record = msgspec.to_builtins(record_of(RelPath(b"x"), entry))
    return {key: value for key, value in record.items() if key != "path" and value is not None}


def change_document(change: Change) -> dict[str, Any]:
    """One path's difference, in a word and in full."""
    return {
        **path_document(change.path), "kind": change_kind(change), "old": entry_document(change.old), "new": entry_document(change.new),
    }  # fmt: skip


def change_kind(change: Change) -> str:
    """added, removed, modified, or type."""
    if change.old is None:
        return "added"
    if change.new is None:
        return "removed"
    return "modified" if type(change.old) is type(change.new) else "type"


def count_kinds(changes: Iterable[Change]) -> dict[str, int]:
    """How many files were added, modified, removed."""
    counts = {"added": 0, "modified": 0, "removed": 0}
    for change in changes:
        if not isinstance(change.new or change.old, Dir):
            kind = change_kind(change)
            counts["modified" if kind == "type" else kind] += 1
    return counts


def size_of(entry: Entry | None) -> int:
    """Bytes of a file, 0 of anything else."""
    return entry.size if isinstance(entry, File) else 0
