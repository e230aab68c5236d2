"""How far a long work is, as the engine and the transfers count it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from store.blobs import BlobStore
from store.errors import RootLost
from store.types import Digest, RelPath, Spot
from sync.outgoing import INLINE_BLOBS
from sync.ports import Remote
from sync.progress import Phase
from sync.transfer import fetch_blobs, send_blobs
from tests.blobs import close_store, keep_file, large, open_store
from tests.two_replicas import MemoryCloud, NotedProgress, Side, run

MANY = INLINE_BLOBS + 40
Make = Callable[[str], Side]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    cloud, sides = MemoryCloud(), []

    def one(name: str) -> Side:
        sides.append(Side(tmp_path / name, cloud))
        return sides[-1]

    yield one
    for side in sides:
        side.close()


def fill(side: Side, count: int, first: int = 0) -> int:
    """So many files in folders of ten, some of them deep; their bytes."""
    for number in range(first, first + count):
        side.write(f"d{number // 10 % 7}/e{number // 10}/f{number}", f"{number}\n" * (number % 50 + 1))
    return sum(len(f"{number}\n") * (number % 50 + 1) for number in range(first, first + count))


# --- a look ---


def test_a_first_look_counts_files_of_who_knows_how_many(make: Make) -> None:
    side = make("a")
    fill(side, 30)
    (side.root / "link").symlink_to("d0")
    side.look()
    assert side.progress.all_of(Phase.LOOKING) == [(31, None)], "folders are no files"


def test_a_later_look_knows_how_many_there_were(make: Make) -> None:
    side = make("a")
    fill(side, 30)
    side.look()
    side.write("d0/e0/f0", "changed")
    side.look()
    assert side.progress.all_of(Phase.LOOKING)[1:] == [(30, 30)]
    fill(side, 5, first=30)
    side.look()
    assert side.progress.all_of(Phase.LOOKING)[2:] == [(35, 30)], "what is new was not known of"


def test_a_look_at_a_few_folders_says_no_total(make: Make) -> None:
    side = make("a")
    fill(side, 30)
    side.look()
    side.write("d0/e0/f0", "changed")
    run(side.engine.look({Spot(RelPath(b"d0/e0"), b"")}))
    assert side.progress.all_of(Phase.LOOKING)[1:] == [(10, None)]


def test_a_path_that_is_no_file_is_never_counted(make: Make) -> None:
    side = make("a")
    side.write(".gitignore", "ignored\n")
    side.write("ignored", "x")
    side.write("kept", "x")
    side.look()
    assert side.replica.index.count_files() == 2 and side.replica.index.get(RelPath(b"ignored")) is None
    assert side.progress.all_of(Phase.LOOKING) == [(2, None)]


# --- across ---


def test_every_part_of_a_large_push_and_pull_ends_where_it_said(make: Make) -> None:
    a, b = make("a"), make("b")
    a.policy = type(a.policy)(a.policy.limits, lambda path, file: None, "boot")
    size_bytes = fill(a, MANY)
    a.sync()
    assert a.progress.all_of(Phase.CHECKING) == [(MANY, MANY)]
    assert a.progress.all_of(Phase.SENDING) == [(size_bytes, size_bytes)]
    b.sync()
    assert b.progress.all_of(Phase.FETCHING) == [(size_bytes, size_bytes)]
    folders = sum(1 for path in b.root.rglob("*") if path.is_dir())
    assert b.progress.all_of(Phase.APPLYING) == [(MANY + folders, MANY + folders)]
    assert b.tree() == a.tree()


def test_steps_into_folders_that_are_there_are_counted_once_each(make: Make) -> None:
    a, b = make("a"), make("b")
    fill(a, 10)
    a.sync()
    b.sync()
    for number in range(5):
        (a.root / "d0" / "e0" / f"f{number}").write_text("changed")
    (a.root / "d0" / "e0" / "f9").unlink()
    fill(a, 150, first=10)
    a.sync()
    b.sync()
    (_, (done, total)) = b.progress.all_of(Phase.APPLYING)
    assert done == total is not None and total > 150
    assert b.tree() == a.tree()


def test_a_step_that_is_refused_counts_as_looked_into(make: Make) -> None:
    a, b = make("a"), make("b")
    a.write("f", "from a")
    a.sync()
    b.write("f", "in the way, and not looked at")
    assert b.pull().stale == (b"f",)
    assert b.progress.all_of(Phase.APPLYING) == [(1, 1)]


def test_few_blobs_are_counted_too(make: Make) -> None:
    a, b = make("a"), make("b")
    size_bytes = fill(a, 3)
    a.sync()
    assert a.progress.all_of(Phase.SENDING) == [], "they went with the push itself"
    b.sync()
    assert b.progress.all_of(Phase.FETCHING) == [(size_bytes, size_bytes)]


def test_nothing_goes_on_after_a_verb_even_one_that_failed(make: Make) -> None:
    side = make("a")
    fill(side, 3)
    side.sync()
    assert side.progress.now.phase is Phase.REST
    side.root.rename(side.root.with_name("elsewhere"))
    with pytest.raises(RootLost):
        side.look()
    assert side.progress.now.phase is Phase.REST


# --- chunks ---


class StoreRemote:
    """A cloud that is a blob store."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        return self.store.lacking(digests)

    async def upload(self, frames: Iterable[bytes]) -> None:
        with self.store.bulk() as bulk:
            for frame in frames:
                bulk.add_frame(frame)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        for frame in self.store.frames_for(digests):
            yield frame


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[BlobStore]]:
    opened = [open_store(tmp_path / name) for name in ("here", "cloud", "there")]
    yield opened
    for store in opened:
        close_store(store)


def test_chunks_that_are_there_already_count_as_moved(stores: list[BlobStore], tmp_path: Path) -> None:
    here, cloud, there = stores
    old, new = large(8_000_000), b"inserted" + large(8_000_000)
    remote = cast(Remote, StoreRemote(cloud))
    for each in (old, new):
        digest = keep_file(here, tmp_path / "file", each)
        for work, store in ((send_blobs, here), (fetch_blobs, there)):
            progress = NotedProgress()
            asyncio.run(work(remote, store, {digest: len(each)}, progress))
            assert (progress.now.done, progress.now.total) == (len(each), len(each)), work.__name__
        assert there.get(digest) == each
