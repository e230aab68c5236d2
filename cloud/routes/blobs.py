"""/v1/blobs and /v1/manifests: bytes up and down, as digests, bitmaps and frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypedDict

import msgspec
from aiohttp import web

from cloud import content
from cloud.context import Cloud
from cloud.records.blobs import count_owned
from cloud.routes.declare import Media, get, post
from cloud.routes.envelope import account_of, cloud_of, read_sections
from cloud.routes.pace import READ_SECONDS
from store.errors import InvalidValue, TooLarge
from store.types import Digest, parse_digest
from sync.core.wire import Hash, Section, bitmap, pack_section, parse_digests

GROUP_BYTES: Final = 16 * 1024 * 1024
"""Frames that are made durable together; a cut connection loses at most the last two groups."""
EXISTS_HASHES: Final = 100
Give = Callable[[Cloud, Sequence[Digest]], Coroutine[Any, Any, list[bytes]]]


async def list_missing(request: web.Request, asked: bytes) -> bytes:
    """Digests in, a bitmap out: a set bit says that this user must send the blob."""
    cloud, account = cloud_of(request), account_of(request)
    digests = parse_digests(asked)
    flags = await content.missing(cloud, account.user_id, digests)
    return bitmap(flags)


class Kept(TypedDict):
    """How many blobs are durable now."""

    kept: int


async def take_batch(request: web.Request) -> Kept:
    """FRAME sections, any number. While one group is made durable the next is read."""
    cloud, account = cloud_of(request), account_of(request)
    group: list[bytes] = []
    group_bytes = kept = 0
    ahead: asyncio.Future[int] | None = None
    try:
        async for kind, payload in read_sections(request):
            if kind is not Section.FRAME:
                raise InvalidValue(f"a {kind.name} section where only frames are expected")
            cloud.metrics.count_in(len(payload))
            group.append(payload)
            group_bytes += len(payload)
            if group_bytes >= GROUP_BYTES:
                kept += await ahead if ahead else 0
                ahead = _take(cloud, account.user_id, group)
                group, group_bytes = [], 0
        kept += await ahead if ahead else 0
        ahead, group = _take(cloud, account.user_id, group) if group else None, []
        kept += await ahead if ahead else 0
    finally:
        if ahead and not ahead.done():
            await asyncio.wait([ahead])
        if group:  # the line was cut: what came whole is kept, so that who comes again goes on from there
            await asyncio.gather(_take(cloud, account.user_id, group), return_exceptions=True)
    return {"kept": kept}


def _take(cloud: Cloud, user_id: str, group: list[bytes]) -> asyncio.Future[int]:
    return asyncio.ensure_future(content.take_frames(cloud, user_id, group))


async def give_blobs(request: web.Request, asked: bytes) -> web.StreamResponse:
    """Digests in, FRAME sections out; 404 unless all are this user's."""
    cloud, account = cloud_of(request), account_of(request)
    digests = list(dict.fromkeys(parse_digests(asked)))
    batches = await content.check_owned(cloud, account.user_id, digests)
    return await _give(request, batches, content.give_blobs)


async def give_nodes(request: web.Request, asked: bytes) -> web.StreamResponse:
    """Digests in, FRAME sections of manifest nodes out; 404 unless all are of this user's manifests."""
    cloud, account = cloud_of(request), account_of(request)
    digests = list(dict.fromkeys(parse_digests(asked)))
    batches = await content.check_nodes(cloud, account.user_id, digests)
    return await _give(request, batches, content.give_nodes)


class AskedBlobs(msgspec.Struct, frozen=True):
    """The body of `exists`."""

    hashes: list[Hash]


class Existing(TypedDict):
    """Which of them are here."""

    missing: list[str]
    existing: list[str]
    checked: int


class Amount(TypedDict):
    """How many, and how much."""

    count: int
    bytes: int


class Stats(TypedDict):
    """What is one's own."""

    blobs: Amount
    manifests: Amount
    total: Amount


async def list_existing(request: web.Request, asked: AskedBlobs) -> Existing:
    """At most EXISTS_HASHES at once, and never some of them silently."""
    cloud, account = cloud_of(request), account_of(request)
    hashes = asked.hashes
    if len(hashes) > EXISTS_HASHES:
        raise TooLarge(f"{len(hashes)} hashes", f"Ask for at most {EXISTS_HASHES} at once, or /v1/blobs/missing.")
    flags = await content.missing(cloud, account.user_id, [parse_digest(text) for text in hashes])
    absent = [text for text, is_missing in zip(hashes, flags, strict=True) if is_missing]
    present = [text for text, is_missing in zip(hashes, flags, strict=True) if not is_missing]
    return {"missing": absent, "existing": present, "checked": len(hashes)}


async def show_stats(request: web.Request) -> Stats:
    """What one's own blobs and manifests come to. Content that several share is counted for each."""
    cloud, account = cloud_of(request), account_of(request)
    count, size, nodes = await cloud.reading(lambda reader: count_owned(reader, account.user_id))
    node_bytes = await cloud.objects.node_bytes(account.user_id)
    total: Amount = {"count": count + nodes, "bytes": size + node_bytes}
    return {"blobs": {"count": count, "bytes": size}, "manifests": {"count": nodes, "bytes": node_bytes}, "total": total}


async def _give(request: web.Request, batches: Iterable[Sequence[Digest]], give: Give) -> web.StreamResponse:
    """Batch by batch, the next made ready while the last one is on its way."""
    cloud = cloud_of(request)
    rest = iter(batches)
    first = next(rest, None)
    frames = [] if first is None else await give(cloud, first)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "private, no-store"})
    await response.prepare(request)
    while frames:
        batch = next(rest, None)
        ahead = None if batch is None else asyncio.ensure_future(give(cloud, batch))
        try:
            async with asyncio.timeout(READ_SECONDS):
                for frame in frames:
                    await response.write(pack_section(Section.FRAME, frame))
                    cloud.metrics.count_out(len(frame))
            frames = [] if ahead is None else await ahead
        finally:
            if ahead and not ahead.done():
                ahead.cancel()
                with suppress(asyncio.CancelledError):
                    await ahead
    await response.write_eof()
    return response


ROUTES = [
    post("/v1/blobs/exists", list_existing),
    get("/v1/blobs/stats", show_stats),
    post("/v1/blobs/missing", list_missing),
    post("/v1/blobs/batch", take_batch, takes=Media.BYTES, body=bytes),
    post("/v1/blobs/fetch", give_blobs),
    post("/v1/manifests/nodes", give_nodes),
]
