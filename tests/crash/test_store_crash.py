"""Die before each durable write of the blob store, then reopen: all that was acknowledged is there, and verify has nothing to say.

Two deaths. A *kill* leaves all bytes handed to the system; a child process takes it at the k-th hook. A *power cut* leaves of a
segment only what was synced, and behind that nothing, zeros, or what was written; it is played on a copy of the folder.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.blobs import BlobStore, bulk, segments
from store.blobs.segments import OpenSegment
from store.database import Tx
from store.errors import NoSpace, Unwritable
from tests.blobs import Blobs, close_store, digests_of, keep, keep_file, large, named, open_store, texts

Hook = Callable[[str], None]
Say = Callable[[bytes], None]

FRAMED = [[named(large(9_000, 100 * part + n)) for n in range(32)] for part in range(3)]
INLINE = [named(large(5_000, 1000 + n)) for n in range(10)]
AGAIN = texts(60, seed=7)
WHOLE = large(700_000, 2000)


def hooked(patch: pytest.MonkeyPatch, hook: Hook) -> None:
    """Call `hook` before every append, sync, change of a folder and naming transaction of the store."""

    def before(owner: object, name: str) -> None:
        really = getattr(owner, name)

        def call(*args: object) -> object:
            hook(name)
            return really(*args)

        patch.setattr(owner, name, call)

    before(segments, "sync_data")
    before(segments, "sync_folder")
    before(OpenSegment, "append")
    before(bulk.FrameWriter, "_name_frames")


def work(folder: Path, say: Say) -> None:
    """Everything that writes, acknowledged step by step."""
    store = open_store(folder, threaded=False)
    for number, part in enumerate(FRAMED):
        keep(store, part)
        say(b"%d" % number)
    store.db.write_now(lambda tx: store.put_inline(tx, INLINE))
    say(b"i")
    keep_file(store, folder.with_suffix(".large"), WHOLE)
    say(b"f")
    store.compact(1_000_000)
    for _ in range(2):
        store.plan_sweep(store.begin_sweep(), set(digests_of(kept_of(b"012if"))), set()).execute()
    say(b"s")
    keep(store, AGAIN)
    say(b"a")
    close_store(store)


def kept_of(said: bytes) -> Blobs:
    """What must be there once these steps were acknowledged; the sweeps let most of part 2 go."""
    kept: Blobs = []
    for number, part in enumerate(FRAMED):
        if b"%d" % number in said:
            kept += part[::20] if number == 2 else part
    kept += INLINE if b"i" in said else []
    kept += AGAIN if b"a" in said else []
    kept += [named(WHOLE)] if b"f" in said else []
    return kept


def check(folder: Path, said: bytes) -> None:
    store = open_store(folder, threaded=False)
    assert [str(problem) for problem in store.verify()] == []
    for digest, data in kept_of(said):
        assert store.get(digest) == data
    # Life goes on: what was under way is simply done again, and a sweep clears what is left over.
    keep(store, [*FRAMED[2], *AGAIN])
    store.plan_sweep(store.begin_sweep(), set(digests_of(kept_of(said))), set()).execute()
    for digest, data in [*FRAMED[2], *AGAIN, *kept_of(said)]:
        assert store.get(digest) == data
    assert [str(problem) for problem in store.verify()] == []
    check_nothing_left(store)
    close_store(store)


def check_nothing_left(store: BlobStore) -> None:
    read = store.db.read()
    assert read.one("SELECT 1 FROM segments WHERE id NOT IN (SELECT segment FROM frames)") is None
    assert read.one("SELECT 1 FROM frames WHERE segment NOT IN (SELECT id FROM segments)") is None


class Stop(BaseException):
    """The end of a played life."""


def count_hooks(tmp_path: Path) -> int:
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, seen.append)
        work(tmp_path / "count", lambda _: None)
    assert set(seen) == {"sync_data", "sync_folder", "append", "_name_frames"}
    return len(seen)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_before_any_durable_write(tmp_path: Path) -> None:
    total = count_hooks(tmp_path)
    for at in range(0, total, max(1, total // 24)):
        folder = tmp_path / f"kill {at}"
        said = run_and_kill(folder, at)
        check(folder, said)
        shutil.rmtree(folder)


def run_and_kill(folder: Path, at: int) -> bytes:
    """The steps acknowledged by a child that died at its hook number `at`."""
    left, right = os.pipe()
    child = os.fork()
    if not child:
        hooks_left = [at]

        def die(_: str) -> None:
            if not hooks_left[0]:
                os._exit(9)
            hooks_left[0] -= 1

        with pytest.MonkeyPatch.context() as patch:
            hooked(patch, die)
            try:
                work(folder, lambda word: tell(right, word))
            finally:
                os._exit(1)
    os.close(right)
    with os.fdopen(left, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    return said


def tell(pipe: int, word: bytes) -> None:
    os.write(pipe, word)


TAILS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda unsynced: b"",
    "zeros": lambda unsynced: bytes(len(unsynced)),
    "half": lambda unsynced: unsynced[: len(unsynced) // 2] + bytes(len(unsynced) - len(unsynced) // 2),
}


@pytest.mark.parametrize("tail", TAILS)
def test_the_power_goes_before_any_durable_write(tmp_path: Path, tail: str) -> None:
    total = count_hooks(tmp_path)
    for at in range(0, total, max(1, total // 16)):
        folder = tmp_path / f"cut {at}"
        said = run_and_cut(folder, at, TAILS[tail])
        check(folder, said)
        shutil.rmtree(folder)


def run_and_cut(folder: Path, at: int, tail: Callable[[bytes], bytes]) -> bytes:
    """Work on another folder until hook number `at`, and leave in `folder` what the disk would have then."""
    said: list[bytes] = []
    synced: dict[str, int] = {}
    names: set[str] = set()
    hooks_left = [at]
    source = folder.with_suffix(".life")

    def hook(_: str) -> None:
        if not hooks_left[0]:
            hooks_left[0] = -1
            cut(source, folder, {name: synced.get(name, 0) for name in names}, tail)
            raise Stop
        if hooks_left[0] < 0:
            raise Stop
        hooks_left[0] -= 1

    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, hook)
        note_syncs(patch, synced, names)
        with pytest.raises(Stop):
            work(source, said.append)
    shutil.rmtree(source)
    return b"".join(said)


def note_syncs(patch: pytest.MonkeyPatch, synced: dict[str, int], names: set[str]) -> None:
    """After each sync of a segment, how long it was then; a name is safe once its folder was synced."""
    sync_data, sync_folder = segments.sync_data, segments.sync_folder

    def note_data(fd: int) -> None:
        sync_data(fd)
        synced[Path(f"/proc/self/fd/{fd}").readlink().name] = os.fstat(fd).st_size

    def note_folder(folder: Path) -> None:
        sync_folder(folder)
        names.update(file.name for file in folder.iterdir())

    patch.setattr(segments, "sync_data", note_data)
    patch.setattr(segments, "sync_folder", note_folder)


def cut(source: Path, folder: Path, synced: dict[str, int], tail: Callable[[bytes], bytes]) -> None:
    shutil.copytree(source, folder)
    for file in (folder / "segments").iterdir():
        if file.name not in synced:
            file.unlink()
            continue
        data = file.read_bytes()
        safe = synced[file.name]
        file.write_bytes(data[:safe] + tail(data[safe:]))


def test_a_full_disk_is_told_and_leaves_the_store_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "one")
    keep(store, FRAMED[0][:10])
    room = [100_000]
    really = os.write

    def write(fd: int, data: bytes) -> int:
        count = min(len(data), room[0])
        room[0] -= count
        if not count:
            raise OSError(28, "No space left on device")
        return really(fd, data[:count])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(NoSpace):
        keep(store, FRAMED[1] + FRAMED[2])
    room[0] = 1 << 40
    for number, named_bytes in store.db.read().execute("SELECT id, bytes FROM segments WHERE bytes > 0"):
        assert (tmp_path / "one" / "segments" / f"{number:08d}.seg").stat().st_size == named_bytes
    assert list(store.verify()) == []
    keep(store, FRAMED[1] + FRAMED[2])
    for digest, data in [*FRAMED[0][:10], *FRAMED[1], *FRAMED[2]]:
        assert store.get(digest) == data
    close_store(store)


def test_a_failed_transaction_names_nothing_and_the_next_bulk_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "one")
    really = bulk.FrameWriter._name_frames

    def fail(self: bulk.FrameWriter, tx: Tx, number: int, end: int, written: list[object]) -> None:
        really(self, tx, number, end, written)  # type: ignore[arg-type]
        raise Unwritable("the disk is gone")

    with monkeypatch.context() as patch, pytest.raises(Unwritable):
        patch.setattr(bulk.FrameWriter, "_name_frames", fail)
        keep(store, FRAMED[0])
    assert store.lacking(digests_of(FRAMED[0])) == set(digests_of(FRAMED[0]))
    keep(store, FRAMED[0])
    for digest, data in FRAMED[0]:
        assert store.get(digest) == data
    assert list(store.verify()) == []
    close_store(store)


def test_a_failed_sync_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "one")
    failures = [OSError(5, "Input/output error")]
    really = segments.sync_data

    def sync(fd: int) -> None:
        if failures:
            raise failures.pop()
        really(fd)

    monkeypatch.setattr(segments, "sync_data", sync)
    with pytest.raises(Unwritable), store.bulk() as bulk:
        for blob in FRAMED[0]:
            bulk.add(*blob)
        bulk.settle()
    assert not failures
    assert store.lacking(digests_of(FRAMED[0])) == set(digests_of(FRAMED[0]))
    keep(store, FRAMED[0])
    assert list(store.verify()) == []
    close_store(store)
