"""One entry as JSON: the record that stands in leaves and in deltas.

A path or a target is text when its bytes are UTF-8 and base64 (`path_b64`, `target_b64`) only when they are not, so every entry has
exactly one record and every record exactly one form.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Literal

import msgspec

from store.errors import InvalidManifest, InvalidValue
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath

MAX_SIZE_BYTES = (1 << 63) - 1
"""What fits a signed 64-bit column."""


class EntryRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The JSON of one entry; the fields stand in this order. `none` occurs only in deltas and means: removed."""

    path: str | None = None
    path_b64: str | None = None
    type: Literal["file", "dir", "link", "none"]
    hash: str | None = None
    size: int | None = None
    exec: bool = False
    target: str | None = None
    target_b64: str | None = None


def record_of(path: RelPath, entry: Entry | None) -> EntryRecord:
    """The record of an entry, or of its removal."""
    try:
        text, coded = path.decode(), None
    except UnicodeDecodeError:
        text, coded = None, b64encode(path).decode()
    if isinstance(entry, File):
        return EntryRecord(path=text, path_b64=coded, type="file", hash=entry.digest.hex(), size=entry.size, exec=entry.executable)
    if isinstance(entry, Dir):
        return EntryRecord(path=text, path_b64=coded, type="dir")
    if entry is None:
        return EntryRecord(path=text, path_b64=coded, type="none")
    target, target_b64 = text_or_base64(entry.target)
    return EntryRecord(path=text, path_b64=coded, type="link", target=target, target_b64=target_b64)


def entry_of(record: EntryRecord) -> tuple[bytes, Entry | None]:
    """A record's path (not yet through `parse_path`) and entry. Raises InvalidManifest when fields contradict each other."""
    return path_of(record), _entry_in(record)


def listed_of(record: EntryRecord) -> Entry:
    """The entry of a leaf's record. Raises InvalidManifest, also for a removal: those stand only in deltas."""
    entry = _entry_in(record)
    if entry is None:
        raise InvalidManifest("a leaf that lists a removal")
    return entry


def _entry_in(record: EntryRecord) -> Entry | None:
    kind, size = record.type, record.size
    if kind == "file":
        if size is None or not 0 <= size <= MAX_SIZE_BYTES or record.target is not None or record.target_b64 is not None:
            raise InvalidManifest(f"a file entry with size {size}, or with a target")
        return File(digest_from_hex(record.hash), size, record.exec)
    if record.hash is not None or size is not None or record.exec:
        raise InvalidManifest(f"a {kind} entry with a file's fields")
    if kind == "link":
        try:
            return Link(bytes_of(record.target, record.target_b64))
        except InvalidValue as error:
            raise InvalidManifest(f"a link entry: {error}") from None
    if record.target is not None or record.target_b64 is not None:
        raise InvalidManifest(f"a {kind} entry with a target")
    return DIR if kind == "dir" else None


def path_of(record: EntryRecord) -> bytes:
    """A record's path as bytes. Raises InvalidManifest."""
    if record.path is not None and record.path_b64 is None:
        return record.path.encode()
    return bytes_of(record.path, record.path_b64)


def text_or_base64(raw: bytes) -> tuple[str | None, str | None]:
    """Bytes -> (text, None) when they are UTF-8, else (None, base64)."""
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return None, b64encode(raw).decode()


def bytes_of(text: str | None, coded: str | None) -> bytes:
    """The inverse of `text_or_base64`. Raises InvalidManifest unless exactly one is there, in its one form."""
    if text is not None and coded is None:
        return text.encode()
    if coded is None or text is not None:
        raise InvalidManifest("a name is given as text or as base64: once")
    try:
        raw = b64decode(coded, validate=True)
    except (Base64Error, ValueError):
        raise InvalidManifest(f"not base64: {coded[:80]!r}") from None
    if text_or_base64(raw) != (None, coded):
        raise InvalidManifest(f"base64 that is not the form of its bytes: {coded[:80]!r}")
    return raw


def digest_from_hex(text: str | None) -> Digest:
    """The digest that 64 lower-case hex digits name. Raises InvalidManifest."""
    try:
        raw = bytes.fromhex(text or "")
    except ValueError:
        raw = b""
    # `fromhex` takes capitals and spaces too; and back again is cheaper than a pattern.
    if len(raw) != 32 or raw.hex() != text:
        raise InvalidManifest("a hash that is not 64 lower-case hex digits")
    return Digest(raw)
