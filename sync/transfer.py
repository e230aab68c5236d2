"""Move missing blobs and nodes between the local store and a Remote. Content is checked as it arrives (B2); nothing is held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from store.blobs import BlobStore, Bulk, Recipe
from store.blobs.frames import decode_frame, decode_recipe, frame_digests, is_recipe, parse_head
from store.errors import FastestError, InvalidReply
from store.manifest import check_node
from store.manifest.node import digest_in
from store.types import Digest
from sync.incoming import said_by_the_cloud
from sync.ports import Remote
from sync.progress import Phase, Progress

BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_NODES: Final = 1_000_000
"""Of one manifest: some 30 million entries."""
FEW_BLOBS: Final = 64
FEW_BYTES: Final = 1024 * 1024
FEW_RAW_BYTES: Final = 8 * 1024 * 1024
"""Of those, expanded."""


async def fetch_blobs(remote: Remote, blobs: BlobStore, sizes: Mapping[Digest, int | None], progress: Progress) -> None:
    """Bring every blob of these that is not here; durable on return. Raises InvalidReply when the cloud gives anything else.

    Counted in bytes of content; those of a file's chunks that are here already count as fetched. None: nobody knows the size.
    """
    wanted = await asyncio.to_thread(_lacking_in_order, blobs, sizes)
    if not wanted:
        return
    total_bytes = sum(sizes[digest] or 0 for digest in wanted)
    progress.begin(Phase.FETCHING, total_bytes)
    expected = {digest: sizes[digest] for digest in wanted}
    if len(wanted) <= FEW_BLOBS and total_bytes <= FEW_RAW_BYTES and await _fetch_few(remote, blobs, expected):
        progress.add(total_bytes)
        return
    recipes = await _fetch_frames(remote, blobs, expected, progress)
    if recipes:
        chunks = _sizes_of_chunks(recipes)
        lacking = await asyncio.to_thread(_lacking_in_order, blobs, chunks)
        progress.add(sum(recipe.size for recipe in recipes) - sum(chunks[digest] for digest in lacking))
        if await _fetch_frames(remote, blobs, {digest: chunks[digest] for digest in lacking}, progress):
            raise InvalidReply("the cloud answered a chunk with another recipe")
        for recipe in recipes:
            with said_by_the_cloud():
                await asyncio.to_thread(blobs.put_recipe, recipe)


class _Expected:
    """What was asked for, with sizes: each may come once, and nothing else. So what is held is never more than what was asked for."""

    def __init__(self, sizes: Mapping[Digest, int | None]) -> None:
        self._left = dict(sizes)

    def admit(self, frame: bytes) -> None:
        """Raises InvalidReply unless the frame holds only what is still expected."""
        items = frame_digests(frame)
        if not items:
            raise InvalidReply("the cloud sent a frame of nothing")
        for digest, size in items:
            if digest not in self._left or self._left.pop(digest) not in (size, None):
                raise InvalidReply(f"the cloud sent {digest.hex()} of {size} bytes, which is not what it was asked for")

    def end(self) -> None:
        """Raises InvalidReply unless all has come."""
        if self._left:
            raise InvalidReply(f"the cloud did not give {len(self._left)} blobs, the first is {min(self._left).hex()}")


async def _fetch_few(remote: Remote, blobs: BlobStore, sizes: Mapping[Digest, int | None]) -> bool:
    """A few small blobs go inline, with one transaction and no segment. False: they are more than that."""
    expected, frames = _Expected(sizes), []
    async for frame in remote.fetch(list(sizes)):
        expected.admit(frame)
        frames.append(frame)
        if is_recipe(frame) or sum(map(len, frames)) > FEW_BYTES:
            return False
    expected.end()
    await asyncio.to_thread(_put_inline, blobs, frames)
    return True


def _put_inline(blobs: BlobStore, frames: list[bytes]) -> None:
    with said_by_the_cloud():
        contents = [blob for frame in frames for blob in decode_frame(frame)]
    blobs.db.write_now(lambda tx: blobs.put_inline(tx, contents))


async def _fetch_frames(remote: Remote, blobs: BlobStore, sizes: Mapping[Digest, int | None], progress: Progress) -> list[Recipe]:
    recipes: list[Recipe] = []
    if not sizes:
        return recipes
    expected = _Expected(sizes)
    stack = ExitStack()
    bulk = stack.enter_context(blobs.bulk())
    try:
        async for batch in _batches(remote.fetch(list(sizes)), expected, progress):
            recipes += [decode_recipe(frame) for frame in batch if is_recipe(frame)]
            await asyncio.to_thread(_add_frames, bulk, [frame for frame in batch if not is_recipe(frame)])
        expected.end()
    finally:
        # Leaving makes it durable, which the loop must not wait for.
        await asyncio.to_thread(stack.close)
    return recipes


def _add_frames(bulk: Bulk, frames: list[bytes]) -> None:
    with said_by_the_cloud():
        for frame in frames:
            bulk.add_frame(frame)


async def _batches(frames: AsyncIterator[bytes], expected: _Expected, progress: Progress) -> AsyncIterator[list[bytes]]:
    """Frames in lists of about BATCH_BYTES, so that one thread hop serves many; counted as they arrive.

    What came before the stream failed comes, too: on a line that is cut again and again, that is how it goes on.
    """
    batch: list[bytes] = []
    size = 0
    failure: FastestError | None = None
    try:
        async for frame in frames:
            expected.admit(frame)
            batch.append(frame)
            size += len(frame)
            progress.add(_content_bytes(frame))
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except FastestError as error:
        failure = error
    if batch:
        yield batch
    if failure is not None:
        raise failure


async def send_blobs(remote: Remote, blobs: BlobStore, sizes: Mapping[Digest, int], progress: Progress) -> None:
    """Send what the cloud lacks of these. Chunked blobs send their missing chunks first, then the recipe (W1: leaf to root).

    Counted in bytes of content; those of a file's chunks that the cloud has already count as sent.
    """
    progress.begin(Phase.ASKING)
    lacking = await remote.missing(list(sizes))
    if not lacking:
        return
    progress.begin(Phase.SENDING, sum(sizes[digest] for digest in lacking))
    plain, recipes = await asyncio.to_thread(_by_form, blobs, [digest for digest in sizes if digest in lacking])
    chunks = _sizes_of_chunks(recipes)
    missing_chunks = await remote.missing(list(chunks)) if chunks else set()
    progress.add(sum(recipe.size for recipe in recipes) - sum(chunks[digest] for digest in missing_chunks))
    first = plain + [digest for digest in chunks if digest in missing_chunks]
    if first:
        await remote.upload(_counted(blobs.frames_for(first), progress))
    if recipes:
        await remote.upload(blobs.frames_for([recipe.digest for recipe in recipes]))


def _counted(frames: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    """The same frames; each counts once the next one is asked for."""
    for frame in frames:
        yield frame
        progress.add(_content_bytes(frame))


def _content_bytes(frame: bytes) -> int:
    """What a frame holds of contents; a recipe's are its chunks'."""
    return 0 if is_recipe(frame) else parse_head(frame).raw_bytes


def _by_form(blobs: BlobStore, digests: Sequence[Digest]) -> tuple[list[Digest], list[Recipe]]:
    plain: list[Digest] = []
    recipes: list[Recipe] = []
    for digest in digests:
        recipe = blobs.recipe(digest)
        if recipe is None:
            plain.append(digest)
        else:
            recipes.append(recipe)
    return plain, recipes


def _sizes_of_chunks(recipes: Iterable[Recipe]) -> dict[Digest, int]:
    """Every chunk once, in order."""
    return {digest: size for recipe in recipes for digest, size in recipe.chunks}


def _lacking_in_order(blobs: BlobStore, digests: Iterable[Digest]) -> list[Digest]:
    unique = list(dict.fromkeys(digests))
    lacking = blobs.lacking(unique)
    return [digest for digest in unique if digest in lacking]


async def fetch_manifest(remote: Remote, blobs: BlobStore, workspace_id: str, root: Digest, progress: Progress) -> None:
    """Bring every node under `root` that is not here, level by level, each checked before it is kept. Raises InvalidReply.

    Whether they are a tree, with the sums they claim, is for `check_manifest`.
    """
    progress.begin(Phase.ENTRIES)
    depth: int | None = None
    level, count = [root], 0
    while level:
        count += len(level)
        if count > MAX_NODES:
            raise InvalidReply(f"the cloud named a manifest of over {MAX_NODES} nodes")
        lacking = await asyncio.to_thread(blobs.lacking_nodes, level)
        await _fetch_nodes(remote, blobs, workspace_id, [digest for digest in level if digest in lacking], progress)
        depth, level = await asyncio.to_thread(_go_down, blobs, level, depth)


async def _fetch_nodes(remote: Remote, blobs: BlobStore, workspace_id: str, wanted: list[Digest], progress: Progress) -> None:
    left = set(wanted)
    found: dict[Digest, bytes] = {}
    size = 0
    if not wanted:
        return
    async for digest, data in remote.nodes(workspace_id, wanted):
        if digest not in left:
            raise InvalidReply("the cloud sent a manifest node that it was not asked for")
        with said_by_the_cloud():
            check_node(digest, data)
        left.discard(digest)
        found[digest] = data
        size += len(data)
        progress.add(len(data))
        if size >= BATCH_BYTES:
            await asyncio.to_thread(_keep_nodes, blobs, found)
            found, size = {}, 0
    if left:
        raise InvalidReply(f"the cloud did not give {len(left)} nodes, the first is {min(left).hex()}")
    if found:
        await asyncio.to_thread(_keep_nodes, blobs, found)


def _keep_nodes(blobs: BlobStore, found: dict[Digest, bytes]) -> None:
    blobs.db.write_now(lambda tx: blobs.put_nodes(tx, found))


def _go_down(blobs: BlobStore, level: Sequence[Digest], depth: int | None) -> tuple[int, list[Digest]]:
    """The level below, each once. Raises InvalidReply for a node of another level, so that every way down ends."""
    below: dict[Digest, None] = {}
    for digest in level:
        node = blobs.read_node(digest)
        if depth is not None and node.level != depth:
            raise InvalidReply(f"the cloud sent a manifest node of level {node.level} where {depth} was due")
        top = node.level
        below |= dict.fromkeys(map(digest_in, node.children))
    return top - 1, list(below)
