"""The shapes that daemon and cloud speak: the only thing the two have in common.

Bulk travels as *sections*: `kind (1 byte) | length (4 bytes, big endian) | payload`. A push body and an event message are each
one HEADER section (canonical JSON), then DELTA sections in the order of the steps, then FRAME sections (docs/WIRE.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec
import zstandard

from store.errors import InvalidReply, InvalidValue, TooLarge
from store.manifest import EntryRecord, entry_of, record_of
from store.types import MAX_PATH_BYTES, UNREADABLE, Digest, Entry, File, Link, RelPath, check_name, parse_path, parse_ulid

PROTOCOL: Final = 1
MAX_SECTION_BYTES: Final = 16 * 1024 * 1024
MAX_DELTA_RAW_BYTES: Final = 8 * 1024 * 1024
DELTA_CHANGES: Final = 4096
DELTA_NAME_BYTES: Final = 1024 * 1024
"""Paths and targets of one section: six times that, as JSON escapes them at worst, and the rest still fit MAX_DELTA_RAW_BYTES."""
INLINE_EVENT_BYTES: Final = 64 * 1024
PUSH_INLINE_BYTES: Final = 4 * 1024 * 1024
MISSING_DIGESTS: Final = 100_000
MAX_STEPS: Final = 1_000
"""Steps of one push."""
MAX_STEP_CHANGES: Final = 250_000
"""Changes of one step; a larger one is sent as several steps, which are one version all the same."""
MAX_DELTA_BYTES: Final = 64 * 1024 * 1024
"""All DELTA payloads of one push together, as they travel."""
MAX_INLINE_BYTES: Final = 8 * 1024 * 1024
"""All blobs inside one push together, unpacked; more goes through `/v1/blobs/batch` first."""
MAX_CONFLICTS: Final = 1_000
"""Conflict records in one request."""
MAX_WORD: Final = 100
"""Characters of a conflict record's words."""
HEARTBEAT_SECONDS: Final = 30

# Bounds of what is decoded, so that a number fits a column and a clock, and an id a path.
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=(1 << 48) - 1)]
Epoch = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$", max_length=26)]
Named = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$(?!\n)", min_length=1, max_length=200)]
"""An id that names what is there, of whatever kind; one that names nothing is not found. (`$` alone lets a line end pass.)"""
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Line = Annotated[str, msgspec.Meta(max_length=200)]
LocalPath = Annotated[str, msgspec.Meta(max_length=4_096)]
Actor = Literal["cli", "web", "system"]
SnapshotId = Annotated[str, msgspec.Meta(pattern=r"^snap-[0-7][0-9A-HJKMNP-TV-Z]{25}$", max_length=31)]


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
    length = int.from_bytes(head[1:], "big")
    if length > MAX_SECTION_BYTES:
        raise TooLarge(f"a section of {length} bytes")
    return kind, length


# --- deltas -----------------------------------------------------------------------------------------------------------------

Delta = list[tuple[RelPath, Entry | None]]
"""Sorted by path; None removes."""

_delta_encoder = msgspec.json.Encoder()
_delta_decoder = msgspec.json.Decoder(list[EntryRecord])


def pack_delta(delta: Iterable[tuple[RelPath, Entry | None]]) -> Iterator[bytes]:
    """DELTA payloads of at most DELTA_CHANGES and DELTA_NAME_BYTES: zstd over a JSON array of entry records (`"type":"none"` removes)."""
    squeeze = zstandard.ZstdCompressor(level=1)
    batch: list[EntryRecord] = []
    name_bytes = 0
    for path, entry in delta:
        batch.append(record_of(path, entry))
        name_bytes += len(path) + (len(entry.target) if isinstance(entry, Link) else 0)
        if len(batch) == DELTA_CHANGES or name_bytes >= DELTA_NAME_BYTES:
            yield squeeze.compress(_delta_encoder.encode(batch))
            batch, name_bytes = [], 0
    if batch:
        yield squeeze.compress(_delta_encoder.encode(batch))


def parse_delta(payload: bytes) -> Delta:
    """One DELTA payload -> changes, each path legal. Raises InvalidValue, InvalidManifest, TooLarge or InvalidReply.

    Order is the caller's to check.
    """
    try:
        size = zstandard.frame_content_size(payload)
        if size < 0 or size > MAX_DELTA_RAW_BYTES:
            raise TooLarge(f"a delta section of {size} bytes")
        raw = zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
        records = _delta_decoder.decode(raw)
    except (zstandard.ZstdError, *UNREADABLE) as error:
        raise InvalidReply(f"a delta section that cannot be read: {error}") from None
    if len(records) > DELTA_CHANGES:
        raise TooLarge(f"a delta section of {len(records)} changes")
    return _with_checked_paths(map(entry_of, records))


def _with_checked_paths(entries: Iterable[tuple[bytes, Entry | None]]) -> Delta:
    """The paths of one delta share most of their folders: a folder that was checked makes only the name after it news."""
    folders: set[bytes] = set()
    changes: Delta = []
    for path, entry in entries:
        folder, slash, name = path.rpartition(b"/")
        # `/x` has the same empty folder as `x`, and is no path.
        if folder in folders and (folder or not slash) and len(path) <= MAX_PATH_BYTES:
            check_name(name)
        else:
            parse_path(path)
            folders.add(folder)
        changes.append((RelPath(path), entry))
    return changes


# --- shapes -----------------------------------------------------------------------------------------------------------------


class WireSnapshot(msgspec.Struct, frozen=True):
    """A snapshot as it travels; `id` verifies over the rest but `source` and `summary` (store.snapshots)."""

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
    created_ms: Millis
    summary: str = ""


class PushStep(msgspec.Struct, frozen=True):
    """From the root before it to `root`, by the next `sections` DELTA sections."""

    root: str
    sections: int
    snapshot: WireSnapshot | None = None


class PushHeader(msgspec.Struct, frozen=True):
    """The HEADER of `POST /v1/workspaces/{id}/push`."""

    epoch: str
    expected_version: Number
    parent_root: str
    replica_id: str
    steps: list[PushStep]
    actor: Actor = "cli"
    protocol: int = PROTOCOL


class Head(msgspec.Struct, frozen=True):
    """A workspace's head: also the answer to a push and the body of a 409."""

    workspace_id: str
    epoch: Epoch
    version: Number
    root: str
    snapshot_id: SnapshotId | None = None


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
    created_ms: Millis
    resolution: str | None = None
    resolved_ms: Millis | None = None


class WireProject(msgspec.Struct, frozen=True):
    """A project as listed and created."""

    id: Identity
    name: str
    main_workspace_id: str | None = None


class WireWorkspace(msgspec.Struct, frozen=True):
    """A workspace as listed and created; `root` and `version` are its head."""

    id: Identity
    project_id: Identity
    name: str
    version: Number
    root: str
    epoch: Epoch
    snapshot_id: SnapshotId | None = None


class WireMachine(msgspec.Struct, frozen=True):
    """A machine as listed: `online` when a beat came within 60 s."""

    id: str
    name: str
    platform: str
    last_seen_at: str | None
    online: bool
    workspaces: list[str]


class NewProject(msgspec.Struct, frozen=True):
    """The body of `POST /v1/projects`; without an id the cloud mints one."""

    name: Name
    id: Identity | None = None
    actor: Actor = "cli"


class NewWorkspace(msgspec.Struct, frozen=True):
    """The body of `POST /v1/projects/{id}/workspaces`: empty, or forked from a workspace's head or from a snapshot."""

    name: Name
    id: Identity | None = None
    base_workspace_id: Named | None = None
    base_snapshot_id: Named | None = None
    machine_id: Named | None = None
    local_path: LocalPath | None = None
    actor: Actor = "cli"


class NewMachine(msgspec.Struct, frozen=True):
    """The body of `POST /v1/machines`; said again it renames."""

    id: Identity
    name: Name
    platform: Line = ""
    version: Line = ""


class NewReplica(msgspec.Struct, frozen=True):
    """The body of `POST /v1/workspaces/{id}/replicas`."""

    id: Identity
    machine_id: Named
    local_path: LocalPath


class WireReplica(msgspec.Struct, frozen=True):
    """A workspace in a folder of one machine, and how far it has come."""

    id: str
    workspace_id: str
    machine_id: str
    local_path: str
    agreed_version: Number | None
    agreed_root: str | None
    state: str
    last_seen_at: str | None


class WireVersion(msgspec.Struct, frozen=True):
    """One head move, as listed; `snapshot_id` is the head's newest snapshot then."""

    version: Number
    root: str
    snapshot_id: SnapshotId | None
    replica_id: str | None
    actor: str
    created_at: str


class BeatReplica(msgspec.Struct, frozen=True):
    """How far one replica has come."""

    id: str
    version: Number
    root: str
    state: str = "idle"


class Beat(msgspec.Struct, frozen=True):
    """What a machine says on its WebSocket (text JSON) at least every HEARTBEAT_SECONDS."""

    type: str = "beat"
    workspaces: list[str] = []
    replicas: list[BeatReplica] = []


class ErrorBody(msgspec.Struct, frozen=True):
    """What stands under `error` in every failed answer."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, object] = {}
    request_id: str = ""


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
    count = len(body) // 32
    if count > MISSING_DIGESTS:
        raise TooLarge(f"{count} digests", f"Send at most {MISSING_DIGESTS} at once.")
    return [Digest(body[at : at + 32]) for at in range(0, len(body), 32)]


# --- conflict records ---------------------------------------------------------------------------------------------------------


def check_conflict(conflict: WireConflict) -> tuple[RelPath, list[File]]:
    """A record's path, and the contents it pins. Raises InvalidValue, InvalidManifest for one that cannot be."""
    parse_ulid(conflict.id)
    if max(len(conflict.kind), len(conflict.state), len(conflict.resolution or "")) > MAX_WORD:
        raise InvalidValue(f"a word of over {MAX_WORD} characters in a conflict record")
    if conflict.state != ("open" if conflict.resolved_ms is None else "resolved"):
        raise InvalidValue("a conflict is open, or it was resolved at some time")
    path, _ = entry_of(conflict.record)
    pinned = []
    for side in (conflict.base, conflict.ours, conflict.theirs):
        side_path, entry = (path, None) if side is None else entry_of(side)
        if side_path != path:
            raise InvalidValue("the sides of a conflict have one path")
        if isinstance(entry, File):
            pinned.append(entry)
    return parse_path(path), pinned
