"""What daemon and cloud say to each other, byte for byte: another version of either must still understand it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
import zstandard

from daemon.remote import BEAT_SECONDS
from store.errors import (
    InvalidReply,
    InvalidValue,
    TooLarge,
    wire_code,
)
from store.manifest import EntryRecord
from store.types import DIR, Entry, File, Link, RelPath, digest_of
from sync.core import wire
from sync.core.wire import (
    Section,
    bitmap,
    check_conflict,
    pack_delta,
    pack_section,
    parse_bitmap,
    parse_delta,
    parse_digests,
    parse_section_head,
    split_sections,
)
from tests.alphabet import path

MIB = 1024 * 1024
ONE, OTHER = digest_of(b"one"), digest_of(b"other")
ULID = "0" * 26


def test_the_bounds_that_both_sides_know() -> None:
    assert (wire.PROTOCOL, wire.HEARTBEAT_SECONDS) == (1, 30)
    assert BEAT_SECONDS <= wire.HEARTBEAT_SECONDS, "a daemon that runs is never taken to be offline"
    assert (wire.MAX_SECTION_BYTES, wire.MAX_DELTA_RAW_BYTES, wire.MAX_DELTA_BYTES) == (16 * MIB, 8 * MIB, 64 * MIB)
    assert (wire.DELTA_CHANGES, wire.DELTA_NAME_BYTES) == (4096, MIB)
    assert (wire.INLINE_EVENT_BYTES, wire.PUSH_INLINE_BYTES, wire.MAX_INLINE_BYTES) == (64 * 1024, 4 * MIB, 8 * MIB)
    assert (wire.MISSING_DIGESTS, wire.MAX_STEPS, wire.MAX_STEP_CHANGES, wire.MAX_CONFLICTS) == (100_000, 1_000, 250_000, 1_000)


# --- sections ---------------------------------------------------------------------------------------------------------------


def test_a_section_is_a_kind_a_length_and_a_payload() -> None:
    body = pack_section(Section.HEADER, b"{}") + pack_section(Section.DELTA, b"") + pack_section(Section.FRAME, b"x" * 258)
    assert body == b"\1\0\0\0\2{}" + b"\2\0\0\0\0" + b"\3\0\0\1\2" + b"x" * 258
    assert list(split_sections(body)) == [(Section.HEADER, b"{}"), (Section.DELTA, b""), (Section.FRAME, b"x" * 258)]
    assert list(split_sections(b"")) == []
    with pytest.raises(InvalidReply, match=r"^a section was cut short$"):
        list(split_sections(body[:-1]))
    parts = [(Section.FRAME, b"x" * length) for length in range(20)]
    whole = b"".join(pack_section(*part) for part in parts)
    assert list(split_sections(whole)) == parts
    ends = {len(b"".join(pack_section(*part) for part in parts[:count])) for count in range(len(parts))}
    for cut in set(range(len(whole))) - ends:
        with pytest.raises(InvalidReply, match=r"^a section was cut short$"):
            list(split_sections(whole[:cut]))


def test_a_section_may_be_as_large_as_the_bound_and_no_larger() -> None:
    most = bytes(wire.MAX_SECTION_BYTES)
    assert list(split_sections(pack_section(Section.FRAME, most))) == [(Section.FRAME, most)]
    with pytest.raises(TooLarge, match=r"^a section of 16777217 bytes$"):
        pack_section(Section.FRAME, most + b"x")
    with pytest.raises(TooLarge, match=r"^a section of 16777217 bytes$"):
        parse_section_head(b"\3\1\0\0\1")
    assert parse_section_head(b"\3\1\0\0\0") == (Section.FRAME, 16 * MIB)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\1\0\0\0\2{", "a section was cut short"),
        (b"\1\0\0\0\0\2\0\0\0", "a section was cut short"),
        (b"\1", "a section was cut short"),
        (b"\4\0\0\0\0", "unknown section kind 4"),
        (b"\0\0\0\0\0", "unknown section kind 0"),
    ],
)
def test_a_body_that_is_not_whole(body: bytes, told: str) -> None:
    with pytest.raises(InvalidReply, match=f"^{told}$"):
        list(split_sections(body))


@pytest.mark.parametrize("head", [b"", b"\1\0\0\0", b"\1\0\0\0\0\0"])
def test_a_section_head_has_five_bytes(head: bytes) -> None:
    with pytest.raises(InvalidReply, match=r"^a section was cut short$"):
        parse_section_head(head)


# --- deltas -----------------------------------------------------------------------------------------------------------------


def squeeze(*records: dict[str, str], size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=size).compress(json.dumps(records).encode())


def sizes(delta: Iterable[tuple[RelPath, Entry | None]]) -> list[int]:
    return [len(parse_delta(payload)) for payload in pack_delta(delta)]


def test_a_delta_is_zstd_over_json() -> None:
    (payload,) = pack_delta([(path("a"), DIR), (path("a/b"), None)])
    assert zstandard.decompress(payload) == b'[{"path":"a","type":"dir"},{"path":"a/b","type":"none"}]'


def test_a_delta_is_cut_by_changes_and_by_the_bytes_of_names() -> None:
    assert list(pack_delta([])) == []
    assert sizes([(path(f"{number}"), DIR) for number in range(4096)]) == [4096]
    assert sizes([(path(f"{number}"), DIR) for number in range(3 * 4096 + 1)]) == [4096, 4096, 4096, 1]
    # A mebibyte of paths and targets, or the next that goes beyond.
    for sized in (a_removal, a_link):
        assert sizes([sized(number, 4096) for number in range(600)]) == [256, 256, 88]
        assert sizes([sized(number, 4095) for number in range(600)]) == [257, 257, 86]
        assert sizes([sized(number, 4096) for number in range(255)] + [sized(256, 4095), sized(257, 4096), sized(258, 4096)]) == [257, 1]
    near = [a_link(0, 4096)] * 255 + [a_link(0, 4095)]
    assert sizes([*near, a_link(0, 4096), *near, a_link(0, 4096)]) == [257, 257]
    folders: list[tuple[RelPath, Entry | None]] = [(path(f"{number}"), DIR) for number in range(4000)]
    assert sizes(folders + [a_link(number, 4096) for number in range(600)]) == [4096, 256, 248]


def a_removal(number: int, size: int) -> tuple[RelPath, Entry | None]:
    folder = "/".join([f"{number:04}", *["x" * 200] * 20]) + "/"
    return path(folder + "x" * (size - len(folder))), None


def a_link(number: int, size: int) -> tuple[RelPath, Entry | None]:
    return path(f"{number:04}"), Link(b"t" * (size - 4))


def test_a_delta_is_no_larger_than_the_bound() -> None:
    empty = b"[]".ljust(wire.MAX_DELTA_RAW_BYTES)
    assert parse_delta(zstandard.compress(empty)) == []
    with pytest.raises(TooLarge, match=r"^a delta section of 8388609 bytes$"):
        parse_delta(zstandard.compress(empty + b" "))
    # A stream need not say its size, and then is not read at all.
    with pytest.raises(TooLarge, match=r"^a delta section of -1 bytes$"):
        parse_delta(squeeze({"path": "a", "type": "dir"}, size=False))


@pytest.mark.parametrize(
    "payload", [b"", zstandard.compress(b""), b"\x28\xb5\x2f\xfd", b"no frame", squeeze({"path": "a", "type": "dir"})[:-3]]
)
def test_a_delta_that_is_no_zstd(payload: bytes) -> None:
    with pytest.raises(InvalidReply, match="a delta section that cannot be read: "):
        parse_delta(payload)


@pytest.mark.parametrize(
    "paths",
    [["a", "b", "c/d", "c/e"], ["c/d", "c"], ["c/d/e", "c/d/f/g", "c/h"], ["d" * 255 + "/x", "d" * 255 + "/y"], ["a", "a/b"]],
)
def test_legal_paths(paths: list[str]) -> None:
    assert parse_delta(squeeze(*({"path": each, "type": "none"} for each in paths))) == [(path(each), None) for each in paths]


DEEPER = "/".join([*["n" * 255] * 15, "n" * 100])
"""3,940 bytes; a path may have 4,096."""


@pytest.mark.parametrize(
    "paths",
    [
        ["/x"],
        ["a", "/x"],
        ["a/b", "a/"],
        ["a/b", "a/.."],
        ["a/b", "a//c"],
        ["a", ".."],
        ["a/b", "a/./c"],
        ["x", ""],
        [f"{DEEPER}/x", f"{DEEPER}/{'n' * 156}"],
    ],
)
def test_illegal_paths_whatever_came_before(paths: list[str]) -> None:
    with pytest.raises(InvalidValue):
        parse_delta(squeeze(*({"path": each, "type": "none"} for each in paths)))


# --- shapes -----------------------------------------------------------------------------------------------------------------

RECORD = {"path": "a", "type": "dir"}
SNAPSHOT = {
    **{"id": "S", "project_id": "P", "workspace_id": "W", "manifest_hash": "M", "parents": ["R"], "source": "auto", "message": "m"},
    **{"author_name": "n", "author_email": "e", "agent": "g", "created_ms": 5},
}
HEAD = {"workspace_id": "W", "epoch": "E", "version": 3, "root": "R"}
CONFLICT = {
    **{"id": "C", "workspace_id": "W", "record": RECORD, "kind": "edit-edit", "base": None, "ours": RECORD, "theirs": None},
    **{"state": "open", "created_ms": 5},
}
SHAPES: list[tuple[type, dict[str, Any], dict[str, Any]]] = [
    (wire.WireSnapshot, SNAPSHOT, {"summary": ""}),
    (wire.PushStep, {"root": "R", "sections": 2}, {"snapshot": None}),
    (
        wire.PushHeader,
        {"epoch": "E", "expected_version": 3, "parent_root": "R", "replica_id": "I", "steps": []},
        {"actor": "cli", "protocol": 1},
    ),
    (wire.Head, HEAD, {"snapshot_id": None}),
    (
        wire.EventHeader,
        {"type": "head"},
        {"head": None, "parent_root": None, "sections": 0, "replica_id": "", "snapshots": [], "conflicts": []},
    ),
    (wire.WireConflict, CONFLICT, {"resolution": None, "resolved_ms": None}),
    (wire.WireProject, {"id": ULID, "name": "n"}, {"main_workspace_id": None}),
    (wire.WireWorkspace, {"id": ULID, "project_id": ULID, "name": "n", "version": 3, "root": "R", "epoch": "E"}, {"snapshot_id": None}),
    (
        wire.WireMachine,
        {"id": "M", "name": "n", "platform": "linux", "last_seen_at": None, "online": True, "workspaces": ["W"]},
        {},
    ),
    (wire.NewProject, {"name": "n"}, {"id": None, "actor": "cli"}),
    (
        wire.NewWorkspace,
        {"name": "n"},
        {"id": None, "base_workspace_id": None, "base_snapshot_id": None, "machine_id": None, "local_path": None, "actor": "cli"},
    ),
    (wire.NewMachine, {"id": "0" * 26, "name": "n"}, {"platform": "", "version": ""}),
    (wire.NewReplica, {"id": "0" * 26, "machine_id": "M", "local_path": "/w"}, {}),
    (
        wire.WireReplica,
        {
            **{"id": "I", "workspace_id": "W", "machine_id": "M", "local_path": "/w", "agreed_version": None, "agreed_root": None},
            **{"state": "idle", "last_seen_at": None},
        },
        {},
    ),
    (wire.WireVersion, {"version": 3, "root": "R", "snapshot_id": None, "replica_id": None, "actor": "cli", "created_at": "t"}, {}),
    (wire.BeatReplica, {"id": "I", "version": 3, "root": "R"}, {"state": "idle"}),
    (wire.Beat, {}, {"type": "beat", "workspaces": [], "replicas": []}),
    (wire.ErrorBody, {"code": "NOT_FOUND", "message": "m"}, {"hint": "", "details": {}, "request_id": ""}),
]


@pytest.mark.parametrize(("shape", "needed", "defaults"), SHAPES, ids=[case[0].__name__ for case in SHAPES])
def test_a_shape(shape: type, needed: dict[str, Any], defaults: dict[str, Any]) -> None:
    assert msgspec.to_builtins(msgspec.json.decode(json.dumps(needed), type=shape)) == {**needed, **defaults}
    # What another version adds is not in the way; what it leaves out is missed.
    msgspec.json.decode(json.dumps({**needed, "news": 1}), type=shape)
    for name in needed:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps({each: value for each, value in needed.items() if each != name}), type=shape)


@pytest.mark.parametrize(
    ("flags", "bits"),
    [
        ("", b""),
        ("1", b"\x01"),
        ("01", b"\x02"),
        ("00000001", b"\x80"),
        ("000000001", b"\x00\x01"),
        ("1111111111111111", b"\xff\xff"),
        ("10100000010", b"\x05\x02"),
        ("1" * 2400, b"\xff" * 300),
    ],
)
def test_a_bitmap(flags: str, bits: bytes) -> None:
    told = [flag == "1" for flag in flags]
    assert bitmap(iter(told)) == bits
    assert parse_bitmap(bits, len(flags)) == told


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"\0", 0), (b"\0", 9), (b"\0\0", 8)])
def test_a_bitmap_of_another_size(data: bytes, count: int) -> None:
    with pytest.raises(InvalidReply, match=f"^a bitmap of {len(data)} bytes for {count} digests$"):
        parse_bitmap(data, count)


def test_digests() -> None:
    assert parse_digests(b"") == []
    assert parse_digests(ONE + OTHER) == [ONE, OTHER]
    for wrong in (b"x", bytes(31), bytes(33), bytes(48)):
        with pytest.raises(InvalidValue, match=r"^a list of digests is a multiple of 32 bytes$"):
            parse_digests(wrong)
    assert len(parse_digests(bytes(32 * wire.MISSING_DIGESTS))) == wire.MISSING_DIGESTS
    with pytest.raises(TooLarge, match=r"^100001 digests$") as caught:
        parse_digests(bytes(32 * (wire.MISSING_DIGESTS + 1)))
    assert caught.value.hint == "Send at most 100000 at once."


# --- conflict records -------------------------------------------------------------------------------------------------------

FILE = EntryRecord(path="a", type="file", hash=ONE.hex(), size=3)
GOOD: dict[str, Any] = {
    **{"id": ULID, "workspace_id": "W", "record": FILE, "kind": "edit-edit", "base": None, "ours": FILE, "theirs": None},
    **{"state": "open", "created_ms": 5},
}


def conflict(**changes: Any) -> wire.WireConflict:
    return wire.WireConflict(**{**GOOD, **changes})


def test_a_conflict_has_one_path_and_pins_its_files() -> None:
    other = EntryRecord(path="a", type="file", hash=OTHER.hex(), size=5)
    link = EntryRecord(path="a", type="link", target="t")
    assert check_conflict(conflict()) == (b"a", [File(ONE, 3)])
    assert check_conflict(conflict(base=other, ours=link, theirs=FILE)) == (b"a", [File(OTHER, 5), File(ONE, 3)])
    assert check_conflict(conflict(ours=None)) == (b"a", [])
    assert check_conflict(conflict(state="resolved", resolved_ms=0, resolution="ours")) == (b"a", [File(ONE, 3)])
    assert check_conflict(conflict(kind="k", resolution="r" * 100, state="resolved", resolved_ms=1)) == (b"a", [File(ONE, 3)])
    assert check_conflict(conflict(kind="k" * 100, resolution="r" * 100)) == (b"a", [File(ONE, 3)])


def test_a_conflict_is_what_came_over_the_wire() -> None:
    """Words and paths that are equal, and not the same objects."""
    file = EntryRecord(path="notes/a", type="file", hash=ONE.hex(), size=3)
    told = msgspec.json.encode(conflict(record=file, ours=file, theirs=file))
    assert check_conflict(msgspec.json.decode(told, type=wire.WireConflict)) == (b"notes/a", [File(ONE, 3)] * 2)


ELSEWHERE = EntryRecord(path="b", type="file", hash=ONE.hex(), size=3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": "C"}, ".*C.*"),
        ({"kind": "k" * 101}, "a word of over 100 characters in a conflict record"),
        ({"resolution": "r" * 101}, "a word of over 100 characters in a conflict record"),
        ({"state": "s" * 101}, "a word of over 100 characters in a conflict record"),
        ({"state": "closed", "resolved_ms": 5}, "a conflict is open, or it was resolved at some time"),
        ({"state": "open", "resolved_ms": 5}, "a conflict is open, or it was resolved at some time"),
        ({"state": "resolved"}, "a conflict is open, or it was resolved at some time"),
        ({"record": ELSEWHERE}, "the sides of a conflict have one path"),
        ({"base": ELSEWHERE}, "the sides of a conflict have one path"),
        ({"ours": ELSEWHERE}, "the sides of a conflict have one path"),
        ({"theirs": ELSEWHERE}, "the sides of a conflict have one path"),
        ({"record": EntryRecord(path="../a", type="none"), "ours": None}, ".*not a file name.*"),
    ],
)
def test_a_conflict_that_cannot_be(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{told}$"):
        check_conflict(conflict(**changes))


NUMBERS = [
    (wire.BeatReplica, {"id": "I", "root": "R"}, "version", (1 << 53) - 1),
    (wire.WireSnapshot, SNAPSHOT, "created_ms", (1 << 48) - 1),
]


@pytest.mark.parametrize(("shape", "fields", "name", "most"), NUMBERS)
def test_a_number_fits_a_column_and_a_clock(shape: type, fields: dict[str, Any], name: str, most: int) -> None:
    for number in (0, most):
        assert getattr(msgspec.convert({**fields, name: number}, shape), name) == number
    for number in (-1, most + 1):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**fields, name: number}, shape)


TEXTS = [
    *[
        (shape, fields, "name", 1, 200)
        for shape, fields in ((wire.NewProject, {}), (wire.NewWorkspace, {}), (wire.NewMachine, {"id": ULID}))
    ],
    *[(wire.NewMachine, {"id": ULID, "name": "n"}, name, 0, 200) for name in ("platform", "version")],
    *[(wire.NewWorkspace, {"name": "n"}, name, 1, 200) for name in ("base_workspace_id", "base_snapshot_id", "machine_id")],
    (wire.NewReplica, {"id": ULID, "local_path": "/w"}, "machine_id", 1, 200),
    (wire.NewReplica, {"id": ULID, "machine_id": "M"}, "local_path", 0, 4096),
    (wire.NewWorkspace, {"name": "n"}, "local_path", 0, 4096),
]


@pytest.mark.parametrize(("shape", "fields", "name", "least", "most"), TEXTS)
def test_a_text_has_bounds(shape: type, fields: dict[str, Any], name: str, least: int, most: int) -> None:
    for size in (least, most):
        assert getattr(msgspec.convert({**fields, name: "x" * size}, shape), name) == "x" * size
    for size in (least - 1, most + 1):
        if size >= 0:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({**fields, name: "x" * size}, shape)


@pytest.mark.parametrize("text", ["a b", "a\n", "\x1f", "\x7f", "\u00e9"])
def test_an_id_is_of_signs_that_can_be_seen(text: str) -> None:
    assert msgspec.convert("!aZ~", wire.Named) == "!aZ~"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, wire.Named)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "0" * 63 + "g", "0" * 63 + "A", "0" * 64 + "\n"])
def test_a_hash_is_64_small_digits(text: str) -> None:
    assert msgspec.convert("09af" * 16, wire.Hash) == "09af" * 16
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, wire.Hash)


def test_who_acts() -> None:
    assert [msgspec.convert(actor, wire.Actor) for actor in ("cli", "web", "system")] == ["cli", "web", "system"]
    for actor in ("", "CLI", "me"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(actor, wire.Actor)


@pytest.mark.parametrize("epoch", ["", "e" * 201])
def test_an_epoch_that_cannot_be(epoch: str) -> None:
    assert msgspec.convert({**HEAD, "epoch": "e" * 200}, wire.Head).epoch == "e" * 200
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**HEAD, "epoch": epoch}, wire.Head)


@pytest.mark.parametrize("text", ["", "8" + "0" * 25, "0" * 25, "0" * 27, "0" * 25 + "U", "0" * 25 + "i", "0" * 26 + "\n"])
def test_an_id_that_cannot_be(text: str) -> None:
    assert msgspec.convert({"id": "7" + "Z" * 25, "name": "n"}, wire.WireProject).id == "7" + "Z" * 25
    assert msgspec.convert({**HEAD, "snapshot_id": f"snap-{ULID}"}, wire.Head).snapshot_id == f"snap-{ULID}"
    for shape, fields, name, value in ((wire.WireProject, {"name": "n"}, "id", text), (wire.Head, HEAD, "snapshot_id", f"snap-{text}")):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**fields, name: value}, shape)


def test_a_delta_has_no_more_changes_than_the_bound_and_nothing_behind_it() -> None:
    records = [{"path": f"{number}", "type": "none"} for number in range(4097)]
    assert len(parse_delta(squeeze(*records[:4096]))) == 4096
    with pytest.raises(TooLarge, match=r"^a delta section of 4097 changes$"):
        parse_delta(squeeze(*records))
    with pytest.raises(InvalidReply):
        parse_delta(squeeze(*records[:3]) + b"x")


# --- errors -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "spoken"),
    [
        ("not-signed-in", "UNAUTHORIZED"),
        ("invalid-value", "VALIDATION_ERROR"),
        ("missing-blobs", "MISSING_BLOBS"),
        ("too-large", "TOO_LARGE"),
        ("busy", "BUSY"),
    ],
)
def test_how_a_code_is_spoken(code: str, spoken: str) -> None:
    assert wire_code(code) == spoken
