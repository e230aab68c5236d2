"""Large files made small: what is cut into chunks begins at some 1,500 bytes, and what the product gives to threads is done at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

import cloud.content
import cloud.heads.checks
import cloud.objects.embedded
import cloud.operate.collect
import store.blobs
import store.blobs.bulk
import store.blobs.catalog
import store.blobs.chunks
import store.blobs.reading
import sync.adopt
import sync.apply.styled
import sync.outgoing
import sync.scan.contents

if TYPE_CHECKING:
    from tests.simulation.system import System

LARGE_BYTES = 1500
LEAST_BYTES, USUAL_BYTES, MOST_BYTES = 64, 256, 1024


class AtOnce:
    """An executor without threads."""

    def __init__(self, *_: object) -> None:
        """Whatever threads are asked for."""

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to wait for."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        answered: Future[Any] = Future()
        try:
            answered.set_result(work(*arguments))
        except BaseException as error:
            answered.set_exception(error)
        return answered

    def shutdown(self, *_: object, **__: object) -> None:
        """Nothing runs."""


def install_chunks(patch: pytest.MonkeyPatch, system: System) -> None:
    """A file's texts are joined by lines up to this size, as in earnest: there both bounds are one, too."""

    class Opened:
        """`FileIO` over a simulated descriptor."""

        def __init__(self, fd: int, closefd: bool) -> None:
            self._fd = fd

        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *_: object) -> None:
            """The descriptor is its owner's."""

        def readinto(self, buffer: memoryview) -> int:
            data = system.read(self._fd, len(buffer))
            buffer[: len(data)] = data
            return len(data)

    for module in (cloud.heads.checks, cloud.objects.embedded, cloud.operate.collect, store.blobs.bulk, store.blobs.catalog):
        patch.setattr(module, "CHUNKED_MIN", LARGE_BYTES)
    for module in (cloud.content, sync.scan.contents):
        patch.setattr(module, "CHUNKED_MIN", LARGE_BYTES)
    for module in (sync.adopt, sync.apply.styled):
        patch.setattr(module, "MAX_TEXT_BYTES", LARGE_BYTES)
    for module in (store.blobs.bulk, store.blobs.chunks, store.blobs.reading):
        patch.setattr(module, "ThreadPoolExecutor", AtOnce)
    patch.setattr(sync.outgoing, "PUSH_INLINE_BYTES", LARGE_BYTES - 1)
    patch.setattr(cloud.content, "LEAST_CHUNK_BYTES", LEAST_BYTES)
    patch.setattr(store.blobs, "FileIO", Opened)
    patch.setattr(store.blobs.chunks, "CHUNK_MIN", LEAST_BYTES)
    patch.setattr(store.blobs.chunks, "CHUNK_AVERAGE", USUAL_BYTES)
    patch.setattr(store.blobs.chunks, "CHUNK_MAX", MOST_BYTES)
