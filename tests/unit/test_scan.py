"""A look at a folder: what differs is found and read, and doubt is never a deletion."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from store.atomic import Folder
from store.database import Database
from store.errors import Unwritable
from store.index import INDEX, StatIndex, doubt_record, entry_of, make_record
from store.types import DIR, Entry, Link, RelPath, Spot
from sync.apply import apply_plan
from sync.core.plan import Action
from sync.scan import ScanResult
from sync.scan.contents import BULK_FILES
from sync.scan.look import OPEN_FOLDERS
from tests.lab.disks import bound
from tests.trees import HOUR_NS, Replica, at, changes_of, file, read_tree, write_tree

ODD_NAMES = [
    b"n" * 255,
    b"\xff\xfe.txt",
    b"new\nline",
    "é".encode(),
    "e\u0301".encode(),
    "🐢".encode(),
    b"-rf",
    b"tab\t",
    b"back\\slash",
    b" ",
]


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    (tmp_path / "w").mkdir()
    return Replica(tmp_path / "w")


def codes(result: ScanResult) -> dict[bytes, str]:
    return {problem.path: problem.code for problem in result.problems}


def test_a_first_look_finds_everything(replica: Replica) -> None:
    write_tree(replica.path, {b"a/b/c.txt": b"c", b"empty": DIR, b"link": Link(b"nowhere/\xff"), b"x": b""})
    (replica.path / "a" / "tool").write_bytes(b"#!")
    (replica.path / "a" / "tool").chmod(0o755)
    result = replica.settle()
    tool = file(b"#!", True)
    assert changes_of(result) == {
        b"a": (None, DIR), b"a/b": (None, DIR), b"a/b/c.txt": (None, file(b"c")), b"a/tool": (None, tool), b"empty": (None, DIR),
        b"link": (None, Link(b"nowhere/\xff")), b"x": (None, file(b"")),
    }  # fmt: skip
    assert sorted(data for _, data in result.contents) == [b"", b"#!", b"c"]
    assert replica.tree() == read_tree(replica.path)
    assert (result.problems, result.deferred, result.looked) == ([], frozenset(), None)


def test_an_unchanged_folder_has_nothing_to_tell(replica: Replica) -> None:
    write_tree(replica.path, {b"a/b": b"1", b"c": b"2", b"l": Link(b"x")})
    replica.settle()
    result = replica.look()
    assert (result.changes, result.seen, result.contents, result.known, result.removed) == ([], {}, [], 4, 0)


def test_a_look_changes_nothing_until_it_is_kept(replica: Replica) -> None:
    write_tree(replica.path, {b"a": b"1"})
    first, second = replica.look(), replica.look()
    assert first.changes == second.changes != []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_comes_back_byte_for_byte(replica: Replica, name: bytes) -> None:
    write_tree(replica.path, {name + b"/" + name: b"data"})
    replica.settle()
    assert replica.tree() == {name: DIR, name + b"/" + name: file(b"data")}
    at(replica.path, name + b"/" + name).unlink()
    assert changes_of(replica.settle(name)) == {name + b"/" + name: (file(b"data"), None)}


def test_edits_removals_and_bits_are_told_with_what_was(replica: Replica) -> None:
    write_tree(replica.path, {b"edit": b"old", b"gone": b"x", b"bit": b"#!", b"same": b"s", b"link": Link(b"one")})
    replica.settle()
    (replica.path / "edit").write_bytes(b"new")
    (replica.path / "gone").unlink()
    (replica.path / "bit").chmod(0o755)
    (replica.path / "link").unlink()
    (replica.path / "link").symlink_to("two")
    result = replica.settle()
    assert changes_of(result) == {
        b"edit": (file(b"old"), file(b"new")), b"gone": (file(b"x"), None), b"bit": (file(b"#!"), file(b"#!", True)),
        b"link": (Link(b"one"), Link(b"two")),
    }  # fmt: skip
    assert [data for _, data in result.contents] == [b"new"], "what did not change in content is kept already"
    assert result.removed == 1


def test_a_touched_file_is_no_change_but_is_remembered(replica: Replica) -> None:
    write_tree(replica.path, {b"a": b"x"})
    replica.settle()
    os.utime(replica.path / "a", ns=(1, 1))
    result = replica.settle()
    assert (result.changes, list(result.seen), result.contents) == ([], [b"a"], [])
    assert replica.look().seen == {}


def test_a_removed_folder_goes_with_all_below(replica: Replica) -> None:
    write_tree(replica.path, {b"d/e/f": b"1", b"d/g": b"2", b"d.x": b"3"})
    replica.settle()
    (replica.path / "d").rename(replica.path.parent / "elsewhere")
    result = replica.settle(b"")
    assert sorted(changes_of(result)) == [b"d", b"d/e", b"d/e/f", b"d/g"]
    assert (result.removed, result.known) == (4, 5)
    assert replica.tree() == {b"d.x": file(b"3")}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({b"n/below": b"1"}, {b"n": b"2"}),
        ({b"n": b"1"}, {b"n/below/more": b"2"}),
        ({b"n/below": b"1"}, {b"n": Link(b"t")}),
        ({b"n": Link(b"t")}, {b"n": b"1"}),
        ({b"n": Link(b"t")}, {b"n/below": b"1"}),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_a_name_may_change_its_kind(
    replica: Replica, before: dict[bytes, bytes | Entry], after: dict[bytes, bytes | Entry], full: bool
) -> None:
    write_tree(replica.path, before)
    replica.settle()
    was = replica.tree()
    (replica.path / "n").rename(replica.path.parent / "old")
    write_tree(replica.path, after)
    result = replica.settle(*([] if full else [b""]))
    now = read_tree(replica.path)
    assert changes_of(result) == {path: (was.get(path), now.get(path)) for path in {*was, *now}}
    assert (replica.tree(), len(replica.index)) == (now, len(now))
    assert replica.look().seen == {}


def test_a_dirty_look_lists_only_what_it_is_told(replica: Replica) -> None:
    write_tree(replica.path, {b"a/x": b"1", b"b/y": b"1"})
    replica.settle()
    (replica.path / "a" / "x").write_bytes(b"22")
    (replica.path / "b" / "y").write_bytes(b"22")
    result = replica.look(b"a")
    assert list(changes_of(result)) == [b"a/x"]
    assert result.looked == frozenset({Spot(b"a", b"")})
    assert result.covers(RelPath(b"a/x")) and not result.covers(RelPath(b"b/y"))


# --- a few names of a large folder ----------------------------------------------------------------------------------------------


WIDE = {b"d/%03d" % number: b"1" for number in range(100)}


class Counting(Folder):
    """Counts listings."""

    listings = 0

    def names(self) -> list[str]:
        Counting.listings += 1
        return super().names()


def glance(replica: Replica, *names: bytes) -> ScanResult:
    """A kept look at these names of `d`; how often a folder was listed is in `Counting.listings`."""
    Counting.listings = 0
    with Counting.open_root(replica.path) as root:
        return replica.settle(*(Spot(b"d", name) for name in names), root=root)


def test_of_a_large_folder_only_the_names_told_of_are_asked(replica: Replica) -> None:
    write_tree(replica.path, WIDE)
    replica.settle()
    write_tree(replica.path, {b"d/001": b"22", b"d/002": b"22"})
    (replica.path / "d" / "003").unlink()
    (replica.path / "d" / "004").unlink()
    result = glance(replica, b"001", b"003", b"never")
    assert changes_of(result) == {b"d/001": (file(b"1"), file(b"22")), b"d/003": (file(b"1"), None)}
    assert Counting.listings == 0
    assert result.covers(RelPath(b"d/001")) and not result.covers(RelPath(b"d/002"))
    assert list(changes_of(replica.settle(b"d"))) == [b"d/002", b"d/004"]


def test_a_new_name_in_a_large_folder_is_taken_as_it_is_spelt_there(replica: Replica) -> None:
    write_tree(replica.path, WIDE | {b"d/001": b"22"})
    replica.settle()
    write_tree(replica.path, {b"d/new": b"3", b"d/sub/x": b"4", b"d/001": b"333"})
    assert changes_of(glance(replica, b"new", b"sub", b"001")) == {
        b"d/001": (file(b"22"), file(b"333")), b"d/new": (None, file(b"3")), b"d/sub": (None, DIR), b"d/sub/x": (None, file(b"4")),
    }  # fmt: skip


def test_a_disk_that_folds_case_gives_no_file_two_names(replica: Replica) -> None:
    write_tree(replica.path, WIDE | {b"d/name": b"1"})
    replica.settle()

    class Folding(Folder):
        def stat(self, name: bytes) -> os.stat_result | None:
            return super().stat(name.lower())

    with Folding.open_root(replica.path) as root:
        (replica.path / "d" / "name").write_bytes(b"22")
        assert changes_of(replica.settle(Spot(b"d", b"NAME"), root=root)) == {b"d/name": (file(b"1"), file(b"22"))}


def test_a_rule_file_is_never_only_glanced_at(replica: Replica) -> None:
    write_tree(replica.path, WIDE | {b"d/a.log": b"1"})
    replica.settle()
    write_tree(replica.path, {b"d/.gitignore": b"*.log\n"})
    assert list(changes_of(glance(replica, b".gitignore"))) == [b"d/.gitignore", b"d/a.log"]


def test_a_folder_whose_rule_is_seen_after_a_glance_is_decided_at_the_next_look(replica: Replica) -> None:
    write_tree(replica.path, WIDE | {b"d/a.log": b"1", b"e/f/y": b"1"})
    replica.settle()
    write_tree(replica.path, {b".gitignore": b"*.log\n"})
    (replica.path / "e").rename(replica.path.parent / "e")
    result = replica.settle(Spot(b"d", b"001"), Spot(b"e/f", b"y"))  # `e/f` leads up to the root and its rule
    assert Spot(b"d", b"") in result.deferred
    replica.settle(*result.deferred)
    assert replica.tree().keys() == {b".gitignore", b"d", *WIDE}


def test_new_folders_are_looked_into_and_old_ones_are_not(replica: Replica) -> None:
    write_tree(replica.path, {b"old/x": b"1"})
    replica.settle()
    write_tree(replica.path, {b"new/deep/er/y": b"1", b"old/unseen": b"1"})
    assert list(changes_of(replica.settle(b""))) == [b"new", b"new/deep", b"new/deep/er", b"new/deep/er/y"]


def test_a_folder_that_was_replaced_by_another_is_looked_into(replica: Replica) -> None:
    write_tree(replica.path, {b"d/x": b"1", b"other/x": b"2", b"other/y": b"3"})
    replica.settle()
    (replica.path / "d").rename(replica.path.parent / "d")
    (replica.path / "other").rename(replica.path / "d")
    replica.settle(b"")
    assert replica.tree() == {b"d": DIR, b"d/x": file(b"2"), b"d/y": file(b"3")}


@pytest.mark.parametrize("dirty", [b"d/e", b"d/e/f/g", b"never/was/here"])
def test_a_dirty_folder_that_is_gone_is_found_out_from_above(replica: Replica, dirty: bytes) -> None:
    write_tree(replica.path, {b"d/e/f": b"1", b"keep": b"1"})
    replica.settle()
    (replica.path / "d").rename(replica.path.parent / "elsewhere")
    replica.settle(dirty)
    assert replica.tree() == {b"keep": file(b"1")}


def test_folders_deeper_than_those_held_open_are_reached(replica: Replica) -> None:
    deep = b"/".join([b"d"] * (OPEN_FOLDERS * 2 + 7))
    write_tree(replica.path, {deep + b"/bottom": b"x"})
    replica.settle()
    assert replica.index.get(deep + b"/bottom") is not None
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert replica.look().changes == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- contents -------------------------------------------------------------------------------------------------------------------


def test_few_contents_come_with_the_result_and_many_go_in_bulk(replica: Replica) -> None:
    write_tree(replica.path, {b"%d" % number: b"data %d" % number for number in range(BULK_FILES)})
    assert len(replica.look().contents) == BULK_FILES
    assert replica.blobs.bulks == 0
    write_tree(replica.path, {b"one more": b"data"})
    result = replica.look()
    assert (result.contents, replica.blobs.bulks, len(replica.blobs.kept)) == ([], 1, BULK_FILES + 1)


def test_a_large_file_is_kept_piece_by_piece(replica: Replica) -> None:
    data = os.urandom(4 * 1024 * 1024)
    write_tree(replica.path, {b"large": data, b"small": data[:-1]})
    result = replica.settle()
    assert replica.tree() == {b"large": file(data), b"small": file(data[:-1])}
    assert (replica.blobs.large, [len(kept) for _, kept in result.contents]) == (1, [len(data) - 1])


# --- doubt ----------------------------------------------------------------------------------------------------------------------


def test_a_young_file_is_looked_at_once_more(replica: Replica) -> None:
    replica.ahead_ns = 0
    write_tree(replica.path, {b"d/young": b"one"})
    result = replica.settle()
    assert result.deferred == {Spot(b"d", b"young")}
    # The same size, inode and times: only reading can tell.
    status = (replica.path / "d" / "young").stat()
    record = replica.index.get(b"d/young")
    assert record == make_record(file(b"one"), status, doubted=True)
    replica.ahead_ns = 10**9
    result = replica.settle(*result.deferred)
    assert (result.changes, list(result.seen), result.deferred) == ([], [b"d/young"], frozenset())
    assert replica.look().seen == {}


def test_a_second_write_within_the_clocks_grain_is_found(replica: Replica) -> None:
    replica.ahead_ns = 0
    path = replica.path / "a"
    path.write_bytes(b"one")
    replica.settle()
    path.write_bytes(b"two")
    # As if the clock had not moved: the record has the very status of the second write.
    replica.index.remember({RelPath(b"a"): make_record(file(b"one"), path.stat(), doubted=True)})
    replica.ahead_ns = 10**9
    assert changes_of(replica.look()) == {b"a": (file(b"one"), file(b"two"))}


def test_times_put_back_do_not_hide_an_edit(replica: Replica) -> None:
    path = replica.path / "a"
    path.write_bytes(b"one")
    replica.settle()
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changes_of(replica.look()) == {b"a": (file(b"one"), file(b"two"))}


AHEAD = {"mtime in 2096": 0, "our clock behind": -HOUR_NS}


@pytest.mark.parametrize("ahead_ns", AHEAD.values(), ids=AHEAD)
def test_a_time_to_come_is_looked_at_twice_and_not_for_ever(replica: Replica, ahead_ns: int) -> None:
    replica.ahead_ns = ahead_ns
    path = replica.path / "a"
    path.write_bytes(b"one")
    os.utime(path, (4e9, 4e9))
    assert replica.settle().deferred == {Spot(b"", b"a")}
    replica.ahead_ns += 10**9
    replica.settle(Spot(b"", b"a"))
    assert (replica.look().deferred, replica.look().seen) == (frozenset(), {})
    # Still ahead, and changed all the same: the second look is owed again.
    path.write_bytes(b"two")
    os.utime(path, (4e9, 4e9))
    result = replica.settle(Spot(b"", b"a"))
    assert (changes_of(result), bool(result.deferred)) == ({b"a": (file(b"one"), file(b"two"))}, ahead_ns < 0)


def test_a_file_being_written_is_left_alone_though_its_time_is_to_come(replica: Replica) -> None:
    replica.ahead_ns = -HOUR_NS
    with (replica.path / "a").open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        assert replica.settle().changes == []
        replica.ahead_ns += 2_500_000_000
        assert changes_of(replica.look()) == {}, "a full look begins anew"
        replica.ahead_ns += 2_500_000_000
        assert changes_of(replica.look(b"")) == {b"a": (None, file(b"half"))}


def test_a_write_under_one_name_is_found_under_the_others(replica: Replica) -> None:
    write_tree(replica.path, {b"a": b"1", b"d/other": b"1"})
    (replica.path / "d" / "b").hardlink_to(replica.path / "a")
    (replica.path / "c").hardlink_to(replica.path / "a")
    replica.settle()
    (replica.path / "a").write_bytes(b"22")
    result = replica.settle(Spot(b"", b"a"))
    assert replica.tree()[b"a"] == file(b"22")
    assert result.deferred == {Spot(b"d", b"b")}, "the root was listed whole, so c is known already"
    assert changes_of(replica.settle(*result.deferred)) == {b"d/b": (file(b"1"), file(b"22"))}
    assert replica.look().changes == []


def test_two_names_are_enough(replica: Replica) -> None:
    write_tree(replica.path, {b"a": b"1", b"d/other": b"1"})
    (replica.path / "d" / "b").hardlink_to(replica.path / "a")
    replica.settle()
    (replica.path / "a").write_bytes(b"22")
    assert replica.settle(Spot(b"", b"a")).deferred == {Spot(b"d", b"b")}


def test_a_file_being_written_keeps_its_old_entry_until_it_is_closed(replica: Replica) -> None:
    write_tree(replica.path, {b"d/a": b"old"})
    replica.settle()
    replica.ahead_ns = 0
    with (replica.path / "d" / "a").open("wb") as writer, (replica.path / "d" / "new").open("wb"):
        writer.write(b"half")
        writer.flush()
        result = replica.settle(b"d")
        assert (result.changes, result.deferred, result.problems) == ([], frozenset({Spot(b"d", b"a"), Spot(b"d", b"new")}), [])
        writer.write(b" and half")
    assert changes_of(replica.settle(b"d")) == {b"d/a": (file(b"old"), file(b"half and half")), b"d/new": (None, file(b""))}


def test_a_file_left_open_and_alone_is_taken_after_two_seconds(replica: Replica) -> None:
    with (replica.path / "log").open("wb") as writer:
        writer.write(b"line\n")
        writer.flush()
        replica.ahead_ns = 1_000_000_000
        assert replica.look().changes == []
        replica.ahead_ns = 2_500_000_000
        assert changes_of(replica.look()) == {b"log": (None, file(b"line\n"))}


class Meddling(Folder):
    """Somebody writes whenever a file has just been opened, so many times."""

    path: Path
    times: int

    def open_file(self, name: bytes) -> int:
        fd = super().open_file(name)
        if Meddling.times > 0:
            Meddling.times -= 1
            with (Meddling.path / os.fsdecode(name)).open("ab") as stream:
                stream.write(b"+")
        return fd


@pytest.mark.parametrize(("times", "found"), [(1, b"a+"), (99, None)])
def test_a_file_that_changes_while_it_is_read_is_read_again_or_deferred(replica: Replica, times: int, found: bytes | None) -> None:
    write_tree(replica.path, {b"a": b"a"})
    Meddling.path, Meddling.times = replica.path, times
    really_pread = os.pread

    def pread(fd: int, size: int, at: int) -> bytes:
        if Meddling.times > 1:
            with (replica.path / "a").open("ab") as stream:
                stream.write(b"+")
        return really_pread(fd, size, at)

    with pytest.MonkeyPatch.context() as patch, Meddling.open_root(replica.path) as root:
        patch.setattr(os, "pread", pread)
        result = replica.look(root=root)
    assert changes_of(result) == ({} if found is None else {b"a": (None, file(found))})
    assert result.deferred == (frozenset() if found else {Spot(b"", b"a")})


def test_a_read_that_came_short_is_done_again(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(replica.path, {b"a": b"all of it"})
    sizes = [3]
    really_pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: really_pread(fd, sizes.pop() if sizes else size, at))
    assert changes_of(replica.look()) == {b"a": (None, file(b"all of it"))}


class Forbidding(Folder):
    """Some names cannot be read: tests run as root, whom no mode stops."""

    def names(self) -> list[str]:
        names = super().names()
        if "no entry" in names:
            raise Unwritable("the system refused it")
        return names

    def open_file(self, name: bytes) -> int:
        if name.startswith(b"secret"):
            raise Unwritable("the system refused it")
        return super().open_file(name)


def test_what_cannot_be_read_is_a_problem_and_keeps_its_entry(replica: Replica) -> None:
    write_tree(replica.path, {b"secret": b"one", b"d/below/x": b"1", b"ok": b"1"})
    replica.settle()
    write_tree(replica.path, {b"secret": b"two", b"secret too": b"", b"d/no entry": b"", b"ok": b"22"})
    (replica.path / "d" / "below" / "x").unlink()
    with Forbidding.open_root(replica.path) as root:
        result = replica.settle(root=root)
    assert changes_of(result) == {b"ok": (file(b"1"), file(b"22"))}
    assert codes(result) == {b"secret": "unwritable", b"secret too": "unwritable", b"d": "unwritable"}
    assert b"d/below/x" in replica.tree()


def test_a_folder_that_could_not_be_looked_into_is_looked_into_once_it_can(replica: Replica) -> None:
    write_tree(replica.path, {b"d/below/x": b"1", b"d/y": b"1"})
    replica.settle()
    write_tree(replica.path, {b"d/below/x": b"22", b"d/y": b"22", b"d/no entry": b""})
    with Forbidding.open_root(replica.path) as root:
        assert replica.settle(Spot(b"d", b"y"), root=root).problems
        assert codes(replica.settle(b"", root=root)) == {b"d": "unwritable"}
    (replica.path / "d" / "no entry").unlink()
    # Only the folder's own name is told of then: its mode changed.
    result = replica.settle(Spot(b"", b"d"))
    assert changes_of(result) == {b"d/below/x": (file(b"1"), file(b"22")), b"d/y": (file(b"1"), file(b"22"))}
    assert replica.look().seen == {}


def test_what_is_no_file_is_told_and_never_opened(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(replica.path / "pipe")
    os.mknod(replica.path / "device", 0o600 | 0o020000, os.makedev(1, 3))
    write_tree(replica.path, {b"was a file": b"1"})
    replica.settle()
    monkeypatch.chdir(replica.path)
    (replica.path / "was a file").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("was a file")
        result = replica.settle()
    assert codes(result) == dict.fromkeys([b"pipe", b"device", b"was a file"], "special-file")
    assert (result.changes, replica.tree()) == ([], {b"was a file": file(b"1")})


def test_links_are_never_followed(replica: Replica) -> None:
    outside = replica.path.parent / "outside"
    write_tree(outside, {b"secret": b"x"})
    write_tree(
        replica.path,
        {b"out": Link(os.fsencode(outside)), b"up": Link(b".."), b"loop": Link(b"loop"), b"d/self": Link(b"."), b"dangling": Link(b"?")},
    )
    replica.settle()
    assert replica.tree() == read_tree(replica.path)
    assert b"out/secret" not in replica.tree()
    assert replica.look(b"out", b"up").changes == []


def test_a_folder_that_becomes_a_link_loses_what_was_below(replica: Replica) -> None:
    outside = replica.path.parent / "outside"
    write_tree(outside, {b"x": b"other"})
    write_tree(replica.path, {b"d/x": b"mine"})
    replica.settle()
    (replica.path / "d").rename(replica.path.parent / "moved")
    (replica.path / "d").symlink_to(outside)
    replica.settle(b"d", b"")
    assert replica.tree() == {b"d": Link(os.fsencode(outside))}


def test_another_disk_below_is_told_and_keeps_what_was_known(replica: Replica) -> None:
    write_tree(replica.path, {b"mounted/x": b"1"})
    replica.settle()
    write_tree(replica.path, {b"mounted/y": b"1"})

    class Mounted(Folder):
        def identity(self) -> tuple[int, int]:
            return super().identity()[0] + 1, 0

    with Mounted.open_root(replica.path) as root:
        result = replica.look(root=root)
    assert (result.changes, codes(result)) == ([], {b"mounted": "mount-point"})
    assert result.problems[0].message == "mounted is another disk; it is not looked into."


def test_a_folder_bound_from_outside_is_neither_read_nor_swept_nor_written(replica: Replica) -> None:
    """It has the same device number as ours: only the mount tells."""
    outside = replica.path.parent / "outside"
    write_tree(outside, {b"theirs": b"1", b".fst-tmp-00000000-theirs": b"1"})
    write_tree(replica.path, {b"d/x": b"1", b"e": DIR})
    replica.settle()
    with bound(outside, replica.path / "d"), bound(outside, replica.path / "e"):
        for result in (replica.settle(), replica.settle(b"d", Spot(b"e", b"theirs"))):
            assert (result.changes, codes(result)) == ([], {b"d": "mount-point", b"e": "mount-point"})
        replica.scanner.sweep_temps(replica.root, replica.blobs.put)
        replica.blobs.put(b"2")
        steps = [Action(RelPath(b"d/x"), file(b"1"), file(b"2")), Action(RelPath(b"d/new"), None, file(b"2"))]
        steps += [Action(RelPath(b"d/f"), None, DIR), Action(RelPath(b"d/f/new"), None, file(b"2"))]
        for few in (steps, steps * 60):
            applied = apply_plan(few, replica.root, replica.blobs, replica.index, keep=replica.blobs.put)
            assert (applied.done, set(applied.problems)) == ([], {step.path for step in steps})
        assert read_tree(outside).keys() == {b"theirs", b".fst-tmp-00000000-theirs"}
    assert (replica.settle().changes, replica.tree()) == ([], read_tree(replica.path))


def test_our_own_names_are_passed_over_in_silence(replica: Replica) -> None:
    write_tree(
        replica.path, {b".git/HEAD": b"ref", b".fst/x": b"", b".fst-tmp-12345678-ab": b"", b"d/.GIT": b"", b"d/.fst-tmp-x": b"", b"ok": b""}
    )
    result = replica.settle()
    assert replica.tree() == {b"d": DIR, b"ok": file(b"")}
    assert result.problems == []
    assert replica.look(b".git").changes == []


def test_a_path_too_long_for_a_manifest_is_a_problem(replica: Replica) -> None:
    name = b"n" * 250
    with Folder.open_root(replica.path) as root:
        folder = root
        for _ in range(17):
            folder.make_dir(name)
            folder = folder.open(name)
        folder.place(folder.write_temp(b"f", [b"x"], False, fsync=False).name, b"f")
    result = replica.settle()
    assert list(codes(result).values()) == ["invalid-value"]
    assert len(replica.tree()) == 16


def test_an_emptied_root_is_told_in_numbers(replica: Replica) -> None:
    write_tree(replica.path, {b"a/b": b"1", b"c": b"1"})
    replica.settle()
    (replica.path / "a").rename(replica.path.parent / "a")
    (replica.path / "c").unlink()
    result = replica.look()
    assert (result.removed, result.known) == (3, 3)


def test_what_is_doubted_is_read_again(replica: Replica) -> None:
    write_tree(replica.path, {b"d/x": b"1", b"y": b"2"})
    replica.settle()
    replica.scanner.doubt([b"d", b"nothing"])
    assert set(replica.settle().seen) == {b"d", b"d/x"}
    assert replica.look().seen == {}


# --- rules ----------------------------------------------------------------------------------------------------------------------


def test_ignored_names_are_not_entered(replica: Replica) -> None:
    write_tree(
        replica.path,
        {b".gitignore": b"*.log\nbuild/\n", b"a.log": b"", b"build/x": b"", b"d/b.log": b"", b"d/build": b"a file", b"keep": b""},
    )
    result = replica.settle()
    assert sorted(replica.tree()) == [b".gitignore", b"d", b"d/build", b"keep"]
    assert result.ignored == 3
    result = replica.settle(b"", b"d")
    assert (result.changes, result.ignored) == ([], 3)


def test_an_ignored_name_is_asked_about_again_when_its_kind_changes(replica: Replica) -> None:
    write_tree(replica.path, {b".gitignore": b"build/\n", b"build/x": b""})
    replica.settle()
    shutil.rmtree(replica.path / "build")
    write_tree(replica.path, {b"build": b"a file"})
    assert changes_of(replica.settle(b"")) == {b"build": (None, file(b"a file"))}


def test_the_order_of_rule_files_is_gits_and_then_ours(replica: Replica) -> None:
    write_tree(replica.path, {b".gitignore": b"*.x\n", b"d/.gitignore": b"!keep.x\n", b"d/.fstignore": b"never.y\n", b"a.x": b"", b"d/keep.x": b"", b"d/other.x": b"", b"d/never.y": b"", b".fstignore": b"!a.x\n"})  # fmt: skip # noqa: E501
    replica.settle()
    assert sorted(replica.tree()) == [b".fstignore", b".gitignore", b"a.x", b"d", b"d/.fstignore", b"d/.gitignore", b"d/keep.x"]


@pytest.mark.parametrize("full", [True, False])
def test_a_rule_added_makes_carried_files_leave_and_they_stay_on_disk(replica: Replica, full: bool) -> None:
    write_tree(replica.path, {b"a.log": b"1", b"d/b.log": b"2", b"out/x": b"3", b"keep": b"4"})
    replica.settle()
    write_tree(replica.path, {b".gitignore": b"*.log\nout/\n"})
    result = replica.settle(*([] if full else [b""]))
    assert result.rules_changed
    assert sorted(path for path, (_, new) in changes_of(result).items() if new is None) == [b"a.log", b"d/b.log", b"out", b"out/x"]
    assert (replica.path / "out" / "x").exists()
    assert replica.look(b"", b"out", b"d").changes == []


@pytest.mark.parametrize("how", ["edited", "removed", "replaced by a folder"])
def test_a_rule_taken_back_lets_everything_in(replica: Replica, how: str) -> None:
    write_tree(replica.path, {b"d/.gitignore": b"*.log\n", b"d/deep/a.log": b"1", b"b.log": b"2"})
    replica.settle()
    assert b"d/deep/a.log" not in replica.tree()
    rules = replica.path / "d" / ".gitignore"
    if how == "edited":
        rules.write_bytes(b"# nothing\n")
    else:
        rules.unlink()
    if how == "replaced by a folder":
        rules.mkdir()
    replica.settle(b"d")
    assert replica.tree() == read_tree(replica.path)


def test_a_rule_is_obeyed_until_its_look_was_kept(replica: Replica) -> None:
    write_tree(replica.path, {b"a.log": b"1"})
    replica.settle()
    write_tree(replica.path, {b".gitignore": b"*.log\n"})
    replica.look()  # its transaction failed
    assert b"a.log" in changes_of(replica.settle())


@pytest.mark.parametrize("folder", [b"", b"d"])
def test_a_rule_file_that_was_read_and_went_before_any_look_at_it_rules_no_more(replica: Replica, folder: bytes) -> None:
    write_tree(replica.path, {b"d/e/x": b"1"})
    rules = at(replica.path, folder) / ".fstignore"
    rules.write_bytes(b"x\n")
    # As a plan asks, or a sweep.
    assert replica.ignore.rules_in(replica.root, b"d/e").admit(b"x", is_dir=False) is False
    rules.unlink()
    replica.settle()
    assert replica.tree() == read_tree(replica.path)


def test_a_rule_file_that_ignores_itself_is_obeyed_and_watched(replica: Replica) -> None:
    write_tree(replica.path, {b".gitignore": b".gitignore\n*.log\n", b"a.log": b"1"})
    replica.settle()
    replica.settle()
    assert replica.tree() == {}
    assert replica.look().rules_changed is False
    write_tree(replica.path, {b".gitignore": b".gitignore\n"})
    replica.settle(b"")
    assert replica.tree() == {b"a.log": file(b"1")}
    write_tree(replica.path, {b".gitignore": b".gitignore\n*.log\n"})
    replica.settle(b"")
    assert replica.tree() == {}
    (replica.path / ".gitignore").unlink()
    replica.settle(b"")
    assert replica.tree() == {b"a.log": file(b"1")}


def test_half_written_rules_are_not_obeyed(replica: Replica) -> None:
    write_tree(replica.path, {b".gitignore": b"out/\n", b"out/x": b"1"})
    replica.settle()
    replica.ahead_ns = 0
    with (replica.path / ".gitignore").open("wb") as writer:
        result = replica.settle(b"")
        assert (result.changes, result.deferred) == ([], frozenset({Spot(b"", b".gitignore")}))
        writer.write(b"out/\n*.log\n")
    assert list(changes_of(replica.settle(b""))) == [b".gitignore"]


def test_a_link_is_no_rule_file(replica: Replica) -> None:
    write_tree(replica.path, {b"rules": b"*.log\n", b".gitignore": Link(b"rules"), b"a.log": b"1"})
    replica.settle()
    assert b"a.log" in replica.tree()


def test_rules_from_outside_keep_out_only_what_is_new(replica: Replica) -> None:
    write_tree(replica.path, {b"old.log": b"1", b"d/old": b"1"})
    replica.settle()
    assert replica.ignore.set_outside(b"*.log\n", b"d/\n") is True
    assert replica.ignore.set_outside(b"*.log\n", b"d/\n") is False
    write_tree(replica.path, {b"new.log": b"2", b"old.log": b"22", b"d/new": b"1"})
    assert changes_of(replica.settle()) == {b"old.log": (file(b"1"), file(b"22"))}
    write_tree(replica.path, {b"d/newer": b"1"})
    assert replica.look(b"d").changes == []
    assert replica.ignore.set_outside(b"", b"") is True
    assert sorted(changes_of(replica.settle())) == [b"d/new", b"d/newer", b"new.log"]


def test_what_was_taken_in_a_folder_leaves_with_it_in_the_same_look(replica: Replica) -> None:
    write_tree(replica.path, {b"a/x": b"1", b"b/c/y": b"1"})
    replica.settle()
    write_tree(replica.path, {b".gitignore": b"a/\n", b"a/new/er": b"1", b"a/x": b"22", b"ab": b"1"})
    (replica.path / "b").rename(replica.path.parent / "b")
    result = replica.settle(b"a", b"b/c")  # `a` is listed, then `b/c` leads up to the root and its rule
    assert replica.tree() == {b".gitignore": file(b"a/\n"), b"ab": file(b"1")}
    assert [change.path for change in result.changes] == [b".gitignore", b"a", b"a/x", b"ab", b"b", b"b/c", b"b/c/y"]
    assert result.removed == 5


def test_a_rule_seen_too_late_for_a_folder_is_obeyed_at_the_next_look(replica: Replica) -> None:
    write_tree(replica.path, {b"a/x.log": b"1", b"b/c/y": b"1"})
    replica.settle()
    write_tree(replica.path, {b".gitignore": b"*.log\n"})
    (replica.path / "b").rename(replica.path.parent / "b")
    result = replica.settle(b"a", b"b/c")  # `a` is listed, then `b/c` leads up to the root and its rule
    assert Spot(b"a", b"") in result.deferred
    assert b"a/x.log" in replica.tree()
    replica.settle(*result.deferred)
    assert replica.tree() == {b".gitignore": file(b"*.log\n"), b"a": DIR}


# --- the index itself -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [DIR, file(b"x"), file(b"x", True), Link(b"t\xff")])
def test_a_record_gives_its_entry_back(entry: Entry, tmp_path: Path) -> None:
    assert entry_of(make_record(entry, None)) == entry
    assert entry_of(doubt_record(make_record(entry, None))) == entry
    if isinstance(entry, Link):
        (tmp_path / "l").symlink_to("t")
        assert entry_of(make_record(entry, (tmp_path / "l").lstat())) == entry


def test_the_index_counts_what_it_holds() -> None:
    index = StatIndex()
    record = make_record(file(b""), None)
    index.remember({RelPath(b"d"): make_record(DIR, None), RelPath(b"d/a"): record, RelPath(b"b"): record})
    assert (len(index), sorted(path for path, _ in index.below(b""))) == (3, [b"b", b"d", b"d/a"])
    index.remember({RelPath(b"d"): None, RelPath(b"d/a"): None, RelPath(b"never"): None})
    assert (len(index), index.get(b"d/a"), index.get(b"b")) == (1, None, record)


def test_rows_are_kept_a_replica_apart(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "db", [INDEX], threaded=False)
    record = make_record(file(b"x"), None)
    seen: dict[RelPath, bytes | None] = {RelPath(b"d\xff"): make_record(DIR, None), RelPath(b"d\xff/a"): record, RelPath(b"b"): record}
    db.write_now(lambda tx: StatIndex.store(tx, "one", seen))
    db.write_now(lambda tx: StatIndex.store(tx, "two", {RelPath(b"b"): record}))
    db.write_now(lambda tx: StatIndex.store(tx, "one", {RelPath(b"b"): None, RelPath(b"d\xff/a"): doubt_record(record)}))
    loaded = StatIndex.load(db.read(), "one")
    assert dict(loaded.below(b"")) == {b"d\xff": make_record(DIR, None), b"d\xff/a": doubt_record(record)}
    db.write_now(lambda tx: StatIndex.forget(tx, "one"))
    assert [len(StatIndex.load(db.read(), name)) for name in ("one", "two")] == [0, 1]
    db.close()
