"""The gate for nodes and trees from outside: nothing here is believed, everything is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from store.errors import InvalidManifest, InvalidValue
from store.manifest.build import cut_entries, ends_node, grow
from store.manifest.entry import MAX_SIZE_BYTES, listed_of
from store.manifest.node import EMPTY_ROOT, MAX_ITEMS, MIN_ITEMS, Child, Node, child_of, digest_in, encode_node, parse_node, totals_of
from store.manifest.source import NodeSource
from store.manifest.walk import entry_at, open_cursor, seek_key
from store.types import MAX_PATH_BYTES, Digest, Dir, Entry, RelPath, check_name, digest_of, parent_of, show_path

MAX_NODE_BYTES: Final = 8 * 1024 * 1024
"""Over what 128 entries with the longest paths and targets need, each byte escaped."""
MAX_LEVEL: Final = 16


def check_node(digest: Digest, data: bytes) -> Node:
    """One node on its own: its hash, canonical bytes, order, bounds, legal paths and entries, and no item that should have ended it.

    Raises InvalidManifest. What only the whole tree shows (sums, the end of each node, parents) is for `check_manifest`.
    """
    if len(data) > MAX_NODE_BYTES:
        raise InvalidManifest(f"a manifest node of {len(data)} bytes")
    if digest_of(data) != digest:
        raise InvalidManifest(f"a manifest node whose bytes are not {digest.hex()}")
    node = parse_node(data)
    if encode_node(node) != data:
        raise InvalidManifest("a manifest node that is not in its one form")
    if not 0 <= node.level <= MAX_LEVEL or len(node.keys) > MAX_ITEMS or (not node.keys and digest != EMPTY_ROOT):
        raise InvalidManifest(f"a manifest node of level {node.level} with {len(node.keys)} items")
    if any(before >= after for before, after in pairwise(node.keys)):
        raise InvalidManifest("a manifest node out of order")
    if any(ends_node(node.level, key) for key in node.keys[MIN_ITEMS - 1 : -1]):
        raise InvalidManifest("a manifest node that goes on where it should have ended")
    _check_items(node)
    return node


def check_manifest(root: Digest, nodes: NodeSource) -> None:
    """The whole tree: every node by itself, order across nodes, sums, levels, cuts, and law P6. Raises InvalidManifest, BlobMissing.

    P6: the parent of every path is a folder's entry. In hand: one node a level, and the folders around the current path.
    """
    # A build of what was walked has the one legal shape: the same root is the proof of all cuts and levels at once.
    if grow(0, cut_entries(_checked_entries(root, nodes), digest_of), digest_of) != root:
        raise InvalidManifest(f"manifest {root.hex()} is not cut as its entries ask")


def check_tree_after(root: Digest, changes: Iterable[tuple[RelPath, Entry | None]], nodes: NodeSource) -> None:
    """Law P6 around some changes, sorted by path, in the root that they led to from a root for which it held. Raises InvalidManifest.

    A path that is there has a folder for a parent; nothing is below a path that is no folder.
    """
    cursor = open_cursor(root, nodes.read_node)
    folders = {b""}
    for path, entry in changes:
        parent = parent_of(path)
        if entry is not None and parent not in folders:
            if not isinstance(entry_at(cursor, parent), Dir):
                raise InvalidManifest(f"{show_path(path)} is in no folder")
            folders.add(parent)
        if not isinstance(entry, Dir):
            found = seek_key(cursor, path + b"/")
            if found is not None and found.startswith(path + b"/"):
                raise InvalidManifest(f"{show_path(found)} is below a path that is no folder")


def _check_items(node: Node) -> None:
    try:
        # What `parse_path` asks, but each name once a node: neighbours share their folders.
        for name in {name for key in node.keys for name in key.split(b"/")}:
            check_name(name)
    except InvalidValue as error:
        raise InvalidManifest(f"a manifest node with a path that may not be: {error}") from None
    if any(len(key) > MAX_PATH_BYTES for key in node.keys):
        raise InvalidManifest(f"a manifest node with a path over {MAX_PATH_BYTES} bytes")
    for record in node.entries:
        listed_of(record)
    for child in node.children:
        digest_in(child)
        if not 0 < child.entries <= MAX_SIZE_BYTES or not 0 <= child.files <= child.entries or not 0 <= child.bytes <= MAX_SIZE_BYTES:
            raise InvalidManifest("a manifest node with sums that cannot be")


def _checked_entries(root: Digest, nodes: NodeSource) -> Iterator[tuple[RelPath, Entry]]:
    folders = _Folders()
    last = b""
    for leaf in _checked_leaves(root, nodes):
        for key, record in zip(leaf.keys, leaf.entries, strict=True):
            if key <= last:
                raise InvalidManifest(f"{show_path(key)} is out of order")
            path, entry, last = RelPath(key), listed_of(record), key
            folders.enter(path, entry)
            yield path, entry


def _checked_leaves(root: Digest, nodes: NodeSource) -> Iterator[Node]:
    top = check_node(root, nodes.get_node(root))
    waiting: list[tuple[Node, Iterator[Child]]] = [(top, iter(top.children))]
    if top.level == 0:
        yield top
    while waiting:
        parent, lines = waiting[-1]
        line = next(lines, None)
        if line is None:
            waiting.pop()
            continue
        digest = digest_in(line)
        node = check_node(digest, nodes.get_node(digest))
        if node.level != parent.level - 1 or not node.keys or child_of(node.keys[0], digest, totals_of(node)) != line:
            raise InvalidManifest("a manifest node that is not what its parent says")
        if node.level:
            waiting.append((node, iter(node.children)))
        else:
            yield node


class _Folders:
    """The folders whose range holds the current path: `a` stands from `a` up to (not including) `a0`, and such ranges nest."""

    def __init__(self) -> None:
        self._open: list[bytes] = []

    def enter(self, path: RelPath, entry: Entry) -> None:
        """Take the next path. Raises InvalidManifest when its parent is no folder."""
        while self._open and self._open[-1] + b"0" <= path:
            self._open.pop()
        parent = parent_of(path)
        if parent and parent not in reversed(self._open):
            raise InvalidManifest(f"{show_path(path)} is in no folder")
        if isinstance(entry, Dir):
            self._open.append(path)
