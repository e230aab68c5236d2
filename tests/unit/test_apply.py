"""Carrying out a plan: the new entry comes whole, an edit nobody has seen stays, and nothing unknown is ever discarded."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import atomic
from store.atomic import TEMP_PREFIX, Folder, TempName, Written
from store.errors import FileMoved, NoSpace, Unwritable
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of
from sync.apply import FEW_STEPS, Applied, apply_plan
from sync.core.plan import Action
from sync.scan.sweep import find_sites
from tests.lab.disks import small_disk
from tests.trees import Replica, at, file, read_tree, write_tree

OLD, NEW, MINE = b"old", b"new", b"mine"


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    (tmp_path / "w").mkdir()
    made = Replica(tmp_path / "w")
    for data in (OLD, NEW, b""):
        made.blobs.put(data)
    yield made
    left = [path for path in (tmp_path / "w").rglob("*") if os.fsencode(path.name).startswith(TEMP_PREFIX)]
    assert left == [], "no temporary outlives a plan"


def step(path: bytes, expect: Entry | None, become: Entry | None) -> Action:
    return Action(RelPath(path), expect, become)


def apply(replica: Replica, *steps: Action, root: Folder | None = None, ignoring: bool = True) -> Applied:
    applied = apply_plan(
        steps, root or replica.root, replica.blobs, replica.index, keep=replica.blobs.put, ignore=replica.ignore if ignoring else None
    )
    replica.index.remember(applied.seen)
    return applied


def kept(replica: Replica, data: bytes) -> bool:
    return digest_of(data) in replica.blobs.kept


def test_what_was_left_alone_in_a_folder_goes_with_it(replica: Replica) -> None:
    """S44: the folder's removal was kept without that of what was in it, which was then in no folder."""
    write_tree(replica.path, {b"d/e/x": NEW, b"f": OLD})
    replica.look()
    steps = [step(b"d/e/x", file(OLD), None), step(b"f", file(OLD), None), step(b"d/e", DIR, None)]
    applied = apply_plan(
        steps, replica.root, replica.blobs, replica.index, keep=replica.blobs.put, 
        placed=lambda done: shutil.rmtree(replica.path / "d", ignore_errors=True),
    )  # fmt: skip
    assert applied.stale == [] and {each.path for each in applied.done} == {b"d/e/x", b"f", b"d/e"}
    assert applied.seen[RelPath(b"d/e/x")] is None


def test_what_was_held_back_in_a_folder_that_is_gone_is_gone(replica: Replica) -> None:
    steps = [step(b"d", DIR, None)]
    applied = apply_plan(steps, replica.root, replica.blobs, replica.index, keep=replica.blobs.put, kept_back=[RelPath(b"d/x")])
    assert {each.path for each in applied.done} == {b"d", b"d/x"} and applied.problems == {}


EVERY_STEP: list[tuple[dict[bytes, bytes | Entry], Action]] = [
    ({}, step(b"n", None, file(NEW))),
    ({}, step(b"n", None, file(NEW, True))),
    ({}, step(b"n", None, file(b""))),
    ({}, step(b"n", None, DIR)),
    ({}, step(b"n", None, Link(b"../anywhere\xff"))),
    ({b"n": OLD}, step(b"n", file(OLD), file(NEW))),
    ({b"n": OLD}, step(b"n", file(OLD), file(OLD, True))),
    ({b"n": OLD}, step(b"n", file(OLD), file(NEW, True))),
    ({b"n": OLD}, step(b"n", file(OLD), Link(b"t"))),
    ({b"n": OLD}, step(b"n", file(OLD), DIR)),
    ({b"n": OLD}, step(b"n", file(OLD), None)),
    ({b"n": Link(b"t")}, step(b"n", Link(b"t"), file(NEW))),
    ({b"n": Link(b"t")}, step(b"n", Link(b"t"), Link(b"u"))),
    ({b"n": Link(b"t")}, step(b"n", Link(b"t"), DIR)),
    ({b"n": Link(b"t")}, step(b"n", Link(b"t"), None)),
    ({b"n": DIR}, step(b"n", DIR, file(NEW))),
    ({b"n": DIR}, step(b"n", DIR, Link(b"t"))),
    ({b"n": DIR}, step(b"n", DIR, None)),
]


@pytest.mark.parametrize(("before", "action"), EVERY_STEP, ids=str)
@pytest.mark.parametrize("folder", [b"", b"deep/er/"])
@pytest.mark.parametrize("exchange", [True, False])
def test_every_step_comes_to_its_end_and_is_known_afterwards(
    replica: Replica, before: dict[bytes, bytes | Entry], action: Action, folder: bytes, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_RENAME", None)
    write_tree(replica.path, {folder + b"beside": b"x", **{folder + path: what for path, what in before.items()}})
    replica.settle()
    action = step(folder + action.path, action.expect, action.become)
    applied = apply(replica, action)
    assert (applied.done, applied.problems, applied.stale, applied.rescued) == ([action], {}, [], [])
    tree = read_tree(replica.path)
    assert tree.get(action.path) == action.become
    assert replica.tree() == tree, "the index follows what was applied"
    reread = replica.settle()
    assert reread.changes == []
    if isinstance(action.become, File) and action.become.digest != getattr(action.expect, "digest", None):
        assert action.path not in reread.seen, "what was placed is not read again"


@pytest.mark.parametrize(("before", "action"), EVERY_STEP, ids=str)
def test_a_step_taken_twice_is_harmless(replica: Replica, before: dict[bytes, bytes | Entry], action: Action) -> None:
    write_tree(replica.path, before)
    replica.settle()
    apply(replica, action)
    applied = apply(replica, action)
    assert (applied.done, applied.problems, applied.stale) == ([action], {}, [])
    assert replica.settle().changes == []


FINDINGS = ["edited file", "file", "folder with something", "link", "nothing"]
UNEXPECTED = [(*each, found) for each in EVERY_STEP for found in FINDINGS if found != "nothing" or each[1].expect is not None]


@pytest.mark.parametrize(("before", "action", "found"), UNEXPECTED, ids=str)
def test_what_is_not_expected_stays_as_it_is(replica: Replica, before: dict[bytes, bytes | Entry], action: Action, found: str) -> None:
    write_tree(replica.path, before)
    replica.settle()
    if (replica.path / "n").is_dir():
        (replica.path / "n").rmdir()
    elif found != "edited file":
        (replica.path / "n").unlink(missing_ok=True)
    if found in ("edited file", "file"):
        save_by_rename(replica.path / "n")
    elif found == "folder with something":
        write_tree(replica.path, {b"n/mine": MINE})
    elif found == "link":
        (replica.path / "n").symlink_to("mine")
    there = read_tree(replica.path)
    applied = apply(replica, action)
    if there.get(b"n") == action.become:
        assert applied.done == [action]
    else:
        assert (applied.done, applied.stale, applied.problems) == ([], [b"n"], {})
    assert read_tree(replica.path) == there


def put_times_back(path: Path, data: bytes) -> None:
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("become", [file(NEW), Link(b"t"), DIR, None], ids=str)
@pytest.mark.parametrize("save", [Path.write_bytes, put_times_back])
def test_an_edit_of_the_same_size_is_an_edit(replica: Replica, save: Callable[[Path, bytes], object], become: Entry | None) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    save(replica.path / "a", b"OWN")
    assert apply(replica, step(b"a", file(OLD), become)).stale == [b"a"]
    assert read_tree(replica.path) == {b"a": file(b"OWN")}


@pytest.mark.parametrize("was", [True, False])
def test_a_bit_that_somebody_moved_is_an_edit(replica: Replica, was: bool) -> None:
    write_tree(replica.path, {b"a": OLD})
    (replica.path / "a").chmod(0o755 if was else 0o644)
    replica.settle()
    (replica.path / "a").chmod(0o644 if was else 0o755)
    assert apply(replica, step(b"a", file(OLD, was), file(NEW, was))).stale == [b"a"]
    assert read_tree(replica.path) == {b"a": file(OLD, not was)}


def test_a_plan_in_its_order_turns_one_tree_into_another(replica: Replica) -> None:
    write_tree(replica.path, {b"a/b/c": OLD, b"a/d": OLD, b"swap": OLD, b"fold/in": OLD, b"keep": OLD})
    replica.settle()
    old, new = file(OLD), file(NEW)
    applied = apply(
        replica,
        step(b"fold/in", old, None), step(b"a/b/c", old, None), step(b"a/b", DIR, None),
        step(b"a/d", old, new), step(b"fold", DIR, new), step(b"new", None, DIR), step(b"new/er", None, DIR), step(b"new/er/x", None, new),
        step(b"swap", old, DIR), step(b"swap/now", None, new),
    )  # fmt: skip
    assert (applied.stale, applied.problems) == ([], {})
    assert read_tree(replica.path) == {
        b"a": DIR, b"a/d": new, b"fold": new, b"keep": old, b"new": DIR, b"new/er": DIR, b"new/er/x": new, b"swap": DIR, b"swap/now": new,
    }  # fmt: skip
    assert replica.settle().changes == []


def test_permissions_of_a_replaced_file_stay(replica: Replica) -> None:
    write_tree(replica.path, {b"private": OLD, b"public": OLD})
    (replica.path / "private").chmod(0o600)
    replica.settle()
    apply(replica, step(b"private", file(OLD), file(NEW)), step(b"public", file(OLD), file(NEW, True)))
    modes = [stat.S_IMODE((replica.path / name).stat().st_mode) for name in ("private", "public")]
    assert modes == [0o600, 0o755]


def test_a_file_whose_times_moved_is_read_before_it_is_called_changed(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    os.utime(replica.path / "a", ns=(5, 5))
    assert apply(replica, step(b"a", file(OLD), file(NEW))).stale == []
    assert (replica.path / "a").read_bytes() == NEW


def test_a_large_plan_ends_with_one_sync_and_a_small_one_syncs_each(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    really_fsync = os.fsync

    def fsync(fd: int) -> None:
        calls.append("fsync")
        really_fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("sync.apply.sync_file_system", lambda fd: calls.append("syncfs"))
    apply(replica, *[step(b"%d" % number, None, file(NEW)) for number in range(FEW_STEPS)])
    assert calls == ["fsync"] * (FEW_STEPS + 1)  # each file, and the one folder
    calls.clear()
    apply(replica, *[step(b"+%d" % number, None, file(NEW)) for number in range(FEW_STEPS + 1)])
    assert calls == ["syncfs"]


def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any plan counts as large."""
    monkeypatch.setattr("sync.apply.FEW_STEPS", 0)


CLONE = [
    step(b"n", None, DIR), step(b"n-x", None, file(NEW)), step(b"n/a", None, DIR), step(b"n/a/b", None, file(NEW, True)),
    step(b"n/a/c", None, Link(b"b")), step(b"n/d", None, file(OLD)), step(b"n/e", None, DIR), step(b"o", None, DIR),
]  # fmt: skip


def test_a_new_folder_is_shown_whole(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    seen: list[set[bytes]] = []
    really_place = Folder.place

    def place(self: Folder, temp: TempName, name: bytes) -> None:
        seen.append({path for path in read_tree(replica.path) if not path.startswith(TEMP_PREFIX)})
        really_place(self, temp, name)

    monkeypatch.setattr(Folder, "place", place)
    applied = apply(replica, *CLONE)
    below = [sum(path.startswith(b"n/") for path in paths) for paths in seen]
    assert sorted(set(below)) == [0, 5], "it is seen whole, or not at all"
    assert (len(applied.done), applied.stale, applied.problems) == (len(CLONE), [], {})
    tree = {each.path: each.become for each in CLONE}
    assert (read_tree(replica.path), replica.tree()) == (tree, tree)
    assert replica.settle().changes == []


def test_what_was_built_long_before_it_was_shown_is_not_read_again(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    monkeypatch.setattr(Folder, "write_hidden", old_write_hidden)
    apply(replica, *CLONE)
    assert b"n/d" not in replica.settle().seen


def old_write_hidden(self: Folder, name: bytes, chunks: Iterator[bytes], executable: bool) -> os.stat_result:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if executable else 0o644, dir_fd=self.fd)
    for chunk in chunks:
        os.write(fd, chunk)
    os.utime(fd, ns=(10**18, 10**18))
    status = os.fstat(fd)
    os.close(fd)
    return status


def test_a_new_folder_whose_name_is_taken_is_not_shown(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    write_tree(replica.path, {b"n/a": MINE, b"n/mine": MINE, b"o": MINE})
    applied = apply(replica, *CLONE)
    assert sorted(applied.stale) == [b"n/a", b"n/a/b", b"n/a/c", b"o"]
    assert read_tree(replica.path) == {
        b"n": DIR, b"n-x": file(NEW), b"n/a": file(MINE), b"n/d": file(OLD), b"n/e": DIR, b"n/mine": file(MINE), b"o": file(MINE),
    }  # fmt: skip


def test_a_new_folder_is_shown_without_what_could_not_be_made(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    replica.blobs.kept[digest_of(NEW)] = b"bad"
    steps = [*CLONE, step(b"n/bad dir", None, DIR), step(b"n/bad dir/x", None, file(OLD)), step(b"n/z", None, file(OLD))]
    with Refusing.open_root(replica.path) as root:
        applied = apply(replica, *steps, root=root)
    assert (sorted(applied.problems), applied.stale) == ([b"n-x", b"n/a/b", b"n/bad dir", b"n/bad dir/x"], [])
    assert read_tree(replica.path) == {
        b"n": DIR, b"n/a": DIR, b"n/a/c": Link(b"b"), b"n/d": file(OLD), b"n/e": DIR, b"n/z": file(OLD), b"o": DIR,
    }  # fmt: skip
    assert replica.settle().changes == []


def test_a_new_folder_in_one_that_is_made_in_the_same_plan_from_a_file(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    write_tree(replica.path, {b"n": OLD})
    replica.settle()
    applied = apply(replica, step(b"n", file(OLD), DIR), step(b"n/a", None, DIR), step(b"n/a/x", None, file(NEW)))
    assert (applied.stale, applied.problems) == ([], {})
    assert read_tree(replica.path) == {b"n": DIR, b"n/a": DIR, b"n/a/x": file(NEW)}


# --- refusals -------------------------------------------------------------------------------------------------------------------


def test_content_that_is_not_what_it_says_is_never_placed(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    replica.blobs.kept[digest_of(NEW)] = b"bad"
    missing = File(digest_of(b"never kept"), 10)
    wrong_size = File(digest_of(OLD), 99)
    applied = apply(
        replica, step(b"a", file(OLD), file(NEW)), step(b"b", None, file(NEW)), step(b"c", None, missing), step(b"d", None, wrong_size)
    )
    assert (applied.done, applied.stale, sorted(applied.problems)) == ([], [], [b"a", b"b", b"c", b"d"])
    assert read_tree(replica.path) == {b"a": file(OLD)}


class Refusing(Folder):
    """The system refuses what has "bad" in its name, and runs out of room at "large"."""

    def write_temp(self, name: bytes, chunks: object, executable: bool, **rest: object) -> Written:
        if b"large" in name:
            raise NoSpace("no room on the disk")
        if b"bad" in name:
            raise Unwritable("refused")
        return super().write_temp(name, chunks, executable, **rest)  # type: ignore[arg-type]

    def make_dir(self, name: bytes) -> None:
        if b"bad" in name:
            raise Unwritable("refused")
        super().make_dir(name)

    def take_aside(self, name: bytes) -> TempName:
        if b"bad" in name:
            raise Unwritable("refused")
        return super().take_aside(name)


@pytest.mark.parametrize("many", [False, True])
def test_a_disk_that_is_too_small_is_not_filled_first(tmp_path: Path, many: bool) -> None:
    with small_disk(tmp_path / "w", "4m"):
        replica, large = Replica(tmp_path / "w"), bytes(8 * 1024 * 1024)
        write_tree(replica.path, {b"old": OLD})
        replica.settle()
        replica.blobs.put(NEW)
        steps = [step(b"d", None, DIR), step(b"d/large", None, file(large)), step(b"old", file(OLD), file(large))]
        steps += [step(b"d/%d" % at, None, file(NEW)) for at in range(200 if many else 2)]
        applied = apply_plan(steps, replica.root, replica.blobs, replica.index, keep=replica.blobs.put)
        # Its bytes are not even there: whoever asked for them would have been told so.
        assert applied.problems.keys() == {b"d/large", b"old"} and all("no room" in told for told in applied.problems.values())
        assert (replica.path / "old").read_bytes() == OLD
        assert len(applied.done) == len(steps) - 2
        replica.root.close()


def test_one_refusal_stops_only_itself_and_what_is_below_it(replica: Replica) -> None:
    write_tree(replica.path, {b"bad old": OLD, b"holds/bad": OLD})
    replica.settle()
    with Refusing.open_root(replica.path) as root:
        applied = apply(
            replica, step(b"holds/bad", file(OLD), None), step(b"holds", DIR, None), step(b"bad old", file(OLD), file(NEW)),
            step(b"bad dir", None, DIR), step(b"bad dir/x", None, file(NEW)), step(b"good", None, file(NEW)),
            step(b"large", None, file(NEW)), root=root,
        )  # fmt: skip
    assert [done.path for done in applied.done] == [b"good"]
    assert (applied.stale, sorted(applied.problems)) == ([], [b"bad dir", b"bad dir/x", b"bad old", b"holds", b"holds/bad", b"large"])
    assert read_tree(replica.path) == {b"bad old": file(OLD), b"good": file(NEW), b"holds": DIR, b"holds/bad": file(OLD)}


def test_a_folder_with_ignored_files_stays_and_is_told(replica: Replica) -> None:
    write_tree(replica.path, {b".gitignore": b"*.log\n", b"d/x": OLD, b"d/a.log": MINE, b"d/.git/HEAD": b""})
    replica.settle()
    applied = apply(replica, step(b"d/x", file(OLD), None), step(b"d", DIR, None))
    assert (applied.stale, list(applied.problems), len(applied.done)) == ([], [b"d"], 1)
    assert (replica.path / "d" / "a.log").read_bytes() == MINE


@pytest.mark.parametrize("ignoring", [True, False])
def test_a_folder_with_something_new_stays_and_is_looked_at_again(replica: Replica, ignoring: bool) -> None:
    write_tree(replica.path, {b"d/x": OLD})
    replica.settle()
    (replica.path / "d" / "new").write_bytes(MINE)
    applied = apply(replica, step(b"d/x", file(OLD), None), step(b"d", DIR, file(NEW)), ignoring=ignoring)
    assert (applied.stale, applied.problems) == ([b"d"], {})
    assert read_tree(replica.path) == {b"d": DIR, b"d/new": file(MINE)}


def test_nothing_is_written_through_a_link(replica: Replica, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_tree(outside, {b"victim": OLD})
    write_tree(replica.path, {b"d/victim": OLD})
    replica.settle()
    (replica.path / "d").rename(tmp_path / "moved")
    (replica.path / "d").symlink_to(outside)
    steps = [step(b"d/victim", file(OLD), file(NEW)), step(b"d/new", None, file(NEW)), step(b"d/sub/x", None, file(NEW))]
    gone = step(b"d/victim", file(OLD), None)  # of that folder, which went elsewhere
    applied = apply(replica, *steps, gone, step(b"d/dir", None, DIR))
    assert (applied.done, len(applied.stale)) == ([gone], 4)
    assert read_tree(outside) == {b"victim": file(OLD)}


def test_a_fifo_in_the_way_is_neither_opened_nor_replaced(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    (replica.path / "a").unlink()
    os.mkfifo(replica.path / "a")
    assert apply(replica, step(b"a", file(OLD), file(NEW)), step(b"a", file(OLD), None)).stale == [b"a", b"a"]
    assert stat.S_ISFIFO((replica.path / "a").lstat().st_mode)


# --- somebody saves at the worst moment ---------------------------------------------------------------------------------------------


class Meddling(Folder):
    """Somebody does something right before or right after an operation of ours, once."""

    before: dict[str, Callable[[], None]]
    after: dict[str, Callable[[], None]]

    def _around(self, what: str, act: Callable[[], None]) -> None:
        Meddling.before.pop(what, lambda: None)()
        act()
        Meddling.after.pop(what, lambda: None)()

    def exchange(self, temp: TempName, name: bytes) -> None:
        self._around("exchange", lambda: super(Meddling, self).exchange(temp, name))

    def take_aside(self, name: bytes) -> TempName:
        temps: list[TempName] = []
        self._around("take_aside", lambda: temps.append(super(Meddling, self).take_aside(name)))
        return temps[0]

    def sync(self, fd: int = -1) -> None:
        self._around("sync", lambda: super(Meddling, self).sync(fd))


Moments = dict[str, Callable[[], None]]


def meddle(replica: Replica, action: Action, *, before: Moments | None = None, after: Moments | None = None) -> Applied:
    Meddling.before, Meddling.after = before or {}, after or {}
    with Meddling.open_root(replica.path) as root:
        applied = apply(replica, action, root=root)
    assert (Meddling.before, Meddling.after) == ({}, {}), "somebody did meddle"
    return applied


def save_in_place(path: Path, data: bytes = MINE) -> None:
    path.write_bytes(data)


def save_by_rename(path: Path, data: bytes = MINE) -> None:
    (path.parent / "editor's temp").write_bytes(data)
    (path.parent / "editor's temp").rename(path)


SAVES = [save_in_place, save_by_rename]
BECOMES = [file(NEW), Link(b"t"), DIR]


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("mine", [MINE, b"own", b""])  # longer, as long, shorter
@pytest.mark.parametrize("become", BECOMES, ids=str)
@pytest.mark.parametrize("exchange", [True, False])
def test_a_save_right_before_the_exchange_goes_back_to_its_place(
    replica: Replica, save: Callable[[Path, bytes], None], mine: bytes, become: Entry, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_RENAME", None)
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    applied = meddle(replica, step(b"a", file(OLD), become), before={"exchange": lambda: save(replica.path / "a", mine)})
    assert (applied.done, applied.stale, applied.rescued) == ([], [b"a"], [])
    assert read_tree(replica.path) == {b"a": file(mine)}


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("mine", [MINE, b"own", b""])
def test_a_save_right_before_a_removal_goes_back_to_its_place(replica: Replica, save: Callable[[Path, bytes], None], mine: bytes) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    applied = meddle(replica, step(b"a", file(OLD), None), before={"take_aside": lambda: save(replica.path / "a", mine)})
    assert (applied.done, applied.stale) == ([], [b"a"])
    assert read_tree(replica.path) == {b"a": file(mine)}


def test_a_save_after_the_exchange_has_the_name_and_is_read(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    applied = meddle(replica, step(b"a", file(OLD), file(NEW)), after={"exchange": lambda: save_by_rename(replica.path / "a")})
    assert (len(applied.done), applied.stale) == (1, [])
    assert [(change.old, change.new) for change in replica.settle().changes] == [(file(NEW), file(MINE))]


@pytest.mark.parametrize("become", [file(NEW), Link(b"t")], ids=str)
def test_two_saves_around_the_exchange_leave_the_newest_and_keep_the_other(replica: Replica, become: Entry) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    path = replica.path / "a"
    moments: tuple[Moments, Moments] = ({"exchange": lambda: save_by_rename(path)}, {"exchange": lambda: save_by_rename(path, b"newest")})
    applied = meddle(replica, step(b"a", file(OLD), become), before=moments[0], after=moments[1])
    assert (applied.stale, [path for path, _ in applied.rescued]) == ([b"a"], [b"a"])
    assert read_tree(replica.path) == {b"a": file(b"newest")}
    assert kept(replica, MINE)


def test_a_save_then_a_removal_around_the_exchange_keeps_what_was_saved(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    path = replica.path / "a"
    applied = meddle(
        replica, step(b"a", file(OLD), file(NEW)), before={"exchange": lambda: save_by_rename(path)}, after={"exchange": path.unlink}
    )
    assert (applied.stale, read_tree(replica.path)) == ([b"a"], {})
    assert kept(replica, MINE)


def test_two_saves_around_a_removal_leave_the_newest_and_keep_the_other(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    path = replica.path / "a"
    moments: tuple[Moments, Moments] = (
        {"take_aside": lambda: save_by_rename(path)},
        {"take_aside": lambda: save_in_place(path, b"newest")},
    )
    applied = meddle(replica, step(b"a", file(OLD), None), before=moments[0], after=moments[1])
    assert (applied.stale, read_tree(replica.path)) == ([b"a"], {b"a": file(b"newest")})
    assert kept(replica, MINE)


def save_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("mine")


LARGE = bytes(range(256)) * 16 * 1024


@pytest.mark.parametrize(("save", "stored"), [(lambda path: save_in_place(path, LARGE), LARGE), (save_a_link, MINE)], ids=["large", "link"])
def test_a_large_or_a_linked_save_is_rescued_too(replica: Replica, save: Callable[[Path], None], stored: bytes) -> None:
    path = replica.path / "a"
    path.write_bytes(OLD)
    replica.settle()
    applied = meddle(replica, step(b"a", file(OLD), file(NEW)), before={"exchange": lambda: save(path)}, after={"exchange": path.unlink})
    assert (applied.stale, kept(replica, stored)) == ([b"a"], True)


class Untouchable(Folder):
    """Nothing may be moved, not even for an instant."""

    def exchange(self, temp: TempName, name: bytes) -> None:
        raise AssertionError("exchanged")

    def take_aside(self, name: bytes) -> TempName:
        raise AssertionError("taken aside")


@pytest.mark.parametrize("become", [*BECOMES, None], ids=str)
def test_a_file_open_for_writing_is_left_alone(replica: Replica, become: Entry | None) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    with (replica.path / "a").open("r+b") as writer, Untouchable.open_root(replica.path) as root:
        applied = apply(replica, step(b"a", file(OLD), become), root=root)
        assert applied.stale == [b"a"]
        writer.write(MINE)
    assert (replica.path / "a").read_bytes() == MINE


@pytest.mark.parametrize(
    ("become", "moment"),
    [(file(NEW), "exchange"), (file(NEW), "sync"), (DIR, "exchange"), (DIR, "sync"), (None, "take_aside"), (None, "sync")],
    ids=str,
)
@pytest.mark.parametrize("writes", ["at once", "later"])
def test_a_writer_who_opened_the_file_just_in_time_gets_it_back(replica: Replica, become: Entry | None, moment: str, writes: str) -> None:
    """`sync`: the writer had found the file when it came out, and opened it after the first look."""
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    path, writers = replica.path / "a", []
    # The path walk that found the old file before it came out, in slow motion.
    found = os.open(path, os.O_PATH)

    def open_it() -> None:
        writers.append(os.open(f"/proc/self/fd/{found}", os.O_WRONLY))
        if writes == "at once":
            os.write(writers[0], MINE)

    applied = meddle(replica, step(b"a", file(OLD), become), after={moment: open_it})
    if writes == "later":
        os.write(writers[0], MINE)
    for fd in [found, *writers]:
        os.close(fd)
    assert (applied.done, applied.stale) == ([], [b"a"])
    assert path.read_bytes() == MINE


def test_a_bit_is_flipped_on_the_file_that_was_looked_at(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    inode = (replica.path / "a").stat().st_ino
    apply(replica, step(b"a", file(OLD), file(OLD, True)))
    assert ((replica.path / "a").stat().st_ino, replica.tree()) == (inode, {b"a": file(OLD, True)})


def test_what_cannot_be_kept_is_not_discarded(replica: Replica) -> None:
    write_tree(replica.path, {b"a": OLD})
    replica.settle()
    path = replica.path / "a"

    def refuse(data: bytes) -> Digest:
        raise NoSpace("no room for the store")

    Meddling.before, Meddling.after = {"exchange": lambda: save_by_rename(path)}, {"exchange": path.unlink}
    with Meddling.open_root(replica.path) as root:
        applied = apply_plan([step(b"a", file(OLD), file(NEW))], root, replica.blobs, replica.index, keep=refuse)
    assert applied.problems == {b"a": "no room for the store"}
    assert list(read_tree(replica.path).values()) == [file(MINE)]
    # Once there is room, it is swept into the store.
    kept_now, problems = replica.scanner.sweep_temps(replica.root, replica.blobs.put)
    assert (kept_now, problems, kept(replica, MINE)) == ([digest_of(MINE)], [], True)


# --- after a crash --------------------------------------------------------------------------------------------------------------


def test_a_sweep_keeps_what_is_unknown_and_removes_all(replica: Replica) -> None:
    temp = b".fst-tmp-00000000-0123456789ab"
    write_tree(replica.path, {b"d/x": OLD, b".gitignore": b"ignored/\n"})
    replica.settle()
    write_tree(replica.path, {temp: NEW, b"d/" + temp: MINE, b"new/" + temp: b"torn", b"ignored/" + temp: b"not ours to look at"})
    write_tree(replica.path, {b"d/.fst-tmp-cookie-1": b"", b"d/.fst-tmp-dir": DIR, b"d/.fst-tmp-link": Link(b"to")})
    kept_now, problems = replica.scanner.sweep_temps(replica.root, replica.blobs.put)
    assert (sorted(kept_now), problems) == (sorted(map(digest_of, (MINE, b"torn", b"to"))), [])
    assert {path for path in read_tree(replica.path) if TEMP_PREFIX in path} == {b"ignored/" + temp}
    at(replica.path, b"ignored/" + temp).unlink()


def test_a_sweep_looks_where_a_plan_was_at_work_whatever_the_rules_say(replica: Replica) -> None:
    temp = b".fst-tmp-00000000-0123456789ab"
    write_tree(replica.path, {b".gitignore": b"site/\nignored/\n", b"site/" + temp: NEW, b"site/e/" + temp: MINE, b"site/x": OLD})
    write_tree(replica.path, {b"ignored/" + temp: NEW, b"site/not/" + temp: NEW})
    sites = [RelPath(path) for path in (b"site", b"site/e", b"gone/since", b"site/x")]
    kept_now, problems = replica.scanner.sweep_temps(replica.root, replica.blobs.put, sites=sites)
    assert (kept_now, problems) == ([digest_of(MINE)], [])
    left = {path for path in read_tree(replica.path) if TEMP_PREFIX in path}
    assert left == {b"ignored/" + temp, b"site/not/" + temp}
    for path in left:
        at(replica.path, path).unlink()


def test_a_plans_sites_are_the_folders_that_are_not_carried(replica: Replica) -> None:
    write_tree(replica.path, {b"d/e/x": OLD, b"f": OLD, b".gitignore": b"ignored/\n", b"ignored/x": OLD})
    replica.settle()
    paths = [b"x", b"d/x", b"d/e", b"d/e/y", b"d/new/deep/x", b"d/new/y", b"f/x", b"ignored/x", b"new"]
    assert find_sites(replica.index, map(RelPath, paths)) == [b"d/new", b"d/new/deep", b"f", b"ignored"]


def test_a_sweep_takes_down_a_folder_that_was_being_built(replica: Replica) -> None:
    write_tree(replica.path, {b".fst-tmp-dir/sub/known": NEW, b".fst-tmp-dir/sub/torn": MINE, b".fst-tmp-dir/link": Link(b"x")})
    kept_now, problems = replica.scanner.sweep_temps(replica.root, replica.blobs.put)
    assert (sorted(kept_now), problems) == (sorted([digest_of(MINE), digest_of(b"x")]), [])
    assert read_tree(replica.path) == {}


def test_a_sweep_goes_on_after_one_that_resists(replica: Replica) -> None:
    write_tree(replica.path, {b".fst-tmp-bad": NEW, b".fst-tmp-1": NEW, b"d/.fst-tmp-2": NEW})

    class Resisting(Folder):
        def discard(self, temp: TempName) -> None:
            if temp == b".fst-tmp-bad":
                raise Unwritable("refused")
            super().discard(temp)

    with Resisting.open_root(replica.path) as root:
        kept_now, problems = replica.scanner.sweep_temps(root, replica.blobs.put)
    assert (kept_now, [problem.path for problem in problems]) == ([], [b".fst-tmp-bad"])
    assert read_tree(replica.path) == {b".fst-tmp-bad": file(NEW), b"d": DIR}
    (replica.path / ".fst-tmp-bad").unlink()


def test_a_name_that_the_system_does_not_take_is_a_problem_and_not_stale(replica: Replica) -> None:
    """exFAT says of `a:b` that there is no such file, which reads as if it had moved: a plan that waited for that would never end."""

    class Denying(Folder):
        def place(self, temp: TempName, name: bytes) -> None:
            if name == b"a:b":
                raise FileMoved("no such file")
            super().place(temp, name)

    with Denying.open_root(replica.path) as root:
        applied = apply(replica, step(b"a:b", None, file(NEW)), step(b"ok", None, file(NEW)), root=root)
    assert (list(applied.problems), applied.stale) == ([b"a:b"], [])
    assert not applied.misnamed, "it may have been taken and be free again: it is tried once more by itself"
    assert read_tree(replica.path) == {b"ok": file(NEW)}
