"""The brake: a change that takes away too much at once waits for a person.

What counts: a file that is removed, and a file of some size that becomes empty. What does not: a file whose bytes turn up under
another name in the same change (a move), a file that is rewritten (a formatter may touch them all; the old bytes are in the history),
a folder (it holds nothing of its own), and whatever git does when it switches branches. A root left with no file at all always
waits: that is what an unmounted disk looks like (H2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from store.types import Digest, Entry, File, Link


class Direction(StrEnum):
    """Where the change would go."""

    IN = "in"
    """From the cloud's head into this folder."""
    OUT = "out"
    """From this folder to the cloud's head."""


class Limits(msgspec.Struct, frozen=True):
    """How much may go at once: the larger of so many files and this share of all (`brake.files`, `brake.share`)."""

    files: int = 50
    share: float = 0.25


class Losses(msgspec.Struct, frozen=True):
    """What a change does to files that were there; `moved` and `overwritten` ones are told but do not weigh."""

    removed: int = 0
    emptied: int = 0
    overwritten: int = 0
    moved: int = 0

    @property
    def weight(self) -> int:
        """The number of files whose content is gone afterwards."""
        return self.removed + self.emptied


class Brake(msgspec.Struct, frozen=True):
    """The verdict: whether the change waits, and a sentence that says what it would do."""

    holds: bool
    sentence: str


def count_losses(steps: Iterable[tuple[Entry | None, Entry | None]]) -> Losses:
    """What these (before, after) pairs take away, in one pass; the pairs are a plan's `expect, become` or a diff's `old, new`."""
    gone: Counter[Digest | Link] = Counter()
    arrived: Counter[Digest | Link] = Counter()
    emptied = overwritten = 0
    for before, after in steps:
        old, new = _content(before), _content(after)
        if old == new:
            continue
        if new is not None:
            arrived[new] += 1
        if old is None:
            continue
        if new is None:
            gone[old] += 1
        elif isinstance(before, File) and isinstance(after, File) and not after.size:
            emptied += 1
        else:
            overwritten += 1
    moved = sum(min(count, arrived[content]) for content, count in gone.items())
    return Losses(gone.total() - moved, emptied, overwritten, moved)


def weigh(losses: Losses, direction: Direction, *, before: int, after: int, limits: Limits, switching: bool = False) -> Brake:
    """Does a change wait? `before` and `after` are how many files the target has; `switching`: git is changing branches."""
    clears = before > 0 and after == 0
    exceeds = losses.weight > max(limits.files, limits.share * before)
    return Brake(not switching and (clears or exceeds), _tell(losses, direction, before, clears))


def _tell(losses: Losses, direction: Direction, files: int, clears: bool) -> str:
    """For a person: what, how much, of how much, and where."""
    where = "this folder" if direction is Direction.IN else "the cloud's head"
    counts = (("remove", losses.removed), ("empty", losses.emptied), ("overwrite", losses.overwritten))
    what = [f"{verb} {count:,}" for verb, count in counts if count] or ["take away none"]
    listed = " and ".join([", ".join(what[:-1]), what[-1]] if len(what) > 1 else what)
    rest = " No file would be left." if clears else ""
    return f"The change would {listed} of {files:,} {'file' if files == 1 else 'files'} in {where}.{rest}"


def _content(entry: Entry | None) -> Digest | Link | None:
    """What would be missed if this entry went: nothing of a folder."""
    if isinstance(entry, File):
        return entry.digest
    return entry if isinstance(entry, Link) else None
