"""Each promise and each scenario names the tests that hold it, and they are there."""

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
