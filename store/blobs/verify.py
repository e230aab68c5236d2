"""Read everything back: every blob, node, frame and recipe is hashed again, and every row compared with the bytes it points to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from store.blobs.catalog import Catalog, check_node_row
from store.blobs.frames import sound_rows
from store.blobs.reading import BlobReader
from store.blobs.segments import Segments, translate_errors
from store.database import Tx, array_of
from store.errors import BlobDamaged, BlobMissing, InvalidReply, Unwritable
from store.types import Digest, Heard, digest_of

_STORED = """
    SELECT (SELECT coalesce(sum(length(data)), 0) FROM blobs) + (SELECT coalesce(sum(length(data)), 0) FROM nodes)
        + (SELECT coalesce(sum(length), 0) FROM frames)
        + (SELECT coalesce(sum(size), 0) FROM blobs WHERE frame IS NOT NULL AND start IS NULL)
"""


class Problem(NamedTuple):
    """Something in the store that is not as it was written; `digest` where it concerns one blob or node."""

    message: str
    digest: Digest | None = None
    is_database: bool = False
    """The database itself is damaged: what it says of the rest cannot be believed."""

    def __str__(self) -> str:
        return self.message


def bytes_to_read(catalog: Catalog) -> int:
    """How many bytes `find_problems` reads: each row and frame once, and each chunked blob once more, put together."""
    return sum(int(row[0]) for row in catalog.db.read().execute(_STORED))


def find_problems(catalog: Catalog, segments: Segments, reader: BlobReader, heard: Heard) -> Iterator[Problem]:
    """All that is wrong, as it is found; nothing is changed. `heard` is told of bytes that were read."""
    sound = True
    for (line,) in catalog.db.read().execute("PRAGMA integrity_check"):
        if line != "ok":
            sound = False
            yield Problem(f"database: {line}", is_database=True)
    if not sound:
        return
    yield from _check_inline(catalog, heard)
    yield from _check_nodes(catalog, heard)
    yield from _check_frames(catalog, segments, heard)
    yield from _check_recipes(catalog, reader, heard)
    known = {number for (number,) in catalog.db.read().execute("SELECT id FROM segments")}
    for number in segments.on_disk():
        if number not in known:
            yield Problem(f"segment {number}: not in the index; was the database lost or put back? `fst fsck --repair` reads it in")


def forget_damaged(catalog: Catalog, reader: BlobReader, digests: Iterable[Digest], aside: Path) -> set[Digest]:
    """Drop those of these blobs and nodes that cannot be read, so that they count as lacking and can be fetched again.

    What is left of a blob is laid into `aside` under its digest first: for a person to look at, given to nobody.
    """
    reader.forget()  # a copy in memory would hide what is wrong on the disk
    blobs, nodes = [], []
    for digest in digests:
        try:
            if catalog.place(digest):
                for _ in reader.stream(digest):
                    pass
        except (BlobDamaged, BlobMissing, Unwritable):
            _lay_aside(reader, digest, aside)
            blobs.append(digest)
        try:
            catalog.node(digest)
        except BlobDamaged:
            nodes.append(digest)

    def work(tx: Tx) -> None:
        tx.execute("DELETE FROM blobs WHERE hash IN (SELECT value FROM carray($1))", (array_of(blobs),))
        tx.execute("DELETE FROM nodes WHERE hash IN (SELECT value FROM carray($1))", (array_of(nodes),))
        tx.execute("DELETE FROM frames WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.frame = frames.id)")

    catalog.db.write_now(work)
    return {*blobs, *nodes}


def _lay_aside(reader: BlobReader, digest: Digest, aside: Path) -> None:
    """A chunked blob's chunks come here by themselves, and of a frame that cannot be opened nothing is left to see."""
    try:
        data = reader.piece(digest)
    except (BlobDamaged, BlobMissing, InvalidReply, Unwritable):
        return
    with translate_errors("set damaged content aside"):
        aside.mkdir(mode=0o700, exist_ok=True)
        (aside / digest.hex()).write_bytes(data)


def _check_inline(catalog: Catalog, heard: Heard) -> Iterator[Problem]:
    for digest, size, data in catalog.db.read().execute("SELECT hash, size, data FROM blobs WHERE data IS NOT NULL"):
        if len(data) != size or digest_of(data) != digest:
            yield Problem(f"blob {digest.hex()}: damaged in the database", digest)
        heard(len(data))


def _check_nodes(catalog: Catalog, heard: Heard) -> Iterator[Problem]:
    for digest, packed in catalog.db.read().execute("SELECT hash, data FROM nodes"):
        try:
            check_node_row(digest, packed)
        except BlobDamaged:
            yield Problem(f"node {digest.hex()}: damaged in the database", digest)
        heard(len(packed))


def _check_frames(catalog: Catalog, segments: Segments, heard: Heard) -> Iterator[Problem]:
    """Each frame once, in the order of the disk, with the blobs whose rows point into it."""
    read = catalog.db.read()
    for frame_id, number, start, length in list(read.execute("SELECT id, segment, start, length FROM frames ORDER BY segment, start")):
        sound: set[tuple[Digest, int, int | None]] = set()
        try:
            sound = sound_rows(segments.read(number, start, length))
        except (BlobDamaged, BlobMissing, InvalidReply, Unwritable) as error:
            yield Problem(f"segment {number}, byte {start}: {error.message}")
        for row in read.execute("SELECT hash, size, start FROM blobs WHERE frame = $1", (frame_id,)):
            if row not in sound:
                yield Problem(f"blob {row[0].hex()}: damaged in segment {number}, byte {start}", row[0])
        heard(length)
    for (digest,) in read.execute("SELECT hash FROM blobs WHERE data IS NULL AND (frame IS NULL OR frame NOT IN (SELECT id FROM frames))"):
        yield Problem(f"blob {digest.hex()}: its frame is not in the index", digest)


def _check_recipes(catalog: Catalog, reader: BlobReader, heard: Heard) -> Iterator[Problem]:
    """That the chunks are here and make the whole; a recipe that cannot be read was named with its frame."""
    for (digest,) in list(catalog.db.read().execute("SELECT hash FROM blobs WHERE frame IS NOT NULL AND start IS NULL")):
        try:
            for piece in reader.stream(digest):
                heard(len(piece))
        except (BlobDamaged, BlobMissing, Unwritable) as error:
            yield Problem(f"blob {digest.hex()}: cannot be put together: {error.message}", digest)
