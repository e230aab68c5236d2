"""Look at a workspace's folder: what differs from the stat index, and the bytes of what is new.

Theory. A look lists folders and compares each name's status with its record; only what differs is read. In a folder of thousands it
asks for the few names alone that the watcher told of (docs/decisions/0008). It changes nothing: its result holds the new records,
which the engine takes over once everything is committed (I1 in store/index.py). Where the world is in doubt a look reports and
keeps what was known (R8): what cannot be read is a problem, what is being written is deferred, and neither is ever a deletion.

D6: a file's status is the same before and after it is read, else it is read again, else deferred. A file that changed within
QUIET_NS and is still open for writing is deferred: it is taken once it is closed, or was left alone that long. A file younger than
the clock's grain is kept doubted and looked at once more (racily clean, as in git's index). Where a disk's clock is ahead of ours,
a file is as old as the first look that saw it so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Final

from store.atomic import Folder
from store.index import StatIndex
from store.types import Digest, RelPath, Spot
from sync.core.plan import Problem
from sync.progress import Progress
from sync.rules import IgnoreSource
from sync.scan.contents import Keeper
from sync.scan.look import Look
from sync.scan.notes import ScanResult
from sync.scan.sweep import Keep, sweep_temps
from sync.scan.take import Sources

__all__ = ["Keeper", "ScanResult", "Scanner"]

RACY_NS: Final = 20_000_000


def _by_folder(spots: Collection[Spot]) -> dict[bytes, set[bytes]]:
    """Folder -> the names to ask for; none: all of them."""
    folders: dict[bytes, set[bytes]] = {}
    for folder, name in spots:
        folders.setdefault(folder, set()).add(name)
    return {folder: set() if b"" in names else names for folder, names in folders.items()}


class Scanner:
    """Looks at one replica's folder, again and again. Used by one thread at a time."""

    def __init__(
        self, index: StatIndex, ignore: IgnoreSource, keeper: Keeper, now_ns: Callable[[], int], racy_ns: int = RACY_NS,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self._sources = Sources(index, ignore, ignore.ignored, keeper, now_ns, racy_ns, set(), progress or Progress(), {}, set())

    def scan(self, root: Folder, dirty: Collection[Spot] | None = None, *, bits: bool = True) -> ScanResult:
        """Look at these spots, and at new folders below them; None: everything. `bits`: this disk keeps executable bits.

        Raises NoSpace, Unwritable from the store.
        """
        with ExitStack() as stack:
            look = Look(self._sources, root, stack, bits)
            look.enter_undecided()
            if dirty is None:
                self._sources.ignored.clear()
                self._sources.ahead.clear()
                look.enter_from_root(b"", deep=True, decide=False)
            else:
                for folder, names in sorted(_by_folder(dirty).items()):
                    look.enter_nearest(folder, names)
            look.enter_later()
            if dirty is not None:
                look.defer_other_names()
            look.settle_expelled()
        return look.result(everything=dirty is None)

    def sweep_temps(
        self, root: Folder, keep: Keep, *, below: bool = True, sites: Collection[RelPath] = ()
    ) -> tuple[list[Digest], list[Problem]]:  # fmt: skip
        """Remove what a crash left, keeping unknown bytes first; before the first look. Returns what was kept, and what resists."""
        return sweep_temps(root, self._sources.index, self._sources.ignore, self._sources.keeper, keep, below=below, sites=sites)

    def want(self, paths: Collection[RelPath]) -> set[RelPath]:
        """The cloud has something at these paths where something else stands: take it at the next look, also if a rule ignores it.

        Returns what was wanted before.
        """
        before = set(self._sources.wanted)
        self._sources.wanted.clear()
        self._sources.wanted.update(paths)
        return before

    def decide_anew(self, folders: Collection[bytes]) -> None:
        """Carried names in these folders came after the rules about them were read: the next look asks again."""
        self._sources.undecided.update(folders)

    def doubt(self, paths: Collection[bytes]) -> None:
        """Have these paths, and what is below them, read at the next look whatever their status says."""
        self._sources.index.doubt(paths)
