"""The index of segments, read anew from the segments themselves: for a database that was lost, or put back from a copy."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from store.blobs.catalog import Catalog
from store.blobs.frames import HEAD_BYTES, MAGIC, decode_recipe, is_recipe, parse_head, sound_rows
from store.blobs.segments import Segments, translate_errors
from store.database import Tx, array_of
from store.errors import InvalidReply
from store.types import Digest

_NEW_FRAME = "INSERT INTO frames (segment, start, length, raw) VALUES ($1, $2, $3, $4) RETURNING id"
_NEW_BLOB = "INSERT INTO blobs (hash, size, era, frame, start) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO NOTHING"
_LACKING = "SELECT 1 FROM carray($1) c WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.hash = c.value) LIMIT 1"


def rebuild_index(catalog: Catalog, segments: Segments) -> None:
    """All in one transaction: a crash leaves the index that was."""

    def work(tx: Tx) -> None:
        tx.execute("DELETE FROM blobs WHERE data IS NULL")
        tx.execute("DELETE FROM frames")
        tx.execute("DELETE FROM segments")
        _read_in(tx, catalog, segments, segments.on_disk())

    catalog.db.write_now(work)
    segments.forget()


def read_in_unknown(catalog: Catalog, segments: Segments) -> None:
    """Only the segments that the index does not know: no writer is at work on one of those."""

    def work(tx: Tx) -> None:
        known = {number for (number,) in tx.execute("SELECT id FROM segments")}
        _read_in(tx, catalog, segments, [number for number in segments.on_disk() if number not in known])

    catalog.db.write_now(work)


def _read_in(tx: Tx, catalog: Catalog, segments: Segments, numbers: list[int]) -> None:
    recipes: dict[Digest, list[Digest]] = {}
    for number in numbers:
        _read_segment(tx, number, segments.path(number), catalog.era, recipes)
    for digest, chunks in recipes.items():
        if tx.one(_LACKING, (array_of(chunks),)):
            tx.execute("DELETE FROM blobs WHERE hash = $1", (digest,))


def _read_segment(tx: Tx, number: int, path: Path, era: int, recipes: dict[Digest, list[Digest]]) -> None:
    tx.execute("INSERT INTO segments (id, bytes) VALUES ($1, 0)", (number,))
    end = 0
    for start, frame in scan_frames(path):
        rows = sound_rows(frame)
        ((frame_id,),) = tx.execute(_NEW_FRAME, (number, start, len(frame), parse_head(frame).raw_bytes))
        tx.execute_many(_NEW_BLOB, [(digest, size, era, frame_id, at) for digest, size, at in sorted(rows)])
        if is_recipe(frame):
            recipe = decode_recipe(frame)
            recipes[recipe.digest] = [chunk for chunk, _ in recipe.chunks]
        end = start + len(frame)
    tx.execute("UPDATE segments SET bytes = $1 WHERE id = $2", (end, number))


def scan_frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every readable frame of a segment and where it begins; after a damaged one the search goes on at the next mark."""
    with translate_errors(f"read {path.name}"), path.open("rb") as file:
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(MAGIC)
            while at >= 0:
                try:
                    frame = data[at : at + parse_head(data[at : at + HEAD_BYTES]).frame_bytes]
                    sound = bool(sound_rows(frame))
                except InvalidReply:
                    sound = False
                if sound:
                    yield at, frame
                    at += len(frame)
                else:
                    at += 1
                at = data.find(MAGIC, at)
