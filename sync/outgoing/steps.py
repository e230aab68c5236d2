"""From one root to another in steps that the cloud takes: each within its bounds, and each to a root that is a tree (P6).

Theory. A few changes are one step, in the order of paths. Many are cut, and not every beginning of that order leads to a tree: a
folder would go before what it holds. So first comes what is new, from the top, then files go, then folders from below, and every
beginning of this order leads to a tree. Where a change takes more than one push, others see the states in between, and in those a
move is a copy first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

import msgspec

from store.manifest import Draft, NodeSource, diff_manifests, edit_manifest
from store.types import Change, Digest, Dir, Entry, File, RelPath
from sync.core.wire import MAX_DELTA_BYTES, MAX_STEP_CHANGES, MAX_STEPS, PushStep, WireSnapshot, pack_delta

Delta = Iterator[tuple[RelPath, Entry | None]]


class Bounds(msgspec.Struct, frozen=True):
    """What the cloud takes in one push (docs/WIRE.md, Push)."""

    changes: int = MAX_STEP_CHANGES
    """Of one step."""
    steps: int = MAX_STEPS
    delta_bytes: int = MAX_DELTA_BYTES
    """Of all steps, packed."""


BOUNDS: Final = Bounds()


class Steps:
    """One push as it grows, from a root to `root`. What is still to come when it is full begins another push there."""

    def __init__(
        self, root: Digest, draft: Draft, bounds: Bounds, lacking: Callable[[Collection[Digest]], set[Digest]],
        between: Callable[[Digest, Digest, Draft], Iterable[Change]] = diff_manifests,
    ) -> None:  # fmt: skip
        """`lacking` says which nodes are not kept: only those stay in the draft, so that a large step is not in memory twice."""
        self.root = root
        self.steps: list[PushStep] = []
        self.deltas: list[bytes] = []
        self.sizes: dict[Digest, int] = {}
        """The files that the steps bring."""
        self._draft = draft
        self._bounds = bounds
        self._lacking = lacking
        self._between = between
        self._delta_bytes = 0

    def lead_to(self, goal: Digest, snapshot: WireSnapshot | None = None) -> bool:
        """Go on to `goal`; the snapshot is its. False when the push is full before that: `root` is how far it goes."""
        sizes: dict[Digest, int] = {}
        sections = self._pack_at_once(goal, sizes)
        if sections is not None:
            if self.steps and not self._has_room(sections):
                return False
            self._add(goal, sections, sizes, snapshot)
            return True
        changes = order_changes(self.root, goal, self._draft)
        while part := list(islice(changes, self._bounds.changes)):
            if not self._take(part, goal, snapshot):
                return False
        return True

    def _pack_at_once(self, goal: Digest, sizes: dict[Digest, int]) -> list[bytes] | None:
        """The way to `goal` as one delta, streamed; None when it is too much for one step."""
        changes = iter(self._between(self.root, goal, self._draft))
        sections: list[bytes] = []
        room = self._bounds.delta_bytes
        for section in pack_delta(note_files(islice(changes, self._bounds.changes), sizes)):
            sections.append(section)
            room -= len(section)
            if room < 0:
                return None
        return sections if next(changes, None) is None else None

    def _take(self, part: Sequence[Change], goal: Digest, snapshot: WireSnapshot | None) -> bool:
        """A step of these changes. An empty push takes what it can of them: long names fill it before many do."""
        sizes: dict[Digest, int] = {}
        delta = list(note_files(sorted(part, key=attrgetter("path")), sizes))
        sections = list(pack_delta(delta))
        if not self._has_room(sections):
            if self.steps:
                return False
            if len(part) > 1:
                middle = len(part) // 2
                return self._take(part[:middle], goal, snapshot) and self._take(part[middle:], goal, snapshot)
        root = edit_manifest(self.root, delta, self._draft)
        lacking = self._lacking(self._draft.new.keys())
        self._draft.new = {digest: data for digest, data in self._draft.new.items() if digest in lacking}
        self._add(root, sections, sizes, snapshot if root == goal else None)
        return True

    def _has_room(self, sections: Sequence[bytes]) -> bool:
        return len(self.steps) < self._bounds.steps and self._delta_bytes + sum(map(len, sections)) <= self._bounds.delta_bytes

    def _add(self, root: Digest, sections: Sequence[bytes], sizes: dict[Digest, int], snapshot: WireSnapshot | None) -> None:
        self.steps.append(PushStep(root.hex(), len(sections), snapshot))
        self.deltas += sections
        self.sizes |= sizes
        self._delta_bytes += sum(map(len, sections))
        self.root = root


def order_changes(old: Digest, new: Digest, nodes: NodeSource) -> Iterator[Change]:
    """The changes in an order of which every beginning leads from one tree to another. Raises BlobMissing, InvalidManifest."""
    yield from (change for change in diff_manifests(old, new, nodes) if not _takes_away(change))
    folders: list[Change] = []
    for change in filter(_takes_away, diff_manifests(old, new, nodes)):
        if isinstance(change.old, Dir):
            folders.append(change)
        else:
            yield change
    yield from reversed(folders)


def _takes_away(change: Change) -> bool:
    """It goes, or is a folder that must be empty before something else takes its name."""
    return change.new is None or (isinstance(change.old, Dir) and not isinstance(change.new, Dir))


def note_files(changes: Iterable[Change], sizes: dict[Digest, int]) -> Delta:
    """Pass changes on as a delta, noting the digests of new files and their sizes."""
    for change in changes:
        if isinstance(change.new, File):
            sizes[change.new.digest] = change.new.size
        yield change.path, change.new
