"""Two texts -> the hunks in which their lines differ.

Theory. A line without a partner on the other side cannot be kept, so it is set aside, and so is a line that is everywhere (blank
ones, lone braces) where it stands among such: its partner would be an accident. What is left goes to Myers' O(ND) search in linear
space ("An O(ND) Difference Algorithm and Its Variations", 1986, section 4b). Of the many shortest answers each hunk is then slid as
far down as it goes, or to where the other text has a hunk too. These are the choices git makes, so that a merge comes out as its users
expect; tests hold it against `git merge-file`.

The work is bounded: what the search has left when its budget is spent becomes coarse hunks, which are right, only not short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

MAX_STEPS: Final = 1_000_000
"""Of the search, for one pair of texts: about half a second."""
MAX_SLIDES: Final = 2_000_000
"""Of the groups of both texts, by a line each; passing over a line of a group counts, too."""
NEIGHBOURS: Final = 100
FAR: Final = 1 << 60


class Hunk(NamedTuple):
    """Lines `old_start` to `old_end` (exclusive) became lines `new_start` to `new_end`."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int

    @property
    def growth(self) -> int:
        """Lines won or lost."""
        return self.new_end - self.new_start - (self.old_end - self.old_start)


class Budget:
    """How much work is left, for one difference or for several together."""

    def __init__(self, steps: int = MAX_STEPS, slides: int = MAX_SLIDES) -> None:
        self.steps = steps
        self.slides = slides


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their ends; only LF ends a line, and the last one may have no end."""
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def diff_lines(old: Sequence[bytes], new: Sequence[bytes], budget: Budget | None = None) -> list[Hunk]:
    """The hunks that lead from one text to the other, in order, at least one equal line between two of them."""
    budget = budget or Budget()
    numbers: dict[bytes, int] = {}
    a = _Side([numbers.setdefault(line, len(numbers)) for line in old], budget)
    b = _Side([numbers.setdefault(line, len(numbers)) for line in new], budget)
    start, tail = _equal_ends(a.lines, b.lines)
    kept_a, kept_b = _with_partner(a, b, start, tail), _with_partner(b, a, start, tail)
    _Search(a, b, kept_a, kept_b, budget).run(0, len(kept_a), 0, len(kept_b))
    _slide_all(a, b)
    _slide_all(b, a)
    return list(_hunks(a, b))


class _Side:
    """One text as numbers (equal lines, equal numbers), which of its lines are `changed`, and a group of changed lines.

    A group is what stands between two neighbouring unchanged lines, often nothing; the nth group of both texts stand at one place.
    """

    def __init__(self, lines: list[int], budget: Budget) -> None:
        self.lines = lines
        self.budget = budget
        self.count = len(lines)
        self.changed = bytearray(self.count + 1)

    def to_first(self) -> None:
        self.start = self.end = 0
        self._stretch()

    def to_next(self, skipped: int) -> None:
        """The next group; `skipped` empty ones are passed over."""
        self.start = self.end = self.end + 1 + skipped
        self._stretch()

    def to_previous(self) -> None:
        self.start = self.end = self.start - 1
        self._stretch()

    def slide_up(self) -> bool:
        """Move the group up by a line where that says the same; it takes in a group that it meets."""
        if self.start == 0 or self.lines[self.start - 1] != self.lines[self.end - 1]:
            return False
        self.start -= 1
        self.end -= 1
        self.changed[self.start], self.changed[self.end] = 1, 0
        self._stretch()
        return True

    def slide_down(self) -> bool:
        """The same, down."""
        if self.end == self.count or self.lines[self.start] != self.lines[self.end]:
            return False
        self.changed[self.start], self.changed[self.end] = 0, 1
        self.start += 1
        self.end += 1
        self._stretch()
        return True

    def equal_ahead(self) -> int:
        """How many unchanged lines follow the one after the group."""
        found = self.changed.find(1, self.end)
        return (self.count if found < 0 else found) - self.end - 1

    def _stretch(self) -> None:
        before = self.start - self.end
        while self.start and self.changed[self.start - 1]:
            self.start -= 1
        while self.changed[self.end]:
            self.end += 1
        self.budget.slides -= 1 + before + self.end - self.start


def _equal_ends(a: list[int], b: list[int]) -> tuple[int, int]:
    """How many lines are the same at the start and at the end."""
    least = min(len(a), len(b))
    start = next((at for at in range(least) if a[at] != b[at]), least)
    tail = next((at for at in range(least - start) if a[-1 - at] != b[-1 - at]), least - start)
    return start, tail


def _with_partner(side: _Side, other: _Side, start: int, tail: int) -> list[int]:
    """The places between the equal ends that take part in the search; the rest are marked as changed."""
    counts = Counter(other.lines)
    common = _rough_root(side.count)
    # How often each line stands in the other text: 0 never, 1 sometimes, 2 too often to tell.
    kinds = [min(counts[line], 1) + (counts[line] >= common) for line in side.lines[start : side.count - tail]]
    kept = []
    for at, kind in enumerate(kinds):
        if kind == 1:
            kept.append(start + at)
        else:
            side.changed[start + at] = 1
    for at in _no_accidents(kinds):
        side.changed[start + at] = 0
        kept.append(start + at)
    return sorted(kept)


def _no_accidents(kinds: list[int]) -> Iterator[int]:
    """The common lines that may keep their partner.

    Those where, up to the nearest lines that stand only sometimes, one side has no partnerless line, or such are not the great majority.
    """
    lonely = list(accumulate((kind == 0 for kind in kinds), initial=0))
    start = 0
    for end in (*(at for at, kind in enumerate(kinds) if kind == 1), len(kinds)):
        for at in range(start, end):
            if kinds[at] == 2:
                low, high = max(start, at - NEIGHBOURS), min(end, at + NEIGHBOURS + 1)
                before, after = lonely[at] - lonely[low], lonely[high] - lonely[at]
                alone = before + after
                if not before or not after or (high - low + 1 - alone) * 4 >= high - low + 1:
                    yield at
        start = end + 1


def _rough_root(number: int) -> int:
    """A power of two near the square root."""
    return 1 << ((number.bit_length() + 1) // 2)


class _Search:
    """Myers' search over the lines that have partners; what it cannot match it marks as changed."""

    def __init__(self, a: _Side, b: _Side, kept_a: list[int], kept_b: list[int], budget: Budget) -> None:
        self._a, self._b = a, b
        self._places_a, self._places_b = kept_a, kept_b
        self._lines_a = [a.lines[place] for place in kept_a]
        self._lines_b = [b.lines[place] for place in kept_b]
        self._budget = budget
        # Furthest places by diagonal: an index from -len(b) - 1 to len(a) + 1, and Python's negative ones wrap to the end.
        size = len(kept_a) + len(kept_b) + 3
        self._forward, self._backward = [0] * size, [0] * size

    def run(self, a_start: int, a_end: int, b_start: int, b_end: int) -> None:
        """Match the two stretches; halves the distance each time, so that the recursion is never deep."""
        a, b = self._lines_a, self._lines_b
        while a_start < a_end and b_start < b_end and a[a_start] == b[b_start]:
            a_start, b_start = a_start + 1, b_start + 1
        while a_start < a_end and b_start < b_end and a[a_end - 1] == b[b_end - 1]:
            a_end, b_end = a_end - 1, b_end - 1
        middle = self._middle(a_start, a_end, b_start, b_end) if a_start < a_end and b_start < b_end else None
        if middle is None:
            for place in self._places_a[a_start:a_end]:
                self._a.changed[place] = 1
            for place in self._places_b[b_start:b_end]:
                self._b.changed[place] = 1
            return
        self.run(a_start, middle[0], b_start, middle[1])
        self.run(middle[0], a_end, middle[1], b_end)

    def _middle(self, a_start: int, a_end: int, b_start: int, b_end: int) -> tuple[int, int] | None:
        """Where a shortest path from both corners meets; None when the budget is spent."""
        a, b, forward, backward, budget = self._lines_a, self._lines_b, self._forward, self._backward, self._budget
        least, most = a_start - b_end, a_end - b_start
        first, last = a_start - b_start, a_end - b_end
        odd = (first - last) & 1
        f_low = f_high = first
        b_low = b_high = last
        forward[first], backward[last] = a_start, a_end
        while budget.steps > 0:
            # Diagonals outside the rectangle fall away again; beside the outermost one stands a place that loses every comparison.
            f_low, f_high = _widen(forward, f_low, f_high, least, most, -1)
            for k in range(f_high, f_low - 1, -2):
                x = forward[k - 1] + 1 if forward[k - 1] >= forward[k + 1] else forward[k + 1]
                begun = x
                while x < a_end and x - k < b_end and a[x] == b[x - k]:
                    x += 1
                forward[k] = x
                budget.steps -= 1 + x - begun
                if odd and b_low <= k <= b_high and backward[k] <= x:
                    return x, x - k
                if budget.steps <= 0:
                    return None
            b_low, b_high = _widen(backward, b_low, b_high, least, most, FAR)
            for k in range(b_high, b_low - 1, -2):
                x = backward[k - 1] if backward[k - 1] < backward[k + 1] else backward[k + 1] - 1
                begun = x
                while x > a_start and x - k > b_start and a[x - 1] == b[x - k - 1]:
                    x -= 1
                backward[k] = x
                budget.steps -= 1 + begun - x
                if not odd and f_low <= k <= f_high and x <= forward[k]:
                    return x, x - k
                if budget.steps <= 0:
                    return None
        return None


def _widen(places: list[int], low: int, high: int, least: int, most: int, beside: int) -> tuple[int, int]:
    """The next round's range of diagonals."""
    if low > least:
        low -= 1
        places[low - 1] = beside
    else:
        low += 1
    if high < most:
        high += 1
        places[high + 1] = beside
    else:
        high -= 1
    return low, high


def _slide_all(side: _Side, other: _Side) -> None:
    """Give every group of one text its place (see the theory)."""
    side.to_first()
    other.to_first()
    while True:
        if side.start != side.end:
            _slide(side, other)
        if side.end == side.count:
            return
        skipped = min(side.equal_ahead(), other.equal_ahead())
        side.to_next(skipped)
        other.to_next(skipped)


def _slide(side: _Side, other: _Side) -> None:
    while True:
        size = side.end - side.start
        while side.budget.slides > 0 and side.slide_up():
            other.to_previous()
        meets = other.start != other.end
        while side.budget.slides > 0 and side.slide_down():
            other.to_next(0)
            meets |= other.start != other.end
        # A group that met another one grew, and may go further.
        if side.end - side.start == size:
            break
    while meets and other.start == other.end:
        side.slide_up()
        other.to_previous()


def _hunks(a: _Side, b: _Side) -> Iterator[Hunk]:
    a.to_first()
    b.to_first()
    while True:
        if a.start != a.end or b.start != b.end:
            yield Hunk(a.start, a.end, b.start, b.end)
        if a.end == a.count:
            return
        skipped = min(a.equal_ahead(), b.equal_ahead())
        a.to_next(skipped)
        b.to_next(skipped)
