"""Three texts -> one, or the regions in which two people disagree (SYNC-3).

Both sides are compared with the base. Hunks of the two sides that overlap or touch form one stretch; a stretch that one side alone
changed, or both in the same way, is taken, any other is a conflict, as for git. One thing joins that git leaves to people: lines next
to each other, one changed here and the next there, where no other reading of the two edits is possible (see `_in_turn`).
Bytes are kept as they are: line ends, a missing last one, byte order marks, encodings. A clean result holds, line for line, only what
one of the three texts has. What may be anything but lines of text does not join: one wrong join of it and the file is broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from sync.core.merge.lines import Hunk, diff_lines, split_lines

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
MAX_LINES: Final = 150_000
WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""Text in units of two bytes (of four, too, in the little end): a byte that looks like a line end may be half a letter."""

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
    """True for what may be joined by lines: no NUL, nor wide letters, at most MAX_TEXT_BYTES and MAX_LINES."""
    if len(data) > MAX_TEXT_BYTES or data.startswith(WIDE_MARKS):
        return False
    return b"\0" not in data and data.count(b"\n") <= MAX_LINES


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
    known: tuple[frozenset[bytes], ...] = ()
    while left or right:
        start, end, mine, yours = _take_touching(left, right)
        if mine and yours and _are_replacements(mine + yours):
            known = known or tuple(map(frozenset, texts))
            if all(_is_alone(hunk, texts, known, 1) for hunk in mine) and all(_is_alone(hunk, texts, known, 2) for hunk in yours):
                yield from _in_turn(mine, yours, shift_ours, shift_theirs)
                continue
        ours_start, theirs_start = start + shift_ours, start + shift_theirs
        shift_ours += sum(hunk.growth for hunk in mine)
        shift_theirs += sum(hunk.growth for hunk in yours)
        region = Region(start, end, ours_start, end + shift_ours, theirs_start, end + shift_theirs)
        if ours[ours_start : end + shift_ours] == theirs[theirs_start : end + shift_theirs]:
            yield Stretch(region, False, False)
        else:
            yield Stretch(region, bool(mine), bool(yours))


def _are_replacements(hunks: list[Hunk]) -> bool:
    """True when each puts as many lines in the place of some, and none of them overlap: what stands where is beyond doubt."""
    return not any(hunk.growth for hunk in hunks) and all(one.old_end <= other.old_start for one, other in pairwise(sorted(hunks)))


def _is_alone(hunk: Hunk, texts: Texts, known: tuple[frozenset[bytes], ...], side: int) -> bool:
    """True when no line that went is still in this side's text, and none that came was or is in the others'.

    Then these lines have no partner, so that every difference of the two texts has exactly this hunk, and nobody moved or copied them.
    """
    went, came = texts[0][hunk.old_start : hunk.old_end], texts[side][hunk.new_start : hunk.new_end]
    return known[side].isdisjoint(went) and known[0].isdisjoint(came) and known[3 - side].isdisjoint(came)


def _in_turn(mine: list[Hunk], yours: list[Hunk], shift_ours: int, shift_theirs: int) -> Iterator[Stretch]:
    """Replacements that only touch, each taken as if a line stood between it and the next."""
    for hunk in sorted(mine + yours):
        start, end = hunk.old_start, hunk.old_end
        region = Region(start, end, start + shift_ours, end + shift_ours, start + shift_theirs, end + shift_theirs)
        yield Stretch(region, hunk in mine, hunk in yours)


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
