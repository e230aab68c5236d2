"""Every verdict is git's own, down to the line that decides: thousands of rule files against `git check-ignore`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sync.core.ignore import PathRules, Rules, Verdict
from tests.ignoring import Answer, Sample, ask_git, make_repository, make_rules, make_sample

FRESH = "fresh"
SAMPLES = 500
NAMES_OF = {b"core.excludesFile": b"excludes", b".git/info/exclude": b"info/exclude"}


@pytest.mark.parametrize("seed", [1, 2, 3, FRESH])
def test_nested_rule_files_decide_as_git_does(tmp_path: Path, seed: int | str) -> None:
    seed = chosen(seed)
    chance = random.Random(seed)
    samples = [make_sample(chance, b"s%d" % number) for number in range(SAMPLES)]
    rule_files = {folder: data for sample in samples for folder, data in sample.rule_files.items()}
    make_repository(tmp_path, rule_files, [folder for sample in samples for folder in sample.folders])
    compare(tmp_path, Rules.start(b""), samples, f"seed {seed}")


@pytest.mark.parametrize("seed", [*range(20), FRESH])
def test_excludes_and_a_root_file_rank_as_in_git(tmp_path: Path, seed: int | str) -> None:
    seed = chosen(seed)
    chance = random.Random(seed)
    sample = make_sample(chance, b"")
    info, excludes = make_rules(chance), make_rules(chance)
    make_repository(tmp_path, sample.rule_files, sample.folders, info=info, excludes=excludes)
    compare(tmp_path, Rules.start(b"", excludes, info), [sample], f"seed {seed}; info {info!r}; excludes {excludes!r}")


def chosen(seed: int | str) -> int | str:
    """A fresh one is drawn here: the names of tests must be alike in all workers. The failure tells it."""
    return random.SystemRandom().randrange(1 << 32) if seed == FRESH else seed


def compare(root: Path, start: Rules, samples: list[Sample], told: str) -> None:
    for sample, answers in zip(samples, split(samples, list(ask_git(root, [path for one in samples for path in one.paths]))), strict=True):
        ours = PathRules(start, lambda folder, files=sample.rule_files: (files.get(folder), None))  # type: ignore[misc]
        for path, rule, ignored in answers:
            is_dir = path in sample.folders
            verdict = ours.explain(path, is_dir)
            assert (named(verdict), verdict.ignored) == (rule, ignored), f"{told}: {path!r} under {sample.rule_files!r}"
            assert ours.decide(path, is_dir).ignored == ignored, f"{told}: {path!r} under {sample.rule_files!r}"


def split(samples: list[Sample], answers: list[tuple[bytes, Answer, bool]]) -> list[list[tuple[bytes, Answer, bool]]]:
    rest = iter(answers)
    return [[next(rest) for _ in sample.paths] for sample in samples]


def named(verdict: Verdict) -> Answer:
    if verdict.rule is None:
        return None
    return NAMES_OF.get(verdict.rule.source, verdict.rule.source), verdict.rule.line
