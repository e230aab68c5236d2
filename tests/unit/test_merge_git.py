"""Our joins held against `git merge-file`, on texts from fixed seeds and from a fresh one that the failure names."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sync.core.merge import merge_marked, merge_text
from tests.triples import Triple, edit_lines, make_triple

FIXED, FRESH = 1200, 300
CONFLICT_CODES = range(1, 128)


def ask_git(folder: Path, triple: Triple) -> tuple[bool, bytes]:
    """(clean, text) as git has it."""
    names = [folder / f"{os.getpid()}-{id(triple)}-{name}" for name in ("ours", "base", "theirs")]
    for name, data in zip(names, (triple.ours, triple.base, triple.theirs), strict=True):
        name.write_bytes(data)
    command = ["git", "merge-file", "-p", "-q", "-L", "ours", "-L", "base", "-L", "theirs", *map(str, names)]
    done = subprocess.run(command, capture_output=True, check=False)
    for name in names:
        name.unlink()
    assert done.returncode == 0 or done.returncode in CONFLICT_CODES, done.stderr
    return done.returncode == 0, done.stdout


def ask_all(folder: Path, triples: list[Triple]) -> Iterator[tuple[Triple, bool, bytes]]:
    with ThreadPoolExecutor(4) as pool:
        for triple, (clean, data) in zip(triples, pool.map(lambda triple: ask_git(folder, triple), triples), strict=True):
            yield triple, clean, data


@pytest.mark.parametrize("start", [0, random.randrange(10**9)], ids=["fixed", "fresh"])
def test_joins_are_those_of_git(tmp_path: Path, start: int) -> None:
    seeds = range(start, start + (FIXED if start == 0 else FRESH))
    cleans = 0
    for seed, (triple, clean, data) in zip(seeds, ask_all(tmp_path, [make_triple(seed) for seed in seeds]), strict=True):
        merged = merge_text(*triple)
        assert merged.data == (data if clean else None), f"make_triple({seed})"
        assert merge_marked(*triple, ours_label="ours", theirs_label="theirs") == data, f"marked: make_triple({seed})"
        cleans += clean
    assert 0.2 < cleans / len(seeds) < 0.9


def test_large_moves_never_join_otherwise(tmp_path: Path) -> None:
    """Over a distance of 256 lines git guesses where ours searches on: then one may see a conflict where the other does not."""
    rng = random.Random(3)
    triples = []
    for _ in range(12):
        lines = [rng.choice([b"", b"}", b"    line %d" % number, b"    other %d" % number]) + b"\n" for number in range(1500)]
        at, size, to = rng.randrange(1000), rng.randrange(300, 500), rng.randrange(900)
        moved = lines[:at] + lines[at + size :]
        moved[to:to] = lines[at : at + size]
        light = edit_lines(rng, lines, 2, lambda: b"new %d\n" % rng.randrange(999))
        triples.append(Triple(*(b"".join(text) for text in (lines, moved, light))))
    same = 0
    for triple, clean, data in ask_all(tmp_path, triples):
        merged = merge_text(*triple).data
        assert not clean or merged in (data, None)
        same += clean and merged == data
    assert same >= 3
