"""The brake: a change that takes away too much at once waits for a person.

What counts: a file that is removed, a file of some size that becomes empty, and files that differed and become one and the same (a
script that wrote one text over all of them). What does not: a file whose bytes turn up under another name in the same change (a move),
a file that is rewritten otherwise (a formatter may touch them all; the old bytes are in the history), a folder (it holds nothing of its
own), and whatever git does when it switches branches. A root left with no file at all always waits: that is what an unmounted disk looks
like (H2). So does a folder that grows to ten times itself and by a hundred thousand files at once: that is a program gone wild, and
every replica would have to take it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from store.types import Digest, Entry, File, Link

GROWTH_FILES: Final = 100_000
GROWTH_TIMES: Final = 10


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
    alike: int = 0
    """Of the overwritten: contents that differed and became the same as another's."""
    added: int = 0

    @property
    def weight(self) -> int:
        """The number of files whose content is gone afterwards."""
        return self.removed + self.emptied + self.alike


class Brake(msgspec.Struct, frozen=True):
    """The verdict: whether the change waits, and a sentence that says what it would do."""

    holds: bool
    sentence: str


def count_losses(steps: Iterable[tuple[Entry | None, Entry | None]]) -> Losses:
    """What these (before, after) pairs take away, in one pass; the pairs are a plan's `expect, become` or a diff's `old, new`."""
    gone: Counter[Digest | Link] = Counter()
    arrived: Counter[Digest | Link] = Counter()
    made_of: dict[Digest | Link, set[Digest | Link]] = {}
    emptied = overwritten = added = 0
    for before, after in steps:
        old, new = _content(before), _content(after)
        if old == new:
            continue
        if new is not None:
            arrived[new] += 1
        if old is None:
            added += new is not None
            continue
        if new is None:
            gone[old] += 1
        elif isinstance(before, File) and isinstance(after, File) and not after.size:
            emptied += 1
        else:
            overwritten += 1
            made_of.setdefault(new, set()).add(old)
    alike = sum(len(former) - 1 for former in made_of.values())
    moved = sum(min(count, arrived[content]) for content, count in gone.items())
    return Losses(gone.total() - moved, emptied, overwritten, moved, alike, max(0, added - moved))


def weigh(losses: Losses, direction: Direction, *, before: int, after: int, limits: Limits, switching: bool = False) -> Brake:
    """Does a change wait? `before` and `after` are how many files the target has; `switching`: git is changing branches."""
    clears = before > 0 and after == 0 and losses.weight > 0
    exceeds = losses.weight > max(limits.files, limits.share * before)
    grows = before > 0 and losses.added > max(GROWTH_FILES, GROWTH_TIMES * before)
    return Brake(not switching and (clears or exceeds or grows), _tell(losses, direction, before, clears, grows))


def _tell(losses: Losses, direction: Direction, files: int, clears: bool, grows: bool) -> str:
    """For a person: what, how much, of how much, and where."""
    where = "this folder" if direction is Direction.IN else "the cloud's head"
    counts = (("remove", losses.removed), ("empty", losses.emptied), ("overwrite", losses.overwritten), ("make alike", losses.alike))
    what = [f"{verb} {count:,}" for verb, count in counts if count] or ["take away none"]
    listed = " and ".join([", ".join(what[:-1]), what[-1]] if len(what) > 1 else what)
    rest = " No file would be left." if clears else f" It would add {losses.added:,}." if grows else ""
    return f"The change would {listed} of {files:,} {'file' if files == 1 else 'files'} in {where}.{rest}"


def _content(entry: Entry | None) -> Digest | Link | None:
    """What would be missed if this entry went: nothing of a folder."""
    if isinstance(entry, File):
        return entry.digest
    return entry if isinstance(entry, Link) else None
