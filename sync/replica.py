"""One replica on this machine: its rows, its stat index and its folder, and the one transaction that keeps a settled state."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Final

import msgspec

from store import history, workspaces
from store.atomic import Folder, TempName
from store.blobs import BlobStore
from store.database import Database, Tx
from store.errors import Busy, NoSpace, RootLost
from store.history import LogEntry
from store.index import StatIndex, is_folder, pack_signature
from store.journal import Trail
from store.manifest import EMPTY_ROOT, Draft, diff_manifests, edit_manifest
from store.types import Change, Digest, Entry, RelPath, Spot, show_path
from store.workspaces import Replica
from sync.apply.probe import probe_disk
from sync.core.disk import PLAIN, Disk
from sync.core.ignore import RULE_FILES
from sync.core.merge.style import Style
from sync.ports import Clock
from sync.progress import Phase, Progress
from sync.rules import IgnoreSource

Also = Callable[[Tx, Digest], None]
FEW_SPOTS: Final = 8
KNOWN_CHANGES: Final = 4_096
"""Changes between two roots that are remembered, at most."""


class LocalReplica:
    """What every verb of the engine works on. Used by one thread at a time."""

    def __init__(
        self, db: Database, blobs: BlobStore, clock: Clock, replica_id: str, style: Style = Style.RECORD, folder: type[Folder] = Folder
    ) -> None:  # fmt: skip
        self.db = db
        self.blobs = blobs
        self.clock = clock
        self.style = style
        self.ignore = IgnoreSource()
        self.progress = Progress()
        self._folder = folder
        self._disk: tuple[tuple[int, int], Disk] | None = None
        self._probed: list[TempName] = []
        self._known: tuple[tuple[Digest, Digest], list[Change]] = (EMPTY_ROOT, EMPTY_ROOT), []
        self.again: set[Spot] = set()
        self.row: Replica = workspaces.get_replica(db.read(), replica_id)
        self.index = StatIndex.load(db.read(), replica_id)
        self.trail = Trail(db.path.with_name(f"applying-{replica_id}"))
        self.placed: dict[RelPath, Entry | None] = {}
        """What an apply that did not end put into the folder, and `agreed` does not know of; None: it took it out again."""

    def take_again(self) -> set[Spot]:
        """What a look beside a plan could not settle: somebody has to look again."""
        taken, self.again = self.again, set()
        return taken

    @property
    def id(self) -> str:
        """The replica's id."""
        return self.row.id

    def reload(self) -> None:
        """Read the row again after a write that went past `commit`."""
        self.row = workspaces.get_replica(self.db.read(), self.row.id)

    def changes_between(self, old: Digest, new: Digest, draft: Draft) -> Iterable[Change]:
        """What differs, by path. A few changes are remembered: sharing, weighing and sending one save ask for the same ones."""
        if self._known[0] != (old, new):
            changes = diff_manifests(old, new, draft)
            first = list(islice(changes, KNOWN_CHANGES))
            if len(first) == KNOWN_CHANGES:
                return chain(first, changes)
            self._known = (old, new), first
        return self._known[1]

    def draft(self) -> Draft:
        """New nodes are drafted here and kept with the state that names them."""
        return Draft(self.blobs)

    @property
    def has_root(self) -> bool:
        """The root is there, and the one that was attached. A glance: one system call."""
        try:
            status = os.stat(self.row.root, follow_symlinks=False)  # noqa: PTH116 - roots are bytes
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.row.identity

    def is_as_recorded(self, spots: Collection[Spot]) -> bool:
        """True where a look at these few names would find files and links as they are recorded: one system call for each.

        So it is where we wrote them ourselves, and the watcher tells of it. A rule file is looked at all the same.
        """
        return len(spots) <= FEW_SPOTS and all(map(self._is_as_recorded, spots))

    def _is_as_recorded(self, spot: Spot) -> bool:
        record = self.index.get(spot.path)
        if record is None or is_folder(record) or spot.name in RULE_FILES:
            return False
        try:
            its = os.stat(self.row.root + b"/" + spot.path, follow_symlinks=False)  # noqa: PTH116 - roots are bytes
        except OSError:
            return False
        return record.startswith(pack_signature(its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_mode))

    def open_root(self) -> Folder:
        """The root folder, when it is still the one that was attached. Raises RootLost (R8: no deletion on doubt)."""
        shown = show_path(self.row.root)
        folder = self._folder.open_root(self.row.root)
        if folder.identity() != self.row.identity:
            folder.close()
            raise RootLost(
                f"{shown} is not the folder that was attached: it was replaced or another disk is mounted there",
                "Bring the old one back, or accept this one with `fst approve`.",
            )
        return folder

    def disk(self) -> Disk:
        """What the root's disk keeps of what it is given: asked once, and again when the root is another. Raises RootLost."""
        if self._disk is None or self._disk[0] != self.row.identity:
            found = None
            with self.open_root() as root, suppress(NoSpace, Busy):
                found = probe_disk(root, self._probed)
            if found is None:
                return PLAIN  # nothing can be written there now, so nothing will be
            self._disk = self.row.identity, found
        return self._disk[1]

    def commit(
        self, *, changes: Sequence[tuple[RelPath, Entry | None]], seen: Mapping[RelPath, bytes | None],
        contents: Iterable[tuple[Digest, bytes]], actor: str, draft: Draft | None = None, also: Also | None = None,
    ) -> Digest:  # fmt: skip
        """Keep a settled state: contents, nodes, stat rows, full root and log in one transaction. Returns the full root.

        `also` may write more in the same transaction. The stat index in memory follows only after the commit.
        """
        self.progress.begin(Phase.KEEPING)
        draft = draft or self.draft()
        full_root = edit_manifest(self.row.full_root, changes, draft) if changes else self.row.full_root
        moved = full_root != self.row.full_root
        sequence = self.row.sequence + moved
        now_ms = self.clock.now_ms()

        def work(tx: Tx) -> None:
            self.blobs.put_inline(tx, contents)
            self.blobs.put_nodes(tx, draft.new)
            self.index.store(tx, self.id, seen)
            if moved:
                workspaces.set_full(tx, self.id, full_root, sequence)
                history.append_log(tx, self.id, LogEntry(sequence, full_root, now_ms, actor, None))
            if also is not None:
                also(tx, full_root)

        self.db.write_now(work)
        self.index.remember(seen)
        self.row = msgspec.structs.replace(self.row, full_root=full_root, sequence=sequence)
        return full_root
