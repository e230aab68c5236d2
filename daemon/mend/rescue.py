"""Open the store, notice that its database is lost, and build one anew out of all that is left: what can still be read of the
old one, the segments, and the list of folders. The old one is set aside and never removed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from daemon.config import Places
from daemon.mend.folders import attach_again, read_folders
from daemon.mend.starts import LOCK_FILE, hold_lock
from store import journal, workspaces
from store.blobs import BLOBS, BlobStore
from store.blobs.segments import sync_folder
from store.conflicts import CONFLICTS
from store.database import HINT, Database, Tx
from store.errors import NotFound, StoreDamaged
from store.history import HISTORY
from store.index import INDEX, StatIndex
from store.journal import JOURNAL
from store.salvage import Salvaged, salvage, told
from store.snapshots import SNAPSHOTS
from store.types import show_path
from store.workspaces import WORKSPACES, Replica

COMPONENTS: Final = (BLOBS, WORKSPACES, HISTORY, SNAPSHOTS, CONFLICTS, JOURNAL, INDEX)
STORE_FILE: Final = "store.db"
SEGMENTS: Final = "segments"
ASIDE: Final = "damaged-"
DONE: Final = "rescued"
"""Marks a folder of damaged files that a new database was made of."""
PARTS: Final = ("", "-wal", "-shm")
"""The database first: a start that finds it missing refuses, and a rescue goes on."""


def open_store(places: Places, *, doubted: bool) -> Database:
    """The store's database, made if nothing was ever kept. `doubted`: look at every page. Raises StoreDamaged, NewerStore, Unwritable."""
    path = places.data / STORE_FILE
    evidence = _has_kept(places)
    if evidence and (not path.exists() or path.stat().st_size == 0):
        raise _lost(path)
    db = Database.open(path, COMPONENTS, doubted=doubted)
    try:
        if evidence and workspaces.get_machine(db.read()) is None:
            raise _lost(path)
        _check_rows(db)
    except StoreDamaged:
        db.close()
        raise
    return db


def examine_store(places: Places) -> None:
    """Look at every page of the database while no daemon runs. Raises StoreDamaged, NewerStore, AlreadyRunning."""
    if (places.state / LOCK_FILE).exists():
        with hold_lock(places.state):
            db = open_store(places, doubted=True)
            try:
                BlobStore(db, places.data / SEGMENTS).close()
                for row in workspaces.list_replicas(db.read()):
                    StatIndex.load(db.read(), row.id)
            finally:
                db.close()


def rescue(places: Places) -> list[str]:
    """A new database in the place of the damaged or lost one; what was done, in sentences. Raises AlreadyRunning.

    Killed at any point, it can be done again: the old one is moved before anything is made, and the new one comes whole.
    """
    with hold_lock(places.state):
        aside = _set_aside(places.data)
        fresh = places.data / f"{STORE_FILE}.rescued"
        for part in PARTS:
            fresh.with_name(fresh.name + part).unlink(missing_ok=True)
        Database.open(fresh, COMPONENTS).close()
        db = Database.open(fresh, COMPONENTS)
        try:
            known = read_folders(places.state)
            if known is not None:  # before rows of which any bit may be another
                db.write_now(lambda tx: attach_again(tx, known))
            old = aside / STORE_FILE
            saved = salvage(old, db, fresh) if old.exists() else Salvaged({}, [])
            said = _build(places, db)
        finally:
            db.close()
        fresh.replace(places.data / STORE_FILE)
        sync_folder(places.data)
        (aside / DONE).touch()
    names = told(saved, ("snapshots", "conflicts", "blobs", "nodes"))
    return [f"the damaged database was set aside in {aside}", f"read from it: {names}", *said]


def _build(places: Places, db: Database) -> list[str]:
    """Frames out of their segments, and every folder without a base."""
    store = BlobStore(db, places.data / SEGMENTS)
    store.rebuild_index()
    store.close()

    def work(tx: Tx) -> list[bytes]:
        rows = workspaces.list_replicas(tx)
        for row in rows:
            workspaces.forget_base(tx, row.id)
            journal.finish(tx, row.id)
            StatIndex.forget(tx, row.id)
        return [row.root for row in rows]

    roots = db.write_now(work)
    if not roots:
        return ["no folder is known any more: make each a workspace again with `fst up`, or `fst clone PROJECT --mirror` beside it"]
    return [f"{show_path(root)}: looked at anew, and joined with the cloud; nothing is deleted on either side" for root in roots]


def _set_aside(data: Path) -> Path:
    """The damaged files, in a folder of their own; the one that an unfinished rescue began."""
    count = len(list(data.glob(ASIDE + "*")))
    last = data / f"{ASIDE}{count}"
    aside = last if count and not (last / DONE).exists() else data / f"{ASIDE}{count + 1}"
    aside.mkdir(mode=0o700, exist_ok=True)
    for part in PARTS:
        there = data / (STORE_FILE + part)
        if there.exists():
            there.replace(aside / there.name)
    return aside


def _check_rows(db: Database) -> None:
    """What a daemon begins with is of the types it was written with, and belongs together. Raises StoreDamaged."""
    try:
        for row in workspaces.list_replicas(db.read()):
            msgspec.convert(msgspec.structs.asdict(row), Replica, builtin_types=(bytes,))
            workspaces.get_workspace(db.read(), row.workspace_id)
    except (msgspec.ValidationError, NotFound) as error:
        raise StoreDamaged(f"the store's list of folders cannot be read: {error}", HINT) from error


def _has_kept(places: Places) -> bool:
    """Something was kept here before, whatever the database says."""
    known = read_folders(places.state)
    segments = places.data / SEGMENTS
    return bool(known and known.attached) or (segments.is_dir() and any(segments.glob("*.seg")))


def _lost(path: Path) -> StoreDamaged:
    return StoreDamaged(
        f"the store's database is gone: {path} is missing or empty, and what it named is still there",
        HINT,
    )
