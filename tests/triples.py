"""Three-way texts from a seed: a base and two edited sides, of the kinds that make merges hard."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

COMMON = [b"", b"", b"}", b"{", b"    return x", b"else:", b"\treturn", b"pass", b"import a", b"import b", b"# note"]


class Triple(NamedTuple):
    base: bytes
    ours: bytes
    theirs: bytes


def make_triple(seed: int) -> Triple:
    """A few letters, repeated often, or up to 400 lines like code; sometimes CRLF, sometimes without a last line end."""
    rng = random.Random(seed)
    kind = rng.choice(["letters", "code", "code", "long"])
    count = {"letters": rng.randint(0, rng.choice([8, 40])), "code": rng.randint(5, 80), "long": rng.randint(100, 400)}[kind]
    line = _letters(rng) if kind == "letters" else _code(rng)
    edits = (1, 3, 10, 40) if kind == "long" else (0, 1, 1, 2, 3, 5, 8)
    base = [line() for _ in range(count)]
    # Sometimes both sides begin with one edit in common.
    start = edit_lines(rng, base, 1, line) if rng.random() < 0.2 else base
    end = rng.choice([b"\n", b"\n", b"\n", b"\r\n"])
    sides = [base, *(edit_lines(rng, start, rng.choice(edits), line) for _ in range(2))]
    return Triple(*(_join(rng, lines, end) for lines in sides))


def edit_lines(rng: random.Random, lines: list[bytes], times: int, line: Callable[[], bytes]) -> list[bytes]:
    """Insert, delete, replace, copy and move."""
    edited = list(lines)
    for _ in range(times):
        at, size = rng.randint(0, len(edited)), rng.choice([1, 1, 1, 2, 3, 6])
        kind = rng.random()
        if kind < 0.35:
            edited[at:at] = [line() for _ in range(size)]
        elif kind < 0.6:
            del edited[at : at + size]
        elif kind < 0.85:
            edited[at : at + size] = [line() for _ in range(size)]
        else:
            block = edited[at : at + size]
            to = rng.randint(0, len(edited))
            if kind < 0.93:
                del edited[at : at + size]
            edited[to:to] = block
    return edited


def _letters(rng: random.Random) -> Callable[[], bytes]:
    alphabet = [b"%c" % (97 + at) for at in range(rng.randint(2, 12))]
    return lambda: rng.choice(alphabet)


def _code(rng: random.Random) -> Callable[[], bytes]:
    seen = [0]

    def line() -> bytes:
        if rng.random() < 0.45:
            return rng.choice(COMMON)
        seen[0] += 1
        return b"    line %d = call(%d)" % (seen[0] * rng.randint(1, 3), rng.randint(0, 50))

    return line


def _join(rng: random.Random, lines: list[bytes], end: bytes) -> bytes:
    data = b"".join(line + end for line in lines)
    return data[: -len(end)] if data and rng.random() < 0.15 else data
