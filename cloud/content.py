"""Blobs and nodes of one user: taken in once their bytes were shown, given out only to who owns them.

Theory. The bytes are kept once and know no users. A user owns a blob by having sent its bytes, all of them: naming a digest proves
nothing. Whoever proved a whole chunked blob may also read the chunks it is kept as.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from cloud.context import Cloud
from cloud.database import Tx
from cloud.records import blobs
from cloud.records.moments import text_of
from store.blobs import CHUNKED_MIN, Recipe
from store.blobs.frames import decode_recipe, encode_frame, is_recipe
from store.errors import BlobDamaged, BlobsMissing, Busy, HashMismatch, InvalidReply, InvalidValue, NotFound, TooLarge
from store.manifest import EMPTY_ROOT
from store.types import Digest

MAX_FILE_BYTES: Final = 64 * 1024 * 1024 * 1024
MAX_UPLOAD_BYTES: Final = 5 * 1024 * 1024 * 1024
"""In one request; larger files come as chunks and a recipe, which also can go on after a cut."""
LEAST_CHUNK_BYTES: Final = 16 * 1024
"""On average over a file: a recipe of crumbs would make every later reading slow."""
TOUCH_MS: Final = 60 * 60 * 1000
"""How old a renewal may be before an answer "it is here" renews it."""
TRIES: Final = 3
GIVEN_AT_ONCE: Final = 4 * 1024 * 1024
NODES_AT_ONCE: Final = 256
SHOWN_DIGESTS: Final = 1_000
LISTED_BLOBS: Final = 50_000
"""Missing blobs that one refusal names: about 3 MiB of JSON."""


async def missing(cloud: Cloud, user_id: str, digests: Sequence[Digest]) -> list[bool]:
    """Which of these the user must send. Those that are here are renewed, so that the collector leaves them alone meanwhile."""
    found = await _sizes(cloud, user_id, digests)
    if found:
        await cloud.write(lambda tx: blobs.touch_owned(tx, user_id, found, cloud.now(), touched_before(cloud)))
    lost = await cloud.objects.lacking(list(found))  # owned, and forgotten since because it was damaged
    return [digest not in found or digest in lost for digest in digests]


def touched_before(cloud: Cloud) -> str:
    """What was renewed after this need not be again."""
    return text_of(max(0, cloud.now_ms() - TOUCH_MS))


async def hold(tx: Tx, cloud: Cloud, user_id: str, digests: Collection[Digest]) -> None:
    """What this transaction names stays. Raises BlobsMissing: what was here when it was looked up may have been collected since."""
    gone = await blobs.hold_blobs(tx, user_id, digests, cloud.now(), touched_before(cloud))
    if gone:
        hashes = sorted(digest.hex() for digest in gone)[:LISTED_BLOBS]
        raise BlobsMissing(f"{len(gone)} blobs are not here", "Send them, then this again.", hashes=hashes)


async def take_frames(cloud: Cloud, user_id: str, frames: Sequence[bytes]) -> int:
    """Keep what these frames hold; durable on return. Raises InvalidValue, HashMismatch, BlobsMissing for a recipe without its chunks."""
    try:
        recipes = [decode_recipe(frame) for frame in frames if is_recipe(frame)]
        blobs_alone = [frame for frame in frames if not is_recipe(frame)]
        sizes = await _owned_after(cloud, user_id, lambda: cloud.objects.put_frames(blobs_alone))
        for recipe in recipes:
            await _take_recipe(cloud, user_id, recipe)
    except InvalidReply as error:
        raise InvalidValue(error.message) from error
    except BlobDamaged as error:
        raise HashMismatch(error.message) from error
    return len(sizes) + len(recipes)


async def _take_recipe(cloud: Cloud, user_id: str, recipe: Recipe) -> None:
    """Checked against this user's own chunks even when the blob is here already: else naming it would be enough to own it."""
    if not CHUNKED_MIN <= recipe.size <= MAX_FILE_BYTES or len(recipe.chunks) > recipe.size // LEAST_CHUNK_BYTES + 1:
        raise TooLarge(f"a recipe of {recipe.size} bytes in {len(recipe.chunks)} chunks")
    owned = await _sizes(cloud, user_id, {digest for digest, _ in recipe.chunks})
    lacking = sorted({digest.hex() for digest, _ in recipe.chunks if digest not in owned})
    if lacking:
        raise BlobsMissing(f"{len(lacking)} chunks are not here", "Send them before the recipe.", hashes=lacking)
    if any(owned[digest] != size for digest, size in recipe.chunks):
        raise InvalidValue(f"the recipe of {recipe.digest.hex()} misnames a chunk")

    async def keep() -> dict[Digest, int]:
        kept = await cloud.objects.put_recipe(recipe)
        return dict(kept.chunks) | {recipe.digest: recipe.size}

    await _owned_after(cloud, user_id, keep)


async def _owned_after(cloud: Cloud, user_id: str, put: Callable[[], Awaitable[dict[Digest, int]]]) -> dict[Digest, int]:
    """Keep, and say who owns it. What a sweep took in between, because nobody owned it yet, is kept again."""
    for _ in range(TRIES):
        sizes, at = await put(), cloud.now()

        async def work(tx: Tx, sizes: dict[Digest, int] = sizes, at: str = at) -> bool:
            if await cloud.objects.hold(tx, sizes):
                return False
            await blobs.add_owned(tx, user_id, sizes, at)
            return True

        if not sizes or await cloud.write(work):
            return sizes
    raise Busy("what came was taken away again", "Send it again.")


async def _sizes(cloud: Cloud, user_id: str, digests: Sequence[Digest] | set[Digest]) -> dict[Digest, int]:
    return await cloud.reading(lambda reader: blobs.owned_sizes(reader, user_id, digests))


async def take_file(cloud: Cloud, user_id: str, digest: Digest, fd: int, size: int) -> bool:
    """Keep the bytes of an open file that were hashed as they came; True when the user did not have them."""
    is_new = digest not in await _sizes(cloud, user_id, [digest])

    async def keep() -> dict[Digest, int]:
        kept, recipe = await cloud.objects.put_file(fd, size)
        if kept != digest:
            raise HashMismatch(f"the bytes of blob {digest.hex()} changed on the way")
        return {digest: size} | (dict(recipe.chunks) if recipe else {})

    await _owned_after(cloud, user_id, keep)
    return is_new


async def check_owned(cloud: Cloud, user_id: str, digests: Sequence[Digest]) -> list[list[Digest]]:
    """The digests in batches of about GIVEN_AT_ONCE bytes. Raises NotFound unless all are this user's."""
    sizes = await _sizes(cloud, user_id, digests)
    _refuse([digest for digest in digests if digest not in sizes], "blobs")
    batches: list[list[Digest]] = []
    room = 0
    for digest in digests:
        if room <= 0:
            batches.append([])
            room = GIVEN_AT_ONCE
        batches[-1].append(digest)
        # A small blob still costs a look-up and its table row.
        room -= max(1024, min(sizes[digest], CHUNKED_MIN))
    return batches


async def owned_size(cloud: Cloud, user_id: str, digest: Digest) -> int:
    """A blob's bytes. Raises NotFound unless it is this user's."""
    sizes = await blobs.owned_sizes(cloud.read(), user_id, [digest])
    _refuse([digest] if digest not in sizes else [], "blobs")
    return sizes[digest]


async def give_blobs(cloud: Cloud, digests: Sequence[Digest]) -> list[bytes]:
    """One batch as frames; a chunked blob as its recipe's."""
    return await cloud.objects.frames_for(digests)


async def check_nodes(cloud: Cloud, user_id: str, digests: Sequence[Digest]) -> list[Sequence[Digest]]:
    """The digests in batches. Raises NotFound unless all are nodes of this user's manifests."""
    owned = await cloud.reading(lambda reader: blobs.owned_nodes(reader, user_id, digests))
    _refuse([digest for digest in digests if digest not in owned and digest != EMPTY_ROOT], "nodes")
    return [digests[at : at + NODES_AT_ONCE] for at in range(0, len(digests), NODES_AT_ONCE)]


async def give_nodes(cloud: Cloud, digests: Sequence[Digest]) -> list[bytes]:
    """One batch as a frame."""
    return [encode_frame(await cloud.objects.nodes(digests))]


def _refuse(absent: list[Digest], what: str) -> None:
    if absent:
        raise NotFound(f"{len(absent)} {what} are not here", hashes=[digest.hex() for digest in absent[:SHOWN_DIGESTS]])
