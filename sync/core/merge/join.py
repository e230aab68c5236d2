"""Three texts -> one, or the regions in which two people disagree (SYNC-3).

Both sides are compared with the base. Hunks of the two sides that overlap or touch form one stretch; a stretch that one side alone
changed, or both in the same way, is taken, any other is a conflict: as git, even lines next to each other do not join silently.
Bytes are kept as they are: line ends, a missing last one, byte order marks, encodings. A clean result holds, line for line, only what
one of the three texts has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from sync.core.merge.lines import Hunk, diff_lines, split_lines

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
MAX_LINES: Final = 150_000
BINARY_LOOK_BYTES: Final = 8000
"""A NUL in here makes it binary, as for git."""

Texts = tuple[list[bytes], list[bytes], list[bytes]]
"""Base, ours and theirs as lines."""


class Region(msgspec.Struct, frozen=True, gc=False):
    """A conflict: lines (from 0, end exclusive) of the base, of ours and of theirs that stand for one another."""

    base_start: int
    base_end: int
    ours_start: int
    ours_end: int
    theirs_start: int
    theirs_end: int


class Merged(msgspec.Struct, frozen=True):
    """`data` when it joined. Else `conflicts` says where not; without any, the texts are binary or too large to be joined."""

    data: bytes | None
    conflicts: tuple[Region, ...] = ()


class Stretch(NamedTuple):
    """A stretch that changed, and which side has a text of its own for it: both have where they disagree."""

    region: Region
    by_ours: bool
    by_theirs: bool


def merge_text(base: bytes, ours: bytes, theirs: bytes) -> Merged:
    """Join what both sides did to the base."""
    if ours in (base, theirs):
        return Merged(theirs)
    if theirs == base:
        return Merged(ours)
    if not all(is_text(data) for data in (base, ours, theirs)):
        return Merged(None)
    texts = split_lines(base), split_lines(ours), split_lines(theirs)
    stretches = list(find_stretches(texts))
    conflicts = tuple(stretch.region for stretch in stretches if stretch.by_ours and stretch.by_theirs)
    return Merged(None, conflicts) if conflicts else Merged(_join(texts, stretches))


def is_text(data: bytes) -> bool:
    """True for what may be joined by lines: no NUL near the start, at most MAX_TEXT_BYTES and MAX_LINES."""
    return len(data) <= MAX_TEXT_BYTES and b"\0" not in data[:BINARY_LOOK_BYTES] and data.count(b"\n") <= MAX_LINES


def _join(texts: Texts, stretches: Sequence[Stretch]) -> bytes:
    base, ours, theirs = texts
    out: list[bytes] = []
    at = 0
    for region, by_ours, _ in stretches:
        out += base[at : region.base_start]
        out += ours[region.ours_start : region.ours_end] if by_ours else theirs[region.theirs_start : region.theirs_end]
        at = region.base_end
    return b"".join(out + base[at:])


def find_stretches(texts: Texts) -> Iterator[Stretch]:
    """What differs from the base, in order. A stretch that both made the same of is nobody's."""
    base, ours, theirs = texts
    left, right = deque(diff_lines(base, ours)), deque(diff_lines(base, theirs))
    # How far the lines after a stretch stand from where they stood in the base.
    shift_ours = shift_theirs = 0
    while left or right:
        start, end, mine, yours = _take_touching(left, right)
        ours_start, theirs_start = start + shift_ours, start + shift_theirs
        shift_ours += sum(hunk.growth for hunk in mine)
        shift_theirs += sum(hunk.growth for hunk in yours)
        region = Region(start, end, ours_start, end + shift_ours, theirs_start, end + shift_theirs)
        if mine and yours and ours[ours_start : end + shift_ours] == theirs[theirs_start : end + shift_theirs]:
            yield Stretch(region, False, False)
        else:
            yield Stretch(region, bool(mine), bool(yours))


def _take_touching(left: deque[Hunk], right: deque[Hunk]) -> tuple[int, int, list[Hunk], list[Hunk]]:
    """Take the first hunk and all that hang together with it: their range in the base, and each side's hunks."""
    start = end = min(side[0].old_start for side in (left, right) if side)
    taken: tuple[list[Hunk], list[Hunk]] = ([], [])
    grown = True
    while grown:
        grown = False
        for side, mine in zip((left, right), taken, strict=True):
            while side and side[0].old_start <= end:
                end = max(end, side[0].old_end)
                mine.append(side.popleft())
                grown = True
    return start, end, *taken
