"""Two sides that disagree -> one text with markers around each disagreement, as git writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from store.errors import InvalidValue
from sync.core.merge.join import Region, Texts, find_stretches, is_text
from sync.core.merge.lines import Budget, diff_lines, split_lines

GAP_LINES: Final = 3
"""Two conflicts with no more lines between them are marked as one; so are two with nothing but punctuation between them."""
_WORD = re.compile(rb"[0-9A-Za-z]")


class _Part(NamedTuple):
    """Lines of ours and of theirs that stand for one another, to be taken from theirs or to be marked."""

    ours_start: int
    ours_end: int
    theirs_start: int
    theirs_end: int
    in_conflict: bool = True


def merge_marked(base: bytes, ours: bytes, theirs: bytes, *, ours_label: str, theirs_label: str) -> bytes:
    """The join, with `<<<<<<<`, `=======` and `>>>>>>>` around what does not join. Raises InvalidValue for what is not text."""
    if not all(is_text(data) for data in (base, ours, theirs)):
        raise InvalidValue("binary or too large to be marked", "Choose a side with `fst resolve --ours`, `--theirs` or `--both`.")
    texts = split_lines(base), split_lines(ours), split_lines(theirs)
    out: list[bytes] = []
    at = 0
    for part in _close_up(_parts(texts), texts[1]):
        out += texts[1][at : part.ours_start]
        if part.in_conflict:
            out += _mark(part, texts, ours_label.encode(), theirs_label.encode())
        else:
            out += texts[2][part.theirs_start : part.theirs_end]
        at = part.ours_end
    return b"".join(out + texts[1][at:])


def _parts(texts: Texts) -> Iterator[_Part]:
    """Where the result is not simply our text; ours alone changed is a part too, which keeps its neighbours apart."""
    budget = Budget()
    for region, by_ours, by_theirs in find_stretches(texts):
        if by_ours and by_theirs:
            yield from _narrow(region, texts, budget)
        elif by_theirs:
            yield _Part(region.ours_start, region.ours_end, region.theirs_start, region.theirs_end, in_conflict=False)
        elif by_ours:
            yield _Part(region.ours_end, region.ours_end, region.theirs_end, region.theirs_end, in_conflict=False)


def _narrow(region: Region, texts: Texts, budget: Budget) -> Iterator[_Part]:
    """A conflict's parts that really differ: what both sides have in common needs no marker."""
    ours, theirs = texts[1][region.ours_start : region.ours_end], texts[2][region.theirs_start : region.theirs_end]
    left, right = region.ours_start, region.theirs_start
    for hunk in diff_lines(ours, theirs, budget):
        yield _Part(left + hunk.old_start, left + hunk.old_end, right + hunk.new_start, right + hunk.new_end)


def _close_up(parts: Iterable[_Part], ours: list[bytes]) -> list[_Part]:
    """Conflicts with hardly anything between them become one, which is easier to read."""
    done: list[_Part] = []
    for part in parts:
        if done and done[-1].in_conflict and part.in_conflict:
            last = done[-1]
            between = ours[last.ours_end : part.ours_start]
            if len(between) <= GAP_LINES or not any(map(_WORD.search, between)):
                done[-1] = _Part(last.ours_start, part.ours_end, last.theirs_start, part.theirs_end)
                continue
        done.append(part)
    return done


def _mark(part: _Part, texts: Texts, ours_label: bytes, theirs_label: bytes) -> Iterator[bytes]:
    end = b"\r\n" if _is_crlf(part, texts) else b"\n"
    yield b"<<<<<<< " + ours_label + end
    yield from _ended(texts[1][part.ours_start : part.ours_end], end)
    yield b"=======" + end
    yield from _ended(texts[2][part.theirs_start : part.theirs_end], end)
    yield b">>>>>>> " + theirs_label + end


def _ended(lines: list[bytes], end: bytes) -> list[bytes]:
    """The lines; a last one without an end gets one, so that the marker stands on a line of its own."""
    return [*lines[:-1], lines[-1] + end] if lines and not lines[-1].endswith(b"\n") else lines


def _is_crlf(part: _Part, texts: Texts) -> bool:
    """True when the lines around the conflict end in CRLF on both sides, and in the base."""
    base, ours, theirs = texts
    around = _end_at(ours, max(part.ours_start - 1, 0)), _end_at(theirs, max(part.theirs_start - 1, 0)), _end_at(base, 0)
    return False not in around and around[2] is not None


def _end_at(lines: list[bytes], at: int) -> bool | None:
    """True when this line ends in CRLF, False for LF, None when there is nothing to tell by: no line, or one without an end."""
    if not lines or not lines[at].endswith(b"\n"):
        return None
    return lines[at].endswith(b"\r\n")
