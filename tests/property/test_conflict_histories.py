"""Random histories of three real engines with their styles of conflict: what nobody took away on purpose is there in the end.

Truth is kept by the test. Every edit writes a word of its own; a word is given up only by somebody who saw it and wrote over it, or
removed it. All others must be in the folder or in an open record when nothing moves any more.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from store import conflicts
from store.manifest import entry_of
from store.types import File
from sync import adopt
from sync.core.merge.style import Style
from tests.two_replicas import WORKSPACE, MemoryCloud, Side

FIXED, FRESH = int(os.environ.get("FASTEST_CONFLICT_HISTORIES", "8")), 2
PATHS = ("notes.txt", "thing", "thing/inside.txt", "folder/deep/file.txt")
LINES = 6
WORD = re.compile(r"w\d+")


class Crash(Exception):
    """Where a machine goes down."""


class History:
    """Three machines, and what was written on them."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self.rng = rng
        self.cloud = MemoryCloud()
        self.sides = [Side(folder / name, self.cloud) for name in "abc"]
        for side in self.sides:
            side.replica.style = rng.choice(list(Style))
        self.words: set[str] = set()
        self.given_up: set[str] = set()
        # Nobody touches it: a folder that is emptied would be halted by the brake.
        self.sides[0].write("stays", "")
        for side in self.sides:
            side.sync()

    def act(self, side: Side) -> None:
        """One thing that a person does in a folder, and the look that keeps it."""
        path = side.root / self.rng.choice(PATHS)
        kind = self.rng.random()
        found = [file for file in side.root.rglob("*") if file.is_file() and file.name != "stays"]
        if kind < 0.15 and found:
            self._remove(self.rng.choice(found))
        elif kind < 0.25 and found:
            self._edit(self.rng.choice(found))
        elif path.is_file():
            self._edit(path)
        elif path.is_dir():
            if kind < 0.4:
                self._remove(path)
        else:
            for above in reversed([above for above in path.parents if above.is_relative_to(side.root)]):
                if above.is_file():
                    self._remove(above)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"line {number}\n" for number in range(LINES)))
            self._edit(path)
        side.look()

    def _remove(self, path: Path) -> None:
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                self.given_up |= set(WORD.findall(file.read_text()))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _edit(self, path: Path) -> None:
        lines = path.read_text().splitlines() or [""]
        at = self.rng.randrange(len(lines))
        self.given_up |= set(WORD.findall(lines[at]))
        word = f"w{len(self.words)}"
        self.words.add(word)
        lines[at] = word
        path.write_text("\n".join(lines) + "\n")

    def sync(self, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cycle; sometimes the machine goes down in it, and starts again."""
        if self.rng.random() < 0.2:
            with monkeypatch.context() as patch:
                patch.setattr(adopt, self.rng.choice(["_finish", "_carry_out", "_begin"]), fail)
                try:
                    side.sync()
                except Crash:
                    side.restart()
        elif self.rng.random() < 0.9:
            side.sync()

    def settle(self) -> None:
        for _ in range(12):
            before = self.cloud.version, dict(self.cloud.records)
            for side in self.sides:
                side.sync()
            if (self.cloud.version, self.cloud.records) == before and len({repr(side.tree()) for side in self.sides}) == 1:
                return
        raise AssertionError(f"no rest: {[side.tree() for side in self.sides]}")

    def check(self) -> None:
        records = [conflicts.list_conflicts(side.db.read(), WORKSPACE.id) for side in self.sides]
        assert len({tuple(one.id for one in told) for told in records}) == 1, "every machine knows of the same"
        entries = [entry_of(text)[1] for one in records[0] for text in (one.ours, one.theirs) if text is not None]
        for side in self.sides:
            texts = [*side.tree().values(), *(side.blobs.get(entry.digest).decode() for entry in entries if isinstance(entry, File))]
            lost = self.words - self.given_up - set(WORD.findall("".join(texts)))
            assert not lost, f"{lost} of {self.words}: {side.tree()}"


def fail(*args: object) -> None:
    raise Crash


@pytest.mark.parametrize("seed", [*range(FIXED), *["fresh"] * FRESH])
def test_no_edit_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int | str) -> None:
    seed = random.randrange(FIXED, 10**9) if seed == "fresh" else seed
    print(f"seed {seed}")
    rng = random.Random(seed)
    history = History(rng, tmp_path)
    try:
        for _ in range(rng.randint(2, 5)):
            for side in history.sides:
                for _ in range(rng.choice([0, 1, 1, 2, 4])):
                    history.act(side)
            for side in rng.sample(history.sides, 3):
                history.sync(side, monkeypatch)
        history.settle()
        history.check()
    finally:
        for side in history.sides:
            side.close()
