"""Blob stores in a folder, and blobs to put in."""

from __future__ import annotations

import random
from pathlib import Path

from store.blobs import BLOBS, BlobStore
from store.database import Database
from store.types import Digest, digest_of

Blobs = list[tuple[Digest, bytes]]


SMALL_SEGMENTS = 256 * 1024


def open_store(folder: Path, *, threaded: bool = True) -> BlobStore:
    folder.mkdir(exist_ok=True)
    return BlobStore(Database.open(folder / "store.db", [BLOBS], threaded=threaded), folder / "segments", SMALL_SEGMENTS)


def close_store(store: BlobStore) -> None:
    store.close()
    store.db.close()


def texts(count: int, seed: int = 0) -> Blobs:
    """Blobs like source files: mostly small, some large, one empty."""
    noise = random.Random(seed)
    sizes = [0, 1, 70_000, 300_000, *(int(noise.lognormvariate(6, 1.5)) for _ in range(count))]
    return [named(noise.randbytes(min(size, 64)) + b"line of text\n" * (size // 13)) for size in sizes]


def named(data: bytes) -> tuple[Digest, bytes]:
    return digest_of(data), data


def keep(store: BlobStore, blobs: Blobs) -> None:
    with store.bulk() as bulk:
        for digest, data in blobs:
            bulk.add(digest, data)


def keep_inline(store: BlobStore, blobs: Blobs) -> None:
    store.db.write_now(lambda tx: store.put_inline(tx, blobs))


def digests_of(blobs: Blobs) -> list[Digest]:
    return [digest for digest, _ in blobs]


def large(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def keep_file(store: BlobStore, path: Path, data: bytes) -> Digest:
    path.write_bytes(data)
    with path.open("rb") as file:
        return store.add_file(file.fileno(), len(data))
