"""The tables of the blob store (docs/format-blobs.md). The index of segments can be rebuilt from them; the rest cannot."""

from __future__ import annotations

from typing import Final

from store.database import Component, Migration

INLINE_MAX: Final = 64 * 1024
"""Bytes up to which a new blob goes into SQLite, in the transaction that names it."""
CHUNKED_MIN: Final = 4 * 1024 * 1024
"""Bytes from which a file is kept as content-defined chunks and a recipe."""

# blobs: `data` inline, or `frame` and `start` (in the frame's raw bytes), or only `frame`: the recipe of a chunked blob.
# era: the count of sweeps when the blob was last stored or said to be here; a sweep spares the newest era.
# segments: `bytes` is how far the file is named by the index; AUTOINCREMENT because a file's number is never used twice.
BLOBS: Final = Component(
    "blobs",
    (
        Migration(
            1,
            """
            CREATE TABLE blobs (
                id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, era INTEGER NOT NULL,
                frame INTEGER, start INTEGER, data BLOB
            );
            CREATE INDEX blobs_inline ON blobs (id) WHERE data IS NOT NULL;
            CREATE TABLE nodes (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, era INTEGER NOT NULL, data BLOB NOT NULL);
            CREATE TABLE segments (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL);
            CREATE TABLE frames (
                id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
                UNIQUE (segment, start)
            );
            CREATE TABLE blob_era (one INTEGER PRIMARY KEY CHECK (one = 1), era INTEGER NOT NULL);
            INSERT INTO blob_era VALUES (1, 1);
            """,
        ),
    ),
)
