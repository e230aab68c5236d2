"""One entry as JSON: the record that stands in leaves and in deltas.

A path or a target is text when its bytes are UTF-8 and base64 (`path_b64`, `target_b64`) only when they are not, so every entry has
exactly one record and every record exactly one form.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Literal

import msgspec

from store.errors import InvalidManifest, InvalidValue
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath

MAX_SIZE_BYTES = (1 << 63) - 1
"""What fits a signed 64-bit column."""
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")


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
    path = path_of(record)
    if record.type == "file":
        if record.target is not None or record.target_b64 is not None:
            raise InvalidManifest("a file entry with a target")
        return path, _file_of(record)
    if record.hash is not None or record.size is not None or record.exec:
        raise InvalidManifest(f"a {record.type} entry with a file's fields")
    if record.type == "link":
        try:
            return path, Link(bytes_of(record.target, record.target_b64))
        except InvalidValue as error:
            raise InvalidManifest(f"a link entry: {error}") from None
    if record.target is not None or record.target_b64 is not None:
        raise InvalidManifest(f"a {record.type} entry with a target")
    return path, DIR if record.type == "dir" else None


def listed_of(record: EntryRecord) -> tuple[RelPath, Entry]:
    """The path and entry of a leaf's record. Raises InvalidManifest, also for a removal: those stand only in deltas."""
    path, entry = entry_of(record)
    if entry is None:
        raise InvalidManifest("a leaf that lists a removal")
    return RelPath(path), entry


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
    if text is None or not _HEX64.match(text):
        raise InvalidManifest("a hash that is not 64 lower-case hex digits")
    return Digest(bytes.fromhex(text))


def _file_of(record: EntryRecord) -> File:
    if record.size is None or not 0 <= record.size <= MAX_SIZE_BYTES:
        raise InvalidManifest(f"a file entry with size {record.size}")
    return File(digest_from_hex(record.hash), record.size, record.exec)
