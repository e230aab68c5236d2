"""Reading a manifest: one entry, a folder, a subtree, the sums, the nodes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from store.manifest.cursor import Cursor, Load
from store.manifest.entry import listed_of
from store.manifest.node import Totals, digest_in, totals_of
from store.manifest.source import NodeSource
from store.types import Digest, Entry, RelPath


def find_entry(root: Digest, path: bytes, nodes: NodeSource) -> Entry | None:
    """The entry at a path, None where there is nothing."""
    return entry_at(open_cursor(root, nodes.read_node), path)


def find_entries(root: Digest, paths: Iterable[bytes], nodes: NodeSource) -> Iterator[Entry | None]:
    """The entries at these paths, in their order; quick where neighbours follow each other."""
    cursor = open_cursor(root, nodes.read_node)
    return (entry_at(cursor, path) for path in paths)


def walk_manifest(root: Digest, nodes: NodeSource, under: bytes = b"") -> Iterator[tuple[RelPath, Entry]]:
    """All entries by path, streamed; `under` keeps to that path and what is below it."""
    cursor = open_cursor(root, nodes.read_node)
    if not under:
        yield from _entries_between(cursor, b"", None)
        return
    entry = entry_at(cursor, under)
    if entry is not None:
        yield RelPath(under), entry
    # Between a folder and what is in it others may stand: `a`, `a-b`, `a/c`.
    yield from _entries_between(cursor, under + b"/", under + b"0")


def list_folder(root: Digest, folder: bytes, nodes: NodeSource) -> Iterator[tuple[RelPath, Entry]]:
    """A folder's direct children by path (`b""`: the root's); jumps over what is deeper."""
    cursor = open_cursor(root, nodes.read_node)
    key, end = (folder + b"/", folder + b"0") if folder else (b"", None)
    start = len(key)
    while (found := seek_key(cursor, key)) is not None and (end is None or found < end):
        slash = found.find(b"/", start)
        if slash >= 0:
            key = found[:slash] + b"0"
            continue
        yield RelPath(found), listed_of(cursor.node.entries[bisect_left(cursor.node.keys, found)])
        key = found + b"\0"


def manifest_totals(root: Digest, nodes: NodeSource) -> Totals:
    """Files, their bytes and entries of the whole manifest, from the root node alone."""
    return totals_of(nodes.read_node(root))


def node_digests(root: Digest, nodes: NodeSource, seen: set[Digest]) -> Iterator[Digest]:
    """Every node reachable from a root and not in `seen`, parents first; adds them. A node in `seen` vouches for all below it."""
    waiting: list[tuple[Digest, bool]] = [(root, False)]
    while waiting:
        digest, is_leaf = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        yield digest
        if not is_leaf:
            node = nodes.read_node(digest)
            waiting += [(digest_in(child), node.level == 1) for child in reversed(node.children)]


def open_cursor(root: Digest, load: Load) -> Cursor:
    """A cursor over the leaves."""
    return Cursor(load(root), 0, load)


def entry_at(cursor: Cursor, path: bytes) -> Entry | None:
    """The entry at a path."""
    node = cursor.seek(path)
    at = bisect_left(node.keys, path)
    return listed_of(node.entries[at]) if at < len(node.keys) and node.keys[at] == path else None


def seek_key(cursor: Cursor, key: bytes) -> bytes | None:
    """Move to the first path that is not below `key`; that path, None at the end."""
    keys = cursor.seek(key).keys
    at = bisect_left(keys, key)
    if at < len(keys):
        return keys[at]
    return cursor.node.keys[0] if cursor.step() else None


def _entries_between(cursor: Cursor, start: bytes, end: bytes | None) -> Iterator[tuple[RelPath, Entry]]:
    cursor.seek(start)
    while True:
        node = cursor.node
        low = bisect_left(node.keys, start)
        high = len(node.keys) if end is None else bisect_left(node.keys, end)
        for key, record in zip(node.keys[low:high], node.entries[low:high], strict=True):
            yield RelPath(key), listed_of(record)
        if high < len(node.keys) or not cursor.step():
            return
