"""A folder becomes a link to somewhere else at the worst moment: nothing is read there, nothing is written there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import verbs
from store.atomic import Folder
from store.errors import Conflicting, FastestError, RootLost
from store.types import DIR, Entry, Link, RelPath, digest_of
from sync.apply import apply_plan
from sync.core.plan import Action
from tests.hostile.thorough import ALL
from tests.trees import Replica, file, read_tree, write_tree
from tests.two_replicas import MemoryCloud, Side, run

SECRET, OLD, NEW = b"of somebody else\n", b"old", b"new"
RACE_SECONDS = 1.0
DOORS = (
    "open", "scan", "names", "stat", "read_link", "open_file", "write_temp", "write_hidden", "link_hidden", "make_temp_link",
    "make_temp_dir", "discard", "exchange", "place", "take_aside", "make_dir", "remove_dir", "set_executable", "sync",
)  # fmt: skip


class Watched(Folder):
    """Calls `moment` before each thing that is done through the door of the file system."""

    moment: Callable[[], None] = staticmethod(lambda: None)


def _around(name: str) -> Any:
    act = getattr(Folder, name)

    def door(self: Watched, *args: Any, **named: Any) -> Any:
        Watched.moment()
        return act(self, *args, **named)

    return door


for _name in DOORS:
    setattr(Watched, _name, _around(_name))


class Place:
    """A workspace with `d/e` in it, and a folder beside it that looks just the same."""

    def __init__(self, folder: Path, before: dict[bytes, bytes | Entry]) -> None:
        (folder / "w").mkdir(parents=True)
        self.replica = Replica(folder / "w")
        for data in (OLD, NEW, b""):
            self.replica.blobs.put(data)
        tree = {b"d/e/" + path: what for path, what in before.items()} | {b"d/e/stays": b"x"}
        write_tree(self.replica.path, tree)
        self.replica.settle()
        self.outside = folder / "outside"
        write_tree(self.outside, {path.removeprefix(b"d/"): what for path, what in tree.items()} | {b"e/secret": SECRET, b"secret": SECRET})
        self.was = self.shape()

    def shape(self) -> dict[bytes, tuple[Entry, int, int]]:
        """Everything outside, with what tells a change even where the bytes are the same."""
        found = {}
        for path, entry in read_tree(self.outside).items():
            status = os.lstat(os.path.join(os.fsencode(self.outside), path))  # noqa: PTH118 - bytes
            found[path] = entry, status.st_ino, status.st_mtime_ns
        return found

    def swap(self, name: str) -> None:
        """It goes aside, within the workspace, and a link outside takes its place."""
        at = self.replica.path / name
        if at.exists():
            at.rename(at.with_name("aside"))
            at.symlink_to(self.outside / {"d": ".", "d/e": "e", "d/e/n": "e/secret"}[name])

    def assert_untouched(self) -> None:
        assert self.shape() == self.was, "nothing outside was written"
        assert digest_of(SECRET) not in self.replica.blobs.kept, "nothing outside was read"


STEPS: list[tuple[dict[bytes, bytes | Entry], list[tuple[bytes, Entry | None, Entry | None]]]] = [
    ({}, [(b"n", None, file(NEW))]),
    ({}, [(b"n", None, DIR), (b"n/x", None, file(NEW))]),
    ({}, [(b"n", None, Link(b"t"))]),
    ({b"n": OLD}, [(b"n", file(OLD), file(NEW))]),
    ({b"n": OLD}, [(b"n", file(OLD), file(OLD, True))]),
    ({b"n": OLD}, [(b"n", file(OLD), None)]),
    ({b"n": OLD}, [(b"n", file(OLD), DIR), (b"n/x", None, file(NEW))]),
    ({b"n": DIR}, [(b"n", DIR, None)]),
    ({b"n": DIR}, [(b"n", DIR, file(NEW))]),
    ({b"n": Link(b"t")}, [(b"n", Link(b"t"), None)]),
    ({}, [(b"n%02d" % number, None, file(NEW)) for number in range(6)]),
    ({}, [(b"m", None, DIR), *((b"m/%02d" % number, None, file(NEW)) for number in range(70))]),
]


@pytest.mark.parametrize("name", ["d", "d/e", "d/e/n"] if ALL else ["d/e"])
@pytest.mark.parametrize(("before", "steps"), STEPS, ids=range(len(STEPS)))
def test_at_every_moment_of_a_plan(
    tmp_path: Path, before: dict[bytes, bytes | Entry], steps: list[tuple[bytes, Entry | None, Entry | None]], name: str
) -> None:
    passed = 0
    for moment in range(60) if len(steps) < (10 if ALL else 3) else (0, 1, 3, 8, 21, 144):
        place, passed = Place(tmp_path / str(moment), before), 0

        def swap_at(place: Place = place, moment: int = moment) -> None:
            nonlocal passed
            passed += 1
            if passed == moment + 1:
                place.swap(name)

        Watched.moment = swap_at
        try:
            with Watched.open_root(place.replica.path) as root:
                actions = [Action(RelPath(b"d/e/" + path), expect, become) for path, expect, become in steps]
                apply_plan(actions, root, place.replica.blobs, place.replica.index, keep=place.replica.blobs.put)
        finally:
            Watched.moment = staticmethod(lambda: None)
        place.assert_untouched()
        if passed <= moment:
            break
    assert passed, "there were moments"


@pytest.mark.parametrize("name", ["d", "d/e", "d/e/n"])
def test_at_every_moment_of_a_look(tmp_path: Path, name: str) -> None:
    moment = 0
    while True:
        place, passed = Place(tmp_path / str(moment), {b"n": OLD, b"sub": DIR, b".fstignore": b"*.log\n"}), 0
        for path in (b"d/e/n", b"d/e/new"):
            (place.replica.path / os.fsdecode(path)).write_bytes(b"edited, so that it is read\n")

        def swap_at(place: Place = place, moment: int = moment) -> None:
            nonlocal passed
            passed += 1
            if passed == moment + 1:
                place.swap(name)

        Watched.moment = swap_at
        try:
            with Watched.open_root(place.replica.path) as root:
                place.replica.look(root=root)
        except FastestError:
            pass
        finally:
            Watched.moment = staticmethod(lambda: None)
        place.assert_untouched()
        if passed <= moment:
            break
        moment += 1
    assert moment > 5, "there were moments"


SWAPPER = """
import ctypes, os, sys
here, link = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
sys.stdout.write("ready\\n"); sys.stdout.flush()
while os.getppid() == int(os.environ["PARENT"]):
    libc.renameat2(-100, here.encode(), -100, link.encode(), 2)
"""


@pytest.fixture
def raced(tmp_path: Path) -> Iterator[Place]:
    """Somebody exchanges `d` and a link, without end and as fast as the system lets them."""
    place = Place(tmp_path, {b"n": OLD})
    link = place.replica.path / "link"
    link.symlink_to(place.outside)
    place.replica.settle()
    arguments = [sys.executable, "-c", SWAPPER, str(place.replica.path / "d"), str(link)]
    process = subprocess.Popen(arguments, env=os.environ | {"PARENT": str(os.getpid())}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield place
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_race_while_it_is_applied_and_looked_at(raced: Place) -> None:
    replica, deadline = raced.replica, time.monotonic() + RACE_SECONDS
    outcomes = {"done": 0, "stale": 0}
    has: Entry = file(OLD)
    while time.monotonic() < deadline:
        become = file(NEW) if has == file(OLD) else file(OLD)
        steps = [Action(RelPath(b"d/e/n"), has, become), Action(RelPath(b"d/e/m"), None, DIR)]
        applied = apply_plan(steps, replica.root, replica.blobs, replica.index, keep=replica.blobs.put)
        replica.index.remember(applied.seen)
        for done in applied.done:
            if done.path == b"d/e/n":
                has = become
        outcomes["done"] += len(applied.done)
        outcomes["stale"] += len(applied.stale)
        replica.look()
    raced.assert_untouched()
    assert outcomes["done"] and outcomes["stale"], f"the race was a race: {outcomes}"


# --- roots -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(tmp_path / "machine", MemoryCloud())
    made.write("d/f", "first\n")
    made.write("g", "first\n")
    made.sync()
    yield made
    made.close()


def test_a_root_behind_a_link_is_another_root(side: Side, tmp_path: Path) -> None:
    """The folder above the root was exchanged: by its name the root is there, and it is somebody else's folder."""
    theirs = tmp_path / "theirs"
    write_tree(theirs / "work", {b"secret": SECRET})
    side.root.parent.rename(tmp_path / "aside")
    (tmp_path / "machine").symlink_to(theirs)
    with pytest.raises(RootLost):
        side.look()
    with pytest.raises(RootLost):
        run(side.engine.recover())
    with pytest.raises(RootLost):
        side.replica.open_root()
    assert read_tree(theirs) == {b"work": DIR, b"work/secret": file(SECRET)} and not side.blobs.has(digest_of(SECRET))
    (tmp_path / "machine").unlink()
    (tmp_path / "aside").rename(tmp_path / "machine")


@pytest.mark.parametrize("looked", [True, False])
def test_a_restore_goes_through_no_link(side: Side, tmp_path: Path, looked: bool) -> None:
    first = side.snapshot("first")
    side.write("d/f", "second\n")
    side.write("g", "second\n")
    side.look()
    theirs = tmp_path / "theirs"
    write_tree(theirs, {b"f": b"second\n"})
    (side.root / "d").rename(side.root / "aside")
    (side.root / "d").symlink_to(theirs)
    if looked:
        side.look()
    try:
        verbs.restore(side.replica, first.id, [], dry_run=False)
    except Conflicting:
        assert not looked, "what was looked at is restored"
    assert read_tree(theirs) == {b"f": file(b"second\n")}
    if looked:
        assert (side.root / "d").is_dir() and not (side.root / "d").is_symlink() and (side.root / "d" / "f").read_text() == "first\n"
