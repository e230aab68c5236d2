"""People at their folders, and the truth about what they did: kept here, and never asked of the product."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from store.atomic import TEMP_PREFIX
from store.conflicts import Conflict
from store.manifest import entry_of as entry_in
from store.types import File, Spot, digest_of
from tests.simulation.disk import Node
from tests.simulation.ruling import FILES, ignored_in, names_in

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

Entry = tuple[Any, ...]
"""("file", bytes, executable), ("link", target) or ("folder",)."""
Tree = dict[bytes, Entry]
SLOW_SECONDS = 0.25
SECRET = re.compile(rb"ghp_[0-9A-Za-z]{36}")


def entry_of(node: Node) -> Entry:
    if node.is_folder:
        return ("folder",)
    if node.is_file:
        return "file", node.data, bool(node.mode & stat.S_IXUSR)
    return "link", node.data


def tree_of(machine: Machine) -> Tree:
    """What is in its folder, without our temporaries."""
    return {path: entry_of(node) for path, node in machine.disk.walk() if b"/" + TEMP_PREFIX not in b"/" + path}


def files_in(tree: Tree) -> dict[bytes, bytes]:
    """Path -> bytes, of files alone."""
    return {path: entry[1] for path, entry in tree.items() if entry[0] == "file"}


def contents_in(tree: Tree) -> dict[bytes, bytes]:
    """Path -> bytes of a file, or target of a link."""
    return {path: entry[1] for path, entry in tree.items() if entry[0] != "folder"}


def split(path: bytes) -> tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return folder, name


def text_of(number: int) -> bytes:
    """Lines that nobody else ever wrote."""
    return b"".join(b"%d line %d\n" % (number, line) for line in range(2 + number % 5))


def secret_of(number: int) -> bytes:
    """A text with a token in it that nobody else ever wrote."""
    token = digest_of(b"%d" % number).hex()[:36].encode()
    return b"token = ghp_%s\n%s" % (token, text_of(number))


def visible_tree(machine: Machine) -> Tree:
    """What is in its folder and belongs to the workspace, by the rules that stand there."""
    tree = tree_of(machine)
    if not machine.world.history.features.rules:
        return tree
    ignored = ignored_in(tree)
    return {path: entry for path, entry in tree.items() if path not in ignored}


class Ledger:
    """What was written where, one after the other; which contents must not be lost; and what a whole content may be made of."""

    def __init__(self) -> None:
        self.chains: dict[bytes, list[tuple[Entry | None, Entry | None]]] = {}
        """Path -> each change by a person: what was there for them, and what they left."""
        self.known: set[bytes] = set()
        self.lines: set[bytes] = {b""}
        self.owed: dict[str, set[bytes]] = {}
        self.excused: set[bytes] = set()
        """What a person changed between a death in the middle of a pull and the next start: see docs/PROMISES.md."""
        self.blurred: set[bytes] = set()
        """Folders that were moved while the engine was at work in them: what it does there then is done elsewhere."""
        self.carried_off: set[bytes] = set()
        """Where folders were moved to that had something of the engine's in them, or may have after a power cut."""
        self.contested: set[bytes] = set()
        """Folders that one took away, or put something else in place of, while another had something in them: they outlive it, also when
        that goes later."""
        self.torn: list[str] = []
        self.ruled: set[bytes] = set()
        """Names that an ignore rule ever spoke of: what is at them may be apart for a while, and meet later."""
        self.dismissed: set[bytes] = set()
        """Texts of conflicts that a person resolved: what they did not choose is let go."""
        self.met: set[bytes] = set()
        """Made again by another than whoever removed it, who may never have seen it, nor been told: an emptied root waits for a person."""
        self._makers: dict[bytes, str] = {}
        self.noted = 0
        """How often anybody changed anything."""

    def note(self, machine: Machine, before: Tree, after: Tree) -> None:
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        self.noted += 1
        for path in changed:
            old, new = before.get(path), after.get(path)
            if new is not None and new[0] == "file" and split(path)[1] in FILES:
                self.ruled |= names_in(new[1])
            if old is None and path in self.chains and self._makers[path] != machine.name:
                self.met.add(path)
            self._makers[path] = machine.name
            self.chains.setdefault(path, []).append((old, new))
            if not machine.exposed.isdisjoint([path, *_above(path)]):
                self.excused.add(path)
            if new is not None and new[0] == "file":
                self.learn(new[1])
        self._note_contested(changed)

    def _note_contested(self, changed: set[bytes]) -> None:
        there = {path: chain[-1][1] for path, chain in self.chains.items() if chain[-1][1] is not None}
        for path in changed:
            if path in there:
                self.contested.update(above for above in _above(path) if above in self.chains and there.get(above) != ("folder",))
            if there.get(path) != ("folder",) and any(other.startswith(path + b"/") for other in there):
                self.contested.add(path)

    def note_undo(self, left: Tree, now: Tree) -> None:
        """What was edited since the acts that left this meets what comes back, and may clash with it."""
        self.met |= {path for path, entry in left.items() if now.get(path, ()) != entry}
        since = {path for path, entry in now.items() if left.get(path) != entry}
        # A folder keeps its name: one that was filled since, where a file or a link stood before; and one that what comes back needs.
        others = {path for path, chain in self.chains.items() if any(old is not None and old[0] != "folder" for old, _ in chain)}
        self.contested |= {above for path in since for above in _above(path) if left.get(above) == ("folder",) and above in others}
        self.contested |= {above for path in left for above in _above(path) if above in since and now[above] != ("folder",)}

    def learn(self, data: bytes) -> None:
        self.known.add(data)
        self.lines.update(data.split(b"\n"))

    def owe(self, machine: Machine) -> None:
        """It says that it is settled: from here on these contents must be had again."""
        owed = self.owed.setdefault(machine.name, set())
        owed.update(entry[1] for entry in visible_tree(machine).values() if entry[0] == "file" and entry[1] in self.known)

    def owe_unlinked(self, machine: Machine, node: Node) -> None:
        """The engine takes a file away for good."""
        if node.is_file and node.is_somebodys:
            self.owed.setdefault(machine.name, set()).add(node.data)

    def lost(self, machine: Machine) -> list[bytes]:
        return sorted(data for data in self.owed.get(machine.name, ()) if not machine.keeps(digest_of(data), data))

    def is_whole(self, data: bytes) -> bool:
        """Somebody wrote this, or it is joined from lines that somebody wrote."""
        return data in self.known or (bool(data) and self.lines.issuperset(data.split(b"\n")))

    def look_for_torn(self, machine: Machine) -> None:
        for path, entry in tree_of(machine).items():
            if entry[0] == "file" and not self.is_whole(entry[1]):
                self.torn.append(f"{machine.name}: {path!r} holds {entry[1][:60]!r}")

    def sequential(self) -> dict[bytes, Entry | None]:
        """Paths where each change was made to what the one before left, and so above and below them: what must be there in the end."""
        straight = {path for path, chain in self.chains.items() if self._is_straight(chain) and not self.is_blurred(path)} - self.excused
        # What was ignored comes to light when the rule goes, and with it the folders that it is in.
        crooked = self.chains.keys() - {path for path in straight - self.met if self.ruled.isdisjoint(path.split(b"/"))}
        near = {above for path in crooked for above in _above(path)} | crooked
        left = {path: self.chains[path][-1][1] for path in straight - crooked - near if crooked.isdisjoint(_above(path))}
        return {path: entry for path, entry in left.items() if path not in self.contested}

    def dismiss(self, machine: Machine, chosen: Iterable[Conflict]) -> None:
        """A person decides these, and knows both sides."""
        for one in chosen:
            for side in (one.ours, one.theirs):
                entry = None if side is None else entry_in(side)[1]
                if isinstance(entry, File) and machine.blobs.has(entry.digest):
                    self.dismissed.add(machine.blobs.get(entry.digest))

    def silenced(self, kept: set[bytes]) -> list[bytes]:
        """Contents that nobody went on from, of which something is in none of the `kept` ones: gone without a word."""
        replaced = {old[1] for chain in self.chains.values() for old, _ in chain if old is not None and old[0] == "file"}
        lines = {line for data in kept | self.dismissed for line in data.split(b"\n")}
        for chain in self.chains.values():
            for old, new in chain:
                if old is not None and old[0] == "file":
                    stay = new[1].split(b"\n") if new is not None and new[0] == "file" else ()
                    lines.update(set(old[1].split(b"\n")).difference(stay))  # let go by a person
        last = {new[1] for chain in self.chains.values() for _, new in chain if new is not None and new[0] == "file"} - replaced
        return sorted(data for data in last - kept if not lines.issuperset(data.split(b"\n")))

    def is_blurred(self, path: bytes) -> bool:
        return any((path + b"/").startswith(folder + b"/") for folder in self.blurred)

    @staticmethod
    def _is_straight(chain: list[tuple[Entry | None, Entry | None]]) -> bool:
        return chain[0][0] is None and all(former[1] == later[0] for former, later in pairwise(chain))


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


class Person:
    """Whoever sits at a machine. What cannot be done as things are is not done."""

    def __init__(self, machine: Machine, ledger: Ledger) -> None:
        self._machine = machine
        self._ledger = ledger

    def act(self, verb: str, *arguments: Any) -> None:
        before = tree_of(self._machine)
        getattr(self, verb)(*arguments)
        self._ledger.note(self._machine, before, tree_of(self._machine))

    def _place(self, path: bytes) -> tuple[Node, bytes, bytes] | None:
        """The folder for a path, made if need be; None where something else is in the way."""
        folder, name = split(path)
        node, here = self._machine.disk.root, b""
        for name_of_it in folder.split(b"/") if folder else ():
            part = self._machine.disk.spelt(node, name_of_it)
            below = node.names.get(part)
            if below is None:
                below = self._machine.disk.make(stat.S_IFDIR | 0o755)
                self._machine.disk.put(node, here, {part: below}, durable=True)
            if not below.is_folder:
                return None
            node, here = below, here + b"/" + part if here else part
        return node, here, name

    def _give(self, path: bytes, node: Node | None) -> None:
        place = self._place(path)
        if place is not None:
            folder, here, name = place
            name = self._machine.disk.spelt(folder, name)
            there = folder.names.get(name)
            if there is None or not there.is_folder:
                self._machine.disk.put(folder, here, {name: node}, durable=True)
                if node is not None:
                    node.safe = node.data, node.mode
                    node.is_somebodys = True

    def _spot(self, path: bytes) -> Spot:
        """As a watcher tells it: in the disk's own spelling."""
        node, found = self._machine.disk.root, []
        for name in path.split(b"/"):
            found.append(self._machine.disk.spelt(node, name))
            node = node.names.get(found[-1], node)
        return Spot(*split(b"/".join(found)))

    def _file(self, path: bytes) -> Node | None:
        node = self._machine.disk.find(path)
        return node if node is not None and node.is_file else None

    def _save(self, path: bytes, data: bytes, in_place: bool) -> None:
        node = self._file(path)
        if node is not None and in_place:
            self._machine.disk.write(node, data, durable=True)
            node.is_somebodys = True
            self._machine.disk.heard(self._spot(path))
            return
        mode = stat.S_IFREG | 0o644 if node is None else node.mode
        self._give(path, self._machine.disk.make(mode, data))

    # --- verbs ----------------------------------------------------------------------------------------------------------------------

    def write(self, path: bytes, number: int) -> None:
        self._save(path, text_of(number), number % 2 == 0)

    def change(self, path: bytes, number: int) -> None:
        """One line of a file."""
        node = self._file(path)
        if node is not None:
            lines = node.data.split(b"\n")
            lines[number % len(lines)] = b"%d changed" % number
            self._save(path, b"\n".join(lines), number % 3 == 0)

    def append(self, path: bytes, number: int) -> None:
        node = self._file(path)
        if node is not None:
            self._save(path, node.data + b"%d added\n" % number, True)

    def slow(self, path: bytes, number: int) -> None:
        """Half of it now, the rest a while later; the file stays open."""
        node = self._file(path)
        if node is not None:
            node.writers += 1
            self._save(path, b"%d begun" % number, True)
            self._machine.world.loop.call_later(SLOW_SECONDS, self._end_slow, path, node, number)

    def _end_slow(self, path: bytes, node: Node, number: int) -> None:
        before = tree_of(self._machine)
        self._machine.disk.write(node, b"%d begun\n%d ended\n" % (number, number), durable=True)
        self._ledger.learn(node.data)
        node.writers -= 1
        self._machine.disk.heard(self._spot(path))
        self._ledger.note(self._machine, before, tree_of(self._machine))

    def remove(self, path: bytes) -> None:
        node = self._machine.disk.find(path)
        place = self._place(path) if node is not None else None
        if node is not None and place is not None:
            self._machine.disk.put(place[0], place[1], {self._machine.disk.spelt(place[0], place[2]): None}, durable=True)
            for gone in [node, *(below for _, below in self._machine.disk.walk(node))]:
                gone.names = {}
                gone.is_gone = True

    def move(self, path: bytes, target: bytes) -> None:
        """Over whatever is no folder; a folder does not go below itself."""
        node = self._machine.disk.find(path)
        there = self._machine.disk.find(target)
        if node is not None and node is there and path != target:
            self._respell(path, target, node)
            return
        if node is None or (b"/" + target).startswith(b"/" + path + b"/") or path == target or (there is not None and there.is_folder):
            return
        if self._place(target) is not None and not (there is not None and node.is_folder):
            folder, here, name = self._place(path) or (self._machine.disk.root, b"", b"")
            self._machine.disk.put(folder, here, {self._machine.disk.spelt(folder, name): None}, durable=True)
            self._give(target, node)
            if node.is_folder and self._machine.world.system.is_open(node):
                self._ledger.blurred |= {path, target}
            if node.is_folder and (self._machine.disk.is_dead or not self._is_settled(node)):
                self._ledger.carried_off.add(target)

    def _is_settled(self, node: Node) -> bool:
        below = {node, *(one for _, one in self._machine.disk.walk(node))}
        return self._machine.disk.unsynced.isdisjoint(below) and not self._machine.world.system.is_open(node)

    def _respell(self, path: bytes, target: bytes, node: Node) -> None:
        """On a disk that folds: the same name in another case, or form."""
        place, (folder, name) = self._place(path), split(target)
        if place is not None and self._machine.disk.find(folder) is place[0]:
            self._machine.disk.put(place[0], place[1], {self._machine.disk.spelt(place[0], place[2]): None, name: node}, durable=True)
            if node.is_folder and self._machine.world.system.is_open(node):
                self._ledger.blurred |= {path, target}

    def rule(self, path: bytes, text: bytes) -> None:
        """Lines that say what does not belong to the workspace."""
        self._save(path, text, False)

    def hide(self, path: bytes, number: int) -> None:
        """Something that nobody else should see."""
        self._save(path, secret_of(number), number % 2 == 0)

    def fill(self, path: bytes, number: int) -> None:
        """A large text."""
        lines = [b"%d large line %d\n" % (number, line) for line in range(60 + number % 150)]
        self._save(path, b"".join(lines), number % 2 == 0)

    def folder(self, path: bytes) -> None:
        if self._machine.disk.find(path) is None:
            self._give(path, self._machine.disk.make(stat.S_IFDIR | 0o755))

    def link(self, path: bytes, number: int) -> None:
        self._give(path, self._machine.disk.make(stat.S_IFLNK | 0o777, b"to %d" % number))

    def swap(self, path: bytes, number: int) -> None:
        """Something of another kind takes its name."""
        node = self._machine.disk.find(path)
        if node is None:
            return
        self.remove(path)
        if node.is_folder:
            self.write(path, number)
        else:
            self.write(path + b"/in", number)

    def flip(self, path: bytes) -> None:
        """The executable bit."""
        node = self._file(path)
        if node is not None:
            node.mode ^= 0o111
            node.ctime_ns = self._machine.disk.now_ns()
            node.safe = node.data, node.mode
            self._machine.disk.heard(self._spot(path))
