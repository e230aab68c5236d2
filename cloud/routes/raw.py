"""One blob's raw bytes, or one whole manifest, up or down: with a session; a blob also by an address that was signed for it."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from contextlib import aclosing
from typing import Final, TypedDict

import msgspec
from aiohttp import web

from cloud import content, manifests, signed
from cloud.manifests import Document
from cloud.records.moments import text_of
from cloud.routes.declare import Media, get, post, put
from cloud.routes.envelope import account_of, cloud_of, for_everybody, public_url, read_pieces
from cloud.routes.pace import READ_SECONDS
from store.blobs.segments import translate_errors
from store.errors import HashMismatch, TooLarge
from store.types import Digest, parse_digest
from sync.core.wire import Hash

SIGNED_AT_ONCE: Final = 100
KEPT: Final = "private, max-age=31536000, immutable"
DOWNLOAD: Final = {
    "Content-Type": "application/octet-stream", "Cache-Control": KEPT, "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
}  # fmt: skip


class AskedAddresses(msgspec.Struct, frozen=True):
    """The body of `presign-upload` and `presign-download`."""

    hashes: list[Hash]


class SignedAddress(TypedDict):
    """Good for this hash and method until then."""

    hash: str
    method: str
    expires_at: str
    url: str


class SignedAddresses(TypedDict):
    """One for each hash."""

    urls: list[SignedAddress]


class TakenBlob(TypedDict):
    """A blob that is here now, and whether it is new."""

    hash: str
    size: int
    created: bool


class TakenManifest(TypedDict):
    """A manifest that is here now, what it sums up to, and whether it is new."""

    hash: str
    entries: int
    files: int
    bytes: int
    created: bool


async def take_manifest(request: web.Request, asked: Document) -> TakenManifest:
    """A whole manifest as one document; its blobs may come before or after."""
    root = parse_digest(request.match_info["hash"])
    totals, is_new = await manifests.take(cloud_of(request), account_of(request).user_id, root, asked)
    return {"hash": root.hex(), "entries": totals.entries, "files": totals.files, "bytes": totals.bytes, "created": is_new}


async def give_manifest(request: web.Request) -> web.Response:
    """The same back, with its records in their one form."""
    root = parse_digest(request.match_info["hash"])
    body = await manifests.give(cloud_of(request), account_of(request).user_id, root)
    return web.Response(body=body, content_type=Media.JSON.value, headers={"Cache-Control": KEPT, "ETag": f'"{root.hex()}"'})


async def take_one(request: web.Request) -> TakenBlob:
    """One blob's raw bytes from whoever has a session."""
    return await _take(request, account_of(request).user_id, parse_digest(request.match_info["hash"]))


async def give_one(request: web.Request) -> web.StreamResponse:
    """One blob's raw bytes to whoever has a session."""
    return await _give(request, account_of(request).user_id, parse_digest(request.match_info["hash"]))


@for_everybody
async def take_signed(request: web.Request) -> TakenBlob:
    """The same from whoever has a signed address for it."""
    return await _take(request, *await _signed(request, "PUT"))


@for_everybody
async def give_signed(request: web.Request) -> web.StreamResponse:
    """The same to whoever has a signed address for it."""
    return await _give(request, *await _signed(request, "GET"))


async def sign_uploads(request: web.Request, asked: AskedAddresses) -> SignedAddresses:
    """An address for each blob that is to be sent."""
    return {"urls": await _addresses(request, _digests(asked.hashes), "PUT")}


async def sign_downloads(request: web.Request, asked: AskedAddresses) -> SignedAddresses:
    """An address for each; 404 unless all are this user's."""
    digests = _digests(asked.hashes)
    for digest in digests:
        await content.owned_size(cloud_of(request), account_of(request).user_id, digest)
    return {"urls": await _addresses(request, digests, "GET")}


def _digests(hashes: list[Hash]) -> list[Digest]:
    if len(hashes) > SIGNED_AT_ONCE:
        raise TooLarge(f"{len(hashes)} hashes", f"Ask for at most {SIGNED_AT_ONCE} at once.")
    return [parse_digest(text) for text in hashes]


async def _addresses(request: web.Request, digests: list[Digest], method: str) -> list[SignedAddress]:
    cloud, account = cloud_of(request), account_of(request)
    key, ends_s = await signed.signing_key(cloud), cloud.now_ms() // 1000 + signed.VALID_SECONDS
    return [
        {
            "hash": digest.hex(), "method": method, "expires_at": text_of(ends_s * 1000),
            "url": f"{public_url(request)}/v1/blobs/signed/{signed.sign(key, account.user_id, digest, method, ends_s)}/{digest.hex()}",
        }
        for digest in digests
    ]  # fmt: skip


async def _signed(request: web.Request, method: str) -> tuple[str, Digest]:
    cloud, digest = cloud_of(request), parse_digest(request.match_info["hash"])
    return signed.check(await signed.signing_key(cloud), request.match_info["ticket"], digest, method, cloud.now_ms()), digest


async def _take(request: web.Request, user_id: str, digest: Digest) -> TakenBlob:
    """Streamed to a file and hashed on the way."""
    cloud = cloud_of(request)
    if (request.content_length or 0) > content.MAX_UPLOAD_BYTES:
        raise _too_large()
    with translate_errors("keep a blob that comes in"), tempfile.TemporaryFile(dir=cloud.data) as file:
        hashed = hashlib.sha256()
        async for piece in read_pieces(request.content):
            hashed.update(piece)
            cloud.metrics.count_in(len(piece))
            if file.tell() + len(piece) > content.MAX_UPLOAD_BYTES:
                raise _too_large()
            file.write(piece)
        if hashed.digest() != digest:
            raise HashMismatch(f"these bytes are not {digest.hex()}")
        size = file.tell()
        file.flush()
        is_new = await content.take_file(cloud, user_id, digest, file.fileno(), size)
    return {"hash": digest.hex(), "size": size, "created": is_new}


def _too_large() -> TooLarge:
    return TooLarge(f"a blob of over {content.MAX_UPLOAD_BYTES} bytes in one request", "Send chunks and a recipe: /v1/blobs/batch.")


async def _give(request: web.Request, user_id: str, digest: Digest) -> web.StreamResponse:
    """Whole or from `Range: bytes=N-` on; a damaged one ends short of its length."""
    cloud = cloud_of(request)
    size = await content.owned_size(cloud, user_id, digest)
    start, end = _asked_range(request, size)
    response = web.StreamResponse(status=200 if (start, end) == (0, size) else 206, headers={**DOWNLOAD, "ETag": f'"{digest.hex()}"'})
    if response.status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response.content_length = end - start
    await response.prepare(request)
    at = 0
    async with aclosing(cloud.objects.stream(digest)) as pieces:
        async for piece in pieces:
            part = piece[max(0, start - at) : max(0, end - at)]
            at += len(piece)
            if part:
                async with asyncio.timeout(READ_SECONDS):
                    await response.write(part)
                cloud.metrics.count_out(len(part))
            if at >= end:
                break
    await response.write_eof()
    return response


def _asked_range(request: web.Request, size: int) -> tuple[int, int]:
    try:
        asked = request.http_range
    except ValueError:
        raise web.HTTPRequestRangeNotSatisfiable from None
    start, end, _ = asked.indices(size)
    if start >= end and size:
        raise web.HTTPRequestRangeNotSatisfiable
    return start, end


ROUTES = [
    put("/v1/blobs/upload/{hash}", take_one, takes=Media.BYTES, body=bytes),
    put("/v1/blobs/manifests/{hash}", take_manifest),
    get("/v1/blobs/manifests/{hash}", give_manifest, gives=Media.JSON),
    get("/v1/blobs/download/{hash}", give_one, statuses=(200, 206)),
    post("/v1/blobs/presign-upload", sign_uploads),
    post("/v1/blobs/presign-download", sign_downloads),
    put("/v1/blobs/signed/{ticket}/{hash}", take_signed, takes=Media.BYTES, body=bytes, needs="a ticket of `presign-upload`"),
    get("/v1/blobs/signed/{ticket}/{hash}", give_signed, statuses=(200, 206), needs="a ticket of `presign-download`"),
]
