"""A place on one level of a tree that reads only the nodes on its way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from store.errors import InvalidManifest
from store.manifest.node import Child, Node, digest_in
from store.types import Digest

Load = Callable[[Digest], Node]


def load_child(parent: Node, at: int, load: Load) -> Node:
    """The node that an inner node's line stands for. Raises InvalidManifest when it is not of the level below."""
    node = load(digest_in(parent.children[at]))
    if node.level != parent.level - 1 or not node.keys:
        raise InvalidManifest(f"a node of level {node.level} below one of level {parent.level}")
    return node


class Cursor:
    """Stands on one node of `level` once it has been sent somewhere.

    `node` is that node, `line` what stands for it in its parent (None: it is the root), `start` and `end` the range of keys it covers:
    from its first key (the first node: from the very beginning) to the first key of the node to its right (None: there is none).
    """

    def __init__(self, root: Node, level: int, load: Load) -> None:
        self._load = load
        self._level = level
        self._above: list[tuple[Node, bytes, bytes | None]] = []
        self.node = root
        self.line: Child | None = None
        self.start = b""
        self.end: bytes | None = None

    def seek(self, key: bytes) -> Node:
        """Move to the node that covers the key, over no more nodes than the two have apart."""
        while key < self.start or (self.end is not None and key >= self.end):
            self.node, self.start, self.end = self._above.pop()
        while self.node.level > self._level:
            self._go_down(key)
        return self.node

    def step(self) -> bool:
        """Move to the next node of the level; False when there is none."""
        if self.end is None:
            return False
        self.seek(self.end)
        return True

    def _go_down(self, key: bytes) -> None:
        parent = self.node
        at = max(bisect_right(parent.keys, key) - 1, 0)
        self._above.append((parent, self.start, self.end))
        self.node, self.line = load_child(parent, at, self._load), parent.children[at]
        if at:
            self.start = parent.keys[at]
        if at + 1 < len(parent.keys):
            self.end = parent.keys[at + 1]
