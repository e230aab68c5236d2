"""Frames: many small blobs, or one recipe, in a self-describing piece of bytes. Segments are rows of frames, and frames travel as they are.

A frame names the digest and size of all it holds before the (compressed) bytes, so it can be indexed, offered or refused without
being expanded. Layout in docs/format-blobs.md; every bound here is checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec
import zstandard

from store.errors import BlobDamaged, InvalidReply, TooLarge
from store.types import Digest, digest_of

FRAME_RAW: Final = 256 * 1024
"""Raw bytes after which a frame is closed."""
MAX_FRAME_RAW: Final = 8 * 1024 * 1024
MAX_FRAME_BLOBS: Final = 4096
HEAD_BYTES: Final = 32
MAGIC: Final = b"FSTF"
ZSTD_LEVEL: Final = 1

_HEAD = struct.Struct(">4sBBHII16s")
_ITEM = struct.Struct(">32sQ")
_CHUNK = struct.Struct(">32sI")
_WORTH_IT = 0.97
"""Compressed to more than this share of the raw size, the raw bytes are kept: they cost nothing to read."""


class Kind(IntEnum):
    """What a frame holds."""

    BLOBS = 1
    RECIPE = 2


class _Coding(IntEnum):
    STORED = 0
    ZSTD = 1


class Recipe(msgspec.Struct, frozen=True):
    """How a chunked blob is put together: its chunks in order, each with its size in bytes."""

    digest: Digest
    size: int
    chunks: tuple[tuple[Digest, int], ...]


class Head(NamedTuple):
    """The first HEAD_BYTES of a frame, bounds checked; the table and body that follow are not looked at yet."""

    kind: Kind
    coding: int
    items: int
    raw_bytes: int
    body_bytes: int
    checksum: bytes

    @property
    def frame_bytes(self) -> int:
        """Length of the whole frame."""
        return HEAD_BYTES + self.items * _ITEM.size + self.body_bytes


class _Codec(threading.local):
    """A thread's own zstd contexts: making them costs more than most frames."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codec = _Codec()


def squeeze(raw: bytes) -> bytes:
    """One zstd frame that records its raw size."""
    return _codec.compress(raw)


def expand(packed: bytes, max_bytes: int) -> bytes:
    """The raw bytes of one zstd frame. Raises InvalidReply when it is not one, or claims more than `max_bytes`."""
    try:
        if not 0 <= zstandard.frame_content_size(packed) <= max_bytes:
            raise InvalidReply("compressed bytes of an unknown or too large size")
        return _codec.decompress(packed, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidReply(f"compressed bytes that cannot be read: {error}") from error


def encode_frame(blobs: Sequence[tuple[Digest, bytes]]) -> bytes:
    """A frame of these blobs; the digests are the caller's word. Raises TooLarge."""
    raw = b"".join([data for _, data in blobs])
    if len(blobs) > MAX_FRAME_BLOBS or len(raw) > MAX_FRAME_RAW:
        raise TooLarge(f"a frame of {len(blobs)} blobs and {len(raw)} bytes")
    table = b"".join([digest + len(data).to_bytes(8, "big") for digest, data in blobs])
    packed = squeeze(raw)
    if len(packed) <= len(raw) * _WORTH_IT:
        return _join(Kind.BLOBS, _Coding.ZSTD, table, len(raw), packed)
    return _join(Kind.BLOBS, _Coding.STORED, table, len(raw), raw)


def encode_recipe(recipe: Recipe) -> bytes:
    """A frame that holds one recipe. Raises TooLarge for a file of more chunks than a frame has room for (some 60 GB)."""
    body = b"".join([digest + size.to_bytes(4, "big") for digest, size in recipe.chunks])
    if len(body) > MAX_FRAME_RAW:
        raise TooLarge(f"a file of {recipe.size} bytes in {len(recipe.chunks)} chunks", "Files beyond about 60 GB are not kept.")
    return _join(Kind.RECIPE, _Coding.STORED, _ITEM.pack(recipe.digest, recipe.size), len(body), body)


def decode_frame(frame: bytes) -> list[tuple[Digest, bytes]]:
    """The blobs of a frame, each checked against its digest. Raises InvalidReply, BlobDamaged."""
    items = frame_digests(frame)
    raw = frame_raw(frame)
    blobs = []
    at = 0
    for digest, size in items:
        data = raw[at : at + size]
        if digest_of(data) != digest:
            raise BlobDamaged(f"the bytes of blob {digest.hex()} are not its own")
        blobs.append((digest, data))
        at += size
    return blobs


def decode_recipe(frame: bytes) -> Recipe:
    """The recipe in a frame; whether its chunks make the whole is not known yet. Raises InvalidReply."""
    head = parse_head(frame)
    ((digest, size),) = frame_digests(frame) if head.kind is Kind.RECIPE and head.items == 1 else [(Digest(b""), 0)]
    body = frame[HEAD_BYTES + _ITEM.size :]
    if not digest or head.coding != _Coding.STORED or len(body) != head.raw_bytes or len(body) % _CHUNK.size:
        raise InvalidReply("a recipe frame that cannot be read")
    chunks = tuple((Digest(chunk), length) for chunk, length in _CHUNK.iter_unpack(body))
    if sum(length for _, length in chunks) != size:
        raise InvalidReply("a recipe whose chunks do not add up to its size")
    return Recipe(digest, size, chunks)


def frame_digests(frame: bytes) -> list[tuple[Digest, int]]:
    """What a frame holds and the sizes, in order, without expanding it. Raises InvalidReply when it is not a whole frame."""
    head = parse_head(frame)
    table = frame[HEAD_BYTES : HEAD_BYTES + head.items * _ITEM.size]
    if len(frame) != head.frame_bytes or _checksum(frame[:16] + table) != head.checksum:
        raise InvalidReply("a frame that is cut short or changed")
    items = [(Digest(digest), size) for digest, size in _ITEM.iter_unpack(table)]
    if head.kind is Kind.BLOBS and sum(size for _, size in items) != head.raw_bytes:
        raise InvalidReply("a frame whose blobs do not add up to its size")
    return items


def frame_raw(frame: bytes) -> bytes:
    """The raw bytes of all blobs of a frame, one after another, not checked against their digests. Raises InvalidReply."""
    head = parse_head(frame)
    body = frame[HEAD_BYTES + head.items * _ITEM.size :]
    raw = expand(body, head.raw_bytes) if head.coding == _Coding.ZSTD else body
    if head.kind is not Kind.BLOBS or len(raw) != head.raw_bytes:
        raise InvalidReply("a frame whose bytes are not of the size it says, or no frame of blobs")
    return raw


def sound_rows(frame: bytes) -> set[tuple[Digest, int, int | None]]:
    """Digest, size and start in the raw bytes (None for a recipe) of all that is undamaged in a frame. Raises InvalidReply."""
    items = frame_digests(frame)
    if is_recipe(frame):
        recipe = decode_recipe(frame)
        return {(recipe.digest, recipe.size, None)}
    raw = frame_raw(frame)
    starts = accumulate((size for _, size in items), initial=0)
    return {(digest, size, at) for (digest, size), at in zip(items, starts, strict=False) if digest_of(raw[at : at + size]) == digest}


def is_recipe(frame: bytes) -> bool:
    """True for the frame of a recipe. Raises InvalidReply."""
    return parse_head(frame).kind is Kind.RECIPE


def parse_head(frame: bytes) -> Head:
    """The head of a frame, from its first HEAD_BYTES. Raises InvalidReply."""
    if len(frame) < HEAD_BYTES or frame[:4] != MAGIC:
        raise InvalidReply("not a frame")
    _, kind, coding, count, raw_bytes, body_bytes, checksum = _HEAD.unpack_from(frame)
    if kind not in (Kind.BLOBS, Kind.RECIPE) or coding not in (_Coding.STORED, _Coding.ZSTD):
        raise InvalidReply(f"a frame of unknown kind {kind}, coding {coding}")
    if count > MAX_FRAME_BLOBS or raw_bytes > MAX_FRAME_RAW or body_bytes > raw_bytes:
        raise InvalidReply(f"a frame of {count} blobs and {raw_bytes} bytes")
    return Head(Kind(kind), coding, count, raw_bytes, body_bytes, checksum)


def _join(kind: Kind, coding: _Coding, table: bytes, raw_bytes: int, body: bytes) -> bytes:
    head = _HEAD.pack(MAGIC, kind, coding, len(table) // _ITEM.size, raw_bytes, len(body), b"")[:16]
    return b"".join((head, _checksum(head + table), table, body))


def _checksum(data: bytes) -> bytes:
    """Guards head and table; the body is guarded by the digests."""
    return hashlib.sha256(data).digest()[:16]
