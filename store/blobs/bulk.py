"""Many blobs at once: packed into frames, appended to segments on a thread of their own, synced, and only then named by the index (B1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, ParamSpec

from store.blobs.catalog import CHUNKED_MIN, Catalog
from store.blobs.frames import (
    FRAME_RAW,
    MAX_FRAME_BLOBS,
    Head,
    Kind,
    Recipe,
    decode_frame,
    decode_recipe,
    encode_frame,
    encode_recipe,
    frame_digests,
    is_recipe,
    parse_head,
)
from store.blobs.segments import OpenSegment, Segments
from store.database import Tx
from store.errors import FastestError, InvalidReply, TooLarge
from store.types import Digest

SYNC_BYTES: Final = 16 * 1024 * 1024
"""Bytes appended, or rows due, after which the segment is synced and the index told."""
SYNC_ROWS: Final = 8_192
FRAMES_AHEAD: Final = 8
"""Frames that wait for the writing thread at most."""
ASKED_BYTES: Final = 1024 * 1024
"""Bytes, or blobs, gathered before the index is asked which of them are here."""
ASKED_BLOBS: Final = 1024
SEEN_BLOBS: Final = 65_536

_NEW_FRAME = "INSERT INTO frames (segment, start, length, raw) VALUES ($1, $2, $3, $4) RETURNING id"
_NEW_BLOB = """
    INSERT INTO blobs (hash, size, era, frame, start) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (hash) DO UPDATE SET era = excluded.era WHERE era < excluded.era
"""
_MOVED_BLOB = "UPDATE blobs SET frame = $1, start = $2, data = NULL WHERE hash = $3"

P = ParamSpec("P")
Blobs = list[tuple[Digest, bytes]]


class Row(NamedTuple):
    """A blob's new place: `start` in the raw bytes of its frame, None for a recipe."""

    digest: Digest
    size: int
    start: int | None
    frame: int


Index = Callable[[Tx, list[Row]], None]


class _Written(NamedTuple):
    start: int
    length: int
    head: Head
    items: list[tuple[Digest, int]]


class FrameWriter:
    """Frames into segments: appended and synced on one thread, then named in one transaction by `index`.

    After a failure nothing more is written, and what no transaction was asked to name is cut off again.
    """

    def __init__(self, catalog: Catalog, segments: Segments, index: Index) -> None:
        self._db = catalog.db
        self._segments = segments
        self._index = index
        self._open_frame: Blobs = []
        self._open_bytes = 0
        self._first: Blobs | bytes | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[Future[None]] = deque()
        self._segment: OpenSegment | None = None
        self._written: list[_Written] = []
        self._unnamed_bytes = 0
        self._unnamed_rows = 0
        self._naming: Future[None] | None = None
        self._failure: FastestError | None = None

    def add(self, digest: Digest, data: bytes) -> None:
        """A blob, into the frame that is being filled. Raises what an earlier frame failed with: NoSpace, Unwritable, Busy."""
        if self._open_frame and (self._open_bytes + len(data) > FRAME_RAW or len(self._open_frame) >= MAX_FRAME_BLOBS):
            self._close_frame()
        self._open_frame.append((digest, data))
        self._open_bytes += len(data)

    def put(self, frame: Blobs | bytes) -> None:
        """Blobs for one frame, or a frame as it is. Raises what an earlier frame failed with: NoSpace, Unwritable, Busy."""
        if self._pool is None and self._first is None:
            self._first = frame  # a thread is worth its start only from the second frame on
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "write segments")
            self._submit(self._first)
            self._first = None
        self._submit(frame)

    def settle(self) -> None:
        """All that was put is durable and in the index on return."""
        if self._open_frame:
            self._close_frame()
        if self._pool is None:
            first, self._first = self._first, None
            self._guard(self._write, first)
            self._guard(self._name)
        else:
            while self._ahead:
                self._ahead.popleft().result()
            self._pool.submit(self._guard, self._name).result()
        self._guard(self._await_named)

    def close(self) -> None:
        """Let thread and segment go; `settle` comes before, unless something failed."""
        if self._pool:
            self._pool.shutdown()
        if self._segment:
            self._segments.give_back(self._segment)
            self._segment = None

    def _close_frame(self) -> None:
        frame, self._open_frame, self._open_bytes = self._open_frame, [], 0
        self.put(frame)

    def _submit(self, frame: Blobs | bytes | None) -> None:
        assert self._pool
        if len(self._ahead) >= FRAMES_AHEAD:
            self._ahead.popleft().result()
        self._ahead.append(self._pool.submit(self._guard, self._write, frame))

    def _guard(self, step: Callable[P, None], *args: P.args, **named: P.kwargs) -> None:
        """After the first failure nothing is tried again: a second sync would report success for bytes that the first one lost."""
        if self._failure:
            raise self._failure
        try:
            step(*args, **named)
        except FastestError as error:
            self._failure = error
            raise

    def _write(self, job: Blobs | bytes | None) -> None:
        if job is None:
            return
        frame = job if isinstance(job, bytes) else encode_frame(job)
        items = frame_digests(frame) if isinstance(job, bytes) else [(digest, len(data)) for digest, data in job]
        if self._segment is None:
            self._segment = self._segments.lease()
        start = self._segment.append(frame)
        self._written.append(_Written(start, len(frame), parse_head(frame), items))
        self._unnamed_bytes += len(frame)
        self._unnamed_rows += len(items)
        is_full = self._segment.end >= self._segments.full_bytes
        if is_full or self._unnamed_bytes >= SYNC_BYTES or self._unnamed_rows >= SYNC_ROWS:
            self._name()

    def _name(self) -> None:
        """Sync, then queue the transaction that names what was written; wait for the one before it."""
        segment, written = self._segment, self._written
        if segment is None or not written:
            return
        segment.sync()
        self._await_named()
        number, end = segment.number, segment.end
        segment.kept = end
        self._written, self._unnamed_bytes, self._unnamed_rows = [], 0, 0
        self._naming = self._db.write(lambda tx: self._name_frames(tx, number, end, written))
        if end >= self._segments.full_bytes:
            self._await_named()
            self._segments.give_back(segment)
            self._segment = None

    def _await_named(self) -> None:
        naming, self._naming = self._naming, None
        if naming:
            naming.result()

    def _name_frames(self, tx: Tx, number: int, end: int, written: list[_Written]) -> None:
        rows: list[Row] = []
        for frame in written:
            ((frame_id,),) = tx.execute(_NEW_FRAME, (number, frame.start, frame.length, frame.head.raw_bytes))
            start = 0
            for digest, size in frame.items:
                rows.append(Row(digest, size, start if frame.head.kind is Kind.BLOBS else None, frame_id))
                start += size
        self._index(tx, rows)
        tx.execute("UPDATE segments SET bytes = $1 WHERE id = $2", (end, number))


class Bulk:
    """Takes blobs in; all are durable and in the index when `BlobStore.bulk` ends, also when it ends by an error of the caller's."""

    def __init__(self, catalog: Catalog, writer: FrameWriter, check_recipe: Callable[[Recipe], None]) -> None:
        self._catalog = catalog
        self._writer = writer
        self._check_recipe = check_recipe
        self._seen: set[Digest] = set()
        self._pending: Blobs = []
        self._pending_bytes = 0

    def add(self, digest: Digest, data: bytes) -> None:
        """Keep `data`; `digest` is digest_of(data), computed by the caller from these very bytes and not computed again here.

        A blob that is here already is skipped. Raises TooLarge, and NoSpace, Unwritable or Busy for an earlier one.
        """
        if digest in self._seen:
            return
        if len(data) > CHUNKED_MIN:
            raise TooLarge(f"a blob of {len(data)} bytes in one piece", "Larger ones go through add_file.")
        self._seen.add(digest)
        self._pending.append((digest, data))
        self._pending_bytes += len(data)
        if self._pending_bytes >= ASKED_BYTES or len(self._pending) >= ASKED_BLOBS:
            self._hand_over()

    def add_frame(self, frame: bytes, asked: Container[Digest] | None = None) -> None:
        """Keep a frame from outside as it is, after checking every digest in it (B2). A recipe's chunks must be here already.

        Raises InvalidReply for what is not a frame or, with `asked`, holds a blob nobody asked for; BlobDamaged; BlobMissing.
        """
        items = frame_digests(frame)
        if asked is not None and any(digest not in asked for digest, _ in items):
            raise InvalidReply("a frame holds blobs that were not asked for")
        if is_recipe(frame):
            self._check_and_put(frame)
            return
        if any(size > CHUNKED_MIN for _, size in items):
            raise InvalidReply("a frame holds a blob that must be chunked")
        decode_frame(frame)
        fresh = [digest for digest, _ in items if digest not in self._seen]
        if len(self._catalog.known_blobs(fresh)) < len(fresh):
            self._writer.put(frame)
        self._note(fresh)

    def add_recipe(self, recipe: Recipe) -> None:
        """Keep the recipe of a file whose chunks were just added or found here; the caller hashed the whole from the same bytes."""
        self._catalog.known_blobs({digest for digest, _ in recipe.chunks})  # from here on no sweep takes them
        if recipe.digest not in self._catalog.known_blobs([recipe.digest]):
            self.settle()
            self._writer.put(encode_recipe(recipe))

    def settle(self) -> None:
        """All that was added is durable and in the index on return."""
        self._hand_over()
        self._writer.settle()

    def _check_and_put(self, frame: bytes) -> None:
        recipe = decode_recipe(frame)
        if recipe.digest not in self._catalog.known_blobs([recipe.digest]):
            self.settle()
            self._check_recipe(recipe)
            self._writer.put(frame)

    def _hand_over(self) -> None:
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        known = self._catalog.known_blobs([digest for digest, _ in pending])
        for digest, data in pending:
            if digest not in known:
                self._writer.add(digest, data)
        self._note(())

    def _note(self, digests: Iterable[Digest]) -> None:
        """Remember what was added, within bounds: one that is forgotten is found in the index, or at worst kept twice."""
        if len(self._seen) > SEEN_BLOBS:
            self._seen.clear()
        self._seen.update(digests)


def index_new(catalog: Catalog) -> Index:
    """New blobs get a row; for one that came by another way meanwhile the row stays as it is."""

    def index(tx: Tx, rows: list[Row]) -> None:
        era = catalog.era
        tx.execute_many(_NEW_BLOB, [(row.digest, row.size, era, row.frame, row.start) for row in rows])

    return index


def index_moved(tx: Tx, rows: list[Row]) -> None:
    """Blobs that are here already have a new place; those that went meanwhile stay gone."""
    tx.execute_many(_MOVED_BLOB, [(row.frame, row.start, row.digest) for row in rows])
