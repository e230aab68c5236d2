"""Entries -> nodes: where a level is cut, and the levels above it.

A node ends at the first item that brings it to MIN_ITEMS or more and whose salted key hashes below LIMIT, or at MAX_ITEMS. A cut thus
depends only on the items since the cut before it, so the same entries give the same tree in whatever order they were edited in, and
after an edit the cuts soon fall where they fell before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, islice
from operator import lt
from typing import Generic, TypeVar

from store.errors import InvalidValue
from store.manifest.entry import EntryRecord, record_of
from store.manifest.node import (
    EMPTY_ROOT,
    LIMIT,
    MAX_ITEMS,
    MIN_ITEMS,
    Child,
    Totals,
    child_of,
    digest_in,
    encode_inner,
    encode_leaf,
    key_of,
    sum_children,
    sum_entries,
)
from store.manifest.source import Draft
from store.types import Digest, Entry, RelPath

Keep = Callable[[bytes], Digest]
"""Takes a new node's bytes and gives their digest."""
BATCH = 1024
T = TypeVar("T")


def build_manifest(entries: Iterable[tuple[RelPath, Entry]], draft: Draft) -> Digest:
    """The root over these entries, sorted by path; streamed, with at most a batch and one open node a level in hand.

    Raises InvalidValue when they are not strictly ascending.
    """
    return grow(0, cut_entries(entries, draft.keep_node), draft.keep_node)


def cut_entries(entries: Iterable[tuple[RelPath, Entry]], keep: Keep) -> Iterator[Child]:
    """The leaves over sorted entries."""
    cutter, last, source = leaf_cutter(keep), b"", iter(entries)
    while batch := list(islice(source, BATCH)):
        keys: list[bytes] = [path for path, _ in batch]
        if not all(map(lt, [last, *keys], keys)):
            raise InvalidValue("entries must be sorted by path, each path once, none empty")
        last = keys[-1]
        yield from cutter.feed(keys, [record_of(path, entry) for path, entry in batch])
    yield from cutter.flush()


def grow(level: int, nodes: Iterator[Child], keep: Keep) -> Digest:
    """The root above a level's nodes: levels are added until one node is left."""
    while True:
        pair = list(islice(nodes, 2))
        if len(pair) < 2:
            return digest_in(pair[0]) if pair else EMPTY_ROOT
        level += 1
        nodes = _cut_children(level, chain(pair, nodes), keep)


def _cut_children(level: int, children: Iterator[Child], keep: Keep) -> Iterator[Child]:
    cutter = inner_cutter(level, keep)
    while batch := list(islice(children, MAX_ITEMS)):
        yield from cutter.feed([key_of(child) for child in batch], batch)
    yield from cutter.flush()


def ends_node(level: int, key: bytes) -> bool:
    """True when an item with this key ends a node that has at least MIN_ITEMS."""
    return sha256(bytes((level,)) + key).digest() < LIMIT


class Cutter(Generic[T]):
    """Cuts one level's items, fed in order, into nodes."""

    def __init__(self, level: int, encode: Callable[[Sequence[T]], bytes], total: Callable[[Sequence[T]], Totals], keep: Keep) -> None:
        self._salt = bytes((level,))
        self._encode, self._total, self._keep = encode, total, keep
        self._keys: list[bytes] = []
        self._items: list[T] = []

    def feed(self, keys: Sequence[bytes], items: Sequence[T]) -> list[Child]:
        """The nodes that these items complete, together with what was fed before."""
        tested = len(self._keys)
        self._keys += keys
        self._items += items
        nodes, start, count, salt = [], 0, len(self._keys), self._salt
        at = max(MIN_ITEMS - 1, tested)
        # The hot loop of every build: the first items of a node cannot end it and are never hashed.
        while at < count:
            if sha256(salt + self._keys[at]).digest() < LIMIT or at - start == MAX_ITEMS - 1:
                nodes.append(self._close(start, at + 1))
                start = at + 1
                at += MIN_ITEMS
            else:
                at += 1
        del self._keys[:start]
        del self._items[:start]
        return nodes

    def flush(self) -> list[Child]:
        """The last node, which ends because the level does; nothing when the last item ended one."""
        if self.aligned:
            return []
        node = self._close(0, len(self._keys))
        self._keys.clear()
        self._items.clear()
        return [node]

    @property
    def aligned(self) -> bool:
        """True when the last item fed ended a node."""
        return not self._keys

    def _close(self, start: int, end: int) -> Child:
        items = self._items[start:end]
        return child_of(self._keys[start], self._keep(self._encode(items)), self._total(items))


def leaf_cutter(keep: Keep) -> Cutter[EntryRecord]:
    """A cutter of entries into leaves."""
    return Cutter(0, encode_leaf, sum_entries, keep)


def inner_cutter(level: int, keep: Keep) -> Cutter[Child]:
    """A cutter of children into inner nodes of this level."""
    return Cutter(level, lambda children: encode_inner(level, children), sum_children, keep)
