"""Which blobs and nodes are here and where: the tables of the blob store (docs/format-blobs.md)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from store.blobs.frames import expand, squeeze
from store.database import HINT, Component, Database, Migration, Tx, array_of
from store.errors import BlobDamaged, InvalidReply, StoreDamaged, TooLarge
from store.types import Digest, digest_of

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
            CREATE INDEX blobs_frame ON blobs (frame) WHERE frame IS NOT NULL;
            CREATE TABLE nodes (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, era INTEGER NOT NULL, data BLOB NOT NULL);
            CREATE TABLE segments (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL);
            CREATE TABLE frames (
                id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
                raw INTEGER NOT NULL, UNIQUE (segment, start)
            );
            CREATE TABLE blob_era (one INTEGER PRIMARY KEY CHECK (one = 1), era INTEGER NOT NULL);
            INSERT INTO blob_era VALUES (1, 1);
            """,
        ),
    ),
)

KEYS_AT_ONCE: Final = 16_384
MAX_NODE_BYTES: Final = 8 * 1024 * 1024

_PLACE = """
    SELECT b.size, b.data, b.start, coalesce(f.segment, 0), f.start, f.length
    FROM blobs b LEFT JOIN frames f ON f.id = b.frame WHERE b.hash = $1
"""
_PLACES = """
    SELECT b.hash, b.size, NULL, b.start, coalesce(f.segment, 0), f.start, f.length
    FROM carray($1) c CROSS JOIN blobs b ON b.hash = c.value LEFT JOIN frames f ON f.id = b.frame
"""
_PUT_INLINE = """
    INSERT INTO blobs (hash, size, era, data) VALUES ($1, $2, $3, $4)
    ON CONFLICT (hash) DO UPDATE SET era = excluded.era WHERE era < excluded.era
"""
_PUT_NODE = """
    INSERT INTO nodes (hash, era, data) VALUES ($1, $2, $3)
    ON CONFLICT (hash) DO UPDATE SET era = excluded.era WHERE era < excluded.era
"""


class Place(NamedTuple):
    """Where a blob is: inline (`data`, segment 0), or in a frame at `start` of its raw bytes. A frame without `start` holds its recipe."""

    size: int
    data: bytes | None
    start: int | None
    segment: int
    at: int
    length: int

    @property
    def is_chunked(self) -> bool:
        """True when the frame holds a recipe."""
        return self.segment > 0 and self.start is None


class Catalog:
    """The tables `blobs` and `nodes`.

    `era` counts the sweeps. What is stored, or said to be here, carries the current era, and a sweep spares it: so an answer
    "it is here" holds until whoever asked has committed what names it. The era stands still while a bulk is open.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self._bulks = 0
        self._lock = threading.Lock()
        row = db.read().one("SELECT era FROM blob_era")
        if row is None or not isinstance(row[0], int):
            raise StoreDamaged("the store's database does not count its sweeps", HINT)
        self.era: int = row[0]

    def place(self, digest: Digest) -> Place | None:
        """Where a blob is, or None."""
        row = self.db.read().one(_PLACE, (digest,))
        return Place._make(row) if row else None

    def places(self, digests: Iterable[Digest]) -> dict[Digest, Place]:
        """Where those are that are here, without the bytes of inline ones."""
        rows = self.db.read().execute(_PLACES, (array_of(sorted(digests)),))
        return {row[0]: Place._make(row[1:]) for row in rows}

    def known_blobs(self, digests: Iterable[Digest]) -> set[Digest]:
        """Which blobs are here; a sweep in progress, and the next, will spare them."""
        return self._known("blobs", digests)

    def known_nodes(self, digests: Iterable[Digest]) -> set[Digest]:
        """Which nodes are here; a sweep in progress, and the next, will spare them."""
        return self._known("nodes", digests)

    def hold_blobs(self, tx: Tx, digests: Iterable[Digest]) -> set[Digest]:
        """Which blobs are here, in the caller's transaction: a sweep in progress, and the next, will spare them."""
        held: set[Digest] = set()
        sql = "SELECT b.hash, b.era FROM carray($1) c CROSS JOIN blobs b ON b.hash = c.value"
        for batch in _batches(digests):
            found: dict[Digest, int] = dict(tx.execute(sql, (array_of(sorted(batch)),)))
            self._renew(tx, "blobs", [digest for digest, era in found.items() if era < self.era])
            held |= found.keys()
        return held

    def put_inline(self, tx: Tx, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """Keep small blobs in the caller's transaction (B1, B2)."""
        tx.execute_many(_PUT_INLINE, [(digest, len(data), self.era, data) for digest, data in blobs if _checked(digest, data, CHUNKED_MIN)])

    def put_nodes(self, tx: Tx, nodes: Mapping[Digest, bytes]) -> None:
        """Keep nodes in the caller's transaction (B1, B2)."""
        rows = [(digest, self.era, squeeze(data)) for digest, data in nodes.items() if _checked(digest, data, MAX_NODE_BYTES)]
        tx.execute_many(_PUT_NODE, rows)

    def node(self, digest: Digest) -> bytes | None:
        """A node's bytes, checked (B2), or None. Raises BlobDamaged."""
        row = self.db.read().one("SELECT data FROM nodes WHERE hash = $1", (digest,))
        return check_node_row(digest, row[0]) if row else None

    @contextmanager
    def open_bulk(self) -> Iterator[None]:
        """While blobs arrive that nothing names yet."""
        with self._lock:
            self._bulks += 1
        try:
            yield
        finally:
            with self._lock:
                self._bulks -= 1

    def end_era(self) -> None:
        """After a sweep: what came before it is spared no longer, unless a bulk is open."""

        def advance(tx: Tx) -> None:
            with self._lock:
                if not self._bulks:
                    ((self.era,),) = tx.execute("UPDATE blob_era SET era = era + 1 RETURNING era")

        self.db.write_now(advance)

    def _known(self, table: str, digests: Iterable[Digest]) -> set[Digest]:
        known: set[Digest] = set()
        sql = f"SELECT t.hash, t.era FROM carray($1) c CROSS JOIN {table} t ON t.hash = c.value"
        for batch in _batches(digests):
            found: dict[Digest, int] = dict(self.db.read().execute(sql, (array_of(sorted(batch)),)))
            aged = [digest for digest, era in found.items() if era < self.era]
            if aged:
                # Rows that a sweep took in between are not renewed, and so not known.
                known.update(self.db.write_now(partial(self._renew, table=table, digests=aged)))
                known.update(found.keys() - aged)
            else:
                known.update(found)
        return known

    def _renew(self, tx: Tx, table: str, digests: list[Digest]) -> list[Digest]:
        sql = f"UPDATE {table} SET era = max(era, $1) WHERE hash IN (SELECT value FROM carray($2)) RETURNING hash"
        return [digest for (digest,) in tx.execute(sql, (self.era, array_of(digests)))]


def check_node_row(digest: Digest, packed: bytes) -> bytes:
    """A stored node's raw bytes (B2). Raises BlobDamaged."""
    try:
        data = expand(packed, MAX_NODE_BYTES)
    except InvalidReply:
        data = b""
    if digest_of(data) != digest:
        raise BlobDamaged(f"node {digest.hex()} is damaged", "Run `fst fsck --repair`.")
    return data


def _checked(digest: Digest, data: bytes, max_bytes: int) -> bool:
    if len(data) > max_bytes:
        raise TooLarge(f"a blob of {len(data)} bytes in one piece", "Larger ones go through add_file.")
    if digest_of(data) != digest:
        raise BlobDamaged(f"these bytes are not blob {digest.hex()}")
    return True


def _batches(digests: Iterable[Digest]) -> Iterator[list[Digest]]:
    rest = iter(digests)
    while batch := list(islice(rest, KEYS_AT_ONCE)):
        yield batch
