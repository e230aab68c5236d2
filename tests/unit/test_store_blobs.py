"""What the contract cannot show from outside: bounds, races with a sweep, and leftovers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyfastcdc import FastCDC

from store.blobs import BlobStore
from store.blobs.catalog import Place
from store.blobs.chunks import CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN
from store.blobs.reading import Cache
from store.types import Digest
from tests.blobs import close_store, digests_of, keep, keep_file, keep_inline, large, named, open_store, texts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(tmp_path / "one")
    yield opened
    close_store(opened)


def test_a_cache_keeps_what_was_used_last_within_its_bound() -> None:
    cache: Cache[int, str] = Cache(8000)
    for key in range(9):
        cache.put(key, "kept", 1000)
        assert cache.get(0) == "kept"
    assert [key for key in range(9) if cache.get(key)] == [0, 2, 3, 4, 5, 6, 7, 8]
    cache.put(10, "large", 1001)
    assert cache.get(10) is None


def test_a_blob_that_a_sweep_moves_between_look_up_and_reading_is_found(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [named(large(30_000, seed)) for seed in range(40)]
    keep(store, blobs)
    kept = blobs[::4]
    stale = {digest: store._reader.place(digest) for digest in digests_of(kept)}
    for _ in range(2):
        store.plan_sweep(store.begin_sweep(), set(digests_of(kept)), set()).execute()
    really = store._catalog.place

    def place(digest: Digest) -> Place | None:
        return stale.pop(digest, None) or really(digest)

    monkeypatch.setattr(store._catalog, "place", place)
    moved = [digest for digest, _ in kept if stale[digest] != really(digest)]
    assert moved
    for digest, data in kept:
        assert store.get(digest) == data


def test_a_small_bulk_starts_no_thread(store: BlobStore) -> None:
    before = threading.active_count()
    with store.bulk() as bulk:
        for blob in texts(20)[:2]:
            bulk.add(*blob)
        bulk.settle()
        assert threading.active_count() == before


def test_duplicates_within_a_bulk_and_across_take_no_room(store: BlobStore, tmp_path: Path) -> None:
    blobs = texts(300)
    keep(store, blobs * 3)
    size = sum(file.stat().st_size for file in (tmp_path / "one" / "segments").iterdir())
    keep(store, blobs)
    keep_inline(store, blobs)
    assert sum(file.stat().st_size for file in (tmp_path / "one" / "segments").iterdir()) == size
    assert store.inline_bytes() == 0


def test_a_segment_that_is_full_is_not_appended_to(store: BlobStore, tmp_path: Path) -> None:
    keep(store, [named(large(100_000, seed)) for seed in range(10)])
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "one" / "segments").iterdir()}
    assert len(sizes) == 3
    keep(store, [named(large(100_000, seed)) for seed in range(10, 20)])
    after = {file.name: file.stat().st_size for file in (tmp_path / "one" / "segments").iterdir()}
    assert {name for name, size in sizes.items() if after[name] != size} <= {max(sizes)}


def test_files_are_private(store: BlobStore, tmp_path: Path) -> None:
    keep(store, texts(10))
    folder = tmp_path / "one" / "segments"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_file_is_cut_as_if_it_were_in_memory_whole(store: BlobStore, tmp_path: Path) -> None:
    data = large(25_000_000)
    recipe = store.recipe(keep_file(store, tmp_path / "file", data))
    assert recipe
    cutter = FastCDC(CHUNK_AVERAGE, min_size=CHUNK_MIN, max_size=CHUNK_MAX)
    assert [size for _, size in recipe.chunks] == [chunk.length for chunk in cutter.cut_buf(data)]
