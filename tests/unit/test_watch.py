"""The watcher: whatever happens below the root marks its folder dirty, soon, and what it cannot tell becomes a rescan."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from store.errors import Unwritable
from store.types import Spot
from sync import watch
from sync.scan.mounts import is_out_of_descriptors, network_kind
from sync.watch import AnySystem, Inotify, Nudge, Watcher
from tests.trees import at, write_tree
from tests.waiting import wait_until

SOON = 5.0


def folders_of(nudge: Nudge) -> set[bytes]:
    return {spot.folder for spot in nudge.spots}


class Watched:
    """A watcher, and everything it ever told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nudges = 0
        self.folders: set[bytes] = set()
        self.paths: set[bytes] = set()
        self.rescans: list[str] = []
        self.watcher = Watcher(os.fsencode(path), self._nudged)

    def _nudged(self) -> None:
        self.nudges += 1

    def fetch(self) -> Nudge:
        nudge = self.watcher.fetch()
        self.folders |= folders_of(nudge)
        self.paths |= {b"/".join(filter(None, spot)) for spot in nudge.spots}
        self.rescans += [nudge.rescan] if nudge.rescan else []
        return nudge

    def hears(self, folder: bytes) -> Callable[[], bool]:
        return lambda: (self.fetch(), folder in self.folders)[1]

    def wait_for(self, *folders: bytes) -> None:
        for folder in folders:
            wait_until(self.hears(folder), SOON, f"{folder!r} is dirty")

    def settle(self) -> None:
        """Everything so far was heard, and is forgotten."""
        assert self.watcher.barrier(SOON)
        self.fetch()
        self.folders, self.paths, self.rescans = set(), set(), []


@pytest.fixture(params=[Inotify, AnySystem])
def either(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Linux's own eyes, and those of any other system."""
    monkeypatch.setattr(watch, "Inotify", request.param)
    yield from open_watched(tmp_path)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    yield from open_watched(tmp_path)


def open_watched(tmp_path: Path) -> Iterator[Watched]:
    write_tree(tmp_path, {b"w/a/b/c": b"1", b"w/d/e": b"1", b"w/top": b"1", b"outside/x": b"1"})
    made = Watched(tmp_path / "w")
    assert made.watcher.start() is True
    made.settle()
    yield made
    made.watcher.stop()


def edit(path: Path) -> None:
    path.write_bytes(b"edited")


DEEDS: list[tuple[Callable[[Path], object], set[bytes]]] = [
    (lambda root: edit(root / "top"), {b""}),
    (lambda root: edit(root / "a" / "b" / "c"), {b"a/b"}),
    (lambda root: (root / "d" / "new").write_bytes(b""), {b"d"}),
    (lambda root: (root / "d" / "e").unlink(), {b"d"}),
    (lambda root: (root / "d" / "e").rename(root / "a" / "f"), {b"d", b"a"}),
    (lambda root: (root / "d" / "e").rename(root.parent / "out"), {b"d"}),
    (lambda root: (root.parent / "outside" / "x").rename(root / "d" / "in"), {b"d"}),
    (lambda root: (root / "d" / "e").chmod(0o755), {b"d"}),
    (lambda root: (root / "d" / "link").symlink_to("e"), {b"d"}),
    (lambda root: (root / "d" / "sub").mkdir(), {b"d"}),
    (lambda root: (root / "a" / "b").rename(root / "moved"), {b"a", b""}),
    (lambda root: shutil.rmtree(root / "a"), {b""}),
]


@pytest.mark.parametrize(("deed", "dirty"), DEEDS)
def test_every_change_marks_its_folder(either: Watched, deed: Callable[[Path], object], dirty: set[bytes]) -> None:
    deed(either.path)
    either.wait_for(*dirty)
    assert either.nudges >= 1
    assert either.rescans == []


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", "e\u0301".encode(), b"n" * 255])
def test_names_come_as_bytes(either: Watched, name: bytes) -> None:
    at(either.path, b"d/" + name).mkdir()
    either.settle()
    at(either.path, b"d/" + name + b"/" + name).write_bytes(b"")
    either.wait_for(b"d/" + name)
    assert b"d/" + name + b"/" + name in either.paths


def test_a_write_is_heard_before_the_file_is_closed(watched: Watched) -> None:
    with (watched.path / "d" / "e").open("r+b", buffering=0) as writer:
        writer.write(b"x")
        watched.wait_for(b"d")


def test_a_burst_is_few_nudges_and_its_folder_as_a_whole(watched: Watched) -> None:
    for number in range(500):
        (watched.path / "d" / f"{number}").write_bytes(b"")
    assert watched.watcher.barrier(SOON)
    nudge = watched.watcher.fetch()
    assert (watched.nudges, nudge) == (1, Nudge(frozenset({Spot(b"d", b"")})))
    edit(watched.path / "d" / "e")
    wait_until(lambda: watched.nudges == 2, SOON, "a nudge after the fetch")


def test_a_single_save_is_a_single_path(watched: Watched) -> None:
    edit(watched.path / "d" / "e")
    assert watched.watcher.barrier(SOON)
    assert watched.watcher.fetch() == Nudge(frozenset({Spot(b"d", b"e")}))


def test_what_is_made_together_with_its_folders_is_never_missed(watched: Watched) -> None:
    for number in range(100):
        folder = watched.path / f"new{number}" / "deep" / "er"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"")
    assert watched.watcher.barrier(SOON)
    watched.fetch()
    assert {b"new%d/deep/er" % number for number in range(100)} <= watched.folders
    watched.settle()
    edit(watched.path / "new7" / "deep" / "er" / "file")
    watched.wait_for(b"new7/deep/er")


def test_a_folder_that_moved_is_heard_under_its_new_name_only(watched: Watched) -> None:
    (watched.path / "a").rename(watched.path / "d" / "moved")
    watched.wait_for(b"", b"d", b"d/moved", b"d/moved/b")
    watched.settle()
    edit(watched.path / "d" / "moved" / "b" / "c")
    assert watched.watcher.barrier(SOON)
    watched.fetch()
    assert watched.folders == {b"d/moved/b"}


def test_a_folder_that_left_is_not_heard_any_more(watched: Watched) -> None:
    gone = watched.path.parent / "gone"
    (watched.path / "a").rename(gone)
    watched.settle()
    edit(gone / "b" / "c")
    assert watched.watcher.barrier(SOON)
    assert folders_of(watched.watcher.fetch()) == set()
    gone.rename(watched.path / "back")
    watched.wait_for(b"back/b")
    watched.settle()
    edit(watched.path / "back" / "b" / "c")
    watched.wait_for(b"back/b")


def test_folders_that_swap_names_are_heard_under_the_right_ones(watched: Watched) -> None:
    (watched.path / "a").rename(watched.path / "t")
    (watched.path / "d").rename(watched.path / "a")
    (watched.path / "t").rename(watched.path / "d")
    watched.settle()
    edit(watched.path / "d" / "b" / "c")
    edit(watched.path / "a" / "e")
    assert watched.watcher.barrier(SOON)
    assert folders_of(watched.watcher.fetch()) == {b"d/b", b"a"}


def test_a_folder_made_again_is_watched_again(watched: Watched) -> None:
    for _ in range(20):
        shutil.rmtree(watched.path / "a")
        (watched.path / "a" / "b").mkdir(parents=True)
    watched.settle()
    (watched.path / "a" / "b" / "c").write_bytes(b"")
    watched.wait_for(b"a/b")


def test_our_temporaries_and_gits_own_files_are_not_told(watched: Watched) -> None:
    (watched.path / ".git" / "refs").mkdir(parents=True)
    watched.settle()
    for path in (".fst-tmp-1", "d/.fst-tmp-2", ".git/HEAD", ".git/refs/x", ".git/index.lock"):
        (watched.path / path).write_bytes(b"")
    (watched.path / ".git" / "refs" / "new").mkdir()
    assert watched.watcher.barrier(SOON)
    assert watched.watcher.fetch() == Nudge(frozenset())


def test_a_folder_that_is_built_out_of_sight_is_heard_once_it_is_shown(watched: Watched) -> None:
    write_tree(watched.path, {b"d/.fst-tmp-1/sub/x": b"", b"d/.fst-tmp-1/y": b""})
    assert watched.watcher.barrier(SOON)
    assert watched.watcher.fetch() == Nudge(frozenset())
    (watched.path / "d" / ".fst-tmp-1").rename(watched.path / "d" / "shown")
    watched.wait_for(b"d", b"d/shown", b"d/shown/sub")
    watched.settle()
    edit(watched.path / "d" / "shown" / "sub" / "x")
    watched.wait_for(b"d/shown/sub")


def test_links_and_other_disks_are_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, {b"w/d/x": b"", b"outside/y": b""})
    (tmp_path / "w" / "out").symlink_to(tmp_path / "outside")
    made = Watched(tmp_path / "w")
    assert made.watcher.start()
    made.settle()
    edit(tmp_path / "outside" / "y")
    assert made.watcher.barrier(SOON)
    assert folders_of(made.watcher.fetch()) == set()
    made.watcher.stop()


def test_a_move_out_of_the_root_holds_nothing_up(watched: Watched) -> None:
    """watchdog itself would wait half a second for the other half of the move."""
    began = time.monotonic()
    (watched.path / "d" / "e").rename(watched.path.parent / "out")
    edit(watched.path / "top")
    watched.wait_for(b"")
    assert time.monotonic() - began < 0.25


def test_a_barrier_proves_that_all_before_it_was_heard(either: Watched) -> None:
    for number in range(50):
        folder = either.path / "d" / f"{number}"
        folder.mkdir()
        assert either.watcher.barrier(SOON)
        (folder / "file").write_bytes(b"")
        assert either.watcher.barrier(SOON)
        assert b"d/%d" % number in folders_of(either.watcher.fetch())
    assert not [path for path in either.path.iterdir() if path.name.startswith(".fst-tmp-")]


def test_a_barrier_that_cannot_be_heard_says_so(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched.watcher._eyes, "on_event", lambda event: None)
    assert watched.watcher.barrier(0.01) is False
    watched.watcher.stop()
    assert watched.watcher.barrier(SOON) is False
    assert not [path for path in watched.path.iterdir() if path.name.startswith(".fst-tmp-")]


def test_reading_is_not_told(either: Watched) -> None:
    for path in either.path.rglob("*"):
        assert path.is_dir() or path.read_bytes() == b"1"
    assert either.watcher.barrier(SOON)
    assert either.watcher.fetch() == Nudge(frozenset())


def test_an_overflow_is_a_rescan_and_everything_is_watched_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    eyes = watched.watcher._eyes
    assert isinstance(eyes, Inotify) and eyes._reader is not None
    # Folders made while events are lost: nobody tells of them.
    with monkeypatch.context() as patch:
        patch.setattr(eyes, "on_event", lambda event: None)
        (watched.path / "unseen").mkdir()
        wait_until(lambda: watched.watcher.barrier(0.05) is False, SOON)
    mask = InotifyConstants.IN_Q_OVERFLOW
    eyes._reader.handle_event(InotifyEvent(-1, mask, 0, b""))  # type: ignore[arg-type]
    assert "overflowed" in watched.watcher.fetch().rescan
    (watched.path / "unseen" / "x").write_bytes(b"")
    watched.wait_for(b"unseen")


@pytest.mark.parametrize("deed", [lambda root: shutil.rmtree(root), lambda root: root.rename(root.parent / "moved")])
def test_a_root_that_is_gone_is_a_rescan_and_ends_the_watch(watched: Watched, deed: Callable[[Path], object]) -> None:
    deed(watched.path)
    wait_until(lambda: watched.fetch().rescan or watched.rescans, SOON, "a rescan")
    wait_until(lambda: not watched.watcher.is_alive, SOON, "the end of the watch")


def test_a_reader_that_died_is_noticed(watched: Watched) -> None:
    eyes = watched.watcher._eyes
    assert isinstance(eyes, Inotify) and eyes._reader is not None and watched.watcher.is_alive
    eyes._reader.stop()
    eyes._reader.join()
    assert not watched.watcher.is_alive


@pytest.mark.parametrize(("number", "allowed"), [(errno.ENOSPC, 0), (errno.ENOSPC, 2), (errno.EMFILE, 0)])
def test_a_limit_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, allowed: int) -> None:
    write_tree(tmp_path, {b"a/x": b"", b"b/x": b"", b"c/x": b""})
    left = [allowed]
    really_add = InotifyFD.add_callback

    def add_callback(self: InotifyFD, *args: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        return really_add(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(InotifyFD, "add_callback", add_callback)
    made = Watched(tmp_path)
    threads = threading.active_count()
    assert made.watcher.start() is False
    assert "sudo sysctl fs.inotify.max_user_" in made.watcher.limit
    assert made.watcher.fetch().rescan == made.watcher.limit
    assert made.watcher.is_alive is (allowed > 0), "what can be watched is"
    made.watcher.stop()
    assert threading.active_count() == threads


def test_descriptors_that_ran_out_are_no_limit_of_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(InotifyFD, "__init__", start)
    monkeypatch.setattr("sync.watch.is_out_of_descriptors", lambda: True)
    made = Watched(tmp_path)
    assert made.watcher.start() is False and "`ulimit -n 65536`" in made.watcher.limit
    monkeypatch.undo()
    assert not is_out_of_descriptors()


MOUNTS = """\
22 1 8:991 / / rw,relatime - ext4 /dev/vda rw
30 22 {device} / /home/ann/work rw,relatime shared:5 - {kind} server:/ann rw,vers=4.2
"""


@pytest.mark.parametrize(("kind", "told"), [("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("ext4", ""), ("fuse.ntfs-3g", "")])
def test_a_network_disk_is_watched_and_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: str) -> None:
    device, table, root = tmp_path.stat().st_dev, tmp_path / "mountinfo", tmp_path / "w"
    root.mkdir()
    table.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    assert network_kind(os.fsencode(root), table) == told
    assert network_kind(os.fsencode(root), tmp_path / "nothing") == ""
    monkeypatch.setattr(watch, "network_kind", lambda path: network_kind(path, table))
    made = Watched(root)
    assert made.watcher.start() is not bool(told) and made.watcher.is_alive
    assert told in made.watcher.network and bool(made.watcher.network) is bool(told)
    edit(root / "here")
    made.wait_for(b"")
    made.watcher.stop()


def test_a_root_that_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unwritable):
        Watcher(os.fsencode(tmp_path / "nothing"), lambda: None).start()


def test_storms_of_moves_make_no_noise(watched: Watched) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(200):
            (watched.path / "a").rename(watched.path / f"a{number}")
            (watched.path / f"a{number}").rename(watched.path / "a")
        watched.settle()
    assert watched.watcher.is_alive
    edit(watched.path / "a" / "b" / "c")
    watched.wait_for(b"a/b")


def test_folders_moved_while_the_watch_begins_are_watched_once_and_rightly(tmp_path: Path) -> None:
    write_tree(tmp_path, {b"w/%d/%d/x" % (one, two): b"" for one in range(10) for two in range(10)})
    root, done = tmp_path / "w", threading.Event()

    def shuffle() -> None:
        for turn in range(200):
            (root / f"{turn % 10}").rename(root / "between")
            (root / "between").rename(root / f"{turn % 10}")
        done.set()

    mover = threading.Thread(target=shuffle)
    mover.start()
    made = Watched(root)
    assert made.watcher.start()
    wait_until(done.is_set)
    mover.join()
    made.settle()
    for one in range(10):
        edit(root / f"{one}" / "5" / "x")
    made.wait_for(*(b"%d/5" % one for one in range(10)))
    assert made.watcher.is_alive
    made.watcher.stop()


def test_stopping_ends_every_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        made = Watched(tmp_path)
        assert made.watcher.start()
        made.watcher.stop()
        made.watcher.stop()
    assert threading.active_count() == before
