"""/v1/blobs and /v1/manifests: bytes up and down, as digests, bitmaps and frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from aiohttp import web

from cloud import content
from cloud.context import Cloud
from cloud.routes.envelope import READ_SECONDS, account_of, answer, cloud_of, read_body, read_sections
from store.errors import InvalidValue
from store.types import Digest
from sync.core.wire import Section, bitmap, pack_section, parse_digests

GROUP_BYTES: Final = 16 * 1024 * 1024
"""Frames that are made durable together; a cut connection loses at most the last two groups."""
Give = Callable[[Cloud, Sequence[Digest]], list[bytes]]


async def list_missing(request: web.Request) -> web.Response:
    """Digests in, a bitmap out: a set bit says that this user must send the blob."""
    cloud, account = cloud_of(request), account_of(request)
    digests = parse_digests(await read_body(request))
    flags = await cloud.compute(lambda: content.missing(cloud, account.user_id, digests))
    return web.Response(body=bitmap(flags), content_type="application/octet-stream")


async def take_batch(request: web.Request) -> web.Response:
    """FRAME sections, any number. While one group is made durable the next is read."""
    cloud, account = cloud_of(request), account_of(request)
    group: list[bytes] = []
    group_bytes = kept = 0
    ahead: asyncio.Future[int] | None = None
    try:
        async for kind, payload in read_sections(request.content):
            if kind is not Section.FRAME:
                raise InvalidValue(f"a {kind.name} section where only frames are expected")
            group.append(payload)
            group_bytes += len(payload)
            if group_bytes >= GROUP_BYTES:
                kept += await ahead if ahead else 0
                ahead = _take(cloud, account.user_id, group)
                group, group_bytes = [], 0
        kept += await ahead if ahead else 0
        ahead = _take(cloud, account.user_id, group) if group else None
        kept += await ahead if ahead else 0
    finally:
        if ahead and not ahead.done():
            await asyncio.wait([ahead])
    return answer({"kept": kept})


def _take(cloud: Cloud, user_id: str, group: list[bytes]) -> asyncio.Future[int]:
    return asyncio.ensure_future(cloud.compute(lambda: content.take_frames(cloud, user_id, group)))


async def give_blobs(request: web.Request) -> web.StreamResponse:
    """Digests in, FRAME sections out; 404 unless all are this user's."""
    cloud, account = cloud_of(request), account_of(request)
    digests = list(dict.fromkeys(parse_digests(await read_body(request))))
    batches = await cloud.compute(lambda: content.check_owned(cloud, account.user_id, digests))
    return await _give(request, batches, content.give_blobs)


async def give_nodes(request: web.Request) -> web.StreamResponse:
    """Digests in, FRAME sections of manifest nodes out; 404 unless all are of this user's manifests."""
    cloud, account = cloud_of(request), account_of(request)
    digests = list(dict.fromkeys(parse_digests(await read_body(request))))
    batches = await cloud.compute(lambda: content.check_nodes(cloud, account.user_id, digests))
    return await _give(request, batches, content.give_nodes)


async def _give(request: web.Request, batches: Iterable[Sequence[Digest]], give: Give) -> web.StreamResponse:
    """Batch by batch, the next made ready while the last one is on its way."""
    cloud = cloud_of(request)
    rest = iter(batches)
    first = next(rest, None)
    frames = [] if first is None else await cloud.compute(lambda: give(cloud, first))
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "private, no-store"})
    await response.prepare(request)
    while frames:
        batch = next(rest, None)
        ahead = None if batch is None else asyncio.ensure_future(cloud.compute(lambda batch=batch: give(cloud, batch)))  # type: ignore[misc]
        try:
            async with asyncio.timeout(READ_SECONDS):
                for frame in frames:
                    await response.write(pack_section(Section.FRAME, frame))
            frames = [] if ahead is None else await ahead
        finally:
            if ahead and not ahead.done():
                ahead.cancel()
                with suppress(asyncio.CancelledError):
                    await ahead
    await response.write_eof()
    return response


ROUTES = [
    web.post("/v1/blobs/missing", list_missing),
    web.post("/v1/blobs/batch", take_batch),
    web.post("/v1/blobs/fetch", give_blobs),
    web.post("/v1/manifests/nodes", give_nodes),
]
