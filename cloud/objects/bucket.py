"""Objects under keys in a bucket: S3 and what speaks like it, or a folder. The door to obstore."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import obstore
from obstore import exceptions
from obstore.store import from_url

from store.errors import BlobMissing, Busy, Unwritable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

AT_ONCE: Final = 32
"""Requests under way at most."""
MARK: Final = "fastest"
"""The key of an empty object."""
_CLIENT: Final[ClientConfig] = {"timeout": "60s", "connect_timeout": "10s", "allow_http": True}
_RETRY: Final[RetryConfig] = {"max_retries": 4}


class Bucket:
    """Keys and bytes. Who may use it is told by the environment (AWS_ACCESS_KEY_ID and so on), never by the address."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._room = asyncio.Semaphore(AT_ONCE)
        self._is_marked = False

    @classmethod
    def open(cls, url: str) -> Bucket:
        """`s3://bucket/prefix` or `file:///folder`. Raises Unwritable when it cannot be one."""
        try:
            if url.startswith("file:"):
                return cls(from_url(url, mkdir=True))
            return cls(from_url(url, client_options=_CLIENT, retry_config=_RETRY))
        except (exceptions.BaseError, ValueError) as error:
            raise Unwritable("the address of the objects cannot be read", "It looks like s3://bucket/prefix or file:///folder.") from error

    async def put(self, key: str, data: bytes) -> None:
        """Keep bytes under a key; durable on return. Raises Busy, Unwritable."""
        async with self._room:
            try:
                await obstore.put_async(self._store, key, data)
            except (exceptions.BaseError, OSError) as error:
                raise _translated(error) from error

    async def get(self, key: str) -> bytes:
        """The bytes under a key. Raises BlobMissing, Busy, Unwritable."""
        async with self._room:
            try:
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())
            except (exceptions.BaseError, OSError) as error:
                raise _translated(error) from error

    async def ping(self) -> None:
        """Raises Busy, Unwritable unless it can be written to (asked once) and read.

        An object of ours is read: of one that is missing S3 tells those who may not list that they may not read.
        """
        try:
            if not self._is_marked:
                await self.put(MARK, b"")
                self._is_marked = True
            await self.get(MARK)
        except BlobMissing as error:
            self._is_marked = False
            raise Busy("the bucket is not there") from error

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove these; one that is not there is no error. Raises Busy, Unwritable."""
        for key in keys:
            async with self._room:
                try:
                    await obstore.delete_async(self._store, key)
                except (FileNotFoundError, exceptions.NotFoundError):
                    continue
                except (exceptions.BaseError, OSError) as error:
                    raise _translated(error) from error


def _translated(error: BaseException) -> Exception:
    """As ours, without the address or a key's name."""
    match error:
        case FileNotFoundError() | exceptions.NotFoundError():
            return BlobMissing("an object is not in the bucket")
        case PermissionError() | exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return Unwritable("the bucket lets nobody in with these keys", "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    return Busy(f"the bucket does not answer: {type(error).__name__}")
