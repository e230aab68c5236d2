"""The bytes of a blob from its place, checked (B2), through bounded caches."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from store.blobs.catalog import Catalog, Place
from store.blobs.frames import Recipe, decode_recipe, frame_digests, frame_raw
from store.blobs.segments import Segments
from store.errors import BlobDamaged, BlobMissing, InvalidReply, TooLarge
from store.types import Digest, digest_of

FRAME_CACHE_BYTES: Final = 8 * 1024 * 1024
MANY_CHUNKS: Final = 64
"""Fewer are not worth a thread."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")


class Cache(Generic[K, V]):
    """What was used last, up to a bound in bytes; what is larger than an eighth of it is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: K) -> V | None:
        """What is kept, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep this for a while, reckoned as so many bytes; one key always has the same."""
        with self._lock:
            if key in self._kept or size > self._max_bytes // 8:
                return
            self._kept[key] = value, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


class BlobReader:
    """Blobs out of tables and segments. Neighbours in a frame are expanded once: files of a folder lie together."""

    def __init__(self, catalog: Catalog, segments: Segments) -> None:
        self._catalog = catalog
        self._segments = segments
        self._raw: Cache[tuple[int, int], bytes] = Cache(FRAME_CACHE_BYTES)

    def forget(self) -> None:
        """Read from the disk again what was read before."""
        self._raw.clear()

    def place(self, digest: Digest) -> Place:
        """Where a blob is. Raises BlobMissing."""
        place = self._catalog.place(digest)
        if place is None:
            raise missing(digest)
        return place

    def load(self, digest: Digest, max_bytes: int | None = None) -> bytes | Recipe:
        """A blob's bytes, checked, or the recipe of a chunked one. Raises BlobMissing, BlobDamaged, TooLarge."""

        def read(place: Place) -> bytes | Recipe:
            if max_bytes is not None and place.size > max_bytes:
                raise TooLarge(f"blob {digest.hex()} has {place.size} bytes; {max_bytes} were expected at most")
            return self._recipe(digest, place) if place.is_chunked else self._piece(digest, place)

        found = self._located(digest, read)
        if isinstance(found, bytes) and digest_of(found) != digest:
            raise damaged(digest)
        return found

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """A blob's bytes, piece by piece. Raises BlobMissing, BlobDamaged: for a chunked one only after its last piece."""
        found = self.load(digest)
        if isinstance(found, bytes):
            yield found
        else:
            yield from self.chunks(found)

    def piece(self, digest: Digest) -> bytes:
        """The bytes of a blob that is not chunked, not checked: for chunks whose whole is. Raises BlobMissing, BlobDamaged."""
        return self._located(digest, lambda place: self._piece(digest, place))

    def chunks(self, recipe: Recipe) -> Iterator[bytes]:
        """The bytes of a chunked blob. Raises BlobMissing, and BlobDamaged after the last piece when they are not the blob's."""
        whole = hashlib.sha256()
        for data in self._pieces(recipe):
            whole.update(data)
            yield data
        if whole.digest() != recipe.digest:
            raise damaged(recipe.digest)

    def _pieces(self, recipe: Recipe) -> Iterator[bytes]:
        """The chunks' bytes in order; of many, the next one is read and expanded while the one before is used."""
        digests = [digest for digest, _ in recipe.chunks]
        if len(digests) < MANY_CHUNKS:
            yield from map(self.piece, digests)
            return
        with ThreadPoolExecutor(1, "read ahead") as ahead:
            coming = ahead.submit(self.piece, digests[0])
            for digest in digests[1:]:
                data, coming = coming.result(), ahead.submit(self.piece, digest)
                yield data
            yield coming.result()

    def recipe(self, digest: Digest) -> Recipe | None:
        """A chunked blob's recipe, None for another. Raises BlobMissing, BlobDamaged."""
        return self._located(digest, lambda place: self._recipe(digest, place) if place.is_chunked else None)

    def frame(self, digest: Digest, place: Place) -> bytes:
        """The frame a blob lies in, head and table checked. Raises BlobDamaged, BlobMissing when its segment is gone."""
        frame = self._segments.read(place.segment, place.at, place.length)
        try:
            frame_digests(frame)
        except InvalidReply as error:
            raise damaged(digest) from error
        return frame

    def _located(self, digest: Digest, read: Callable[[Place], T]) -> T:
        place = self.place(digest)
        try:
            return read(place)
        except BlobMissing:
            # A sweep may have moved the frame since the index was asked; when it did not, the segment itself is gone.
            moved = self.place(digest)
            if moved == place:
                raise
            return read(moved)

    def _piece(self, digest: Digest, place: Place) -> bytes:
        if place.data is not None:
            return place.data
        if place.start is None:
            raise damaged(digest)
        raw = self._raw.get((place.segment, place.at))
        if raw is None:
            try:
                raw = frame_raw(self.frame(digest, place))
            except InvalidReply as error:
                raise damaged(digest) from error
            self._raw.put((place.segment, place.at), raw, len(raw))
        return raw if len(raw) == place.size else raw[place.start : place.start + place.size]

    def _recipe(self, digest: Digest, place: Place) -> Recipe:
        try:
            recipe = decode_recipe(self.frame(digest, place))
        except InvalidReply as error:
            raise damaged(digest) from error
        if recipe.digest != digest:
            raise damaged(digest)
        return recipe


def damaged(digest: Digest) -> BlobDamaged:
    """The error that names a damaged blob."""
    return BlobDamaged(f"blob {digest.hex()} is damaged", "Run `fst fsck --repair`.")


def missing(digest: Digest) -> BlobMissing:
    """The error that names a missing blob."""
    return BlobMissing(f"no blob {digest.hex()}", "It was never kept here, or has been removed.")
