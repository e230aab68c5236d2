"""Each promise, scenario and row of the specification names the tests that hold it, and they are there."""

from __future__ import annotations

import re

import pytest

from tests.house.sources import TOP

NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
DEFINED = re.compile(r"def (test_[a-z0-9_]+)\(")


SCENARIO = re.compile(r"\| (?:[NKDCAQ]\d+|-) \|")


def defined_tests() -> set[str]:
    return {name for path in (TOP / "tests").rglob("test_*.py") for name in DEFINED.findall(path.read_text())}


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in (TOP / "docs" / "PROMISES.md").read_text().splitlines() if re.match(r"\| R\d+ ", line)]
    assert rows and all(NAMED.search(row) for row in rows)
    assert not {name for row in rows for name in NAMED.findall(row)} - defined_tests()


@pytest.mark.parametrize("page", sorted(path.name for path in (TOP / "docs").glob("[Ss][Cc][Ee][Nn][Aa]*.md")))
def test_every_scenario_names_tests_that_exist(page: str) -> None:
    rows = [line for line in (TOP / "docs" / page).read_text().splitlines() if SCENARIO.match(line)]
    assert rows and all(NAMED.search(row) for row in rows)
    assert not {name for row in rows for name in NAMED.findall(row)} - defined_tests()


def test_every_row_of_the_specification_says_how_it_stands() -> None:
    rows = re.findall(r"^\| ([A-Z]+-\d+) \| (.*) \| (.*) \|$", (TOP / "docs" / "ACCEPTANCE.md").read_text(), re.MULTILINE)
    assert len({name for name, _, _ in rows}) == len(rows) == 120
    unclear = [name for name, tests, state in rows if not NAMED.search(tests) and not state.startswith("not built")]
    assert not unclear + [name for name, _, state in rows if not re.match(r"holds|in part: |not built", state)]
    assert not {name for _, tests, _ in rows for name in NAMED.findall(tests)} - defined_tests()
