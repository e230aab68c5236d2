"""What every blob store promises, to daemon and cloud alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from store.blobs import CHUNKED_MIN, BlobStore, Recipe, reading
from store.blobs.frames import decode_frame, decode_recipe, encode_frame, frame_digests, is_recipe
from store.errors import BlobDamaged, BlobMissing, FileMoved, InvalidReply, TooLarge
from store.manifest import EMPTY_NODE, EMPTY_ROOT
from store.types import digest_of
from tests.blobs import close_store, digests_of, keep, keep_file, keep_inline, large, named, open_store, texts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(tmp_path / "one")
    yield opened
    close_store(opened)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(tmp_path / "two")
    yield opened
    close_store(opened)


@pytest.mark.parametrize("put", [keep, keep_inline])
def test_what_was_put_is_had_and_got(store: BlobStore, put: object) -> None:
    blobs = texts(2000)
    assert callable(put)
    put(store, blobs)
    put(store, blobs)
    for digest, data in blobs:
        assert store.has(digest)
        assert store.size(digest) == len(data)
        assert store.get(digest) == b"".join(store.stream(digest)) == data
        assert store.recipe(digest) is None


def test_it_is_all_there_after_reopening(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    keep(store, texts(500))
    keep_inline(store, texts(100, seed=1))
    close_store(store)
    store = open_store(tmp_path / "store")
    for digest, data in texts(500) + texts(100, seed=1):
        assert store.get(digest) == data
    close_store(store)


def test_lacking_names_exactly_what_is_not_here(store: BlobStore) -> None:
    here, there = texts(1000), texts(500, seed=1)[4:]
    keep(store, here[::2])
    keep_inline(store, here[1::2])
    assert store.lacking(digests_of(here + there)) == set(digests_of(there))
    assert store.lacking([]) == set()
    absent = digest_of(b"absent")
    assert not store.has(absent)
    for ask in (store.get, store.size, store.recipe):
        with pytest.raises(BlobMissing):
            ask(absent)


def test_bytes_that_are_not_the_blob_are_refused(store: BlobStore) -> None:
    digest, data = named(b"right")
    with pytest.raises(BlobDamaged):
        keep_inline(store, [(digest, b"wrong")])
    with pytest.raises(BlobDamaged):
        store.db.write_now(lambda tx: store.put_nodes(tx, {digest: b"wrong"}))
    with store.bulk() as bulk, pytest.raises(BlobDamaged):
        bulk.add_frame(encode_frame([(digest, b"wrong")]))
    assert not store.has(digest)
    keep_inline(store, [(digest, data)])


def test_what_must_be_chunked_is_refused_in_one_piece(store: BlobStore) -> None:
    blob = named(bytes(CHUNKED_MIN + 1))
    with pytest.raises(TooLarge):
        keep_inline(store, [blob])
    with store.bulk() as bulk:
        with pytest.raises(TooLarge):
            bulk.add(*blob)
        with pytest.raises(InvalidReply):
            bulk.add_frame(encode_frame([blob]))
    keep_inline(store, [named(bytes(CHUNKED_MIN))])
    with pytest.raises(TooLarge):
        store.get(digest_of(bytes(CHUNKED_MIN)), max_bytes=1000)


def test_an_inline_put_belongs_to_the_callers_transaction(store: BlobStore) -> None:
    blob = named(b"text")

    def fail(tx: object) -> None:
        store.put_inline(tx, [blob])  # type: ignore[arg-type]
        raise ValueError

    with pytest.raises(ValueError):
        store.db.write_now(fail)
    assert not store.has(blob[0])


def test_a_bulk_that_ends_in_an_error_keeps_what_was_added(store: BlobStore) -> None:
    blobs = texts(1000)
    with pytest.raises(ValueError), store.bulk() as bulk:
        for blob in blobs:
            bulk.add(*blob)
        raise ValueError
    assert store.lacking(digests_of(blobs)) == set()


def test_several_bulks_at_once(store: BlobStore) -> None:
    parts = [texts(800, seed=seed) for seed in range(4)]
    threads = [threading.Thread(target=keep, args=(store, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for digest, data in chain(*parts):
        assert store.get(digest) == data


def test_bulks_append_to_the_segment_of_those_before(store: BlobStore, tmp_path: Path) -> None:
    for seed in range(3):
        keep(store, texts(10, seed))
    assert len(list((tmp_path / "one" / "segments").iterdir())) == 1


def test_nodes(store: BlobStore) -> None:
    nodes = dict(named(b'{"level":0,"entries":[%d]}' % n) for n in range(100))
    store.db.write_now(lambda tx: store.put_nodes(tx, nodes))
    for digest, data in nodes.items():
        assert store.get_node(digest) == store.get_node(digest) == data
    absent = digest_of(b"absent")
    assert store.lacking_nodes([*nodes, absent, EMPTY_ROOT]) == {absent}
    assert store.get_node(EMPTY_ROOT) == EMPTY_NODE
    with pytest.raises(BlobMissing):
        store.get_node(absent)


def test_a_node_may_be_larger_than_a_blob_in_one_piece(store: BlobStore) -> None:
    """S39: 128 links with the longest names and targets are such a node."""
    node = b"n" * (CHUNKED_MIN + 1)
    digest = digest_of(node)
    store.db.write_now(lambda tx: store.put_nodes(tx, {digest: node}))
    assert store.get_node(digest) == node


def test_frames_carry_everything_to_another_store(store: BlobStore, other: BlobStore) -> None:
    framed, inline = texts(1500), texts(300, seed=1)
    keep(store, framed)
    keep_inline(store, inline)
    wanted = digests_of(framed + inline)
    with other.bulk() as bulk:
        for frame in store.frames_for(wanted):
            bulk.add_frame(frame, set(wanted))
    assert other.lacking(wanted) == set()
    for digest, data in framed + inline:
        assert other.get(digest) == data


def test_what_lies_in_two_frames_goes_in_one(store: BlobStore) -> None:
    """S37: it was kept by the time it came again beside something new; who asked for both got one twice, and refused the answer."""
    blobs = texts(5)
    for part in (blobs[2:3], blobs[:4], blobs[3:]):
        with store.bulk() as bulk:
            bulk.add_frame(encode_frame(part), set(digests_of(part)))
    for asked in (digests_of(blobs), digests_of(blobs)[::-1], digests_of(blobs[1:4])):
        sent = [digest for frame in store.frames_for(asked) for digest, _ in frame_digests(frame)]
        assert sorted(sent) == sorted(asked)


def test_frames_hold_exactly_what_was_asked(store: BlobStore) -> None:
    blobs = texts(1500)
    keep(store, blobs)
    asked = digests_of(blobs)[::3]
    sent = [digest for frame in store.frames_for(asked) for digest, _ in frame_digests(frame)]
    assert sorted(sent) == sorted(set(asked))
    assert dict(item for frame in store.frames_for(asked) for item in decode_frame(frame)) == {d: b for d, b in blobs if d in set(asked)}
    with pytest.raises(BlobMissing):
        list(store.frames_for([*asked, digest_of(b"absent")]))


def test_a_frame_with_what_was_not_asked_for_is_refused(store: BlobStore) -> None:
    one, two = named(b"one"), named(b"two")
    with store.bulk() as bulk:
        with pytest.raises(InvalidReply):
            bulk.add_frame(encode_frame([one, two]), {one[0]})
        with pytest.raises(InvalidReply):
            bulk.add_frame(b"no frame")
    assert store.lacking([one[0], two[0]]) == {one[0], two[0]}


# --- chunked -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [1, 10_000], ids=["read ahead", "one by one"])
def test_a_large_file_comes_back_whole(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(reading, "MANY_CHUNKS", many)
    data = large(20_000_000)
    digest = keep_file(store, tmp_path / "file", data)
    assert digest == digest_of(data)
    assert store.has(digest)
    assert store.size(digest) == len(data)
    assert b"".join(store.stream(digest)) == store.get(digest) == data
    recipe = store.recipe(digest)
    assert recipe
    assert len(recipe.chunks) > 20
    assert store.lacking([digest, *(chunk for chunk, _ in recipe.chunks)]) == set()
    with pytest.raises(TooLarge):
        store.get(digest, max_bytes=1_000_000)


@pytest.mark.parametrize("size", [CHUNKED_MIN, 8 * 1024 * 1024, 8 * 1024 * 1024 + 1, 16 * 1024 * 1024, 16 * 1024 * 1024 - 1])
def test_sizes_around_the_window(store: BlobStore, tmp_path: Path, size: int) -> None:
    for data in (large(size), bytes(size)):
        assert b"".join(store.stream(keep_file(store, tmp_path / "file", data))) == data


def test_an_insertion_adds_a_few_chunks(store: BlobStore, tmp_path: Path) -> None:
    data = large(20_000_000)
    before = store.recipe(keep_file(store, tmp_path / "file", data))
    after = store.recipe(keep_file(store, tmp_path / "file", data[:7_000_000] + b"x" + data[7_000_000:]))
    assert before
    assert after
    assert len(set(after.chunks) - set(before.chunks)) <= 2


def test_a_file_that_shrank_is_refused(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(large(9_000_000))
    with (tmp_path / "file").open("rb") as file, pytest.raises(FileMoved):
        store.add_file(file.fileno(), 20_000_000)


def test_a_chunked_blob_travels_as_chunks_and_a_recipe(store: BlobStore, other: BlobStore, tmp_path: Path) -> None:
    data = large(10_000_000)
    digest = keep_file(store, tmp_path / "file", data)
    (frame,) = store.frames_for([digest])
    assert is_recipe(frame)
    recipe = decode_recipe(frame)
    with pytest.raises(BlobMissing):
        other.put_recipe(recipe)
    wanted = [chunk for chunk, _ in recipe.chunks]
    with other.bulk() as bulk:
        for each in store.frames_for(wanted):
            bulk.add_frame(each, set(wanted))
        bulk.add_frame(frame, {digest})
    assert other.get(digest) == data
    other.put_recipe(recipe)
    assert list(other.frames_for([digest])) == [frame]


def test_a_recipe_that_does_not_make_the_whole_is_refused(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = keep_file(store, tmp_path / "file", large(10_000_000))
    recipe = store.recipe(digest)
    assert recipe
    turned = Recipe(digest_of(b"another"), recipe.size, recipe.chunks[::-1])
    of_itself = Recipe(digest_of(b"another"), recipe.size, ((digest, recipe.size),))
    wrong_size = Recipe(digest_of(b"another"), 1, ((recipe.chunks[0][0], 1),))
    for many in (1, 10_000):
        monkeypatch.setattr(reading, "MANY_CHUNKS", many)
        for false in (turned, of_itself, wrong_size):
            with pytest.raises(BlobDamaged):
                store.put_recipe(false)
    assert not store.has(digest_of(b"another"))
