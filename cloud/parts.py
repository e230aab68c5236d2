"""The parts a cloud stands on, opened as the settings say: one process on one folder, or many on existing engines."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cloud.accounts.gate import Gate, open_gate
from cloud.accounts.vault import FILE, Vault, find_vault, note_key
from cloud.config import Settings
from cloud.database import Database
from cloud.database.embedded import EmbeddedDatabase
from cloud.hub import Hub
from cloud.hub.local import LocalHub
from cloud.objects import Objects
from cloud.objects.embedded import EmbeddedObjects
from store.errors import AlreadyRunning, InvalidValue, Refused, Unwritable

THREADS: Final = 4
RESTORING: Final = "restoring"
"""A file in the data folder for as long as a restore is at work on it."""
LOCK: Final = "lock"
KEPT_ASIDE: Final = {LOCK, FILE}
"""What may be in a data folder that holds no cloud."""
REMOTE_THREADS: Final = 16
"""More: they wait for a database that is elsewhere."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All open."""

    db: Database
    objects: Objects
    hub: Hub
    pool: ThreadPoolExecutor
    vault: Vault
    gate: Gate


@asynccontextmanager
async def opened(settings: Settings, *, upgrade: bool = False) -> AsyncIterator[Parts]:
    """`upgrade`: an embedded database at an older schema is brought up to this one; its folder must be locked.

    Raises OlderStore, NewerStore, StoreDamaged, Unwritable, Busy, InvalidValue for parts that do not fit together.
    """
    make_private(settings.data)
    refuse_unfinished(settings.data)
    vault, gate = find_vault(settings.data, settings.key), open_gate(settings.gate)
    if settings.database:
        async with _opened_remote(settings, vault, gate) as parts:
            yield parts
        return
    if settings.objects or settings.redis:
        raise InvalidValue("--objects and --redis need --database", "The embedded cloud keeps everything in its own folder.")
    pool = ThreadPoolExecutor(THREADS, "cloud")
    db = EmbeddedDatabase.open(settings.data, upgrade=upgrade)
    try:
        objects = EmbeddedObjects(db, settings.data, pool)
        await db.write(lambda tx: note_key(tx, vault))
        yield Parts(db, objects, LocalHub(), pool, vault, gate)
    finally:
        await gate.close()
        pool.shutdown()
        await objects.close()
        await db.close()


@asynccontextmanager
async def _opened_remote(settings: Settings, vault: Vault, gate: Gate) -> AsyncIterator[Parts]:
    """Imported here: whoever runs one process has installed none of it."""
    with refuse_without_scale():
        from cloud.database.postgres import PostgresDatabase
        from cloud.hub.redis import RedisHub
        from cloud.limits.redis import RedisLimits
        from cloud.objects.bucket import Bucket
        from cloud.objects.remote import RemoteObjects
    if settings.redis:
        gate = replace(gate, limits=RedisLimits.open(settings.redis))
    bucket = Bucket.open(objects_url(settings))
    pool = ThreadPoolExecutor(REMOTE_THREADS, "cloud")
    db = await PostgresDatabase.open(settings.database)
    try:
        await db.write(lambda tx: note_key(tx, vault))
        hub: Hub = await RedisHub.open(settings.redis) if settings.redis else LocalHub()
        try:
            yield Parts(db, RemoteObjects(db, bucket, pool), hub, pool, vault, gate)
        finally:
            await gate.close()
            await hub.close()
    finally:
        pool.shutdown()
        await db.close()


@contextmanager
def refuse_without_scale() -> Iterator[None]:
    """Around imports. Raises Unwritable."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unwritable(f"{error.name} is not installed", "Install what several processes need: pip install 'fastest[scale]'.") from error


def objects_url(settings: Settings) -> str:
    """Where the bytes beside a database lie."""
    return settings.objects or (settings.data.absolute() / "objects").as_uri()


@contextmanager
def lock_data(data: Path) -> Iterator[None]:
    """Nobody else serves this folder meanwhile. Raises AlreadyRunning, Unwritable."""
    make_private(data)
    try:
        lock = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unwritable(f"cannot write to {data}: {error.strerror}") from error
    try:
        _take_lock(lock, data)
        yield
    finally:
        os.close(lock)


def _take_lock(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"another cloud holds {data}", "Stop it, or give another --data DIR.") from None


def refuse_unfinished(data: Path) -> None:
    """What a restore left half way is nobody's cloud. Raises Refused."""
    if (data / RESTORING).exists():
        raise Refused(f"a restore into {data} did not come to its end", "Run `fst cloud restore` again; it begins anew.")


def make_private(data: Path) -> None:
    """The folder, for its owner only. Raises Unwritable."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"cannot make {data}: {error.strerror}") from error
