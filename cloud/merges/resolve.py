"""A merge and what people decided about it -> the tree it comes to. Pure.

Theory. A decision fixes one path's entry, and only that. Where a file takes a folder's name, what lies in the folder goes with it, unless
another decision keeps something there: then the decisions do not fit together, and the tree check says so (P6). A folder that one side
removed and that only an undecided edit kept alive goes when that edit goes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from cloud.merges.decide import Decided, Decision, Side
from store.errors import InvalidManifest, InvalidValue
from store.manifest import Draft, NodeSource, check_tree_after, edit_manifest, find_entry, list_folder, walk_manifest
from store.types import DIR, Digest, Dir, Entry, File, RelPath, parent_of
from sync.core.merge.style import draw_copies
from sync.core.plan import FILE_FOLDER, Clash, join_executable


class Choice(msgspec.Struct, frozen=True):
    """What one decision comes to: a side, both, or a content of its own (whose executable bit is the decision's)."""

    side: Side | None = None
    own: File | None = None

    @property
    def is_both(self) -> bool:
        """Theirs at the path, ours beside it; a folder keeps its name."""
        return self.side is None and self.own is None


BOTH = Choice()


class Resolved(NamedTuple):
    """A root, the nodes it needs, and what changes in ours."""

    root: Digest
    nodes: dict[Digest, bytes]
    changes: dict[RelPath, Entry | None]


def resolve(decided: Decided, choices: Mapping[RelPath, Choice], nodes: NodeSource) -> Resolved:
    """The merged tree. Raises InvalidValue for decisions that do not fit together."""
    ours, draft = decided.three.ours, Draft(nodes)
    changes: dict[RelPath, Entry | None] = {step.path: step.become for step in decided.actions}
    for decision in decided.decisions:
        choice = choices[decision.path]
        changes[decision.path] = chosen_entry(decision, choice)
    taken = {each.path: changes[each.path] for each in decided.decisions}
    _put_beside(decided, choices, changes, draft)
    _clear_below(decided, taken, changes, draft)
    _drop_folders(edit_manifest(ours, sorted(changes.items()), draft), decided, choices, changes, draft)
    # Once more, for the draft has nodes of what was only tried.
    draft = Draft(nodes)
    root = edit_manifest(ours, sorted(changes.items()), draft)
    try:
        check_tree_after(root, sorted(changes.items()), draft)
    except InvalidManifest as error:
        raise InvalidValue(f"the decisions do not fit together: {error.message}") from error
    return Resolved(root, draft.new, changes)


def chosen_entry(decision: Decision, choice: Choice) -> Entry | None:
    """What the path becomes. A content of one's own keeps the bit that the sides agree on."""
    if choice.is_both:
        return DIR if isinstance(decision.ours, Dir) else decision.theirs
    if choice.own is None:
        return decision.entry(choice.side or Side.OURS)
    base, sides = decision.base, [side for side in (decision.ours, decision.theirs) if isinstance(side, File)]
    bit = any(side.executable for side in sides)
    if len(sides) == 2:
        bit = join_executable(base if isinstance(base, File) else None, sides[0], sides[1])
    return File(choice.own.digest, choice.own.size, bit)


def _put_beside(decided: Decided, choices: Mapping[RelPath, Choice], changes: dict[RelPath, Entry | None], draft: Draft) -> None:
    clashes = [Clash(each.path, each.kind, each.base, each.ours, each.theirs) for each in decided.decisions if choices[each.path].is_both]

    def entry_at(path: RelPath) -> Entry | None:
        return changes[path] if path in changes else find_entry(decided.three.ours, path, draft)

    changes |= {step.path: step.become for step in draw_copies(clashes, entry_at, lambda path: True)}


def _clear_below(decided: Decided, taken: Mapping[RelPath, Entry | None], changes: dict[RelPath, Entry | None], draft: Draft) -> None:
    """Where a file takes the place of a folder, what it held goes; what another decision keeps there stays, and is complained about."""
    ordered: list[RelPath] = []
    for decision in decided.decisions:
        path = decision.path
        if decision.kind != FILE_FOLDER or isinstance(taken[path], Dir):
            continue
        ordered = ordered or sorted(changes)
        held = {found for found, _ in walk_manifest(decided.three.ours, draft, path)} - {path}
        held |= set(ordered[bisect_left(ordered, path + b"/") : bisect_left(ordered, path + b"0")])
        changes |= {found: None for found in held if taken.get(found) is None}


def _drop_folders(
    root: Digest, decided: Decided, choices: Mapping[RelPath, Choice], changes: dict[RelPath, Entry | None], draft: Draft
) -> None:
    """Folders that the side which was followed in a removal does not have, and that nothing needs any more."""
    for decision in decided.decisions:
        if changes.get(decision.path) is not None or choices[decision.path].side is None:
            continue
        followed = decided.three.ours if choices[decision.path].side is Side.OURS else decided.three.theirs
        folder = parent_of(decision.path)
        while folder and find_entry(followed, folder, draft) is None and _is_empty_folder(root, folder, draft):
            changes[folder] = None
            root = edit_manifest(root, [(folder, None)], draft)
            folder = parent_of(folder)


def _is_empty_folder(root: Digest, folder: RelPath, nodes: NodeSource) -> bool:
    return isinstance(find_entry(root, folder, nodes), Dir) and next(list_folder(root, folder, nodes), None) is None
