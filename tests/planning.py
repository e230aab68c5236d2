"""Driving the planner with small trees: a disk that refuses everything out of order, and contents that join."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from store.types import Digest, Dir, Entry, File, RelPath, parent_of
from sync.core.plan import Action, Fold, Join, Plan, Refuse, Untracked, plan
from tests.alphabet import Tree, file, manifest, new_draft, show_tree, tree

TEXT = b"text:"


def no_join(base: File | None, local: File, remote: File) -> File | None:
    return None


def all_tracked(path: RelPath, entry: Entry) -> bool:
    return False


def plan_trees(
    base: str | Tree,
    local: str | Tree,
    remote: str | Tree,
    *,
    join: Join = no_join,
    untracked: Untracked = all_tracked,
    fold: Fold | None = None,
    refuse: Refuse | None = None,
) -> Plan:
    """The real planner over trees written out."""
    draft = new_draft()
    roots = manifest(base, draft), manifest(local, draft), manifest(remote, draft)
    return plan(*roots, draft, join=join, untracked=untracked, fold=fold, refuse=refuse)


def wanted(plan: Plan, local: str | Tree, fold: Fold | None = None) -> Tree:
    """The tree after the plan, carried out in order on a strict disk."""
    return carry_out(plan.actions, tree(local) if isinstance(local, str) else local, fold)


def carry_out(actions: Iterable[Action], entries: Tree, fold: Fold | None = None) -> Tree:
    """A new tree: each step in turn, or an AssertionError where a real disk would refuse."""
    disk = dict(entries)
    for action in actions:
        take_step(disk, action, fold)
    return disk


def take_step(disk: Tree, action: Action, fold: Fold | None = None) -> None:
    """One step, in place."""
    path, told = action.path, f"{action} on {show_tree(disk)}"
    assert disk.get(path) == action.expect, f"unexpected: {told}"
    assert action.become != action.expect, f"idle: {told}"
    assert not parent_of(path) or isinstance(disk.get(parent_of(path)), Dir), f"no folder: {told}"
    if isinstance(action.expect, Dir):
        assert not any(other.startswith(path + b"/") for other in disk), f"folder in use: {told}"
    if action.become is None:
        del disk[path]
        return
    if fold is not None:
        taken = {fold(other) for other in disk if parent_of(other) == parent_of(path) and other != path}
        assert fold(path) not in taken, f"name in use: {told}"
    disk[path] = action.become


@dataclass
class Contents:
    """Bytes by digest. Texts are sets of words and always join; anything else never does."""

    kept: dict[Digest, bytes] = field(default_factory=dict)

    def put(self, content: bytes, executable: bool = False) -> File:
        made = file(content, executable)
        self.kept[made.digest] = content
        return made

    def text(self, words: Iterable[bytes], executable: bool = False) -> File:
        return self.put(TEXT + b" ".join(sorted(set(words))), executable)

    def words(self, made: File) -> frozenset[bytes]:
        """A text's words; anything else is one word."""
        content = self.kept[made.digest]
        return frozenset(content[len(TEXT) :].split()) if content.startswith(TEXT) else frozenset([content])

    def join(self, base: File | None, local: File, remote: File) -> File | None:
        """What both have, and what either added: a removed word stays away."""
        if not all(self.kept[side.digest].startswith(TEXT) for side in (local, remote)):
            return None
        known = self.words(base) if base is not None else frozenset()
        ours, theirs = self.words(local), self.words(remote)
        return self.text((ours & theirs) | (ours - known) | (theirs - known))
