"""Run `fst` inside the test's own process, and look at what it said."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import main


@dataclass(frozen=True)
class Said:
    """An exit code, and both streams."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Stdout as the one document it has to be."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Fst = Callable[..., Said]


def make_fst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fst:
    """A function that runs `fst WORDS` with what is given on standard input."""

    def fst(*words: str, given: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        code = main(words)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return fst


def fastest_home() -> Path:
    """The FASTEST_HOME that conftest gave this test."""
    return Path(os.environ["FASTEST_HOME"])
