"""Two manifests -> what differs, reading only nodes that the other one does not have.

Both trees are walked side by side in the order of paths. Where both stand before the same line of the same level, both pass it;
else the one that stands before a node opens it, the larger one first. As equal cuts follow soon after a difference, the two meet again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from store.errors import InvalidManifest
from store.manifest.cursor import Load, load_child
from store.manifest.entry import EntryRecord, listed_of
from store.manifest.node import Child, Node
from store.manifest.source import NodeSource
from store.types import Change, Digest, RelPath


def diff_manifests(old: Digest, new: Digest, nodes: NodeSource) -> Iterator[Change]:
    """The changes from one manifest to the other, by path; streamed. Raises BlobMissing, InvalidManifest."""
    if old == new:
        return
    left, right = _Side(nodes.read_node(old), nodes.read_node), _Side(nodes.read_node(new), nodes.read_node)
    while left.here and right.here:
        if left.key < right.key:
            yield from left.leave(removed=True)
        elif right.key < left.key:
            yield from right.leave(removed=False)
        elif left.level == right.level:
            if left.line != right.line:
                if left.level:
                    left.open()
                    right.open()
                    continue
                yield _change(left.key, left.line, right.line)
                left.step()
                right.step()
            else:
                count = left.count_equal(right)
                left.step(count)
                right.step(count)
        elif left.level > right.level:
            left.open()
        else:
            right.open()
    while left.here:
        yield from left.leave(removed=True)
    while right.here:
        yield from right.leave(removed=False)


class _Side:
    """One tree's place: before the line `line` with the path `key`, in a node of `level`. `here`: there is such a line."""

    def __init__(self, root: Node, load: Load) -> None:
        self._load = load
        self._above: list[tuple[Node, int]] = []
        self.here = True
        self._stand(root, 0)

    def step(self, count: int = 1) -> None:
        """Past the line, or past so many of this node."""
        self._stand(self._node, self._at + count)

    def count_equal(self, other: _Side) -> int:
        """How many lines from here on are the same on the other side, as far as both nodes go."""
        mine, its = islice(self._lines, self._at, None), islice(other._lines, other._at, None)
        count = 0
        for one, two in zip(mine, its, strict=False):
            if one != two:
                break
            count += 1
        return count

    def open(self) -> None:
        """To the first line of the node that the line stands for."""
        self._above.append((self._node, self._at + 1))
        self._stand(load_child(self._node, self._at, self._load), 0)

    def leave(self, *, removed: bool) -> Iterator[Change]:
        """Past a line that the other side does not have, or into it."""
        if self.level:
            self.open()
            return
        yield _change(self.key, self.line, None) if removed else _change(self.key, None, self.line)
        self.step()

    def _stand(self, node: Node, at: int) -> None:
        while at == len(node.keys):
            if not self._above:
                self.here = False
                return
            node, at = self._above.pop()
        self._node, self._at = node, at
        self._lines: Sequence[EntryRecord | Child] = node.children if node.level else node.entries
        self.level, self.key, self.line = node.level, node.keys[at], self._lines[at]


def _change(path: bytes, old: EntryRecord | Child | None, new: EntryRecord | Child | None) -> Change:
    if isinstance(old, Child) or isinstance(new, Child):
        raise InvalidManifest("a leaf that lists children")
    return Change(RelPath(path), None if old is None else listed_of(old), None if new is None else listed_of(new))
