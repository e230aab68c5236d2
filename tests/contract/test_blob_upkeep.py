"""Sweep, compact, verify, mend: what is kept stays readable throughout, and what is damaged is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.blobs import BlobStore
from store.blobs.frames import frame_digests
from store.errors import BlobDamaged, BlobMissing, Stale
from store.types import Digest
from tests.blobs import Blobs, close_store, digests_of, keep, keep_file, keep_inline, large, named, open_store, texts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(tmp_path / "one")
    yield opened
    close_store(opened)


def age(store: BlobStore) -> None:
    """What is there now was there before the last sweep."""
    store.plan_sweep(store.begin_sweep(), _Everything(), _Everything()).execute()


class _Everything(set[Digest]):
    def __contains__(self, digest: object) -> bool:
        return True


def sweep(store: BlobStore, keep_blobs: set[Digest], keep_nodes: set[Digest] | None = None) -> None:
    store.plan_sweep(store.begin_sweep(), keep_blobs, keep_nodes or set()).execute()


def check_kept(store: BlobStore, kept: Blobs) -> None:
    for digest, data in kept:
        assert store.get(digest) == data
    assert list(store.verify()) == []


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_sweep_removes_what_is_not_kept_and_gives_room_back(store: BlobStore, tmp_path: Path) -> None:
    framed, inline = texts(3000), texts(300, seed=1)[4:]
    framed += [named(large(50_000, seed)) for seed in range(30)]
    keep(store, framed)
    keep_inline(store, inline)
    nodes = dict(named(b"node %d" % n) for n in range(10))
    store.db.write_now(lambda tx: store.put_nodes(tx, nodes))
    age(store)
    kept = framed[::10] + inline[::2]
    before = folder_bytes(tmp_path / "one" / "segments")
    plan = store.plan_sweep(store.begin_sweep(), set(digests_of(kept)), set(list(nodes)[:3]))
    gone = dict(framed + inline).keys() - set(digests_of(kept))
    assert (plan.blobs, plan.nodes) == (len(gone), 7)
    assert plan.bytes == sum(len(data) for digest, data in dict(framed + inline).items() if digest in gone)
    assert store.lacking(digests_of(kept)) == set()
    plan.execute()
    assert store.lacking(digests_of(framed + inline)) == gone
    assert store.lacking_nodes(nodes) == set(list(nodes)[3:])
    assert folder_bytes(tmp_path / "one" / "segments") < before / 3
    check_kept(store, kept)


def test_what_came_since_the_last_sweep_is_spared_once(store: BlobStore) -> None:
    blobs = texts(50)
    keep(store, blobs)
    sweep(store, set())
    check_kept(store, blobs)
    sweep(store, set())
    assert store.lacking(digests_of(blobs)) == set(digests_of(blobs))


@pytest.mark.parametrize("ask", ["lacking", "inline", "bulk", "frame"])
def test_what_was_asked_about_outlives_a_sweep_planned_before(store: BlobStore, ask: str) -> None:
    blobs = texts(50)
    keep(store, blobs)
    age(store)
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    if ask == "lacking":
        assert store.lacking(digests_of(blobs)) == set()
    elif ask == "inline":
        keep_inline(store, [blob for blob in blobs if len(blob[1]) < 400_000])
    elif ask == "bulk":
        keep(store, blobs)
    else:
        with store.bulk() as bulk:
            for frame in list(store.frames_for(digests_of(blobs))):
                bulk.add_frame(frame)
    plan.execute()
    check_kept(store, blobs)


def test_nodes_asked_about_outlive_a_sweep_planned_before(store: BlobStore) -> None:
    nodes = dict(named(b"node %d" % n) for n in range(10))
    store.db.write_now(lambda tx: store.put_nodes(tx, nodes))
    age(store)
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    asked = list(nodes)[:4]
    assert store.lacking_nodes(asked) == set()
    plan.execute()
    assert store.lacking_nodes(nodes) == nodes.keys() - set(asked)


def test_no_era_ends_while_a_bulk_is_open(store: BlobStore) -> None:
    blobs = texts(50)
    with store.bulk() as bulk:
        for blob in blobs:
            bulk.add(*blob)
        bulk.settle()
        sweep(store, set())
        sweep(store, set())
    check_kept(store, blobs)


def test_a_plan_is_good_for_one_sweep(store: BlobStore) -> None:
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    plan.execute()
    with pytest.raises(Stale):
        plan.execute()


def test_a_kept_chunked_blob_keeps_its_chunks(store: BlobStore, tmp_path: Path) -> None:
    one, two = large(5_000_000), large(5_000_000, seed=1)
    kept, gone = keep_file(store, tmp_path / "file", one), keep_file(store, tmp_path / "file", two)
    recipe = store.recipe(gone)
    assert recipe
    age(store)
    sweep(store, {kept})
    assert store.lacking([kept, gone, *(chunk for chunk, _ in recipe.chunks)]) == {gone, *(chunk for chunk, _ in recipe.chunks)}
    check_kept(store, [(kept, one)])


def test_a_chunked_blob_asked_about_meanwhile_keeps_its_chunks(store: BlobStore, tmp_path: Path) -> None:
    data = large(5_000_000)
    digest = keep_file(store, tmp_path / "file", data)
    age(store)
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    assert store.lacking([digest]) == set()
    plan.execute()
    check_kept(store, [(digest, data)])
    sweep(store, set())
    assert not store.has(digest)


def test_a_chunked_blob_asked_about_before_keeps_its_chunks(store: BlobStore, tmp_path: Path) -> None:
    data = large(5_000_000)
    digest = keep_file(store, tmp_path / "file", data)
    age(store)
    assert store.lacking([digest]) == set()
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    assert plan.blobs == 0
    plan.execute()
    check_kept(store, [(digest, data)])


def test_swept_blobs_can_be_put_again(store: BlobStore) -> None:
    blobs = texts(500)
    keep(store, blobs)
    age(store)
    sweep(store, set())
    keep(store, blobs)
    check_kept(store, blobs)


def test_compact_moves_inline_blobs_into_segments(store: BlobStore) -> None:
    blobs = texts(1000)
    keep_inline(store, blobs)
    total = store.inline_bytes()
    assert total == sum(len(data) for data in dict(blobs).values())
    moved = store.compact(100_000)
    assert 100_000 <= moved < total
    assert store.inline_bytes() == total - moved
    store.compact(1_000_000_000)
    assert store.inline_bytes() == 0
    check_kept(store, blobs)


def test_readers_are_not_disturbed_by_a_sweep(store: BlobStore) -> None:
    blobs = [named(large(30_000, seed)) for seed in range(60)]
    keep(store, blobs)
    age(store)
    kept = blobs[::4]
    frames = store.frames_for(digests_of(kept))
    first = next(frames)
    sweep(store, set(digests_of(kept)))
    got = {digest for frame in [first, *frames] for digest, _ in frame_digests(frame)}
    assert got == set(digests_of(kept))
    check_kept(store, kept)


# --- damage --------------------------------------------------------------------------------------------------------------------


def test_every_byte_that_is_read_back_is_told_of(store: BlobStore, tmp_path: Path) -> None:
    keep(store, texts(300))
    keep_inline(store, texts(20, seed=1)[4:])
    keep_file(store, tmp_path / "file", large(6_000_000))
    store.db.write_now(lambda tx: store.put_nodes(tx, dict([named(b"node")])))
    heard: list[int] = []
    assert list(store.verify(heard.append)) == []
    assert sum(heard) == store.bytes_to_read() > 12_000_000, "a chunked blob's bytes are read as chunks, and once more as a whole"
    assert max(heard) < 1_000_000, "in many steps"


def test_every_blob_and_node_that_goes_is_told_of(store: BlobStore, tmp_path: Path) -> None:
    keep(store, texts(50))
    keep_file(store, tmp_path / "file", large(6_000_000))
    store.db.write_now(lambda tx: store.put_nodes(tx, dict([named(b"node")])))
    age(store)
    plan = store.plan_sweep(store.begin_sweep(), set(), set())
    heard: list[int] = []
    plan.execute(heard.append)
    assert sum(heard) == plan.blobs + plan.nodes > 60


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def segment_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "one" / "segments").iterdir())


def reopened(store: BlobStore, tmp_path: Path) -> BlobStore:
    close_store(store)
    return open_store(tmp_path / "one")


def test_a_flipped_bit_in_a_segment_is_named_forgotten_and_mended(tmp_path: Path) -> None:
    store = open_store(tmp_path / "one")
    blobs = [named(large(30_000, seed)) for seed in range(3)]
    keep(store, blobs)
    assert list(store.verify()) == []
    store = reopened(store, tmp_path)
    flip(segment_files(tmp_path)[0], -10)
    (problem,) = store.verify()
    assert problem.digest == blobs[2][0]
    assert problem.digest.hex() in str(problem)
    with pytest.raises(BlobDamaged):
        store.get(blobs[2][0])
    assert store.forget_damaged(digests_of(blobs), tmp_path / "aside") == {blobs[2][0]}
    assert store.lacking(digests_of(blobs)) == {blobs[2][0]}
    keep(store, blobs)
    check_kept(store, blobs)
    close_store(store)


def test_damage_behind_a_copy_in_memory_is_forgotten_too(store: BlobStore, tmp_path: Path) -> None:
    digest, data = named(large(30_000))
    keep(store, [(digest, data)])
    assert store.get(digest) == data
    write_over(segment_files(tmp_path)[0], 1000, b"damage")
    assert store.forget_damaged([digest], tmp_path / "aside") == {digest}


@pytest.mark.parametrize("table", ["blobs", "nodes"])
def test_damage_in_the_database_is_named_and_forgotten(store: BlobStore, tmp_path: Path, table: str) -> None:
    digest, data = named(b"some text")
    keep_inline(store, [(digest, data)])
    store.db.write_now(lambda tx: store.put_nodes(tx, {digest: data}))
    store.db.write_now(lambda tx: list(tx.execute(f"UPDATE {table} SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB)")))
    assert {problem.digest for problem in store.verify()} == {digest}
    with pytest.raises(BlobDamaged):
        store.get(digest) if table == "blobs" else store.get_node(digest)
    assert store.forget_damaged([digest], tmp_path / "aside") == {digest}
    assert store.has(digest) == (table != "blobs")
    assert list(store.verify()) == []


def test_a_lost_or_unknown_segment_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path / "one")
    blobs = texts(10)
    keep(store, blobs)
    store = reopened(store, tmp_path)
    file = segment_files(tmp_path)[0]
    file.rename(file.with_name("00000077.seg"))
    problems = list(store.verify())
    assert {problem.digest for problem in problems if problem.digest} == set(digests_of(blobs))
    assert any("segment 77" in str(problem) for problem in problems)
    with pytest.raises(BlobMissing):
        store.get(blobs[3][0])
    sweep(store, set())
    assert file.with_name("00000077.seg").exists(), "a file that the index does not know is evidence"
    store.rebuild_index()
    check_kept(store, blobs)
    close_store(store)


def lose_database(tmp_path: Path) -> None:
    for file in (tmp_path / "one").glob("store.db*"):
        file.unlink()


def write_over(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_the_index_is_rebuilt_from_segments_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "one")
    blobs, whole = texts(2000), large(6_000_000)
    keep(store, blobs)
    digest = keep_file(store, tmp_path / "file", whole)
    close_store(store)
    lose_database(tmp_path)
    store = open_store(tmp_path / "one")
    assert len(list(store.verify())) == len(segment_files(tmp_path))
    store.rebuild_index()
    check_kept(store, [*blobs, (digest, whole)])
    keep(store, texts(100, seed=5))
    check_kept(store, [*blobs, (digest, whole), *texts(100, seed=5)])
    close_store(store)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "first bytes": lambda file: write_over(file, 0, bytes(300)),
    "middle": lambda file: write_over(file, file.stat().st_size // 2, bytes(3000)),
    "tail cut off": lambda file: file.write_bytes(file.read_bytes()[:-1000]),
    "tail of zeros": lambda file: file.write_bytes(file.read_bytes()[:-1000] + bytes(50_000)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_rebuild_leaves_out_what_is_damaged_and_keeps_the_rest(tmp_path: Path, what: str) -> None:
    store = open_store(tmp_path / "one")
    blobs = [named(large(3_000, seed)) for seed in range(300)]
    keep(store, blobs)
    close_store(store)
    DAMAGE[what](segment_files(tmp_path)[1])
    lose_database(tmp_path)
    store = open_store(tmp_path / "one")
    store.rebuild_index()
    kept = [blob for blob in blobs if blob[0] not in store.lacking(digests_of(blobs))]
    assert len(blobs) * 2 // 3 < len(kept) < len(blobs)
    check_kept(store, kept)
    keep(store, blobs)
    check_kept(store, blobs)
    close_store(store)


def test_a_rebuild_drops_a_recipe_without_its_chunks(tmp_path: Path) -> None:
    store = open_store(tmp_path / "one")
    digest = keep_file(store, tmp_path / "file", large(5_000_000))
    close_store(store)
    segment_files(tmp_path)[0].unlink()
    store = open_store(tmp_path / "one")
    assert digest in {problem.digest for problem in store.verify()}
    store.rebuild_index()
    assert not store.has(digest)
    assert list(store.verify()) == []
    close_store(store)
