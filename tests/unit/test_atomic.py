"""The door to a workspace's files: whole or not at all, never through a link, never over a taken name."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import atomic
from store.atomic import TEMP_PREFIX, Folder, TempName, has_writer, is_temp_for, sync_file_system, temp_name, translate_os_error
from store.errors import BlobDamaged, Busy, FastestError, FileMoved, InvalidValue, NoSpace, RootLost, Unwritable


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.open_root(tmp_path) as opened:
        yield opened


@pytest.fixture(params=["exchange", "in steps"])
def either(request: pytest.FixtureRequest, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The same on a file system that can exchange, and on one that cannot."""
    if request.param == "in steps":
        monkeypatch.setattr(atomic, "_RENAME", None)
    return folder


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_written_temporary_is_hidden_until_it_is_placed(either: Folder, tmp_path: Path) -> None:
    temp = either.write_temp(b"a.txt", [b"one ", b"two"], False, fsync=True).name
    assert temp.startswith(TEMP_PREFIX) and not (tmp_path / "a.txt").exists()
    either.place(temp, b"a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"one two"
    assert names_in(tmp_path) == ["a.txt"]


def test_modes_are_those_of_a_fresh_checkout(folder: Folder, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder.place(folder.write_temp(b"plain", [b""], False, fsync=False).name, b"plain")
        folder.place(folder.write_temp(b"tool", [b""], True, fsync=False).name, b"tool")
        folder.make_dir(b"sub")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "tool", "sub")]
    assert modes == [0o640, 0o750, 0o750]


def test_a_replaced_file_keeps_who_may_read_it(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"old")
    (tmp_path / "private").chmod(0o600)
    like = (tmp_path / "private").stat()
    modes = []
    for executable in (False, True):
        written = folder.write_temp(b"private", [b"new"], executable, fsync=False, like=like)
        modes.append(stat.S_IMODE((tmp_path / os.fsdecode(written.name)).stat().st_mode))
    assert modes == [0o600, 0o700]


def test_a_written_file_has_a_time_of_its_own(folder: Folder, tmp_path: Path) -> None:
    times = set()
    for number in range(200):
        written = folder.write_temp(b"%d" % number, [b"x"], False, fsync=False)
        status = folder.stat(written.name)
        assert status is not None and written.is_at(status)
        times.add(status.st_mtime_ns)
    assert len(times) > 190, "drawn from half a million: two may meet, ten do not"
    # A file as anybody else writes it cannot be taken for one of them.
    (tmp_path / "user").write_bytes(b"x")
    assert (tmp_path / "user").stat().st_mtime_ns not in times


def test_a_time_of_its_own_is_no_whole_microsecond(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for ending in range(1000):
        monkeypatch.setattr("random.getrandbits", lambda _bits, ending=ending: ending)
        status = folder.stat(folder.write_temp(b"n", [b"x"], False, fsync=False).name)
        assert status is not None and status.st_mtime_ns % 1000 != 0


def test_nothing_is_left_of_content_that_fails_on_the_way(folder: Folder, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise BlobDamaged("not what it says")

    with pytest.raises(BlobDamaged):
        folder.write_temp(b"a", chunks(), False, fsync=False)
    assert names_in(tmp_path) == []


def test_exchange_swaps_and_keeps_both(either: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    temp = either.write_temp(b"a", [b"new"], False, fsync=False).name
    either.exchange(temp, b"a")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / os.fsdecode(temp)).read_bytes() == b"old"
    assert len(names_in(tmp_path)) == 2


def test_exchange_takes_any_kind(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "inside").write_bytes(b"x")
    temp = folder.make_temp_link(b"d", b"nowhere\xff").name
    folder.exchange(temp, b"d")
    assert folder.read_link(b"d") == b"nowhere\xff"
    assert (tmp_path / os.fsdecode(temp) / "inside").exists()


def test_exchange_with_nothing_is_told(either: Folder, tmp_path: Path) -> None:
    temp = either.write_temp(b"a", [b"new"], False, fsync=False).name
    with pytest.raises(FileMoved):
        either.exchange(temp, b"a")
    assert names_in(tmp_path) == [os.fsdecode(temp)]


def test_an_exchange_in_steps_that_loses_the_name_hands_over_what_it_moved(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_RENAME", None)
    (tmp_path / "a").write_bytes(b"old")
    temp = folder.write_temp(b"a", [b"ours"], False, fsync=False).name
    really_place = Folder.place

    def place(self: Folder, temp: TempName, name: bytes) -> None:
        (tmp_path / "a").write_bytes(b"saved meanwhile")
        really_place(self, temp, name)

    monkeypatch.setattr(Folder, "place", place)
    with pytest.raises(FileMoved) as caught:
        folder.exchange(temp, b"a")
    aside = caught.value.details["aside"]
    assert isinstance(aside, bytes) and (tmp_path / os.fsdecode(aside)).read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"saved meanwhile"


def test_place_and_make_dir_refuse_a_taken_name(either: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"user")
    temp = either.write_temp(b"a", [b"ours"], False, fsync=False).name
    with pytest.raises(FileMoved):
        either.place(temp, b"a")
    with pytest.raises(FileMoved):
        either.make_dir(b"a")
    assert (tmp_path / "a").read_bytes() == b"user"


def test_a_folder_is_placed_and_refused_like_a_file(either: Folder, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    temp = either.make_temp_dir(b"free").name
    with pytest.raises(FileMoved):
        either.place(temp, b"taken")
    either.place(temp, b"free")
    assert names_in(tmp_path) == ["free", "taken"]


def test_take_aside_frees_the_name(either: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"user")
    temp = either.take_aside(b"a")
    assert is_temp_for(temp, b"a") and not is_temp_for(temp, b"b")
    assert names_in(tmp_path) == [os.fsdecode(temp)]
    either.discard(temp)
    either.discard(temp)
    assert names_in(tmp_path) == []
    with pytest.raises(FileMoved):
        either.take_aside(b"a")


def test_only_temporaries_are_discarded(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"user")
    with pytest.raises(AssertionError):
        folder.discard(TempName(b"a"))
    assert (tmp_path / "a").exists()


def test_only_empty_folders_are_removed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "f").write_bytes(b"")
    assert folder.remove_dir(b"d") is False
    (tmp_path / "d" / "sub").rmdir()
    assert folder.remove_dir(b"d") is True
    for gone in (b"d", b"f"):
        with pytest.raises(FileMoved):
            folder.remove_dir(gone)


def test_opening_goes_down_and_never_through_a_link(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "a" / "way out").symlink_to("../outside")
    (tmp_path / "file").write_bytes(b"")
    with folder.open(b"a/b") as below, folder.open(b"") as again:
        assert below.identity()[1] == (tmp_path / "a" / "b").stat().st_ino
        assert again.identity() == folder.identity()
    for bad in (b"a/way out", b"a/way out/x", b"file", b"nothing", b"a/nothing/b"):
        with pytest.raises(FileMoved):
            folder.open(bad)


def test_a_failed_open_leaves_no_descriptor(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    before = len(names_in(Path("/proc/self/fd")))
    for _ in range(5):
        with pytest.raises(FileMoved):
            folder.open(b"a/b/c")
    assert len(names_in(Path("/proc/self/fd"))) == before


def test_a_link_is_looked_at_not_through(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("target")
    status = folder.stat(b"link")
    assert status is not None and stat.S_ISLNK(status.st_mode)
    assert folder.stat(b"nothing") is None
    with pytest.raises(FileMoved):
        folder.open_file(b"link")
    assert folder.read_link(b"link") == b"target"


def test_opening_a_fifo_does_not_wait_for_its_writer(folder: Folder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fd = folder.open_file(b"pipe")
    assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    os.close(fd)


def test_a_root_that_is_not_there_is_lost(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_bytes(b"")
    for name, told in (("nothing", "is not there"), ("file", "is not there"), ("link", "became a link")):
        with pytest.raises(RootLost, match=f"^{tmp_path / name} {told}$"):
            Folder.open_root(tmp_path / name)
    with pytest.raises(InvalidValue):
        Folder.open_root(tmp_path / ("n" * 300))


@pytest.mark.parametrize("name", [b"n" * 255, b"\xff\xfe", b"new\nline", "é".encode(), "e\u0301".encode(), b"-rf", "🐢".encode() * 63])
def test_any_name_can_be_written_swapped_and_taken(folder: Folder, tmp_path: Path, name: bytes) -> None:
    folder.place(folder.write_temp(name, [b"one"], False, fsync=False).name, name)
    folder.discard(_exchanged(folder, name, b"two"))
    assert [os.fsencode(entry.name) for entry in folder.scan()] == [name]
    folder.discard(folder.take_aside(name))
    assert names_in(tmp_path) == []


def _exchanged(folder: Folder, name: bytes, data: bytes) -> TempName:
    temp = folder.write_temp(name, [data], False, fsync=False).name
    folder.exchange(temp, name)
    return temp


def test_the_executable_bit_follows_who_may_read(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"")
    path.chmod(0o640)
    fd = folder.open_file(b"tool")
    folder.set_executable(b"tool", fd, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    folder.set_executable(b"tool", fd, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    os.close(fd)


def test_a_writer_is_noticed_while_it_has_the_file_open(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 4096)
    fd = folder.open_file(b"a")
    assert has_writer(fd) is False
    with path.open("r+b") as writer:
        assert has_writer(fd) is True
        mapped = mmap.mmap(writer.fileno(), 4096)
    assert has_writer(fd) is True  # closed, but still mapped for writing
    mapped.close()
    with path.open("rb"):
        assert has_writer(fd) is False
    os.close(fd)


def test_a_writer_cannot_be_told_of_a_pipe(folder: Folder) -> None:
    read, write = os.pipe()
    assert has_writer(read) is None
    os.close(read)
    os.close(write)


def test_the_probe_leaves_no_lease_behind(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    fd = folder.open_file(b"a")
    assert has_writer(fd) is False
    # With a lease held, this open would wait for seconds; non-blocking, it would fail.
    os.close(os.open(tmp_path / "a", os.O_WRONLY | os.O_NONBLOCK))
    os.close(fd)


@pytest.mark.parametrize(
    ("number", "family"),
    [
        (errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EACCES, Unwritable), (errno.EROFS, Unwritable), (errno.EIO, Unwritable),
        (errno.ENOENT, FileMoved), (errno.ELOOP, FileMoved), (errno.EEXIST, FileMoved), (errno.EMFILE, Busy),
        (errno.ENAMETOOLONG, InvalidValue),
    ],
)  # fmt: skip
def test_the_systems_refusals_have_a_family(number: int, family: type[FastestError]) -> None:
    error = translate_os_error(OSError(number, os.strerror(number)), b"bad\nname")
    assert type(error) is family
    assert "\n" not in error.message


def test_a_full_disk_leaves_nothing_behind(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "write_all", full)
    with pytest.raises(NoSpace):
        folder.write_temp(b"a", [b"x"], False, fsync=False)
    assert names_in(tmp_path) == []


def test_short_writes_are_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = bytearray()

    def write(fd: int, data: bytes | memoryview) -> int:
        taken.extend(data[:3])
        return len(data[:3])

    monkeypatch.setattr(os, "write", write)
    atomic.write_all(1, b"0123456789")
    assert bytes(taken) == b"0123456789"


def test_syncing_is_accepted(folder: Folder) -> None:
    folder.sync()
    sync_file_system(folder.fd)
    with pytest.raises(FastestError):
        sync_file_system(-1)


def test_where_one_file_system_cannot_be_synced_all_are(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(atomic, "_LIBC", None)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    sync_file_system(folder.fd)
    assert synced


def test_temporary_names_are_short_and_new() -> None:
    names = {temp_name(b"n" * 255) for _ in range(100)}
    assert len(names) == 100
    assert max(map(len, names)) < 64
