"""Changes -> a new root, touching only the nodes they fall into.

Level by level from the leaves up: a node that a change falls into is cut anew together with its changes, and on to the right until a
cut falls where an old node ended; from there on the old nodes stand. What became of a level's nodes are the changes for the level above.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter, lt
from typing import TypeVar

from store.errors import InvalidValue
from store.manifest.build import Cutter, build_manifest, grow, inner_cutter, leaf_cutter
from store.manifest.cursor import Cursor
from store.manifest.entry import EntryRecord, record_of
from store.manifest.node import EMPTY_ROOT, Child, Node, digest_in, key_of, parse_node
from store.manifest.source import Draft
from store.types import Digest, Entry, RelPath, digest_of

T = TypeVar("T", EntryRecord, Child)
_key = itemgetter(0)


def edit_manifest(root: Digest, changes: Sequence[tuple[RelPath, Entry | None]], draft: Draft) -> Digest:
    """The root after these changes, sorted by path, each path once; None removes, and removing nothing changes nothing.

    The same root as a build of the result; nothing is added to the draft that this root does not need. Raises InvalidValue when the
    changes are not strictly ascending. Whether the result is a tree (P6) is for `check_tree_after`.
    """
    if not changes:
        return root
    asked = root, tuple(changes)
    if asked == draft.last_edit[0]:
        return draft.last_edit[1]
    keys = [path for path, _ in changes]
    if not all(map(lt, keys, keys[1:])):
        raise InvalidValue("changes must be sorted by path, each path once")
    if root == EMPTY_ROOT:
        new_root = build_manifest(((path, entry) for path, entry in changes if entry is not None), draft)
    else:
        records = [(path, None if entry is None else record_of(path, entry)) for path, entry in changes]
        new_root = _Edit(draft).edit(root, records)
    draft.last_edit = asked, new_root
    return new_root


class _Edit:
    """One edit, and the nodes it made so far."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._made: dict[Digest, bytes] = {}

    def edit(self, root: Digest, records: Sequence[tuple[bytes, EntryRecord | None]]) -> Digest:
        top = self._draft.read_node(root)
        new_root = self._edit_leaf(top, records) if top.level == 0 else self._edit_levels(top, records)
        if new_root == root or new_root is None:
            return root
        # The whole old tree may live on as one leaf of the new one.
        self._made.pop(root, None)
        self._draft.new.update(self._made)
        return new_root

    def _edit_leaf(self, top: Node, records: Sequence[tuple[bytes, EntryRecord | None]]) -> Digest:
        cutter = leaf_cutter(self._keep)
        leaves = cutter.feed(*_mix(top.keys, top.entries, records))
        return grow(0, iter(leaves + cutter.flush()), self._keep)

    def _edit_levels(self, top: Node, records: Sequence[tuple[bytes, EntryRecord | None]]) -> Digest | None:
        read = self._draft.read_node
        changes = self._recut(Cursor(top, 0, read), leaf_cutter(self._keep), _entries, records)
        for level in range(1, top.level):
            changes = self._recut(Cursor(top, level, read), inner_cutter(level, self._keep), _children, changes)
        if not changes:
            return None
        _, children = _mix(top.keys, top.children, changes)
        root = grow(top.level - 1, iter(children), self._keep)
        return self._shrink(root) if len(children) == 1 else root

    def _recut(
        self,
        cursor: Cursor,
        cutter: Cutter[T],
        items_in: Callable[[Node], Sequence[T]],
        changes: Sequence[tuple[bytes, T | None]],
    ) -> list[tuple[bytes, Child | None]]:
        """One level's changes -> the changes of the level above."""
        above: list[tuple[bytes, Child | None]] = []
        at = 0
        while at < len(changes):
            node = cursor.seek(changes[at][0])
            old: dict[bytes, Child | None] = {}
            new: list[Child] = []
            while True:
                # All nodes left of here are whole, so a cut falls just before this one.
                stop = len(changes) if cursor.end is None else bisect_left(changes, cursor.end, at, key=_key)
                new += cutter.feed(*_mix(node.keys, items_in(node), changes[at:stop]))
                old[node.keys[0]] = cursor.line
                at = stop
                if cutter.aligned:
                    break
                if not cursor.step():
                    new += cutter.flush()
                    break
                node = cursor.node
            above += self._compare(old, new)
        return above

    def _compare(self, old: dict[bytes, Child | None], new: list[Child]) -> list[tuple[bytes, Child | None]]:
        """The nodes that stood in a stretch and those that stand now -> what the level above has to change."""
        changes: dict[bytes, Child | None] = dict.fromkeys(old)
        for child in new:
            key = key_of(child)
            if old.get(key) == child:
                del changes[key]
                self._made.pop(digest_in(child), None)
            else:
                changes[key] = child
        return sorted(changes.items(), key=_key)

    def _shrink(self, root: Digest) -> Digest:
        """Down from an only child to where the tree branches; what is passed was made for nothing."""
        while True:
            made = self._made.get(root)
            node = self._draft.read_node(root) if made is None else parse_node(made)
            if len(node.children) != 1:
                return root
            self._made.pop(root, None)
            root = digest_in(node.children[0])

    def _keep(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self._made[digest] = data
        return digest


def _mix(keys: list[bytes], items: Sequence[T], changes: Sequence[tuple[bytes, T | None]]) -> tuple[list[bytes], Sequence[T]]:
    """A node's items with changes made to them."""
    if not changes:
        return keys, items
    table = dict(zip(keys, items, strict=True))
    for key, item in changes:
        if item is None:
            table.pop(key, None)
        else:
            table[key] = item
    order = sorted(table)
    return order, [table[key] for key in order]


def _entries(node: Node) -> Sequence[EntryRecord]:
    return node.entries


def _children(node: Node) -> Sequence[Child]:
    return node.children
