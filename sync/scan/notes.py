"""What a look notes down while it goes, and what it found in the end."""

from __future__ import annotations

import msgspec

from store.errors import FastestError
from store.index import StatIndex, entry_of
from store.types import Change, Digest, Entry, RelPath, Spot, parent_of, spot_of
from sync.core.plan import Problem


class ScanResult(msgspec.Struct, frozen=True):
    """What a look found. `seen` and `contents` belong into the transaction that keeps `changes`."""

    changes: list[Change]
    """Against the index, sorted by path."""
    seen: dict[RelPath, bytes | None]
    """New records for the index; None: nothing is there any more."""
    contents: list[tuple[Digest, bytes]]
    """Small new contents; larger and many ones are in the store already."""
    problems: list[Problem]
    deferred: frozenset[Spot]
    """To be looked at again soon: it was being written, or is too young to be trusted."""
    looked: frozenset[Spot] | None
    """What the problems are about; None: everything."""
    ignored: int
    """Names met and not looked at because a rule says so."""
    rules_changed: bool
    """A rule file changed; what lies below it has been decided again already."""
    known: int
    """Paths in the index before; with `removed` the measure of a sudden emptiness (H2)."""
    removed: int

    def covers(self, path: RelPath) -> bool:
        """True when the look asked for this path, so that what was known of its problems is out of date."""
        return self.looked is None or spot_of(path) in self.looked or Spot(parent_of(path), b"") in self.looked


class Notes:
    """What one look found so far."""

    def __init__(self, index: StatIndex) -> None:
        self.changes: dict[RelPath, Change] = {}
        self.seen: dict[RelPath, bytes | None] = {}
        self.problems: list[Problem] = []
        self.deferred: set[Spot] = set()
        self.looked: set[Spot] = set()
        self.ignored = 0
        self.rules_changed = False
        self.has_expelled = False
        self._index = index
        self._grown: set[RelPath] = set()
        """Folders below which this look took something that was not known."""
        self._removed = 0

    def take(self, path: RelPath, old: Entry | None, entry: Entry, seen_as: bytes) -> None:
        """This is at the path now; what is known of it is `old`."""
        self.seen[path] = seen_as
        if entry != old:
            self.changes[path] = Change(path, old, entry)
        if old is None:
            folder = parent_of(path)
            while folder not in self._grown:
                self._grown.add(folder)
                folder = parent_of(folder)

    def drop(self, path: RelPath, record: bytes) -> None:
        """Nothing is carried at this path any more, nor below it."""
        self.drop_below(path)
        self._drop_one(path, record)

    def expel(self, path: RelPath, record: bytes) -> None:
        """It is there, and carried no more."""
        self.has_expelled = True
        self.drop(path, record)

    def drop_below(self, folder: RelPath) -> None:
        """Nothing is carried below it any more."""
        for path, record in self._index.below(folder):
            self._drop_one(path, record)
        if folder in self._grown:
            for path in [path for path, seen_as in self.seen.items() if seen_as is not None and path.startswith(folder + b"/")]:
                del self.seen[path], self.changes[path]

    def report(self, path: bytes, error: FastestError) -> None:
        """The world refused this path."""
        self.problems.append(Problem(RelPath(path), error.code, error.message))

    def result(self, contents: list[tuple[Digest, bytes]], *, everything: bool) -> ScanResult:
        """All of it."""
        changes = [self.changes[path] for path in sorted(self.changes)]
        return ScanResult(
            changes, self.seen, contents, self.problems, frozenset(self.deferred), None if everything else frozenset(self.looked),
            self.ignored, self.rules_changed, len(self._index), self._removed,
        )  # fmt: skip

    def _drop_one(self, path: RelPath, record: bytes) -> None:
        self.seen[path] = None
        self._removed += 1
        self.changes[path] = Change(path, entry_of(record), None)
