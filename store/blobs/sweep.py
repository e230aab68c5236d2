"""Let go of what nothing names: a plan as a value, then its execution; and the keeping-house of segments.

Theory. The caller says what is to be kept, reckoned after `begin_sweep`. A blob goes only if it is not among that, and was neither
stored nor said to be here since the sweep before this one (its era): somebody may be about to name it. Both are asked again in the
transaction that deletes. A recipe keeps its chunks. Rows go first, bytes after: a segment that is mostly dead is copied, and its
file removed only when no row points into it (W1: delete in reverse).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from typing import Final

from store.blobs.bulk import FrameWriter, index_moved
from store.blobs.catalog import Catalog
from store.blobs.frames import frame_digests, frame_raw, is_recipe, parse_head, sound_rows
from store.blobs.reading import BlobReader
from store.blobs.segments import Segments
from store.database import Tx, array_of
from store.errors import BlobDamaged, BlobMissing, InvalidReply, Stale
from store.types import Digest, Heard, digest_of, unheard

ROWS_AT_ONCE: Final = 4096
"""Rows deleted in one transaction, so that others need not wait long for theirs."""
LIVE_SHARE: Final = 0.5
"""A segment of which less than this share is live is copied and removed."""

_SEGMENTS = """
    SELECT s.id, s.bytes, coalesce(sum(f.length * min(1.0, 1.0 * l.live / max(f.raw, 1))), 0)
    FROM segments s LEFT JOIN frames f ON f.segment = s.id
    LEFT JOIN (SELECT frame, sum(size) AS live FROM blobs WHERE frame IS NOT NULL GROUP BY frame) l ON l.frame = f.id
    GROUP BY s.id
"""
_UNUSED_FRAMES = "DELETE FROM frames WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.frame = frames.id)"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep would remove: `blobs` and `nodes` are counts, `bytes` the raw size of those blobs."""

    house: Housekeeper
    era: int
    dead_recipes: list[Digest]
    dead_blobs: list[Digest]
    dead_nodes: list[Digest]
    bytes: int

    @property
    def blobs(self) -> int:
        """How many blobs would go."""
        return len(self.dead_recipes) + len(self.dead_blobs)

    @property
    def nodes(self) -> int:
        """How many manifest nodes would go."""
        return len(self.dead_nodes)

    def execute(self, heard: Heard = unheard) -> None:
        """Remove it, but for what was asked about since. Raises Stale when another sweep came between. `heard`: `blobs` and `nodes`."""
        self.house.execute(self, heard)


class Housekeeper:
    """Sweeps and compacts, one at a time."""

    def __init__(self, catalog: Catalog, segments: Segments, reader: BlobReader) -> None:
        self._catalog = catalog
        self._db = catalog.db
        self._segments = segments
        self._reader = reader
        self.lock = threading.Lock()

    def plan(self, era: int, keep_blobs: Set[Digest], keep_nodes: Set[Digest]) -> SweepPlan:
        """What may go. Raises BlobDamaged when a kept recipe cannot be read: which chunks it needs is then unknown."""
        recipes: list[Digest] = []
        chunks: set[Digest] = set()
        read = self._db.read()
        for digest, blob_era in list(read.execute("SELECT hash, era FROM blobs WHERE frame IS NOT NULL AND start IS NULL")):
            if digest in keep_blobs or blob_era >= era:
                chunks |= self._chunks_of(digest)
            else:
                recipes.append(digest)
        blobs: list[Digest] = []
        size = 0
        rows = read.execute("SELECT hash, size FROM blobs WHERE era < $1 AND (start IS NOT NULL OR data IS NOT NULL)", (era,))
        for digest, blob_size in rows:
            if digest not in keep_blobs and digest not in chunks:
                blobs.append(digest)
                size += blob_size
        nodes = [digest for (digest,) in read.execute("SELECT hash FROM nodes WHERE era < $1", (era,)) if digest not in keep_nodes]
        return SweepPlan(self, era, recipes, blobs, nodes, size)

    def execute(self, plan: SweepPlan, heard: Heard) -> None:
        """Rows first, recipes before chunks; then frames and files."""
        with self.lock:
            if plan.era != self._catalog.era:
                raise Stale("another sweep came between this plan and its execution", "Plan again.")
            gone = set(self._delete("blobs", plan.era, plan.dead_recipes, heard))
            asked_about = [digest for digest in plan.dead_recipes if digest not in gone]
            spared = {chunk for digest in asked_about if self._catalog.place(digest) for chunk in self._chunks_of(digest)}
            for _ in self._delete("blobs", plan.era, (digest for digest in plan.dead_blobs if digest not in spared), heard):
                pass
            for _ in self._delete("nodes", plan.era, plan.dead_nodes, heard):
                pass
            self._catalog.end_era()
            self._db.write_now(lambda tx: list(tx.execute(_UNUSED_FRAMES)))
            self._copy_live()
            self._drop_empty()

    def compact(self, limit_bytes: int) -> int:
        """Move the oldest inline blobs into segments; how many bytes moved. A damaged one stays where it is."""
        moved = 0
        with self.lock, closing(FrameWriter(self._catalog, self._segments, index_moved)) as writer:
            rows = self._db.read().execute("SELECT hash, data FROM blobs WHERE data IS NOT NULL ORDER BY id")
            for digest, data in rows:
                if digest_of(data) == digest:
                    writer.add(digest, data)
                    moved += len(data)
                if moved >= limit_bytes:
                    break
            del rows
            writer.settle()
        return moved

    def _chunks_of(self, digest: Digest) -> set[Digest]:
        recipe = self._reader.recipe(digest)
        return {chunk for chunk, _ in recipe.chunks} if recipe else set()

    def _delete(self, table: str, era: int, digests: Iterable[Digest], heard: Heard) -> Iterator[Digest]:
        """Those deleted; one that was stored or asked about meanwhile carries a newer era and stays."""
        sql = f"DELETE FROM {table} WHERE hash IN (SELECT value FROM carray($1)) AND era < $2 RETURNING hash"
        rest = iter(digests)
        while batch := list(islice(rest, ROWS_AT_ONCE)):

            def work(tx: Tx, batch: list[Digest] = batch) -> list[Digest]:
                return [digest for (digest,) in tx.execute(sql, (array_of(batch), era))]

            yield from self._db.write_now(work)
            heard(len(batch))

    def _copy_live(self) -> None:
        """Copy what is live of mostly dead segments into others; not of one that a writer is at work on."""
        mostly_dead = [number for number, size, live in self._db.read().execute(_SEGMENTS) if 0 < live < LIVE_SHARE * size]
        with ExitStack() as held:
            free = [number for number in mostly_dead if held.enter_context(self._segments.hold(number))]
            with closing(FrameWriter(self._catalog, self._segments, index_moved)) as writer:
                for number in free:
                    self._copy_frames(writer, number)
                writer.settle()
        self._db.write_now(lambda tx: list(tx.execute(_UNUSED_FRAMES)))

    def _copy_frames(self, writer: FrameWriter, number: int) -> None:
        frames = self._db.read().execute("SELECT id, start, length FROM frames WHERE segment = $1 ORDER BY start", (number,))
        for frame_id, start, length in list(frames):
            try:
                self._copy_frame(writer, frame_id, self._segments.read(number, start, length))
            except (BlobDamaged, BlobMissing, InvalidReply):
                continue  # it stays where it is, as evidence, and its segment with it; `verify` names it

    def _copy_frame(self, writer: FrameWriter, frame_id: int, frame: bytes) -> None:
        live = {digest for (digest,) in self._db.read().execute("SELECT hash FROM blobs WHERE frame = $1", (frame_id,))}
        sound = sound_rows(frame)
        if live.issuperset(digest for digest, _ in frame_digests(frame)) and len(sound) == parse_head(frame).items:
            writer.put(frame)
        elif not is_recipe(frame):
            raw = frame_raw(frame)
            for digest, size, start in sorted(sound, key=lambda row: row[2] or 0):
                if digest in live and start is not None:
                    writer.add(digest, raw[start : start + size])

    def _drop_empty(self) -> None:
        """Remove segments without frames, also those that a crash left so: first the file, then the row."""
        empty = "FROM segments WHERE NOT EXISTS (SELECT 1 FROM frames f WHERE f.segment = segments.id)"
        for (number,) in list(self._db.read().execute(f"SELECT id {empty}")):
            with self._segments.hold(number) as free:
                if free and self._db.read().one(f"SELECT 1 {empty} AND id = $1", (number,)):
                    self._segments.remove(number)
                    self._db.write_now(lambda tx, number=number: tx.execute(f"DELETE {empty} AND id = $1", (number,)) and None)  # type: ignore[misc]
