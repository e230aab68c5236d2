"""A disk in memory, as a machine sees it and as a power cut leaves it.

What is synced stays. Of what is not, each folder loses any number of its last changes, apart from other folders (so names are
reordered), and each file is whole, empty, cut off or zeros. What a person does is durable at once, with the folder it is done in.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unicodedata import normalize

from store.types import Spot

TICK_NS = 4_000_000
"""File times move in steps, as a kernel's do: two writes within one cannot be told apart by them."""
FIRST_INODE = 1 << 20
Names = dict[bytes, "Node"]


def _in_one_form(name: bytes) -> bytes:
    return normalize("NFD", name.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _as_apple(name: bytes) -> bytes:
    return normalize("NFD", normalize("NFD", name.decode(errors="surrogateescape")).casefold()).encode(errors="surrogateescape")


KEYS: dict[str, Callable[[bytes], bytes]] = {"case": bytes.lower, "form": _in_one_form, "apple": _as_apple}
"""Disks to which names with one key are one file: the spelling that was there first stays."""


class Died(BaseException):
    """The process is gone: no handler of ours may do anything any more."""


class Node:
    """A file, a link or a folder."""

    __slots__ = ("ctime_ns", "data", "is_gone", "is_somebodys", "mode", "mtime_ns", "names", "number", "safe", "undo", "writers")

    def __init__(self, number: int, mode: int, now_ns: int, data: bytes = b"") -> None:
        self.number = number
        self.mode = mode
        self.data = data
        self.names: Names = {}
        self.mtime_ns = self.ctime_ns = now_ns
        self.writers = 0
        self.is_gone = False
        """Removed: nothing can be made in it any more."""
        self.is_somebodys = False
        """A person made it, or wrote to it."""
        self.safe: tuple[bytes, int] | None = None
        """Bytes and mode as they were last synced."""
        self.undo: list[dict[bytes, Node | None]] = []
        """What each change since the last sync would have to put back."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Status(NamedTuple):
    """What `os.stat` tells, as far as anybody here asks."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_nlink: int = 1


class Plan(NamedTuple):
    """What is to happen at the k-th change from now."""

    at: int
    act: Callable[[], None]


class Disk:
    """One machine's folder, and the door at which its engine changes anything durable: here it dies, or is met by a person's save."""

    def __init__(self, number: int, rng: random.Random, wall_ns: Callable[[], int]) -> None:
        self.number = number
        self.rng = rng
        self._wall_ns = wall_ns
        self._last = FIRST_INODE
        self.is_dead = False
        self.changes = 0
        """Durable changes that the engine made or tried, on whatever disk of this machine."""
        self.plans: list[Plan] = []
        self.heard: Callable[[Spot], None] = lambda spot: None
        self.unlinked: Callable[[Node], None] = lambda node: None
        self.told: Callable[[bytes, list[bytes]], None] = lambda path, names: None
        self.fresh: set[bytes] = set()
        """What the engine changed since its database last kept anything."""
        self.unsynced: set[Node] = set()
        self.key: Callable[[bytes], bytes] | None = None
        self.root = self.make(stat.S_IFDIR | 0o755)

    def now_ns(self) -> int:
        return self._wall_ns() // TICK_NS * TICK_NS

    def make(self, mode: int, data: bytes = b"") -> Node:
        self._last += 1
        return Node(self._last, mode, self.now_ns(), data)

    def status(self, node: Node) -> Status:
        size = len(node.data) if not node.is_folder else 4096
        return Status(node.mode, node.number, self.number, size, node.mtime_ns, node.ctime_ns)

    def spelt(self, folder: Node, name: bytes) -> bytes:
        """The name as it stands in the folder, if it is there in some spelling."""
        if self.key is None or name in folder.names:
            return name
        key = self.key(name)
        return next((one for one in folder.names if self.key(one) == key), name)

    # --- the door -----------------------------------------------------------------------------------------------------------------

    def change(self) -> None:
        """Called before the engine changes anything. Raises Died."""
        if self.is_dead:
            raise Died
        self.changes += 1
        if not self.plans:
            return
        due = [plan for plan in self.plans if plan.at <= self.changes]
        self.plans = [plan for plan in self.plans if plan.at > self.changes]
        for plan in due:
            plan.act()
        if self.is_dead:
            raise Died

    def plan_at(self, changes: int, act: Callable[[], None]) -> None:
        """Do this at the change that is so many ahead; each change is met once."""
        self.plans.append(Plan(self.changes + changes, act))

    # --- changing, by whomever ------------------------------------------------------------------------------------------------------

    def put(self, folder: Node, path: bytes, put: dict[bytes, Node | None], *, durable: bool = False) -> None:
        """Give names in one instant; None takes one away. `path` is the folder's, for whoever listens."""
        before = {name: folder.names.get(name) for name in put}
        for name, node in put.items():
            if node is None:
                folder.names.pop(name, None)
            else:
                folder.names[name] = node
                node.ctime_ns = self.now_ns()
        folder.mtime_ns = folder.ctime_ns = self.now_ns()
        if durable:
            folder.undo.clear()
        else:
            folder.undo.append(before)
            self.unsynced.add(folder)
            self.fresh.update(path + b"/" + name if path else name for name in put)
            self.told(path, list(put))
        for name in put:
            self.heard(Spot(path, name))

    def write(self, node: Node, data: bytes, *, durable: bool = False) -> None:
        node.data = data
        node.mtime_ns = node.ctime_ns = self.now_ns()
        if durable:
            node.safe = data, node.mode
        else:
            self.unsynced.add(node)

    # --- durability ---------------------------------------------------------------------------------------------------------------

    def sync(self, node: Node) -> None:
        node.undo.clear()
        node.safe = node.data, node.mode
        self.unsynced.discard(node)

    def sync_all(self) -> None:
        for node in list(self.unsynced):
            self.sync(node)

    def cut_power(self) -> int:
        """Leave what fsync permits; how many things were lost or torn."""
        harmed = 0
        for node in sorted(self.unsynced, key=lambda one: one.number):
            if node.is_folder:
                harmed += self._forget_names(node)
            elif node.is_file and node.safe != (node.data, node.mode):
                harmed += self._tear(node)
            self.sync(node)
        return harmed

    def _forget_names(self, folder: Node) -> int:
        kept = self.rng.randrange(len(folder.undo) + 1)
        lost = folder.undo[kept:]
        for before in reversed(lost):
            for name, node in before.items():
                if node is None:
                    folder.names.pop(name, None)
                else:
                    folder.names[name] = node
        return len(lost)

    def _tear(self, node: Node) -> int:
        old, mode = node.safe or (b"", node.mode)
        how = self.rng.choice(("whole", "old", "half", "zeros") if old != node.data else ("whole", "old"))
        if how != "whole":
            node.mode = mode
            middle = len(node.data) // 2
            torn = {"old": old, "half": node.data[:middle], "zeros": node.data[:middle] + bytes(len(node.data) - middle)}
            node.data = torn[how]
        return how != "whole"

    # --- looking ------------------------------------------------------------------------------------------------------------------

    def walk(self, folder: Node | None = None, path: bytes = b"") -> Iterator[tuple[bytes, Node]]:
        """Everything below, parents first, with its path."""
        for name, node in sorted((folder or self.root).names.items()):
            full = path + b"/" + name if path else name
            yield full, node
            if node.is_folder:
                yield from self.walk(node, full)

    def find(self, path: bytes) -> Node | None:
        node = self.root
        for name in path.split(b"/") if path else ():
            below = node.names.get(self.spelt(node, name)) if node.is_folder else None
            if below is None:
                return None
            node = below
        return node
