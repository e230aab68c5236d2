"""Every parser of bytes from outside, fed with right ones that were changed: what comes out is a value or one of our errors.

Never another exception, never more memory than a small multiple of what the bounds allow, never a hang (pytest-timeout).
"""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cloud.heads.body import read_header, read_rest
from daemon.remote import messages
from daemon.remote.failures import failure_of
from store.blobs import frames
from store.blobs.frames import Recipe, encode_frame, encode_recipe
from store.errors import Corrupt, FastestError, InvalidReply, Refused, TooLarge, Transient
from store.manifest import EntryRecord, MemoryNodes, check_manifest, check_node, edit_manifest, parse_node, record_of
from store.manifest.source import Draft
from store.snapshots import make_snapshot
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of, new_ulid
from sync.adopt import wire_snapshot
from sync.core.wire import (
    EventHeader,
    Head,
    PushHeader,
    PushStep,
    Section,
    WireConflict,
    WireVersion,
    WireWorkspace,
    check_conflict,
    pack_delta,
    pack_section,
    parse_bitmap,
    parse_delta,
    parse_digests,
    split_sections,
)

MEMORY_BYTES = 128 * 1024 * 1024
ID, HEX = new_ulid(1_700_000_000_000), "ab" * 32
Parse = Callable[[bytes], object]

ENTRIES: dict[RelPath, Entry] = {
    RelPath(b"a"): DIR,
    RelPath(b"a/b.txt"): File(digest_of(b"1"), 1),
    RelPath(b"a/run"): File(digest_of(b"22"), 2, True),
    RelPath(b"a/to"): Link(b"b.txt"),
    RelPath(b"z\xff"): File(digest_of(b""), 0),
}
CONFLICT = WireConflict(
    ID, ID, record_of(RelPath(b"f"), None), "edit-edit", None, record_of(RelPath(b"f"), File(digest_of(b"1"), 1)),
    record_of(RelPath(b"f"), File(digest_of(b"2"), 1)), "open", 1_700_000_000_000,
)  # fmt: skip
SNAPSHOT = wire_snapshot(
    make_snapshot(
        project_id=ID, workspace_id=ID, manifest_hash=Digest(b"\xab" * 32), parents=(), source="cli", message="m", author_name="n",
        author_email="e", agent="", created_ms=1_700_000_000_000,
    )
)  # fmt: skip
HEAD = Head(ID, "epoch", 7, HEX)
DELTA = next(pack_delta(sorted(ENTRIES.items())))
FRAME = encode_frame([(digest_of(data), data) for data in (b"one", b"", b"two" * 400)])
RECIPE = encode_recipe(Recipe(digest_of(b"whole"), 5, ((digest_of(b"who"), 3), (digest_of(b"le"), 2))))


def _nodes() -> tuple[Digest, MemoryNodes]:
    draft, nodes = Draft(MemoryNodes()), MemoryNodes()
    root = edit_manifest(digest_of(b'{"level":0,"entries":[]}'), [(RelPath(b"n%04d" % number), DIR) for number in range(400)], draft)
    for data in draft.new.values():
        nodes.put(data)
    return root, nodes


ROOT, NODES = _nodes()


def message(kind: str, *sections: tuple[Section, bytes]) -> bytes:
    count = sum(one is Section.DELTA for one, _ in sections)
    header = EventHeader(kind, HEAD, HEX, count, ID, [SNAPSHOT], [CONFLICT])
    return b"".join(pack_section(one, data) for one, data in [(Section.HEADER, msgspec.json.encode(header)), *sections])


EVENT = message("version", (Section.DELTA, DELTA), (Section.FRAME, FRAME))
PUSH = b"".join(
    pack_section(kind, data)
    for kind, data in (
        (Section.HEADER, msgspec.json.encode(PushHeader("epoch", 1, HEX, ID, [PushStep(HEX, 1, SNAPSHOT)]))),
        (Section.DELTA, DELTA),
        (Section.FRAME, FRAME),
    )
)
FAILURE = msgspec.json.encode(
    {"error": {"code": "VERSION_MOVED", "message": "m", "hint": "h", "details": {"head": HEAD, "hashes": [HEX], "self": 1}}}
)


async def _sections(body: bytes) -> AsyncIterator[tuple[Section, bytes]]:
    for section in split_sections(body):
        yield section


def read_catch_up(body: bytes) -> object:
    return asyncio.run(messages.read_catch_up(_sections(body)))


def read_push(body: bytes) -> object:
    async def read() -> object:
        sections = _sections(body)
        return await read_rest(sections, await read_header(sections))

    return asyncio.run(read())


def whole_tree(data: bytes) -> None:
    nodes = MemoryNodes()
    nodes.nodes = dict(NODES.nodes)
    check_manifest(nodes.put(data), nodes)


def conflict_in(data: bytes) -> object:
    return check_conflict(messages.decode(data, WireConflict))


def shaped(shape: type) -> Parse:
    return lambda data: messages.decode(data, shape)


PARSERS: dict[str, tuple[bytes, Parse]] = {
    "sections": (EVENT, lambda data: list(split_sections(data))),
    "delta": (DELTA, parse_delta),
    "bitmap": (b"\x05", lambda data: parse_bitmap(data, 8)),
    "digests": (b"\xab" * 64, parse_digests),
    "conflict": (msgspec.json.encode(CONFLICT), conflict_in),
    "leaf": (next(data for data in NODES.nodes.values() if b'"level":0' in data), parse_node),
    "inner": (NODES.get_node(ROOT), parse_node),
    "checked leaf": (next(data for data in NODES.nodes.values() if b'"level":0' in data), lambda data: check_node(digest_of(data), data)),
    "checked inner": (NODES.get_node(ROOT), lambda data: check_node(digest_of(data), data)),
    "tree": (NODES.get_node(ROOT), whole_tree),
    "frame head": (FRAME, frames.parse_head),
    "frame table": (FRAME, frames.frame_digests),
    "frame": (FRAME, frames.decode_frame),
    "frame rows": (FRAME, frames.sound_rows),
    "recipe": (RECIPE, frames.decode_recipe),
    "recipe rows": (RECIPE, frames.sound_rows),
    "squeezed": (frames.squeeze(b"raw" * 100), lambda data: frames.expand(data, 1024)),
    "event": (EVENT, messages.parse_event),
    "catch-up": (message("catch-up", (Section.DELTA, DELTA)), read_catch_up),
    "push": (PUSH, read_push),
    "failure": (FAILURE, lambda data: failure_of(422, data)),
    "head": (msgspec.json.encode(HEAD), shaped(Head)),
    "workspaces": (msgspec.json.encode({"workspaces": [WireWorkspace(ID, ID, "n", 1, HEX, "e")]}), shaped(messages.Workspaces)),
    "versions": (msgspec.json.encode({"versions": [WireVersion(1, HEX, None, ID, "cli", "")]}), shaped(messages.Versions)),
    "user": (b'{"user":{"id":"i","email":"e","name":null}}', shaped(messages.Me)),
    "record": (msgspec.json.encode(record_of(RelPath(b"f"), None)), shaped(EntryRecord)),
}
ODD = (
    b"null", b"-1", b"9223372036854775808", b"1e999", b"9" * 400, b'"\\ud800"', b'"\xff"', b"[" * 5000, b'{"a":' * 5000, b'""', b"{}",
    b"[]", b'"../../x"', b'"\\u0000"', b"true", b'"' + b"x" * 5000 + b'"', b'{"self":1,"message":2}',
)  # fmt: skip
"""What may stand where a value stood."""


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def ours_only(parse: Parse, data: bytes) -> None:
    """A value, or an error of a family that says what to do."""
    with bounded_memory():
        try:
            parse(data)
        except FastestError as error:
            assert isinstance(error, Refused | Corrupt | Transient), error
            assert len(error.message) < 20_000


def changed(right: bytes, seed: int, times: int) -> bytes:
    """The bytes with some flipped, cut, doubled, or a JSON value in them replaced by an odd one."""
    chance, data = random.Random(seed), bytearray(right)
    for _ in range(times):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.randrange(1, 40))
        match chance.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = data[at:to] * chance.randrange(1, 4)
            case 3:
                data[at:to] = chance.randbytes(chance.randrange(9))
            case 4:
                data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case _:
                _replace_value(data, chance)
    return bytes(data)


def _replace_value(data: bytearray, chance: random.Random) -> None:
    starts = [at for at, byte in enumerate(data) if byte == ord(":")]
    if starts:
        start = chance.choice(starts) + 1
        end = min((found for mark in b",}]" if (found := data.find(mark, start)) >= 0), default=len(data))
        data[start:end] = chance.choice(ODD)


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_right_is_read(name: str) -> None:
    right, parse = PARSERS[name]
    assert not isinstance(parse(right), FastestError) or name == "failure"


@pytest.mark.parametrize("name", PARSERS)
@given(st.integers(0, 2**64), st.integers(1, 6))
def test_what_was_changed_gives_a_value_or_an_error_of_ours(name: str, seed: int, times: int) -> None:
    right, parse = PARSERS[name]
    ours_only(parse, changed(right, seed, times))


@pytest.mark.parametrize("name", PARSERS)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_value_or_an_error_of_ours(name: str, data: bytes) -> None:
    ours_only(PARSERS[name][1], data)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "name", ["conflict", "leaf", "inner", "event", "push", "failure", "head", "workspaces", "versions", "user", "record"]
)
def test_an_odd_value_in_every_place(name: str, odd: bytes) -> None:
    """Also where no field of ours is: readers pass over what they do not know."""
    right, parse = PARSERS[name]
    start = right.find(b"{") if name in ("event", "push") else 0
    end = int.from_bytes(right[1:5], "big") + 5 if name in ("event", "push") else len(right)
    for at in [at for at in range(start, end) if right[at] == ord(":")]:
        stop = min((found for mark in (b",", b"}", b"]") if (found := right.find(mark, at)) >= 0), default=end)
        ours_only(parse, _with_length(name, right[: at + 1] + odd + right[stop:], len(odd) - (stop - at - 1)))
    unknown = right[: start + 1] + b'"unknown":' + odd + b"," + right[start + 1 :]
    ours_only(parse, _with_length(name, unknown, len(odd) + 11))


def _with_length(name: str, data: bytes, more: int) -> bytes:
    if name not in ("event", "push"):
        return data
    return data[:1] + (int.from_bytes(data[1:5], "big") + more).to_bytes(4, "big") + data[5:]


# --- bombs: what is small as it comes, and large as it is read ------------------------------------------------------------------


def bomb(raw_bytes: int, unit: bytes = b"\0") -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(unit * (raw_bytes // len(unit)))


def removals(count: int, first: int = 0) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(
        b"[" + b",".join(b'{"path":"f%09d","type":"none"}' % number for number in range(first, first + count)) + b"]"
    )


@pytest.mark.parametrize(
    "payload",
    [
        bomb(256 * 1024 * 1024),
        bomb(8 * 1024 * 1024, b"["),
        bomb(8 * 1024 * 1024, b"[[{"),
        removals(200_000),
        zstandard.ZstdCompressor(level=3, write_content_size=False).compress(b"[]"),
        zstandard.ZstdCompressor(level=3).compress(b"[]") * 2,
    ],
    ids=["zeros", "brackets", "braces", "changes", "no size", "two in one"],
)
def test_a_delta_that_is_a_bomb(payload: bytes) -> None:
    with bounded_memory(), pytest.raises((InvalidReply, TooLarge)):
        parse_delta(payload)
    with bounded_memory(), pytest.raises(InvalidReply):
        messages.parse_event(message("version", (Section.DELTA, payload)))


def test_an_event_of_very_many_changes_is_not_held() -> None:
    deltas = [(Section.DELTA, removals(4_000, first)) for first in range(0, 24_000, 4_000)]
    deltas = [(kind, data) for kind, data in deltas if len(data) < 10_000]
    assert len(deltas) == 6
    with bounded_memory():
        told = messages.parse_event(message("version", *deltas))
    assert told.delta is None and told.parent_root is None, "it is asked for when its turn comes"
    with bounded_memory(), pytest.raises(InvalidReply):
        messages.parse_event(message("version", *deltas * 8))


def test_frames_of_an_event_that_are_bombs() -> None:
    data = b"\0" * (4 * 1024 * 1024)
    frame = encode_frame([(digest_of(data), data)])
    assert len(frame) < 1000
    with bounded_memory(), pytest.raises(InvalidReply):
        messages.parse_event(message("version", *[(Section.FRAME, frame)] * 1000))


def test_a_frame_that_says_less_than_it_holds() -> None:
    body = bomb(1024 * 1024 * 1024, b"\0" * 4096)
    table = digest_of(b"\0") + (100).to_bytes(8, "big")
    head = frames._HEAD.pack(frames.MAGIC, 1, 1, 1, 100_000, len(body), b"")[:16]
    frame = head + frames._checksum(head + table) + table + body
    with bounded_memory(), pytest.raises(InvalidReply):
        frames.decode_frame(frame)


def test_a_catch_up_without_end_is_left() -> None:
    given_bytes = 0

    async def endless() -> AsyncIterator[tuple[Section, bytes]]:
        nonlocal given_bytes
        yield Section.HEADER, msgspec.json.encode(EventHeader("catch-up", HEAD, HEX, 1 << 40))
        while True:
            given_bytes += 1 << 20
            yield Section.DELTA, bytes(1 << 20)

    with bounded_memory(), pytest.raises(InvalidReply):
        asyncio.run(messages.read_catch_up(endless()))
    assert given_bytes <= messages.MAX_CATCH_UP_BYTES + (1 << 20)
