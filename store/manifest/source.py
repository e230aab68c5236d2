"""Where nodes are read from and where new ones wait until somebody stores them."""

from __future__ import annotations

from typing import Final, Protocol

from store.errors import BlobMissing
from store.manifest.node import EMPTY_NODE, EMPTY_ROOT, Node, parse_node
from store.types import Digest, Entry, RelPath, digest_of

DECODED_NODES: Final = 256


class NodeSource(Protocol):
    """Serves nodes by digest, checked; EMPTY_ROOT always."""

    def get_node(self, digest: Digest) -> bytes:
        """The node's bytes. Raises BlobMissing."""
        ...

    def read_node(self, digest: Digest) -> Node:
        """The node, decoded: a source may keep it, for one save reads the same few nodes many times. Raises BlobMissing."""
        ...


class Draft:
    """Reads through to a source and keeps new nodes in memory, under `new`, until someone stores them.

    Several edits may share one draft, so that each step of a push builds on the one before.
    """

    def __init__(self, below: NodeSource) -> None:
        self._below = below
        self._decoded: dict[Digest, Node] = {}
        self.last_edit: tuple[tuple[Digest, tuple[tuple[RelPath, Entry | None], ...]], Digest] = (EMPTY_ROOT, ()), EMPTY_ROOT
        """From where by what, and to where; not made twice: a followed head edits the agreed, the shared and the full root alike."""
        self.new: dict[Digest, bytes] = {}

    def get_node(self, digest: Digest) -> bytes:
        """The node's bytes. Raises BlobMissing."""
        kept = self.new.get(digest)
        if kept is not None:
            return kept
        return EMPTY_NODE if digest == EMPTY_ROOT else self._below.get_node(digest)

    def read_node(self, digest: Digest) -> Node:
        """The node, decoded. Raises BlobMissing."""
        data = self.new.get(digest)
        if data is None:
            return self._below.read_node(digest)
        node = self._decoded.get(digest)
        if node is None:
            if len(self._decoded) == DECODED_NODES:
                self._decoded.clear()
            node = self._decoded[digest] = parse_node(data)
        return node

    def keep_node(self, data: bytes) -> Digest:
        """Keep a new node; its digest."""
        digest = digest_of(data)
        self.new[digest] = data
        return digest


class MemoryNodes:
    """A node source in a dict, for tests and small uses."""

    def __init__(self) -> None:
        self.nodes: dict[Digest, bytes] = {}

    def put(self, data: bytes) -> Digest:
        """Keep a node; its digest."""
        digest = digest_of(data)
        self.nodes[digest] = data
        return digest

    def get_node(self, digest: Digest) -> bytes:
        """The node's bytes. Raises BlobMissing."""
        data = self.nodes.get(digest)
        if data is not None:
            return data
        if digest == EMPTY_ROOT:
            return EMPTY_NODE
        raise BlobMissing(f"no manifest node {digest.hex()}")

    def read_node(self, digest: Digest) -> Node:
        """The node, decoded. Raises BlobMissing."""
        return parse_node(self.get_node(digest))
