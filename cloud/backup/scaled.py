"""A backup of a cloud on PostgreSQL and a bucket while it runs, and how it is put back.

Theory. The tables are copied out of one REPEATABLE READ snapshot, then the objects that its rows name. Those are named by their own
SHA-256 and never change; one that loses its row after the snapshot stays in the bucket for a day (cloud/objects/sweep.py), which is
how long the copying may take. What is checked are the copied objects under the very rows that were copied.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from cloud.backup import record
from cloud.backup.record import Part, Record
from cloud.database import Work
from cloud.database.copies import Snapshot, at_one_moment, filled
from cloud.database.postgres import COMPONENTS, PostgresDatabase
from cloud.database.schema import is_behind
from cloud.objects.bucket import AT_ONCE, Bucket
from cloud.objects.remote import RemoteObjects
from cloud.objects.sweep import path_of
from cloud.operate.fsck import find_problems
from store.blobs.segments import sync_folder, translate_errors
from store.errors import BlobMissing, StoreDamaged

T = TypeVar("T")

TABLES: Final = "tables"
OBJECTS: Final = "objects"
KEYS_AT_ONCE: Final = 1_000
_IN_BUCKET: Final = "SELECT key FROM kept_frames WHERE data IS NULL AND key > $1 ORDER BY key LIMIT $2"


async def back_up(url: str, bucket: Bucket, folder: Path, made_at: str) -> tuple[Record, list[str]]:
    """Copy, and check the copy; the record, and a sentence for each problem. Raises OlderStore, NewerStore, Conflicting, NoSpace, Busy."""
    db = await PostgresDatabase.open(url)
    try:
        record.begin(folder)
        async with at_one_moment(db) as snapshot:
            columns = await snapshot.columns()
            files = await _copy_tables(snapshot, columns, folder)
            frames = await _copy_objects(snapshot, bucket, folder)
            problems = await _checked(snapshot, folder)
            meta = {str(key): str(value) for key, value in await snapshot.read().rows("SELECT key, value FROM meta")}
            versions = {str(name): int(at) for name, at in await snapshot.read().rows("SELECT component, version FROM schema_versions")}
    finally:
        await db.close()
    made = Record(
        engine="postgresql", made_at=made_at, epoch=meta["epoch"], sealing_key=meta.get("sealing_key", ""), versions=versions,
        files=files, columns=columns, frames=frames, problems=len(problems),
    )  # fmt: skip
    record.finish(folder, made)
    return made, problems


async def restore(folder: Path, found: Record, url: str, bucket: Bucket, begin: Work[T]) -> T:
    """Into an empty database; what `begin` says, which is done with it. Raises Conflicting, NewerStore, StoreDamaged, Busy.

    Objects go first: they are named by what they are, so a bucket that holds some already is none the worse. The rows are there in one
    transaction, or not at all.
    """
    is_behind(found.versions, COMPONENTS, "the backup")
    if damaged := await asyncio.to_thread(record.check, folder, found):
        raise StoreDamaged(f"the backup is damaged: {damaged[0]}", "Restore another backup.")
    db = await PostgresDatabase.connect(url)
    try:
        async with filled(db, found.versions, found.columns, folder / TABLES) as tx:
            # Within the transaction: a database that is not empty is refused before anything is sent.
            sent, last = 0, b""
            while keys := [row[0] for row in await tx.rows(_IN_BUCKET, (last, KEYS_AT_ONCE))]:
                last = keys[-1]
                for some in _batches(keys):
                    sent += sum(await asyncio.gather(*(_send(folder, bucket, key) for key in some)))
            if sent < found.frames:
                raise StoreDamaged(f"{found.frames - sent} objects of the backup are missing", "Restore another backup.")
            begun = await begin(tx)
    finally:
        await db.close()
    return begun


def check_objects(folder: Path, found: Record) -> list[str]:
    """A sentence for each object that is not what its name says, and when there are fewer than there were."""
    files = sorted((folder / OBJECTS).glob("*/*/*"))
    wrong = [f"object {file.name}: it is not as it was written" for file in files if record.part_of(file, file.name).sha256 != file.name]
    return wrong + ([f"{len(files)} of {found.frames} objects are there"] if len(files) < found.frames else [])


async def _copy_tables(snapshot: Snapshot, columns: dict[str, list[str]], folder: Path) -> list[Part]:
    parts = []
    with translate_errors(f"write to {folder}"):
        (folder / TABLES).mkdir(mode=0o700)
        for table, names in columns.items():
            record.write_durably(folder / TABLES / table, b"")
            await snapshot.copy_out(table, names, folder / TABLES / table)
            parts.append(await asyncio.to_thread(record.part_of, folder / TABLES / table, f"{TABLES}/{table}"))
        sync_folder(folder / TABLES)
    return parts


async def _copy_objects(snapshot: Snapshot, bucket: Bucket, folder: Path) -> int:
    """How many; one that is not in the bucket is left out, and the check tells of it."""
    copied, last = 0, b""
    with translate_errors(f"write to {folder}"):
        (folder / OBJECTS).mkdir(mode=0o700)
    while keys := [row[0] for row in await snapshot.read().rows(_IN_BUCKET, (last, KEYS_AT_ONCE))]:
        last = keys[-1]
        for some in _batches(keys):
            copied += sum(await asyncio.gather(*(_fetch(folder, bucket, key) for key in some)))
    return copied


async def _fetch(folder: Path, bucket: Bucket, key: bytes) -> bool:
    try:
        data = await bucket.get(path_of(key))
    except BlobMissing:
        return False

    def keep() -> None:
        path = folder / OBJECTS / path_of(key)
        with translate_errors(f"write to {folder}"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            record.write_durably(path, data)

    await asyncio.to_thread(keep)
    return True


async def _send(folder: Path, bucket: Bucket, key: bytes) -> bool:
    def load() -> bytes | None:
        try:
            data = (folder / OBJECTS / path_of(key)).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).digest() != key:
            raise StoreDamaged(f"object {key.hex()} of the backup is not as it was written", "Restore another backup.")
        return data

    if (data := await asyncio.to_thread(load)) is None:
        return False  # it may have been missing already when the backup was made
    await bucket.put(path_of(key), data)
    return True


async def _checked(snapshot: Snapshot, folder: Path) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        objects = RemoteObjects(snapshot, Bucket.open((folder / OBJECTS).absolute().as_uri()), pool)
        return [problem async for problem in find_problems(snapshot, objects)]


def _batches(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    rest = iter(keys)
    while some := list(islice(rest, AT_ONCE)):
        yield some
