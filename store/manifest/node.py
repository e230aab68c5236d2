"""A node of the bucket tree: a leaf lists entries, an inner node lists children with their sums (docs/format-manifest.md).

Node bytes are canonical: decoding and encoding again gives the same bytes. `parse_node` trusts bytes whose digest was made here or
was checked when they came in; `store.manifest.check` is the gate for bytes from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from store.errors import InvalidManifest
from store.manifest.entry import EntryRecord, bytes_of, digest_from_hex, path_of, text_or_base64
from store.types import UNREADABLE, Digest, digest_of

MIN_ITEMS: Final = 8
MAX_ITEMS: Final = 128
LIMIT: Final = ((1 << 32) // 24).to_bytes(4)
"""Below this a key's salted SHA-256 ends a node: one key in 24, which with MIN_ITEMS makes about 32 items a node."""


class Child(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An inner node's line: a node's first path and digest, and how many entries, files and file bytes are below it."""

    path: str | None = None
    path_b64: str | None = None
    hash: str
    entries: int
    files: int
    bytes: int


class Node(msgspec.Struct, frozen=True):
    """A decoded node: `keys` are the paths that `entries` (level 0) or `children` (above) are sorted by."""

    level: int
    keys: list[bytes]
    entries: Sequence[EntryRecord] = ()
    children: Sequence[Child] = ()


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a manifest sums up to: files, their bytes, and entries of every type."""

    files: int
    bytes: int
    entries: int


class _Leaf(msgspec.Struct, frozen=True):
    level: int
    entries: Sequence[EntryRecord]


class _Inner(msgspec.Struct, frozen=True):
    level: int
    children: Sequence[Child]


_LEAF_START = b'{"level":0,'
_encoder = msgspec.json.Encoder()
_leaf_decoder = msgspec.json.Decoder(_Leaf)
_inner_decoder = msgspec.json.Decoder(_Inner)


def encode_leaf(entries: Sequence[EntryRecord]) -> bytes:
    """A leaf's bytes."""
    return _encoder.encode(_Leaf(0, entries))


def encode_inner(level: int, children: Sequence[Child]) -> bytes:
    """An inner node's bytes."""
    return _encoder.encode(_Inner(level, children))


def encode_node(node: Node) -> bytes:
    """A node's canonical bytes."""
    return encode_inner(node.level, node.children) if node.level else encode_leaf(node.entries)


def parse_node(data: bytes) -> Node:
    """Node bytes -> Node. Raises InvalidManifest when they are no node at all; `check_node` is stricter."""
    try:
        if data.startswith(_LEAF_START):
            leaf = _leaf_decoder.decode(data)
            # The hot place of every reading: the plain case without a call for each line.
            keys = [line.path.encode() if line.path is not None and line.path_b64 is None else path_of(line) for line in leaf.entries]
            return Node(0, keys, entries=leaf.entries)
        inner = _inner_decoder.decode(data)
    except UNREADABLE as error:
        raise InvalidManifest(f"not a manifest node: {error}") from None
    keys = [line.path.encode() if line.path is not None and line.path_b64 is None else key_of(line) for line in inner.children]
    return Node(inner.level, keys, children=inner.children)


def child_of(key: bytes, digest: Digest, totals: Totals) -> Child:
    """The line that stands for a node in the level above."""
    text, coded = text_or_base64(key)
    return Child(path=text, path_b64=coded, hash=digest.hex(), entries=totals.entries, files=totals.files, bytes=totals.bytes)


def key_of(child: Child) -> bytes:
    """A child's first path. Raises InvalidManifest."""
    return bytes_of(child.path, child.path_b64)


def digest_in(child: Child) -> Digest:
    """The digest of the node a child stands for. Raises InvalidManifest."""
    return digest_from_hex(child.hash)


def totals_of(node: Node) -> Totals:
    """The sums over one node's items."""
    return sum_children(node.children) if node.level else sum_entries(node.entries)


def sum_entries(entries: Sequence[EntryRecord]) -> Totals:
    """The sums over a leaf's records."""
    sizes = [record.size for record in entries if record.size is not None]
    return Totals(len(sizes), sum(sizes), len(entries))


def sum_children(children: Sequence[Child]) -> Totals:
    """The sums over an inner node's lines."""
    files = size = entries = 0
    for child in children:
        files += child.files
        size += child.bytes
        entries += child.entries
    return Totals(files, size, entries)


EMPTY_NODE: Final = encode_leaf(())
EMPTY_ROOT: Final = digest_of(EMPTY_NODE)
"""The root of the manifest without entries. Every node source serves it."""
