"""Each promise names the tests that hold it, and they are there."""

from __future__ import annotations

import re

from tests.house.sources import TOP

NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
DEFINED = re.compile(r"def (test_[a-z0-9_]+)\(")


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in (TOP / "docs" / "PROMISES.md").read_text().splitlines() if re.match(r"\| R\d+ ", line)]
    there = {name for path in (TOP / "tests").rglob("test_*.py") for name in DEFINED.findall(path.read_text())}
    assert rows and all(NAMED.search(row) for row in rows)
    assert not [name for row in rows for name in NAMED.findall(row) if name not in there]
