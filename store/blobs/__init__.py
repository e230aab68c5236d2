"""Content-addressed blobs and manifest nodes: put, get, has, bulk, offer. On disk as docs/format-blobs.md says.

Small new blobs lie in SQLite, put in the very transaction that names them; many at once, and all large ones, in segments.
B1: a blob that can be opened has been durably written. B2: its digest is checked before it is kept and after it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from store.blobs import chunks, offer
from store.blobs.bulk import Bulk, FrameWriter, index_new
from store.blobs.catalog import BLOBS, CHUNKED_MIN, INLINE_MAX, Catalog
from store.blobs.frames import Recipe, encode_recipe
from store.blobs.reading import BlobReader, Cache, missing
from store.blobs.rebuild import read_in_unknown, rebuild_index
from store.blobs.segments import SEGMENT_MAX, Segments
from store.blobs.sweep import Housekeeper, SweepPlan
from store.blobs.verify import Problem, bytes_to_read, find_problems, forget_damaged
from store.database import Database, Tx
from store.errors import BlobDamaged, BlobMissing
from store.manifest.node import EMPTY_NODE, EMPTY_ROOT, Node, parse_node
from store.types import Digest, Heard, unheard

__all__ = ["BLOBS", "CHUNKED_MIN", "INLINE_MAX", "BlobStore", "Bulk", "Problem", "Recipe", "SweepPlan"]

NODE_CACHE_BYTES: Final = 2 * 1024 * 1024
"""Of encoded nodes; decoded they are two to three times as large."""
GET_BYTES: Final = 64 * 1024 * 1024
"""What `get` holds in memory at most, unless told otherwise."""


class BlobStore:
    """Blobs and nodes in one database and one folder of segments of about `segment_bytes`. One process, any number of threads."""

    def __init__(self, db: Database, folder: Path, segment_bytes: int = SEGMENT_MAX) -> None:
        self.db = db
        self._catalog = Catalog(db)
        self._segments = Segments(db, folder, segment_bytes)
        self._reader = BlobReader(self._catalog, self._segments)
        self._house = Housekeeper(self._catalog, self._segments, self._reader)
        self._nodes: Cache[Digest, Node] = Cache(NODE_CACHE_BYTES)

    def close(self) -> None:
        """Let all files go; the database is the caller's."""
        self._segments.close()

    # --- putting ----------------------------------------------------------------------------------------------------------------

    def put_inline(self, tx: Tx, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """Keep small blobs in the caller's transaction; one that is here already stays. Raises BlobDamaged, TooLarge."""
        self._catalog.put_inline(tx, blobs)

    def put_nodes(self, tx: Tx, nodes: Mapping[Digest, bytes]) -> None:
        """Keep manifest nodes in the caller's transaction. Raises BlobDamaged."""
        self._catalog.put_nodes(tx, nodes)

    @contextmanager
    def bulk(self) -> Iterator[Bulk]:
        """For many blobs: on leaving, by whatever way, all that was added is durable and in the index."""
        writer = FrameWriter(self._catalog, self._segments, index_new(self._catalog))
        with self._catalog.open_bulk(), closing(writer):
            bulk = Bulk(self._catalog, writer, self.check_recipe)
            try:
                yield bulk
            finally:
                bulk.settle()

    def add_file(self, fd: int, size: int) -> Digest:
        """Keep a large file from an open descriptor, from where it stands, as chunks and a recipe; the digest of the whole.

        Raises FileMoved when it has fewer than `size` bytes, TooLarge beyond some 60 GB, Unwritable, NoSpace.
        """
        with self.bulk() as bulk, FileIO(fd, closefd=False) as file:
            recipe = chunks.cut_file(file, size, self._catalog.known_blobs, bulk.add)
            bulk.add_recipe(recipe)
            return recipe.digest

    def put_recipe(self, recipe: Recipe) -> None:
        """Keep the recipe of a chunked blob whose chunks are here. Raises BlobMissing, BlobDamaged when they do not make the whole."""
        with self.bulk() as bulk:
            bulk.add_frame(encode_recipe(recipe))

    # --- asking -----------------------------------------------------------------------------------------------------------------

    def has(self, digest: Digest) -> bool:
        """True when the blob is here."""
        return self._catalog.place(digest) is not None

    def lacking(self, digests: Iterable[Digest]) -> set[Digest]:
        """Which of these are not here. Those that are will outlive the next sweep."""
        asked = set(digests)
        return asked - self._catalog.known_blobs(asked)

    def hold(self, tx: Tx, digests: Iterable[Digest]) -> set[Digest]:
        """Which of these are not here, in the caller's transaction, which names the others: no sweep comes between."""
        asked = set(digests)
        return asked - self._catalog.hold_blobs(tx, asked)

    def lacking_nodes(self, digests: Iterable[Digest]) -> set[Digest]:
        """Which of these nodes are not here. Those that are will outlive the next sweep."""
        asked = set(digests) - {EMPTY_ROOT}
        return asked - self._catalog.known_nodes(asked)

    def size(self, digest: Digest) -> int:
        """Bytes of a blob. Raises BlobMissing."""
        return self._reader.place(digest).size

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Bytes of those of these blobs that are here."""
        return {digest: place.size for digest, place in self._catalog.places(digests).items()}

    def recipe(self, digest: Digest) -> Recipe | None:
        """How a chunked blob is put together, None for one in one piece. Raises BlobMissing, BlobDamaged."""
        return self._reader.recipe(digest)

    def check_recipe(self, recipe: Recipe) -> None:
        """The chunks are here, each in one piece and of its size, and make the whole. Raises BlobMissing, BlobDamaged."""
        named = {digest for digest, _ in recipe.chunks}
        self._catalog.known_blobs(named)  # from here on no sweep takes them
        places = self._catalog.places(named)
        for digest, size in recipe.chunks:
            place = places.get(digest)
            if place is None:
                raise missing(digest)
            if place.is_chunked or place.size != size:
                raise BlobDamaged(f"the recipe of {recipe.digest.hex()} misnames a chunk")
        for _ in self._reader.chunks(recipe):
            pass

    # --- reading ----------------------------------------------------------------------------------------------------------------

    def get(self, digest: Digest, max_bytes: int = GET_BYTES) -> bytes:
        """A blob's bytes, checked. Raises BlobMissing, BlobDamaged, TooLarge."""
        found = self._reader.load(digest, max_bytes)
        return found if isinstance(found, bytes) else b"".join(self._reader.chunks(found))

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """A blob's bytes, piece by piece. Raises BlobMissing, BlobDamaged: for a chunked one only after its last piece."""
        return self._reader.stream(digest)

    def get_node(self, digest: Digest) -> bytes:
        """A manifest node's bytes, checked. Raises BlobMissing, BlobDamaged."""
        if digest == EMPTY_ROOT:
            return EMPTY_NODE
        data = self._catalog.node(digest)
        if data is None:
            raise BlobMissing(f"no manifest node {digest.hex()}", "It was never kept here, or has been removed.")
        return data

    def read_node(self, digest: Digest) -> Node:
        """A manifest node, decoded; kept for a while. Raises BlobMissing, BlobDamaged."""
        node = self._nodes.get(digest)
        if node is None:
            data = self.get_node(digest)
            node = parse_node(data)
            self._nodes.put(digest, node, len(data))
        return node

    def frames_for(self, digests: Sequence[Digest]) -> Iterator[bytes]:
        """Frames with exactly these blobs, to be sent; a chunked one is its recipe's frame. Raises BlobMissing, BlobDamaged."""
        return offer.frames_for(self._catalog, self._reader, digests)

    def release_memory(self) -> None:
        """Let go of what is kept in memory to be read again soon."""
        self._reader.forget()
        self._nodes.clear()
        self.db.release_memory()

    # --- upkeep -----------------------------------------------------------------------------------------------------------------

    def begin_sweep(self) -> int:
        """Before reckoning what to keep: the era that the sweep is of. What is stored or asked about from here on stays."""
        return self._catalog.era

    def plan_sweep(self, era: int, keep_blobs: Set[Digest], keep_nodes: Set[Digest]) -> SweepPlan:
        """What nothing names any more: a plan to look at and to execute. A kept chunked blob keeps its chunks."""
        return self._house.plan(era, keep_blobs, keep_nodes)

    def compact(self, limit_bytes: int) -> int:
        """Move the oldest inline blobs into segments; how many bytes were moved."""
        return self._house.compact(limit_bytes)

    def inline_bytes(self) -> int:
        """How many bytes `compact` could move."""
        return sum(int(row[0]) for row in self.db.read().execute("SELECT size FROM blobs WHERE data IS NOT NULL"))

    def verify(self, heard: Heard = unheard) -> Iterator[Problem]:
        """Read everything back; what is not as it was written, as it is found. `heard`: bytes, of `bytes_to_read`."""
        with self._house.lock:
            yield from find_problems(self._catalog, self._segments, self._reader, heard)

    def bytes_to_read(self) -> int:
        """How many bytes `verify` reads."""
        return bytes_to_read(self._catalog)

    def forget_damaged(self, digests: Iterable[Digest], aside: Path) -> set[Digest]:
        """Drop those of these blobs and nodes that cannot be read, so that they are lacking and can be fetched or put again.

        What is left of them goes into the folder `aside`.
        """
        self._nodes.clear()
        return forget_damaged(self._catalog, self._reader, digests, aside)

    def read_in_segments(self) -> None:
        """Take into the index those segments that it does not know."""
        with self._house.lock:
            read_in_unknown(self._catalog, self._segments)

    def rebuild_index(self) -> None:
        """Read the index of segments anew from the segments alone, damaged frames left out; inline blobs and nodes stay."""
        with self._house.lock:
            rebuild_index(self._catalog, self._segments)
