"""What others named or wrote is shown, never obeyed: no byte that steers a terminal leaves `fst`, as text or as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Fst, Said, fastest_home, make_fst
from tests.fake_daemon import Answer, FakeDaemon
from tests.hostile.thorough import ALL
from tests.unit.test_cli_verbs import CASES, Case, placed, prepare

STEER = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066\r\b\x7f\u2028"
"""Clears the screen, names the window, colours with one byte, turns the text round, goes back and overwrites."""
LINE = "\nfst: all is well\n"
"""Begins a line of ours, where a text has one line."""
WORDS = {"type", "state", "kind", "status", "code", "unit", "phase", "cloud", "kept_in", "hash", "digest"}
"""Fields of the daemon's own; hostile ones are tried alone, for they choose the layout."""


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon(fastest_home()) as running:
        yield running


@pytest.fixture
def fst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fst:
    return make_fst(capfd, monkeypatch)


def poisoned(value: Any, everywhere: bool, name: str = "") -> Any:
    """The same document with every text made hostile."""
    if isinstance(value, dict):
        return {key: poisoned(inner, everywhere, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, everywhere, name) for inner in value]
    if isinstance(value, str) and name != "path_b64" and (everywhere or name not in WORDS):
        return value + STEER + ("" if name in ("text", "message") else LINE)
    return value


def assert_harmless(said: Said) -> None:
    for text in (said.out, said.err):
        steering = {letter for letter in text if not letter.isprintable() and letter not in "\n\t"}
        assert not steering, f"{steering!r} in {text[:2000]!r}"
    assert "\nfst: all is well" not in said.out + said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("as_json", "everywhere"), [(False, False), (False, True), (True, True)] if ALL else [(False, True)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.line}-{case.code}")
def test_no_answer_steers_the_terminal(case: Case, as_json: bool, everywhere: bool, fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    prepare(daemon, case._replace(answer=poisoned(case.answer, everywhere)))
    words = [placed(word, tmp_path) for word in case.line.split()]
    said = fst(*words[:1], *(["--json"] if as_json and "--json" not in words else []), *words[1:])
    assert_harmless(said)
    if as_json and said.out:
        for line in said.out.splitlines():
            json.loads(line)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_no_error_steers_the_terminal(as_json: bool, verbose: bool, fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    told = {"code": "invalid-reply" + STEER, "message": STEER, "hint": STEER, "exit_code": 1, "details": {STEER: STEER}}
    for route in ("sync", "snapshot", "restore"):
        daemon.ask_me("POST", route, lambda _: Answer({"error": told}, 500))
        words = [*(["--json"] if as_json else []), *(["--verbose"] if verbose else [])]
        said = fst(route, *words)
        assert said.code != 0
        assert_harmless(said)
    daemon.on("POST", "sync", lines=[{"error": told}])
    assert_harmless(fst("sync", *words))
    daemon.on("POST", "sync", lines=[{"progress": {"phase": STEER, "done": 1, "total": 2, "unit": STEER}}, {"result": {}}])
    assert_harmless(fst("sync", *words))


def test_json_means_the_same_and_can_be_printed(fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    names = ["Grüße 世界 🎉", "a\x9bb\u202ec\x7f", "\U000e0001", "\udcff"]
    daemon.on("GET", "status", {"schema": 1, "daemon": {}, "workspaces": [], "names": names[:3]})
    said = fst("status", "--json")
    assert said.document["names"] == names[:3]
    assert "Grüße 世界 🎉" in said.out and "\\u009b" in said.out and "\\udb40\\udc01" in said.out
    assert_harmless(said)
