"""Three-way texts: a base and two edited sides, from a seed, from a repository's history, and from real files with edits."""

from __future__ import annotations

import os
import random
import subprocess
from collections import defaultdict
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

COMMON = [b"", b"", b"}", b"{", b"    return x", b"else:", b"\treturn", b"pass", b"import a", b"import b", b"# note"]
NEAR = 4
"""Versions of one file this far apart, at most."""
LARGE = 120_000


class Triple(NamedTuple):
    base: bytes
    ours: bytes
    theirs: bytes

    @property
    def is_open(self) -> bool:
        """Both sides changed it, and differently."""
        return self.ours != self.theirs and self.base not in self[1:]


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


def list_history_triples(repository: Path, count: int) -> list[Triple]:
    """Three near versions of one file, as a cherry-pick or a revert has them; the same ones each time for one history."""
    found = []
    for versions in _file_versions(repository):
        for numbers in permutations(range(len(versions)), 3):
            if max(numbers) - min(numbers) <= NEAR:
                found.append(Triple(*(versions[number] for number in numbers)))
    found = [triple for triple in found if triple.is_open]
    random.Random(1).shuffle(found)
    return found[:count]


def _file_versions(repository: Path) -> list[list[bytes]]:
    """The versions of each file along the first parents, oldest first, each content once."""

    def git(*args: str, given: bytes = b"") -> bytes:
        return subprocess.run(["git", "-C", str(repository), *args], input=given, capture_output=True, check=False).stdout

    files: dict[bytes, dict[bytes, None]] = defaultdict(dict)
    for line in git("log", "--reverse", "--first-parent", "-m", "--format=", "--raw", "--no-abbrev", "--no-renames").splitlines():
        meta, _, path = line.partition(b"\t")
        _, mode, _, blob, *_ = meta.split()
        if mode.startswith(b"100"):
            files[path][blob] = None
    blobs = [blob for versions in files.values() for blob in versions]
    told, at, contents = git("cat-file", "--batch", given=b"\n".join(blobs) + b"\n"), 0, {}
    for blob in blobs:
        end = told.index(b"\n", at)
        size = int(told[at:end].split()[2])
        contents[blob] = told[end + 1 : end + 1 + size]
        at = end + 2 + size
    return [[contents[blob] for blob in versions] for _, versions in sorted(files.items())]


def list_edited_triples(count: int) -> list[Triple]:
    """Files of the standard library, each edited twice, with lines of its other files."""
    rng = random.Random(2)
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    texts = [data.split(b"\n") for data in (file.read_bytes() for file in files) if len(data) < LARGE]
    pool = [line for lines in texts for line in lines]

    def line() -> bytes:
        return rng.choice(pool)

    found = []
    for _ in range(count):
        lines = rng.choice(texts)
        sides = [lines, *(edit_lines(rng, lines, rng.choice([1, 2, 4, 8, 16]), line) for _ in range(2))]
        found.append(Triple(*(b"\n".join(side) for side in sides)))
    return [triple for triple in found if triple.is_open]


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
