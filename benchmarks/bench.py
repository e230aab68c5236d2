"""What every scenario gets: a scratch folder, how often to repeat, and which trees."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import trees
from benchmarks.measure import flush_disks
from tests.lab.process import Lab


@dataclass(slots=True)
class Bench:
    """One run of `python -m benchmarks`. Nothing in `scratch` is deleted before its end.

    On ext4 a file made within minutes of a mass deletion costs several times as much as otherwise.
    """

    scratch: Path
    repeats: int
    quick: bool
    ours: bool
    peers: bool
    labs: list[Lab] = field(default_factory=list)
    _made: int = 0

    def folder(self, name: str) -> Path:
        """A new, empty folder."""
        self._made += 1
        made = self.scratch / f"{self._made}-{name}"
        made.mkdir(parents=True)
        return made

    def lab(self, name: str) -> Lab:
        """A lab of its own: `close_labs` ends whatever was started in it."""
        lab = Lab(self.folder(name))
        self.labs.append(lab)
        return lab

    def big(self) -> Path:
        """The 60,000-file tree (quick: the small one)."""
        return trees.small_tree() if self.quick else trees.npm_tree()

    def small(self) -> Path:
        """The small tree."""
        return trees.small_tree()

    def wide(self) -> Path:
        """The 100,000-file tree (quick: the small one)."""
        return trees.small_tree() if self.quick else trees.wide_tree()

    def told(self, tree: Path) -> str:
        """How large a tree is, for a title."""
        return f"{trees.count_files(tree):,} files"

    def copy(self, tree: Path, target: Path) -> Path:
        """A copy that may be changed, written back before any clock starts."""
        trees.copy_tree(tree, target)
        flush_disks()
        return target

    def close_labs(self) -> None:
        """End every process of the scenario that is over."""
        for lab in self.labs:
            lab.close()
        self.labs.clear()

    def close(self) -> None:
        """Everything gone."""
        self.close_labs()
        shutil.rmtree(self.scratch, ignore_errors=True)


def have(*programs: str) -> str:
    """Empty when all are installed; else what to do."""
    missing = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(missing)} missing. Next: apt-get install -y {' '.join(missing)}" if missing else ""
