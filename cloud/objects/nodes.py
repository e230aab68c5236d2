"""Manifest nodes out of a database that must be waited for, served to work that does not wait.

The work runs in a thread. What is not in memory is asked of the loop, one question a node; a work that asks often is walking a tree,
so from then on a node's children come with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cloud.database import KEYS_AT_ONCE, Database, Row
from store.blobs.frames import expand
from store.blobs.reading import Cache
from store.errors import BlobDamaged, BlobMissing, InvalidReply
from store.manifest import EMPTY_NODE, EMPTY_ROOT
from store.manifest.node import Node, digest_in, parse_node
from store.types import Digest, digest_of

CACHE_BYTES: Final = 16 * 1024 * 1024
NODE_BYTES: Final = 4 * 1024 * 1024
"""A node is far smaller: no more is ever expanded."""
WALKING: Final = 4
"""Questions after which a work is taken to be walking."""


class NotInMemory(Exception):
    """A node would have to be waited for."""


class RemoteNodes:
    """All nodes of a database, those last used in memory; as a NodeSource of the latter alone."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept: Cache[Digest, bytes] = Cache(CACHE_BYTES)

    def source(self, loop: asyncio.AbstractEventLoop) -> Source:
        """For one work in a thread."""
        return Source(self, loop)

    def kept(self, digest: Digest) -> bytes | None:
        """What is in memory."""
        return EMPTY_NODE if digest == EMPTY_ROOT else self._kept.get(digest)

    def get_node(self, digest: Digest) -> bytes:
        """The node's bytes. Raises NotInMemory."""
        data = self.kept(digest)
        if data is None:
            raise NotInMemory
        return data

    def read_node(self, digest: Digest) -> Node:
        """The node, decoded. Raises NotInMemory."""
        return parse_node(self.get_node(digest))

    def keep(self, nodes: Mapping[Digest, bytes]) -> None:
        """These will be asked for soon."""
        for digest, data in nodes.items():
            self._kept.put(digest, data, len(data))

    async def load(self, digests: Sequence[Digest]) -> list[tuple[Digest, bytes]]:
        """These nodes, checked (B2), in their order. Raises BlobMissing, BlobDamaged."""
        found = {digest: data for digest in digests if (data := self.kept(digest)) is not None}
        for digest, packed in await node_rows(self._db, set(digests) - found.keys()):
            data = _unpacked(Digest(digest), packed)
            self._kept.put(Digest(digest), data, len(data))
            found[Digest(digest)] = data
        for digest in digests:
            if digest not in found:
                raise BlobMissing(f"no manifest node {digest.hex()}", "It was never kept here, or has been removed.")
        return [(digest, found[digest]) for digest in digests]


class Source:
    """A NodeSource for one thread."""

    def __init__(self, nodes: RemoteNodes, loop: asyncio.AbstractEventLoop) -> None:
        self._nodes = nodes
        self._loop = loop
        self._asked = 0

    def get_node(self, digest: Digest) -> bytes:
        """The node's bytes. Raises BlobMissing, BlobDamaged."""
        data = self._nodes.kept(digest)
        if data is None:
            self._asked += 1
            data = self._load([digest])[0][1]
            if self._asked > WALKING:
                self._load([digest_in(child) for child in parse_node(data).children])
        return data

    def read_node(self, digest: Digest) -> Node:
        """The node, decoded."""
        return parse_node(self.get_node(digest))

    def _load(self, digests: Sequence[Digest]) -> list[tuple[Digest, bytes]]:
        return asyncio.run_coroutine_threadsafe(self._nodes.load(digests), self._loop).result()


async def node_rows(db: Database, digests: Iterable[Digest]) -> list[Row]:
    """(hash, packed bytes) of those that are here."""
    asked, reader = sorted(digests), db.read()
    sql = "SELECT n.hash, n.data FROM carray($1) c JOIN kept_nodes n ON n.hash = c.value"
    rows: list[Row] = []
    for at in range(0, len(asked), KEYS_AT_ONCE):
        rows += await reader.rows(sql, (reader.keys(asked[at : at + KEYS_AT_ONCE]),))
    return rows


def _unpacked(digest: Digest, packed: bytes) -> bytes:
    try:
        data = expand(packed, NODE_BYTES)
    except InvalidReply:
        data = b""
    if digest_of(data) != digest:
        raise BlobDamaged(f"the bytes of node {digest.hex()} are not its own")
    return data
