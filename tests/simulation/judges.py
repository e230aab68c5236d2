"""Was anything lost, torn, left apart, or done that nobody asked for? Asked of the disks and of the truth that people.Ledger keeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from store.conflicts import conflict_digests
from store.manifest import entry_of as entry_in
from store.types import Entry, File, Link, folders_above
from sync.adopt import RESCUED
from sync.core.state import State
from sync.share import OWED
from tests.simulation.disk import KEYS
from tests.simulation.machine import Machine
from tests.simulation.people import SECRET, Tree, files_in, tree_of, visible_tree

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
TROUBLES = frozenset({"kill", "cut", "meet", "fault", "drop", "jump", "deafen", "tidy", "ask", "hold", "git"})
COPY = re.compile(rb"\.conflict-[0-9a-f]{12}(-[0-9]+)?(\.[^/]*)?\Z")


def is_at_rest(world: World) -> bool:
    head = world.cloud.head()
    for machine in world.machines.values():
        supervisor = machine.supervisor
        row = supervisor.engine.replica.row
        if not (_is_settled(world, machine) and supervisor.is_uploaded) or machine.ears.has_news or supervisor.halt is not None:
            return False
        if (row.agreed_version, row.agreed_root.hex()) != (head.version, head.root):
            return False
    first, *others = shown_trees(world)
    if folds := world.history.features.folds:
        whole = tree_of(list(world.machines.values())[-1])
        return all(tree == first for tree in others[:-1]) and _is_alike_folded(folds, first, others[-1], whole)
    return all(tree == first for tree in others)


def held_paths(world: World) -> set[bytes]:
    """Where anybody holds a secret back: there each may have something else."""
    return {path for machine in world.machines.values() for path in _held_by(machine)}


def _held_by(machine: Machine) -> set[bytes]:
    if not machine.features.secrets or machine.features.lets_go:
        return set()
    return {path for path, entry in tree_of(machine).items() if entry[0] == "file" and SECRET.search(entry[1])}


def shown_trees(world: World) -> list[Tree]:
    """What each folder has that the others must have, too."""
    held, left = held_paths(world), leftovers(world)
    return [_without(visible_tree(machine), held, left) for machine in world.machines.values()]


def _without(tree: dict[bytes, T], held: set[bytes], left: set[bytes]) -> dict[bytes, T]:
    """What is at or below a secret, and the folders that stay for it alone, may differ."""
    if not (held or left):
        return tree
    return {path: entry for path, entry in tree.items() if path not in left and held.isdisjoint(folders_above(path))}


def _is_alike_folded(folds: str, plain: Tree, folded: Tree, whole: Tree) -> bool:
    """What the disk has is as everywhere, and it lacks only names, and what is below them, of which it has another spelling: also one
    that nobody else has to see."""
    key = KEYS[folds]
    if any(plain.get(path) != entry for path, entry in folded.items()):
        return False
    others = {key(path) for path in whole}
    return all(any(at not in whole and key(at) in others for at in folders_above(path)) for path in plain.keys() - folded.keys())


def _is_settled(world: World, machine: Machine) -> bool:
    """Folders that are to go and hold what is ignored or held back stay, what is to come below a secret waits; and that is told."""
    its, held = machine.supervisor, _held_by(machine)
    if its.is_settled:
        return True
    owed = {path for path, row in its.engine.apart.items() if row.kind == OWED and held.isdisjoint(folders_above(path))}
    return its.pending == 0 and its.state is State.IDLE and its._has_owed and owed <= leftovers(world)


def leftovers(world: World) -> set[bytes]:
    """Folders in which only what is ignored or held back is left, somewhere."""
    found: set[bytes] = set()
    for machine in world.machines.values():
        whole, shown = tree_of(machine), _without(visible_tree(machine), _held_by(machine), set())
        used = {above for path, entry in shown.items() if entry[0] != "folder" for above in folders_above(path)}
        found |= {above for path in whole.keys() - shown.keys() for above in folders_above(path)[1:] if above in shown} - used
    return found


def describe(world: World) -> str:
    head = world.cloud.head()
    told = [f"head {head.version} {head.root[:8]}"]
    for machine in world.machines.values():
        row, its = machine.supervisor.engine.replica.row, machine.supervisor
        told.append(
            f"{machine.name}: {its.state} {its.halt} settled={its.is_settled} uploaded={its.is_uploaded} agreed={row.agreed_version}"
            f" {row.agreed_root.hex()[:8]} full={row.full_root.hex()[:8]} error={its.last_error!r} {sorted(tree_of(machine))}"
        )
    return "; ".join(told)


def judge(world: World) -> None:
    for text in world.ledger.torn:
        world.blame("torn", text)
    machines = list(world.machines.values())
    for machine in machines:
        world.ledger.owe(machine)
        world.ledger.look_for_torn(machine)
        if found := machine.temporaries():
            world.blame("temporary", f"{machine.name}: {found}")
        _judge_store(world, machine)
    final, held, left = shown_trees(world)[0], held_paths(world), leftovers(world)
    head = _without({bytes(path): _plain(entry) for path, entry in world.cloud.entries().items()}, held, left)
    if head != {path: _without_bytes(entry) for path, entry in final.items()}:
        world.blame("diverged", f"the head has {sorted(head)}, the folders {sorted(final)}")
    for data in world.ledger.silenced(_kept(world)):
        world.blame("silenced", repr(data))
    for problem in world.cloud.problems():
        world.blame("fsck", f"cloud: {problem}")
    if not world.cloud.restores:
        _judge_spurious(world, final, _without(world.ledger.sequential(), held, left))


def _judge_store(world: World, machine: Machine) -> None:
    """After everything that nothing names has been let go."""
    for _ in range(2):
        machine.collect_garbage()
    for problem in machine.problems():
        world.blame("fsck", f"{machine.name}: {problem}")
    for data in world.ledger.lost(machine):
        world.blame("lost", f"{machine.name}: {data!r}")


def _judge_spurious(world: World, final: Tree, expected: dict[bytes, Any]) -> None:
    """Where people never met at a path, it is as the last of them left it, and nobody is told of a conflict."""
    for path, entry in sorted(expected.items()):
        if final.get(path) != entry:
            world.blame("spurious", f"{path!r} is {final.get(path)!r}, and was left as {entry!r}")
    for path in final.keys() - world.ledger.chains.keys():
        if world.ledger.is_blurred(path) or _is_copy(world, path, final):
            continue
        world.blame("spurious", f"{path!r} was made by nobody")
    for record in world.cloud.records():
        path = entry_in(record.record)[0]
        if path in expected and record.kind != RESCUED:
            world.blame("spurious", f"a conflict at {path!r}, which nobody else touched")


def _is_copy(world: World, path: bytes, final: Tree) -> bool:
    """The style `copy` puts what lost its place beside it: also what was joined, or marked by another machine's style."""
    entry = final[path]
    is_somebodys = entry[0] == "link" or world.ledger.is_whole(entry[1]) if entry[0] != "folder" else False
    return "copy" in world.history.features.styles and COPY.search(path) is not None and is_somebodys


def _kept(world: World) -> set[bytes]:
    """What is in the folders, and what conflict records hold, wherever it can be had."""
    kept: set[bytes] = set()
    for machine in world.machines.values():
        kept.update(files_in(tree_of(machine)).values())
        for record in conflict_digests(machine.db.read()):
            if machine.blobs.has(record):
                kept.add(machine.blobs.get(record))
    return kept


def _plain(entry: Entry) -> tuple[object, ...]:
    if isinstance(entry, File):
        return "file", entry.size, entry.executable
    return ("link", entry.target) if isinstance(entry, Link) else ("folder",)


def _without_bytes(entry: tuple[object, ...]) -> tuple[object, ...]:
    return ("file", len(bytes(entry[1])), entry[2]) if entry[0] == "file" else entry  # type: ignore[call-overload]
