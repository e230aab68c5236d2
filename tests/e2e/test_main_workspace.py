"""A person makes another workspace their project's main one: what a clone without a name takes from then on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.pair import Pair

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def fill(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("one\n")


def test_another_workspace_becomes_main_by_a_verb(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=fill)
    b = pair.b
    b.must("clone", "pair", str(b.folder / "fork"), "-y", cwd=b.folder)
    (b.folder / "fork/notes.txt").write_text("of the fork\n")
    b.must("wait", str(b.folder / "fork"), "--uploaded")
    rows = {row["name"]: row for row in json.loads(b.must("workspaces", "--json").text)["workspaces"]}
    (fork,) = (name for name in rows if name != "main")
    assert rows["main"]["main"] and not rows[fork]["main"]

    refused = b.fst("workspaces", "--main", fork)
    assert refused.code == 2 and "PROJECT/WORKSPACE" in refused.err, str(refused)
    unknown = b.fst("workspaces", "--main", "pair/none")
    assert unknown.code not in (0, 2) and "none" in unknown.err, str(unknown)
    assert f"{fork} is the main workspace of pair now" in b.must("workspaces", "--main", f"pair/{fork}").text
    (told,) = [line for line in pair.a.must("workspaces").text.splitlines() if "main workspace" in line]
    assert fork in told

    pair.a.must("clone", "pair", str(pair.a.folder / "third"), "-y", cwd=pair.a.folder)
    assert (pair.a.folder / "third/notes.txt").read_text() == "of the fork\n"
