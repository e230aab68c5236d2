"""Every loop of the core ends, and soon: few lines run for small values. A clock would only tell later, and on some machines not at all."""

from __future__ import annotations

import random
from itertools import product

import pytest

from store.types import Link, RelPath
from sync.core.autosnapshot import count_changed_bytes
from sync.core.glob import parse_glob
from sync.core.history import merge_bases
from sync.core.ignore import PathRules, Rules
from sync.core.merge import diff_lines, merge_marked, merge_text, split_lines
from sync.core.merge.lines import Budget
from sync.core.merge.style import copy_names, cut_name, named_after
from sync.core.wire import Section, bitmap, pack_delta, pack_section, parse_delta, split_sections
from tests.planning import plan_trees
from tests.steps import few_steps
from tests.triples import make_triple


@pytest.mark.parametrize(("old", "new"), [(b"", b""), (b"abc", b"abd"), (b"x" * 599, b"x" * 600), (b"aXb", b"aYb"), (b"ab", b"ba")])
def test_counting_ends_in_few_steps(old: bytes, new: bytes) -> None:
    with few_steps(100):
        count_changed_bytes(old, new)


PATTERNS = [
    *[b"a b", b"(a) !#$%&'", b"a\x01b"],
    *[b"", b"a", b"*", b"**", b"***", b"a/b", b"/a", b"a/", b"**/a", b"a/**", b"a/**/b", b"ab**/c", b"a**b/**", b"*.py[cod]", b"a?b*c*d"],
    *[
        b"[a-c]x",
        b"[!a-c]",
        b"[^]-]",
        b"[[:digit:]-z]",
        b"[[:nope:]]",
        b"[[:",
        b"[",
        b"[a",
        b"[a-",
        b"[]",
        b"\\",
        b"a\\/b",
        b"a/**\\/b",
        b"[\\]]",
    ],
    *[b"[\\]]", b"[a-\\z]", b"[a:]", b"[[:alpha:]", b"[-a]", b"a[/]b", b"//", b"a//b", b"[a]]", b"[b-a]", b"**/**/**", b"[a][b]"],
    b"x/" + b"**/*a" * 5,
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_reading_a_pattern_ends_in_few_steps(pattern: bytes) -> None:
    with few_steps(3000):
        parse_glob(pattern)


def test_asking_for_a_path_ends_in_few_steps() -> None:
    rules = PathRules(Rules.start(b""), lambda folder: (b"*.o\n!x.o \nz/\n", None) if folder in (b"", b"a/b") else (None, None))
    with few_steps(2000):
        for path in (b"a", b"a/b/c/x.o", b"a/b/c/d/z/e", b"a/b/c/d/z/f/g", b"", b"a/b/1.o"):
            rules.decide(path, False)
            rules.explain(path, False)


def test_looking_for_a_base_ends_in_few_steps() -> None:
    parents: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["c", "b"]}
    with few_steps(200):
        merge_bases("d", "e", parents)


LINES = [b"a\n", b"b\n", b"\n", b"}\n"]


@pytest.mark.parametrize("seed", [*range(60), 650])  # groups that meet, and slide on
def test_comparing_lines_ends_in_few_steps(seed: int) -> None:
    rng = random.Random(seed)
    old, new = (rng.choices(LINES[: rng.randrange(1, 5)], k=rng.randrange(1, 26)) for _ in range(2))
    with few_steps(10_000):
        diff_lines(old, new)
        diff_lines(old, new, Budget(1, 1))


@pytest.mark.parametrize("seed", range(20))
def test_a_merge_ends_in_few_steps(seed: int) -> None:
    base, ours, theirs = (b"".join(split_lines(text)[:12]) for text in make_triple(seed))
    with few_steps(30_000):
        merge_text(base, ours, theirs)
        merge_marked(base, ours, theirs, ours_label="o", theirs_label="t")


def test_naming_a_copy_ends_in_few_steps() -> None:
    name = RelPath("\u00e9".encode() * 127)
    with few_steps(100):
        assert named_after(next(copy_names(name, Link(b"x")))) != name
        assert named_after(name) == name
        assert cut_name(name, 5) == name[:4]
        assert cut_name(b"\x80\x80", 1) == b""


@pytest.mark.parametrize("body", [b"", pack_section(Section.HEADER, b"{}") * 3, pack_section(Section.FRAME, b"")])
def test_splitting_a_body_ends_in_few_steps(body: bytes) -> None:
    with few_steps(100):
        list(split_sections(body))
        bitmap([True] * 9)


def test_paths_of_one_folder_are_checked_by_their_names() -> None:
    paths = [RelPath(b"%d" % number) for number in range(100)] + [RelPath(b"d/e/f/%d" % number) for number in range(100)]
    (payload,) = pack_delta((path, None) for path in paths)
    with few_steps(5 * len(paths) + 20):
        assert len(parse_delta(payload)) == len(paths)


PLANS = [
    ("a=F1 d/b=F1", "a=F2 d/b=F1", "d/b=F2"),
    ("d/e/f=F1", "-", "d/e/f=F2 d/e/g=F1"),
    ("d/e/f=F1", "d/e/f=F2", "d=F1"),
    ("-", "a/b/c=F1", "a/b/d=F1 A=F1"),
]


@pytest.mark.parametrize(("base", "local", "remote"), PLANS)
def test_planning_ends_in_few_steps(base: str, local: str, remote: str) -> None:
    with few_steps(2000):
        plan_trees(base, local, remote, fold=bytes.lower)


def test_a_plan_costs_a_few_steps_a_change() -> None:
    """Twenty folders deep, fifty files: each folder is looked at once, and only where a folder was lost."""
    deep = "/".join("d" * 20)
    old, new = (" ".join(f"{deep}/f{number}={entry}" for number in range(50)) for entry in ("F1", "F2"))
    with few_steps(1000):
        plan_trees(old, old, new)
    with few_steps(1500):
        plan_trees(f"{old} x/a=F1", f"{old} x/a=F2", new)


def test_what_is_equal_at_both_ends_is_not_searched() -> None:
    old = [b"%d\n" % number for number in range(1000)]
    for new in ([*old[:500], b"x\n", *old[501:]], [*old, b"x\n"], [b"x\n", *old], old[1:], old[:-1]):
        with few_steps(3400):
            diff_lines(old, new)


def test_comparing_small_texts_ends_in_few_steps_and_is_right() -> None:
    texts = [list(lines) for size in range(4) for lines in product([b"a\n", b"b\n"], repeat=size)]
    for old, new in product(texts, repeat=2):
        with few_steps(1000):
            hunks = diff_lines(old, new)
        made = list(old)
        for hunk in reversed(hunks):
            made[hunk.old_start : hunk.old_end] = new[hunk.new_start : hunk.new_end]
        assert made == new
