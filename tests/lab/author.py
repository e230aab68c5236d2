"""Someone who edits in a folder and remembers exactly what must be there afterwards."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path
from zlib import crc32

from tests.lab.compare import look, shown

LARGE_BYTES = 5 * 1024 * 1024


class Author:
    """Edits only its own share of the paths, so that two authors on two machines never contradict each other.

    `share` is 0 or 1: of the files that were there at first, those whose name's checksum has that parity; and all of `author-N/`.
    """

    def __init__(self, root: Path, share: int, seed: int) -> None:
        self.root = root
        self.area = f"author-{share}"
        self.expected: dict[str, str] = {}
        """path -> SHA-256 of what was last written there"""
        self.removed: set[str] = set()
        self._random = random.Random(seed * 2 + share)
        self._count = 0
        self._mine = sorted(path for path, seen in look(root).items() if seen.kind == "file" and _share_of(path) == share)
        self._share = share
        self._seed = seed

    def write(self, path: str, size: int) -> None:
        """New bytes that occur nowhere else, written in place as most programs do."""
        self._count += 1
        data = f"{self._seed} {self._share} {self._count}\n".encode() + self._random.randbytes(size)
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.expected[path] = hashlib.sha256(data).hexdigest()
        self.removed.discard(path)

    def remove(self, path: str) -> None:
        """Delete one file."""
        (self.root / path).unlink()
        self.expected.pop(path, None)
        self.removed.add(path)

    def rename_folder(self, old: str, new: str) -> None:
        """Move one of its own folders, and everything in it."""
        (self.root / old).rename(self.root / new)
        for path in [path for path in self.expected if path.startswith(f"{old}/")]:
            moved = new + path[len(old) :]
            self.expected[moved] = self.expected.pop(path)
            self.removed.add(path)
            self.removed.discard(moved)

    def burst_paths(self, number: int, files: int = 300) -> list[str]:
        """The paths of one burst's new files, in the order in which `play_burst` will write them."""
        return [f"{self.area}/burst-{number}/{at % 7}/file-{at}.txt" for at in range(files)]

    def play_burst(self, number: int, *, files: int = 300, changes: int = 12, removals: int = 5, pause_s: float = 0.0) -> None:
        """One burst: new files, changes and removals of the tree's own ones, a folder renamed, now and then a large file."""
        pace = threading.Event()
        for at, path in enumerate(self.burst_paths(number, files)):
            self.write(path, self._random.randrange(200, 8000))
            if at * changes // files != (at + 1) * changes // files:
                self.write(self._random.choice(self._mine), self._random.randrange(200, 20000))
            if at * removals // files != (at + 1) * removals // files:
                self.remove(self._mine.pop(self._random.randrange(len(self._mine))))
            pace.wait(pause_s)
        if number % 4 == 1:
            self.write(f"{self.area}/large.bin", LARGE_BYTES)
        if number % 3 == 2 and (self.root / f"{self.area}/burst-{number - 1}").is_dir():
            self.rename_folder(f"{self.area}/burst-{number - 1}", f"{self.area}/moved-{number - 1}")

    def check(self, digests: dict[str, str]) -> None:
        """What it wrote last is there byte for byte, what it removed stayed away. `digests`: of a folder, path -> SHA-256."""
        wrong = [f"{path!r} is {digests.get(path)}, not {digest}" for path, digest in self.expected.items() if digests.get(path) != digest]
        wrong += [f"{path!r}: came back after its removal" for path in self.removed if path in digests]
        assert not wrong, f"{len(wrong)} of {self.area}'s paths are not as left:\n{shown(wrong)}"


def _share_of(path: str) -> int:
    return crc32(path.encode(errors="surrogateescape")) % 2
