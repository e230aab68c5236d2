"""Our joins held against `git merge-file`, on texts from fixed seeds and from a fresh one that the failure names.

Then on real ones: versions of this repository's own files (three near versions of one file are what a cherry-pick joins), and files of
the standard library with edits. `FASTEST_MERGE_TRIPLES=6000` asks about more of them.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from sync.core.merge import merge_marked, merge_text, split_lines
from sync.core.merge.join import find_stretches
from tests.triples import Triple, edit_lines, list_edited_triples, list_history_triples, make_triple

FIXED, FRESH, REAL = 1200, 300, int(os.environ.get("FASTEST_MERGE_TRIPLES", "250"))
CONFLICT_CODES = range(1, 128)
HOUSE = Path(__file__).parents[2]


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


def joins_in_turn(triple: Triple) -> bool:
    """True when replacements that only touch were joined, which git leaves to people."""
    base, ours, theirs = map(split_lines, triple)
    regions = [stretch.region for stretch in find_stretches((base, ours, theirs))]
    return any(one.base_end == other.base_start for one, other in pairwise(regions))


def compare(folder: Path, triples: list[Triple], told: str) -> float:
    """All joins are git's; and where git sees a conflict and ours does not, it is for lines that touch. How many joined."""
    cleans = 0
    for number, (triple, clean, data) in enumerate(ask_all(folder, triples)):
        merged = merge_text(*triple).data
        marked = merge_marked(*triple, ours_label="ours", theirs_label="theirs")
        if clean or not joins_in_turn(triple):
            assert merged == (data if clean else None), f"{told}: {number}"
            assert marked == data, f"{told}, marked: {number}"
        elif merged is None:
            assert marked.count(b"<<<<<<< ours") <= data.count(b"<<<<<<< ours"), f"{told}, marked: {number}"
        else:
            assert marked == merged, f"{told}, marked: {number}"
        cleans += clean
    return cleans / len(triples)


@pytest.mark.parametrize("start", [0, random.randrange(10**9)], ids=["fixed", "fresh"])
def test_joins_are_those_of_git(tmp_path: Path, start: int) -> None:
    triples = [make_triple(seed) for seed in range(start, start + (FIXED if start == 0 else FRESH))]
    assert 0.2 < compare(tmp_path, triples, f"make_triple({start} + the number)") < 0.9


def test_joins_of_real_texts_are_those_of_git(tmp_path: Path) -> None:
    history = list_history_triples(HOUSE, REAL)
    edited = list_edited_triples(REAL)
    assert compare(tmp_path, edited, "list_edited_triples") > 0.4
    if history:  # a checkout without its history has none
        assert compare(tmp_path, history, "list_history_triples") > 0.2


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
