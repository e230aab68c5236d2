from __future__ import annotations

from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store.blobs.frames import (
    HEAD_BYTES,
    MAX_FRAME_BLOBS,
    MAX_FRAME_RAW,
    Recipe,
    decode_frame,
    decode_recipe,
    encode_frame,
    encode_recipe,
    expand,
    frame_digests,
    is_recipe,
    parse_head,
    squeeze,
)
from store.errors import BlobDamaged, InvalidReply, TooLarge
from store.types import Digest, digest_of

BLOBS = st.lists(st.binary(max_size=600) | st.binary(min_size=1, max_size=4).map(lambda unit: unit * 500), max_size=12)
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
RECIPES = st.builds(
    lambda digest, chunks: Recipe(digest, sum(size for _, size in chunks), tuple(chunks)),
    DIGESTS,
    st.lists(st.tuples(DIGESTS, st.integers(0, 2**32 - 1)), max_size=20),
)


def frame_of(contents: list[bytes]) -> bytes:
    return encode_frame([(digest_of(data), data) for data in contents])


@given(BLOBS)
def test_a_frame_gives_back_its_blobs(contents: list[bytes]) -> None:
    frame = frame_of(contents)
    assert decode_frame(frame) == [(digest_of(data), data) for data in contents]
    assert frame_digests(frame) == [(digest_of(data), len(data)) for data in contents]
    assert not is_recipe(frame)
    assert parse_head(frame[:HEAD_BYTES]).frame_bytes == len(frame)


@given(RECIPES)
def test_a_frame_gives_back_its_recipe(recipe: Recipe) -> None:
    frame = encode_recipe(recipe)
    assert is_recipe(frame)
    assert decode_recipe(frame) == recipe
    assert frame_digests(frame) == [(recipe.digest, recipe.size)]
    with pytest.raises(InvalidReply):
        decode_frame(frame)


@given(BLOBS, st.data())
def test_a_changed_frame_never_gives_other_bytes(contents: list[bytes], data: st.DataObject) -> None:
    frame = bytearray(frame_of(contents))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    with suppress(InvalidReply, BlobDamaged):
        assert decode_frame(bytes(frame)) == [(digest_of(each), each) for each in contents]


@given(BLOBS, st.data())
def test_a_frame_cut_short_or_grown_is_refused(contents: list[bytes], data: st.DataObject) -> None:
    frame = frame_of(contents)
    with pytest.raises(InvalidReply):
        decode_frame(frame[: data.draw(st.integers(0, len(frame) - 1))])
    with pytest.raises(InvalidReply):
        decode_frame(frame + b"\0")


@given(st.binary(max_size=300))
def test_bytes_from_anywhere_are_refused(noise: bytes) -> None:
    for decode in (decode_frame, decode_recipe, frame_digests, is_recipe):
        with pytest.raises(InvalidReply):
            decode(noise)


def test_bounds_hold_before_anything_is_expanded() -> None:
    with pytest.raises(TooLarge):
        frame_of([bytes(MAX_FRAME_RAW), b"x"])
    with pytest.raises(TooLarge):
        frame_of([b"x"] * (MAX_FRAME_BLOBS + 1))
    with pytest.raises(TooLarge):
        chunk = (Digest(bytes(32)), 1)
        encode_recipe(Recipe(Digest(bytes(32)), MAX_FRAME_RAW, (chunk,) * (MAX_FRAME_RAW // 36 + 1)))
    bomb = zstandard.ZstdCompressor().compress(bytes(100_000_000))
    with pytest.raises(InvalidReply):
        expand(bomb, 1000)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(InvalidReply):
        expand(unsized, 1000)
    with pytest.raises(InvalidReply):
        expand(squeeze(b"a") + squeeze(b"b"), 1000)


def test_a_recipe_that_does_not_add_up_is_refused() -> None:
    frame = encode_recipe(Recipe(Digest(bytes(32)), 7, ((Digest(bytes(32)), 6),)))
    with pytest.raises(InvalidReply):
        decode_recipe(frame)


def test_compressible_bytes_are_stored_smaller_and_noise_as_it_is() -> None:
    assert len(frame_of([b"text " * 10_000])) < 1000
    noise = b"".join(digest_of(n.to_bytes(4, "big")) for n in range(1000))
    assert len(frame_of([noise])) == HEAD_BYTES + 40 + len(noise)
