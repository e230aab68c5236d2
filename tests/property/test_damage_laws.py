"""Damage anywhere in the store: what is read is right or refused, no file and no head changes, and a rescue brings all back.

`FLIPS=2000` asks for more; `SEED` for others.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from daemon.mend.rescue import open_store, rescue
from store import workspaces
from store.blobs import BlobStore
from store.errors import Corrupt, FastestError, NewerStore, StoreDamaged
from tests.damage import Patient, places_of, revive
from tests.two_replicas import MemoryCloud, run

FLIPS = int(os.environ.get("FLIPS", "40"))
SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    made = Patient(tmp_path_factory.mktemp("patient"), MemoryCloud())
    made.close()
    yield made


def hurt(folder: Path, seed: int) -> str:
    """Damage one file of the store; what was done, to be told. A flipped bit mostly, half of the time where the small tables lie."""
    chosen = random.Random(seed)
    store, segments = folder / "store.db", sorted((folder / "segments").iterdir())
    file = store if chosen.random() < 0.7 else chosen.choice(segments)
    size = file.stat().st_size
    at, kind = chosen.randrange(size), chosen.choice(["bit"] * 9 + ["page", "cut", "gone", "emptied"])
    if kind == "bit" and file == store and chosen.random() < 0.6:
        at = in_a_root_page(store, chosen)
    data = bytearray(file.read_bytes())
    match kind:
        case "bit":
            data[at] ^= 1 << chosen.randrange(8)
        case "page":
            at -= at % 4096
            data[at : at + 4096] = chosen.randbytes(len(data[at : at + 4096]))
        case "cut":
            del data[at:]
        case "emptied":
            data.clear()
    file.write_bytes(data)
    if kind == "gone":
        file.unlink()
    return f"seed {seed}: {kind} at byte {at} of {file.name}"


def in_a_root_page(store: Path, chosen: random.Random) -> int:
    """A used byte of some table's or index's first page."""
    with closing(sqlite3.connect(store)) as reader:
        pages = [row[0] for row in reader.execute("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0 ORDER BY rootpage")]
    start = (chosen.choice(pages) - 1) * 4096
    page = store.read_bytes()[start : start + 4096]
    return int(start + chosen.choice([at for at, byte in enumerate(page) if byte]))


@pytest.mark.parametrize("seed", range(SEED * 100_000, SEED * 100_000 + FLIPS))
def test_damage_is_harmless_or_told(patient: Patient, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "store"
    patient.copy_to(folder)
    where = hurt(folder, seed)
    print(where)
    root, tree = patient.cloud.root, patient.tree()
    try:
        db = open_store(places_of(folder), doubted=seed % 2 == 0)
    except (StoreDamaged, NewerStore):
        pass
    else:
        try:
            reads_are_true(patient, BlobStore(db, folder / "segments"), where)
            work_spreads_nothing(patient, db, folder)
        finally:
            db.close()
    assert patient.tree() == tree == patient.truth, where
    assert patient.cloud.root == root
    rescued(patient, folder, where)


def reads_are_true(patient: Patient, blobs: BlobStore, where: str) -> None:
    """Reading everything back ends, by whatever way; and no content is another."""
    with suppress(StoreDamaged):
        list(blobs.verify())
    for digest, data in patient.contents.items():
        try:
            assert blobs.get(digest) == data, where
        except Corrupt:
            continue


def work_spreads_nothing(patient: Patient, db: object, folder: Path) -> None:
    """Whole cycles over the damaged store: the cloud's tree stays, and so does the folder."""
    try:
        revived = revive(patient, db, folder)  # type: ignore[arg-type]
    except FastestError:
        return
    before = revived.cloud.root
    for work in (revived.engine.recover, lambda: revived.engine.look(None)):
        try:
            run(work())
        except FastestError:
            return
    with suppress(FastestError):
        revived.sync()
    assert revived.cloud.root == before, "a damaged store was spread"


def rescued(patient: Patient, folder: Path, where: str) -> None:
    """A new database out of the pieces joins what is in the folder with what is in the cloud: nothing is lost and nothing moves."""
    rescue(places_of(folder))
    db = open_store(places_of(folder), doubted=True)
    try:
        revived = revive(patient, db, folder)
        assert workspaces.get_machine(db.read()) == ("machine", "desk"), where
        revived.sync()
        assert revived.tree() == patient.truth, where
        assert revived.cloud.root == patient.cloud.root, where
        assert list(revived.blobs.verify()) == [], where
    finally:
        db.close()
    shutil.rmtree(folder)
