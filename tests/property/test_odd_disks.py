"""The real engine, three machines, and disks that treat names each in their own way: nothing is lost, all that can be equal is.

Truth is kept here, from what the people did: every text somebody wrote until somebody who saw it took it away, as in
test_two_machines, which asks the same of the planner alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from store import conflicts, workspaces
from store.atomic import Folder
from store.manifest import walk_manifest
from store.types import Digest, File
from sync.core.plan import NAME_COLLISION, NAME_REFUSED
from tests.folding import Apple, Ascii, Fat, Hfs
from tests.two_replicas import MemoryCloud, Side, run

DISKS: list[type[Folder]] = [Folder, Ascii, Apple, Hfs, Fat]
NAMES = ["a", "A", "b", "\u00e9", "e\u0301", "\u00c9", "x:y", "end."]
PLACES = [*NAMES, *(f"{folder}/{name}" for folder in ("a", "A", "\u00e9", "end.") for name in ("a", "A", "x:y"))]
DOINGS = st.tuples(st.integers(0, 2), st.sampled_from(["write", "write", "remove", "rename", "sync", "sync"]), st.sampled_from(PLACES))


class Scene:
    """Three machines at one cloud; the first keeps all names apart."""

    def __init__(self, folder: Path, disks: list[type[Folder]], stack: ExitStack) -> None:
        self.cloud = MemoryCloud()
        self.disks: list[type[Folder]] = [Folder, *disks]
        self.sides = [Side(folder / str(number), self.cloud, disk=disk) for number, disk in enumerate(self.disks)]
        self.wanted: set[str] = set()
        self.written = 0
        for side in self.sides:
            stack.callback(side.close)
            run(side.engine.recover())
        # The brake is not what is asked here: some file is always left.
        self.sides[0].write("always", "always\n")
        for side in self.sides:
            side.sync()

    def do(self, which: int, doing: str, place: str) -> None:
        side = self.sides[which]
        if doing == "sync":
            side.sync()
            return
        before = set(side.tree().values())
        path = side.root / place
        if doing == "write":
            self.write(side, self.disks[which], place)
        elif os.path.lexists(path) and path.is_file():
            self.written += 1
            path.unlink() if doing == "remove" else path.rename(side.root / f"moved{self.written}")
        self.wanted -= before - set(side.tree().values())

    def write(self, side: Side, kind: type[Folder], place: str) -> None:
        """A person saves; a name that the disk cannot hold, or that is another's there, is no name to them either."""
        here = side.root
        for name in place.split("/"):
            if not here.is_dir():
                return
            with kind.open_root(here) as folder:
                there = folder.stat(name.encode()) is not None
                if there and name not in [path.name for path in here.iterdir()]:
                    return
                if not there and not is_possible(kind, here, name):
                    return
            here = here / name
        if here.is_dir():
            return
        self.written += 1
        self.wanted.add(f"text {self.written}\n")
        side.write(place, f"text {self.written}\n")

    def find_all(self) -> set[str]:
        """Every text that is in some folder, in the head, or in a record."""
        found = {text for side in self.sides for text in side.tree().values()}
        found |= {
            self.cloud.blobs[entry.digest].decode()
            for _, entry in walk_manifest(self.cloud.root, self.cloud.nodes_kept)
            if isinstance(entry, File)
        }
        for side in self.sides:
            for digest in conflicts.conflict_digests(side.db.read()):
                found.add(side.blobs.get(Digest(digest)).decode())
        return found

    def come_home(self) -> None:
        for _ in range(6):
            version = self.cloud.version
            for side in self.sides:
                side.sync()
            if version == self.cloud.version:
                return
        raise AssertionError("they never agree")


def is_possible(kind: type[Folder], here: Path, name: str) -> bool:
    probe = here / "probe"
    probe.mkdir()
    try:
        with kind.open_root(probe) as folder:
            folder.make_dir(name.encode())
            return name in folder.names()
    except Exception:
        return False
    finally:
        shutil.rmtree(probe)


# A failure is not made smaller: each try moves real folders, and what is drawn is short.
@settings(max_examples=max(8, settings().max_examples // 6), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.sampled_from(DISKS), min_size=2, max_size=2), st.lists(DOINGS, min_size=4, max_size=24))
def test_on_whatever_disks_nothing_is_lost_and_what_can_be_equal_is(disks: list[type[Folder]], doings: list[tuple[int, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scene = Scene(Path(folder), disks, stack)
        for which, doing, place in doings:
            scene.do(which, doing, place)
            assert scene.wanted <= scene.find_all(), f"lost: {scene.wanted - scene.find_all()}"
        scene.come_home()
        assert scene.wanted <= scene.find_all(), f"lost: {scene.wanted - scene.find_all()}"
        everything = dict(walk_manifest(scene.cloud.root, scene.cloud.nodes_kept))
        for side, kind in zip(scene.sides, scene.disks, strict=True):
            waits = workspaces.list_apart(side.db.read(), side.replica.id)
            here = dict(walk_manifest(side.replica.row.full_root, side.blobs))
            assert here == {path: entry for path, entry in everything.items() if path not in waits}, kind.__name__
            assert {one.kind for one in waits.values()} <= {NAME_COLLISION, NAME_REFUSED}
            assert kind is not Folder or not waits
