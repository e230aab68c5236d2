"""The shapes that daemon and cloud speak: the only thing the two have in common.

Bulk travels as *sections*: `kind (1 byte) | length (4 bytes, big endian) | payload`. A push body and an event message are each
one HEADER section (canonical JSON), then DELTA sections in the order of the steps, then FRAME sections (docs/WIRE.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

import msgspec
import zstandard

from store.errors import InvalidReply, InvalidValue, TooLarge
from store.manifest import EntryRecord, entry_of, record_of
from store.types import Digest, Entry, RelPath, parse_path

PROTOCOL: Final = 1
MAX_SECTION_BYTES: Final = 16 * 1024 * 1024
MAX_DELTA_RAW_BYTES: Final = 8 * 1024 * 1024
DELTA_CHANGES: Final = 4096
INLINE_BLOB_BYTES: Final = 8 * 1024
INLINE_EVENT_BYTES: Final = 64 * 1024
PUSH_INLINE_BYTES: Final = 1024 * 1024
MISSING_DIGESTS: Final = 100_000
HEARTBEAT_SECONDS: Final = 30


class Section(IntEnum):
    """What a section's payload is."""

    HEADER = 1
    DELTA = 2
    FRAME = 3


def pack_section(kind: Section, payload: bytes) -> bytes:
    """One section's bytes. Raises TooLarge."""
    if len(payload) > MAX_SECTION_BYTES:
        raise TooLarge(f"a section of {len(payload)} bytes")
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


def split_sections(body: bytes) -> Iterator[tuple[Section, bytes]]:
    """The sections of a whole body. Raises InvalidReply when it is cut short or names an unknown kind."""
    at = 0
    while at < len(body):
        kind, length = parse_section_head(body[at : at + 5])
        if at + 5 + length > len(body):
            raise InvalidReply("a section was cut short")
        yield kind, body[at + 5 : at + 5 + length]
        at += 5 + length


def parse_section_head(head: bytes) -> tuple[Section, int]:
    """The five bytes before a payload -> kind and length. Raises InvalidReply or TooLarge."""
    if len(head) != 5:
        raise InvalidReply("a section was cut short")
    try:
        kind = Section(head[0])
    except ValueError:
        raise InvalidReply(f"unknown section kind {head[0]}") from None
    length = int.from_bytes(head[1:5], "big")
    if length > MAX_SECTION_BYTES:
        raise TooLarge(f"a section of {length} bytes")
    return kind, length


# --- deltas -----------------------------------------------------------------------------------------------------------------

Delta = list[tuple[RelPath, Entry | None]]
"""Sorted by path; None removes."""

_delta_encoder = msgspec.json.Encoder()
_delta_decoder = msgspec.json.Decoder(list[EntryRecord])


def pack_delta(delta: Iterable[tuple[RelPath, Entry | None]]) -> Iterator[bytes]:
    """DELTA payloads of at most DELTA_CHANGES changes each: zstd over a JSON array of entry records (`"type":"none"` removes)."""
    squeeze = zstandard.ZstdCompressor(level=1)
    batch: list[EntryRecord] = []
    for path, entry in delta:
        batch.append(record_of(path, entry))
        if len(batch) == DELTA_CHANGES:
            yield squeeze.compress(_delta_encoder.encode(batch))
            batch = []
    if batch:
        yield squeeze.compress(_delta_encoder.encode(batch))


def parse_delta(payload: bytes) -> Delta:
    """One DELTA payload -> changes, each path legal. Raises InvalidValue, TooLarge or InvalidReply. Order is the caller's to check."""
    try:
        size = zstandard.frame_content_size(payload)
        if size < 0 or size > MAX_DELTA_RAW_BYTES:
            raise TooLarge(f"a delta section of {size} bytes")
        raw = zstandard.ZstdDecompressor().decompress(payload, max_output_size=MAX_DELTA_RAW_BYTES)
        records = _delta_decoder.decode(raw)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise InvalidReply(f"a delta section that cannot be read: {error}") from None
    return [(parse_path(path), entry) for path, entry in (entry_of(record) for record in records)]


# --- shapes -----------------------------------------------------------------------------------------------------------------


class WireSnapshot(msgspec.Struct, frozen=True):
    """A snapshot as it travels; `id` verifies over the rest (store.snapshots.snapshot_id)."""

    id: str
    project_id: str
    workspace_id: str
    manifest_hash: str
    parents: list[str]
    source: str
    message: str
    author_name: str
    author_email: str
    agent: str
    created_ms: int


class PushStep(msgspec.Struct, frozen=True):
    """From the root before it to `root`, by the next `sections` DELTA sections."""

    root: str
    sections: int
    snapshot: WireSnapshot | None = None


class PushHeader(msgspec.Struct, frozen=True):
    """The HEADER of `POST /v1/workspaces/{id}/push`."""

    epoch: str
    expected_version: int
    parent_root: str
    replica_id: str
    steps: list[PushStep]
    actor: str = "cli"
    protocol: int = PROTOCOL


class Head(msgspec.Struct, frozen=True):
    """A workspace's head: also the answer to a push and the body of a 409."""

    workspace_id: str
    epoch: str
    version: int
    root: str
    snapshot_id: str | None = None


class EventHeader(msgspec.Struct, frozen=True):
    """The HEADER of an event message and of a `versions?since=` answer: `sections` DELTA sections lead from `parent_root` to the head."""

    type: str
    head: Head | None = None
    parent_root: str | None = None
    sections: int = 0
    replica_id: str = ""
    snapshots: list[WireSnapshot] = []
    conflicts: list[WireConflict] = []


class WireConflict(msgspec.Struct, frozen=True):
    """A conflict record. Entries are JSON entry records, or null where that side had nothing."""

    id: str
    workspace_id: str
    record: EntryRecord
    kind: str
    base: EntryRecord | None
    ours: EntryRecord | None
    theirs: EntryRecord | None
    state: str
    created_ms: int
    resolution: str | None = None
    resolved_ms: int | None = None


class WireProject(msgspec.Struct, frozen=True):
    """A project as listed and created."""

    id: str
    name: str
    main_workspace_id: str | None = None


class WireWorkspace(msgspec.Struct, frozen=True):
    """A workspace as listed and created; `root` and `version` are its head."""

    id: str
    project_id: str
    name: str
    version: int
    root: str
    epoch: str
    snapshot_id: str | None = None


class WireMachine(msgspec.Struct, frozen=True):
    """A machine as listed: `online` when a beat came within 60 s."""

    id: str
    name: str
    platform: str
    last_seen_at: str | None
    online: bool
    workspaces: list[str]


class ErrorBody(msgspec.Struct, frozen=True):
    """What stands under `error` in every failed answer."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, object] = {}


def bitmap(flags: Iterable[bool]) -> bytes:
    """Flags -> bits, first flag in the lowest bit of the first byte."""
    bits = list(flags)
    out = bytearray((len(bits) + 7) // 8)
    for at, flag in enumerate(bits):
        if flag:
            out[at >> 3] |= 1 << (at & 7)
    return bytes(out)


def parse_bitmap(data: bytes, count: int) -> list[bool]:
    """The first `count` flags. Raises InvalidReply when there are fewer."""
    if len(data) != (count + 7) // 8:
        raise InvalidReply(f"a bitmap of {len(data)} bytes for {count} digests")
    return [bool(data[at >> 3] >> (at & 7) & 1) for at in range(count)]


def parse_digests(body: bytes) -> list[Digest]:
    """Concatenated 32-byte digests. Raises InvalidValue or TooLarge."""
    if len(body) % 32:
        raise InvalidValue("a list of digests is a multiple of 32 bytes")
    if len(body) // 32 > MISSING_DIGESTS:
        raise TooLarge(f"{len(body) // 32} digests", f"Send at most {MISSING_DIGESTS} at once.")
    return [Digest(body[at : at + 32]) for at in range(0, len(body), 32)]
