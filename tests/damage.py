"""A small workspace with a store and a cloud, to be hurt: copies of it, and the truth about it kept beside."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from daemon.config import Places
from daemon.mend.folders import note_folders
from store import workspaces
from store.blobs import BlobStore
from store.database import Database
from store.types import Digest, digest_of
from sync.replica import LocalReplica
from tests.two_replicas import MemoryCloud, Side

TEXTS = {
    "a.txt": "alpha\n" * 20, "deep/b.txt": "beta\n" * 300, "deep/er/c.txt": "c", "empty": "", "large.txt": "".join(map(str, range(30_000))),
    **{f"many/{number}.txt": f"number {number}\n" * (number + 1) for number in range(60)},
}  # fmt: skip
CHANGED = {"a.txt": "alpha again\n"}


class Patient(Side):
    """A machine over files that were copied from another's."""

    def __init__(self, folder: Path, cloud: MemoryCloud) -> None:
        super().__init__(folder, cloud)
        for path, text in TEXTS.items():
            self.write(path, text)
        self.db.write_now(lambda tx: workspaces.set_machine(tx, "machine", "desk"))
        self.snapshot("first")
        self.sync()
        self.blobs.compact(170_000)
        for path, text in CHANGED.items():
            self.write(path, text)
        self.snapshot("second")
        self.sync()
        (folder / "state").mkdir()
        note_folders(folder / "state", self.db.read())

    def copy_to(self, folder: Path) -> None:
        """The closed store, without the folder."""
        folder.mkdir()
        for part in (self.root.parent).iterdir():
            if part.name != "work":
                (shutil.copytree if part.is_dir() else shutil.copyfile)(part, folder / part.name)

    @property
    def truth(self) -> dict[str, str]:
        return TEXTS | CHANGED

    @property
    def contents(self) -> dict[Digest, bytes]:
        """Every content that was ever kept."""
        texts = [*TEXTS.values(), *CHANGED.values()]
        return {digest_of(text.encode()): text.encode() for text in texts}


def places_of(folder: Path) -> Places:
    return Places(folder, folder, folder / "state", folder, folder, folder / "socket", is_own_home=True)


def revive(patient: Patient, db: Database, folder: Path) -> Patient:
    """The patient over this store, with a cloud of its own that knows what the patient's knows."""
    revived: Patient = copy.copy(patient)
    revived.db, revived.blobs = db, BlobStore(db, folder / "segments")
    (row,) = workspaces.list_replicas(db.read())
    revived.replica = LocalReplica(db, revived.blobs, patient.clock, row.id)
    revived.replica.progress = patient.progress
    revived.cloud = copy.deepcopy(patient.cloud)
    revived.engine = revived.new_engine()
    return revived
