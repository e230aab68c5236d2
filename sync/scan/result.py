"""What a look at a folder found."""

from __future__ import annotations

import msgspec

from store.types import Change, Digest, RelPath
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
    deferred: frozenset[bytes]
    """Folders to look at again soon: a file there was being written, or is too young to be trusted."""
    listed: frozenset[bytes] | None
    """The folders whose problems these are; None: all."""
    ignored: int
    """Names met and not looked at because a rule says so."""
    rules_changed: bool
    """A rule file changed; what lies below it has been decided again already."""
    known: int
    """Paths in the index before; with `removed` the measure of a sudden emptiness (H2)."""
    removed: int
