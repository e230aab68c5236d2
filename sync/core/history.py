"""The snapshot DAG as a mapping from each id to its parents: what is behind what, and where two lines part (SYNC-1).

Ids are compared only to break ties: snapshot ids sort by time, so the largest is the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from store.errors import BlobMissing

Parents = Mapping[str, Sequence[str]]
"""Every id with its parents."""


class Undone(NamedTuple):
    """A merge that was taken back: `undo` is the snapshot that did it, `kept` those parents of the merge that still count (SYNC-11)."""

    merge: str
    undo: str
    kept: tuple[str, ...]


def ancestors(tip: str, parents: Parents) -> dict[str, int]:
    """The tip and everything behind it by any parent -> the fewest steps from the tip (breadth first). Raises BlobMissing."""
    return _steps_from([tip], parents)


def reachable(tips: Iterable[str], parents: Parents) -> set[str]:
    """The tips and everything behind them. Raises BlobMissing for an id that the mapping does not have."""
    return set(_steps_from(tips, parents))


def is_ancestor(old: str, new: str, parents: Parents) -> bool:
    """True when `old` is `new` or behind it: a hint about a base holds only if this is so for both sides. Raises BlobMissing."""
    return old in _steps_from([new], parents)


def merge_base(one: str, other: str, parents: Parents) -> str | None:
    """The best common ancestor, None when the two have no history in common. Raises BlobMissing.

    The same whichever side is named first; after a criss-cross it is the first of `merge_bases`.
    """
    bases = merge_bases(one, other, parents)
    return bases[0] if bases else None


def merge_bases(one: str, other: str, parents: Parents, undone: Iterable[Undone] = ()) -> list[str]:
    """All common ancestors that are not behind another one: nearest first (steps from both sides added), of equals the newest first.

    A nearer one that is behind another would be no base: what came in between would count as both sides' edits. Raises BlobMissing.
    """
    taken_back = sorted(undone, reverse=True)
    from_one, from_other = (_steps_from([tip], _as_seen_from(tip, parents, taken_back)) for tip in (one, other))
    common = from_one.keys() & from_other.keys()
    # All that is behind a common ancestor is common too, so being a parent of one is all that can outdo it.
    outdone = {behind for each in common for behind in parents[each]}
    newest_first = sorted(common - outdone, reverse=True)
    return sorted(newest_first, key=lambda each: from_one[each] + from_other[each])


def _as_seen_from(tip: str, parents: Parents, undone: Sequence[Undone]) -> Parents:
    """For whoever has the undo behind it the merge brought nothing in: else what was taken back would never be offered again.

    From the newest merge on: what only an undone merge brought along, an older undo say, is behind nobody any more.
    """
    seen = parents
    for each in undone:
        if each.merge in seen and each.undo in _steps_from([tip], seen):
            seen = {**seen, each.merge: each.kept}
    return seen


def _steps_from(tips: Iterable[str], parents: Parents) -> dict[str, int]:
    steps: dict[str, int] = {}
    distance = 0
    level = dict.fromkeys(tips, distance)
    while level:
        steps |= level
        distance += 1
        level = {parent: distance for each in level for parent in _parents_of(each, parents) if parent not in steps}
    return steps


def _parents_of(each: str, parents: Parents) -> Sequence[str]:
    # A gap must not look like a beginning: without its base a merge would take every edit for both sides'.
    found = parents.get(each)
    if found is None:
        raise BlobMissing(f"no snapshot {each}", "Fetch the history again, or run `fst fsck`.")
    return found
