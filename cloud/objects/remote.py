"""Bytes beside PostgreSQL: small ones as rows in the very transaction that names them, large ones in a bucket.

Theory. Everything is kept in frames (store/blobs/frames.py), under the SHA-256 of the frame: what came in is given out again as it is.
A frame of up to INLINE_MAX bytes is a row, a larger one an object of the bucket, put there before the rows that name it: a row never
names what is not there. A blob's row says in which frame it lies; a chunked blob lies in its recipe's.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from cloud.database import KEYS_AT_ONCE, Database, Tx
from cloud.objects import sweep
from cloud.objects.bucket import Bucket
from cloud.objects.nodes import NODE_BYTES, NotInMemory, RemoteNodes
from cloud.objects.sweep import RemoteSweep, path_of
from store.blobs import CHUNKED_MIN, INLINE_MAX, Recipe
from store.blobs.chunks import cut_file
from store.blobs.frames import (
    FRAME_RAW,
    MAX_FRAME_BLOBS,
    decode_frame,
    decode_recipe,
    encode_frame,
    encode_recipe,
    expand,
    frame_digests,
    is_recipe,
    squeeze,
)
from store.errors import BlobDamaged, BlobMissing, Busy, InvalidReply
from store.manifest import NodeSource
from store.types import Digest, digest_of

T = TypeVar("T")

GROUP_BYTES: Final = 4 * 1024 * 1024
"""Of a large file's chunks, kept before the next are cut."""
CHECKED_AT_ONCE: Final = 256
# What is here already is only locked, so that no sweep takes it before this transaction has said who owns it.
_LOCK_FRAME: Final = "DO UPDATE SET size = excluded.size WHERE kept_frames.size <> excluded.size"
_LOCK_BLOB: Final = "DO UPDATE SET size = excluded.size WHERE kept_blobs.size <> excluded.size"
_LOCK_NODE: Final = "DO UPDATE SET hash = excluded.hash WHERE kept_nodes.hash <> excluded.hash"


class RemoteObjects:
    """`cloud.objects.Objects` over a database and a bucket."""

    def __init__(self, db: Database, bucket: Bucket, pool: ThreadPoolExecutor) -> None:
        self._db = db
        self._bucket = bucket
        self._pool = pool
        self._nodes = RemoteNodes(db)

    # --- putting ----------------------------------------------------------------------------------------------------------------

    async def ready(self, contents: Mapping[Digest, bytes]) -> None:
        """What is too large for a row goes into the bucket."""
        await self._keep(encode_frame([(digest, data)]) for digest, data in contents.items() if len(data) > INLINE_MAX)

    async def put(self, tx: Tx, contents: Mapping[Digest, bytes], nodes: Mapping[Digest, bytes]) -> None:
        """As rows; what `ready` was told of is there."""
        small = [(digest, data) for digest, data in contents.items() if len(data) <= INLINE_MAX]
        await _add_frames(tx, [(frame, frame) for frame in _pack(small)])
        if len(small) < len(contents) and await self.hold(tx, [digest for digest, data in contents.items() if len(data) > INLINE_MAX]):
            raise Busy("a blob was taken away while it came", "Send it again.")
        await tx.run_many(
            f"INSERT INTO kept_nodes (hash, data) VALUES ($1, $2) ON CONFLICT (hash) {_LOCK_NODE}",
            [(digest, squeeze(data)) for digest, data in sorted(nodes.items())],
        )
        # The next push on this head reads them. Should this transaction fail, no root that is kept leads to them.
        self._nodes.keep(nodes)

    async def put_frames(self, frames: Sequence[bytes]) -> dict[Digest, int]:
        """Each checked, then kept as it came."""
        for frame in frames:
            await self._compute(lambda frame=frame: decode_frame(frame))  # type: ignore[misc]
        await self._keep(frames)
        return dict(item for frame in frames for item in frame_digests(frame))

    async def put_recipe(self, recipe: Recipe) -> Recipe:
        """Once the chunks have made the whole."""
        await self._check_recipe(recipe)
        await self._keep([encode_recipe(recipe)])
        return await self._recipe(recipe.digest) or recipe

    async def put_file(self, fd: int, size: int) -> tuple[Digest, Recipe | None]:
        """In chunks where it is large, a group of them in memory at a time."""
        if size <= CHUNKED_MIN:
            data = await self._compute(lambda: os.pread(fd, size, 0))
            digest = digest_of(data)
            await self._keep([encode_frame([(digest, data)])])
            return digest, None
        loop = asyncio.get_running_loop()
        recipe = await self._compute(lambda: self._cut(fd, size, loop))
        await self._keep([encode_recipe(recipe)])
        return recipe.digest, await self._recipe(recipe.digest)

    def _cut(self, fd: int, size: int, loop: asyncio.AbstractEventLoop) -> Recipe:
        waiting: list[tuple[Digest, bytes]] = []

        def settle() -> None:
            asyncio.run_coroutine_threadsafe(self._keep(_pack(waiting)), loop).result()
            waiting.clear()

        def keep(digest: Digest, data: bytes) -> None:
            waiting.append((digest, data))
            if sum(len(each) for _, each in waiting) >= GROUP_BYTES:
                settle()

        os.lseek(fd, 0, os.SEEK_SET)
        with io.FileIO(fd, closefd=False) as file:
            recipe = cut_file(file, size, lambda _: set(), keep)
        settle()
        return recipe

    async def _keep(self, frames: Iterable[bytes]) -> None:
        """These frames, durable on return; one whose blobs are all here already is not kept again."""
        named = {frame: [digest for digest, _ in frame_digests(frame)] for frame in frames}
        absent = await self.lacking([digest for digests in named.values() for digest in digests])
        new = [frame for frame, digests in named.items() if absent & set(digests)]
        large = {_key(frame): frame for frame in new if len(frame) > INLINE_MAX}
        if large:
            await self._db.write(lambda tx: sweep.loosen(tx, list(large)))
            await asyncio.gather(*(self._bucket.put(path_of(key), frame) for key, frame in large.items()))

        async def work(tx: Tx) -> None:
            await _add_frames(tx, [(frame, frame if len(frame) <= INLINE_MAX else None) for frame in new])
            await sweep.fasten(tx, list(large))

        if new:
            await self._db.write(work)

    # --- reading ----------------------------------------------------------------------------------------------------------------

    async def frames_for(self, digests: Sequence[Digest]) -> list[bytes]:
        """A frame goes out as it lies only when every blob in it was asked for (a neighbour may be another user's), and is in no other."""
        asked = set(digests)
        places = await self._places(asked)
        if len(places) < len(asked):
            raise _missing(min(asked - places.keys()))
        sent: list[bytes] = []
        loose: list[tuple[Digest, bytes]] = []
        for digest in digests:
            if digest not in asked:
                continue
            frame = await self._frame(places[digest])
            held = {each for each, _ in frame_digests(frame)}
            if held <= asked:
                sent.append(frame)
            else:
                loose += [(each, data) for each, data in decode_frame(frame) if each in asked]
            asked -= held
        return sent + _pack(loose)

    async def stream(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """A chunked blob chunk by chunk."""
        recipe = await self._recipe(digest)
        if recipe is None:
            yield await self._load(digest)
            return
        async for piece in self._pieces(recipe):
            yield piece

    async def nodes(self, digests: Sequence[Digest]) -> list[tuple[Digest, bytes]]:
        """From the database, those kept in memory too."""
        return await self._nodes.load(digests)

    async def over_nodes(self, work: Callable[[NodeSource], T], *, brief: bool = False) -> T:
        """A brief work at once, if all it reads is in memory; else the thread asks the loop for what is not."""
        if brief:
            with suppress(NotInMemory):
                return work(self._nodes)
        source = self._nodes.source(asyncio.get_running_loop())
        return await self._compute(lambda: work(source))

    async def lacking(self, digests: Sequence[Digest]) -> set[Digest]:
        """By their rows."""
        asked = set(digests)
        return asked - (await self._places(asked)).keys() if asked else asked

    # --- upkeep -----------------------------------------------------------------------------------------------------------------

    async def hold(self, tx: Tx, digests: Collection[Digest]) -> set[Digest]:
        """By a lock on their rows."""
        held: set[Digest] = set()
        asked = sorted(digests)
        sql = "SELECT hash FROM kept_blobs WHERE hash IN (SELECT value FROM carray($1)) ORDER BY hash FOR KEY SHARE"
        for at in range(0, len(asked), KEYS_AT_ONCE):
            held |= {Digest(row[0]) for row in await tx.rows(sql, (tx.keys(asked[at : at + KEYS_AT_ONCE]),))}
        return set(asked) - held

    async def plan_sweep(self, loose_seconds: int = sweep.LOOSE_SECONDS) -> RemoteSweep:
        """By the rows of owners."""
        return await sweep.plan(self._db, self._bucket, loose_seconds)

    async def node_bytes(self, user_id: str) -> int:
        """As they lie in the database."""
        sql = "SELECT coalesce(sum(length(n.data)), 0) FROM owned_nodes o JOIN kept_nodes n ON n.hash = o.hash WHERE o.user_id = $1"
        row = await self._db.read().one(sql, (user_id,))
        return int(row[0]) if row else 0

    async def verify(self) -> list[str]:
        """Every frame and node, a few at a time."""
        return [told async for _, _, told in self._damaged()]

    async def forget_damaged(self, quarantine: Path) -> None:
        """Rows go; an object of the bucket is read before, for what is left of it."""
        async for table, key, _ in self._damaged():
            if table == "kept_frames":
                await self._lay_aside(key, quarantine)
            await self._db.write(lambda tx, table=table, key=key: _forget(tx, table, key))  # type: ignore[misc]

    async def _lay_aside(self, key: bytes, quarantine: Path) -> None:
        row = await self._db.read().one("SELECT data FROM kept_frames WHERE key = $1", (key,))
        try:
            left = row[0] if row is not None and row[0] is not None else await self._bucket.get(path_of(key))
        except BlobMissing:
            return

        def work() -> None:
            quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
            (quarantine / key.hex()).write_bytes(left)

        await self._compute(work)

    async def _damaged(self) -> AsyncGenerator[tuple[str, bytes, str], None]:
        """(table, key, what is wrong with it)."""
        last = b""
        sql = "SELECT key FROM kept_frames WHERE key > $1 ORDER BY key LIMIT $2"
        while rows := await self._db.read().rows(sql, (last, CHECKED_AT_ONCE)):
            last = rows[-1][0]
            for (key,) in rows:
                try:
                    frame = await self._frame(key)
                    if is_recipe(frame):
                        await self._check_recipe(decode_recipe(frame))
                    else:
                        decode_frame(frame)
                except (BlobDamaged, BlobMissing, InvalidReply) as error:
                    yield "kept_frames", key, f"frame {key.hex()}: {error.message}"
        last = b""
        sql = "SELECT hash, data FROM kept_nodes WHERE hash > $1 ORDER BY hash LIMIT $2"
        while rows := await self._db.read().rows(sql, (last, CHECKED_AT_ONCE)):
            last = rows[-1][0]
            for digest, data in rows:
                if not _is_node(digest, data):
                    yield "kept_nodes", digest, f"node {digest.hex()}: its bytes are not its own"

    async def ping(self) -> None:
        """The bucket's."""
        await self._bucket.ping()

    async def tidy(self) -> None:
        """Nothing: rows are where they are cheapest."""

    async def close(self) -> None:
        """Nothing: the database and the pool are the caller's."""

    # --- places and frames ------------------------------------------------------------------------------------------------------

    async def _places(self, digests: Iterable[Digest]) -> dict[Digest, bytes]:
        found: dict[Digest, bytes] = {}
        asked = sorted(digests)
        reader = self._db.read()
        sql = "SELECT b.hash, b.frame FROM carray($1) c JOIN kept_blobs b ON b.hash = c.value"
        for at in range(0, len(asked), KEYS_AT_ONCE):
            rows = await reader.rows(sql, (reader.keys(asked[at : at + KEYS_AT_ONCE]),))
            found.update((Digest(digest), frame) for digest, frame in rows)
        return found

    async def _frame(self, key: bytes) -> bytes:
        row = await self._db.read().one("SELECT data FROM kept_frames WHERE key = $1", (key,))
        if row is None:
            raise BlobMissing("a frame is not here")
        frame = row[0] if row[0] is not None else await self._bucket.get(path_of(key))
        if _key(frame) != key:
            raise BlobDamaged("the bytes of a frame are not its own")
        return bytes(frame)

    async def _frame_of(self, digest: Digest) -> bytes:
        places = await self._places([digest])
        if digest not in places:
            raise _missing(digest)
        return await self._frame(places[digest])

    async def _recipe(self, digest: Digest) -> Recipe | None:
        frame = await self._frame_of(digest)
        return decode_recipe(frame) if is_recipe(frame) else None

    async def _load(self, digest: Digest) -> bytes:
        return dict(decode_frame(await self._frame_of(digest)))[digest]

    async def _pieces(self, recipe: Recipe) -> AsyncGenerator[bytes, None]:
        """The chunks in order. Raises BlobDamaged after the last when they did not make the whole."""
        whole = hashlib.sha256()
        for digest, size in recipe.chunks:
            data = await self._load(digest)
            if len(data) != size:
                raise BlobDamaged(f"the recipe of {recipe.digest.hex()} misnames a chunk")
            whole.update(data)
            yield data
        if whole.digest() != recipe.digest:
            raise BlobDamaged(f"the chunks of {recipe.digest.hex()} do not make the whole")

    async def _check_recipe(self, recipe: Recipe) -> None:
        async for _ in self._pieces(recipe):
            pass

    async def _compute(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def _add_frames(tx: Tx, frames: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Rows for frames (None: its bytes are in the bucket) and their blobs; a blob that is here stays where it is."""
    if not frames:
        return
    # Once for a frame, not for each of its thousands of blobs: it is up to 8 MiB that are hashed.
    keyed = [(_key(frame), frame, data) for frame, data in frames]
    await tx.run_many(
        f"INSERT INTO kept_frames (key, size, data) VALUES ($1, $2, $3) ON CONFLICT (key) {_LOCK_FRAME}",
        sorted((key, len(frame), data) for key, frame, data in keyed),
    )
    await tx.run_many(
        f"INSERT INTO kept_blobs (hash, size, frame) VALUES ($1, $2, $3) ON CONFLICT (hash) {_LOCK_BLOB}",
        sorted((digest, size, key) for key, frame, _ in keyed for digest, size in frame_digests(frame)),
    )


async def _forget(tx: Tx, table: str, key: bytes) -> None:
    if table == "kept_nodes":
        await tx.run("DELETE FROM kept_nodes WHERE hash = $1", (key,))
        return
    await tx.run("DELETE FROM kept_blobs WHERE frame = $1", (key,))
    await tx.run("DELETE FROM kept_frames WHERE key = $1", (key,))


def _pack(blobs: Sequence[tuple[Digest, bytes]]) -> list[bytes]:
    """In frames of about FRAME_RAW."""
    frames: list[bytes] = []
    group: list[tuple[Digest, bytes]] = []
    raw = 0
    for blob in blobs:
        if group and (raw + len(blob[1]) > FRAME_RAW or len(group) >= MAX_FRAME_BLOBS):
            frames.append(encode_frame(group))
            group, raw = [], 0
        group.append(blob)
        raw += len(blob[1])
    return [*frames, encode_frame(group)] if group else frames


def _key(frame: bytes) -> bytes:
    return hashlib.sha256(frame).digest()


def _is_node(digest: Digest, data: bytes) -> bool:
    try:
        return digest_of(expand(data, NODE_BYTES)) == digest
    except InvalidReply:
        return False


def _missing(digest: Digest) -> BlobMissing:
    return BlobMissing(f"no blob {digest.hex()}", "It was never kept here, or has been removed.")
