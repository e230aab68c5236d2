"""Frames that hold exactly the blobs somebody asked for, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from store.blobs.catalog import Catalog, Place
from store.blobs.frames import FRAME_RAW, MAX_FRAME_BLOBS, Recipe, encode_frame, encode_recipe, frame_digests
from store.blobs.reading import BlobReader, missing
from store.errors import BlobMissing
from store.types import Digest

PLACES_AT_ONCE: Final = 16_384


def frames_for(catalog: Catalog, reader: BlobReader, digests: Sequence[Digest]) -> Iterator[bytes]:
    """Frames with exactly these blobs, in the order of the disk. Raises BlobMissing, BlobDamaged.

    A stored frame goes out as it is only when every blob in it was asked for (a neighbour may be another user's) and went in no other: a
    blob may lie in two, and each is expected once. Its bytes are checked by the receiver (B2); what is packed anew is checked here. A
    chunked blob is its recipe's frame.
    """
    asked = set(digests)
    sent: set[Digest] = set()
    for at in range(0, len(digests), PLACES_AT_ONCE):
        batch = set(digests[at : at + PLACES_AT_ONCE])
        places = catalog.places(batch)
        if len(places) < len(batch):
            raise missing(min(batch - places.keys()))
        yield from _send(reader, places, asked, sent)


def _send(reader: BlobReader, places: dict[Digest, Place], asked: set[Digest], sent: set[Digest]) -> Iterator[bytes]:
    loose: list[tuple[Digest, bytes]] = []
    loose_bytes = 0
    for at, group in groupby(sorted(places.items(), key=_disk_order), key=_frame_of):
        digests = [digest for digest, _ in group if digest not in sent]
        frame = _whole_frame(reader, digests[0], places[digests[0]]) if at[0] and digests else None
        if frame and (held := {digest for digest, _ in frame_digests(frame)}) <= asked - sent:
            sent |= held
            yield frame
            continue
        sent.update(digests)
        for digest in digests:
            data = reader.load(digest)
            if isinstance(data, Recipe):
                yield encode_recipe(data)
                continue
            if loose and (loose_bytes + len(data) > FRAME_RAW or len(loose) >= MAX_FRAME_BLOBS):
                yield encode_frame(loose)
                loose, loose_bytes = [], 0
            loose.append((digest, data))
            loose_bytes += len(data)
    if loose:
        yield encode_frame(loose)


def _whole_frame(reader: BlobReader, digest: Digest, place: Place) -> bytes | None:
    """None when a sweep has moved the frame meanwhile: its blobs are then read one by one."""
    try:
        return reader.frame(digest, place)
    except BlobMissing:
        return None


def _frame_of(item: tuple[Digest, Place]) -> tuple[int, int]:
    return item[1].segment, item[1].at or 0


def _disk_order(item: tuple[Digest, Place]) -> tuple[int, int, int]:
    return *_frame_of(item), item[1].start or 0
