"""Move missing blobs and nodes between the local store and a Remote. Content is checked as it arrives (B2); nothing is held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from store.blobs import BlobStore, Bulk, Recipe
from store.blobs.frames import decode_frame, decode_recipe, is_recipe, parse_head
from store.errors import FastestError, InvalidReply
from store.manifest import check_node, parse_node
from store.manifest.node import digest_in
from store.types import Digest
from sync.ports import Remote
from sync.progress import Phase, Progress

BATCH_BYTES: Final = 8 * 1024 * 1024
NODES_AT_ONCE: Final = 4096
FEW_BLOBS: Final = 64
FEW_BYTES: Final = 1024 * 1024


async def fetch_blobs(remote: Remote, blobs: BlobStore, sizes: Mapping[Digest, int], progress: Progress) -> None:
    """Bring every blob of these that is not here; durable on return. Raises InvalidReply when the cloud does not give one.

    Counted in bytes of content, as far as `sizes` knows them; those of a file's chunks that are here already count as fetched.
    """
    wanted = await asyncio.to_thread(_lacking_in_order, blobs, sizes)
    if not wanted:
        return
    total_bytes = sum(sizes[digest] for digest in wanted)
    progress.begin(Phase.FETCHING, total_bytes)
    if len(wanted) <= FEW_BLOBS and await _fetch_few(remote, blobs, wanted):
        progress.add(total_bytes)
        return
    recipes = await _fetch_frames(remote, blobs, wanted, progress)
    if recipes:
        chunks = _sizes_of_chunks(recipes)
        lacking = await asyncio.to_thread(_lacking_in_order, blobs, chunks)
        progress.add(sum(recipe.size for recipe in recipes) - sum(chunks[digest] for digest in lacking))
        if await _fetch_frames(remote, blobs, lacking, progress):
            raise InvalidReply("the cloud answered a chunk with another recipe")
        for recipe in recipes:
            await asyncio.to_thread(blobs.put_recipe, recipe)
    still = await asyncio.to_thread(blobs.lacking, wanted)
    if still:
        raise InvalidReply(f"the cloud did not give {len(still)} blobs, the first is {min(still).hex()}")


async def _fetch_few(remote: Remote, blobs: BlobStore, wanted: Sequence[Digest]) -> bool:
    """A few small blobs go inline, with one transaction and no segment. False: they are more than that."""
    frames: list[bytes] = []
    async for frame in remote.fetch(wanted):
        frames.append(frame)
        if is_recipe(frame) or sum(map(len, frames)) > FEW_BYTES:
            return False
    await asyncio.to_thread(_put_inline, blobs, frames, set(wanted))
    return True


def _put_inline(blobs: BlobStore, frames: list[bytes], asked: set[Digest]) -> None:
    contents = [blob for frame in frames for blob in decode_frame(frame)]
    if {digest for digest, _ in contents} != asked:
        raise InvalidReply("the cloud did not give what it was asked for")
    blobs.db.write_now(lambda tx: blobs.put_inline(tx, contents))


async def _fetch_frames(remote: Remote, blobs: BlobStore, wanted: Sequence[Digest], progress: Progress) -> list[Recipe]:
    recipes: list[Recipe] = []
    if not wanted:
        return recipes
    asked = set(wanted)
    stack = ExitStack()
    bulk = stack.enter_context(blobs.bulk())
    try:
        async for batch in _batches(remote.fetch(wanted), progress):
            for frame in batch:
                if is_recipe(frame):
                    recipe = decode_recipe(frame)
                    if recipe.digest not in asked:
                        raise InvalidReply("the cloud sent a recipe that was not asked for")
                    recipes.append(recipe)
            await asyncio.to_thread(_add_frames, bulk, [frame for frame in batch if not is_recipe(frame)], asked)
    finally:
        # Leaving makes it durable, which the loop must not wait for.
        await asyncio.to_thread(stack.close)
    return recipes


def _add_frames(bulk: Bulk, frames: list[bytes], asked: set[Digest]) -> None:
    for frame in frames:
        bulk.add_frame(frame, asked)


async def _batches(frames: AsyncIterator[bytes], progress: Progress) -> AsyncIterator[list[bytes]]:
    """Frames in lists of about BATCH_BYTES, so that one thread hop serves many; counted as they arrive.

    What came before the stream failed comes, too: on a line that is cut again and again, that is how it goes on.
    """
    batch: list[bytes] = []
    size = 0
    failure: FastestError | None = None
    try:
        async for frame in frames:
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
    """Bring every node under `root` that is not here, level by level, each checked before it is kept."""
    progress.begin(Phase.ENTRIES)
    level = [root]
    while level:
        lacking = await asyncio.to_thread(blobs.lacking_nodes, level)
        found: dict[Digest, bytes] = {}
        wanted = [digest for digest in level if digest in lacking]
        async for digest, data in remote.nodes(workspace_id, wanted):
            check_node(digest, data)
            found[digest] = data
            progress.add(len(data))
        absent = lacking - found.keys()
        if absent:
            raise InvalidReply(f"the cloud did not give {len(absent)} nodes, the first is {min(absent).hex()}")
        level = await asyncio.to_thread(_keep_nodes, blobs, found, level)


def _keep_nodes(blobs: BlobStore, found: dict[Digest, bytes], level: Sequence[Digest]) -> list[Digest]:
    nodes = [parse_node(found.get(digest) or blobs.get_node(digest)) for digest in level]
    below = [digest_in(child) for node in nodes for child in node.children]
    for batch in _split(list(found)):
        blobs.db.write_now(lambda tx, batch=batch: blobs.put_nodes(tx, {digest: found[digest] for digest in batch}))  # type: ignore[misc]
    return list(dict.fromkeys(below))


def _split(digests: list[Digest]) -> Iterator[list[Digest]]:
    for at in range(0, len(digests), NODES_AT_ONCE):
        yield digests[at : at + NODES_AT_ONCE]
