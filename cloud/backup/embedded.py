"""A backup of the embedded cloud while it runs, and how it is put back.

Theory. First one state of the database (SQLite's own backup), then the segments that this state names, as far as it names them. A
segment is only appended to, and its number is never used again, so what the state names does not change however long the copying
takes; only collection removes whole segments. When one that is named is gone, a newer state, which does not name it, is taken instead.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from cloud.backup import record
from cloud.backup.record import Part, Record
from cloud.database import Work
from cloud.database.embedded import COMPONENTS, FILE, EmbeddedDatabase, versions_in
from cloud.database.schema import is_behind, refuse_older
from cloud.objects.embedded import BLOBS_FOLDER, EmbeddedObjects
from cloud.operate.fsck import find_problems
from cloud.parts import KEPT_ASIDE, RESTORING, lock_data
from store import database as engine
from store.blobs.segments import segment_name, sync_folder, translate_errors
from store.errors import Conflicting, Refused

T = TypeVar("T")

TRIES: Final = 5
_PUT_BACK: Final = {BLOBS_FOLDER, FILE, *(FILE + end for end in ("-wal", "-shm", "-journal", ".before-upgrade", ".copying")), RESTORING}


async def back_up(data: Path, folder: Path, made_at: str) -> tuple[Record, list[str]]:
    """Copy, and check the copy; the record, and a sentence for each problem. Raises Refused, OlderStore, Conflicting, NoSpace, Busy."""
    versions = versions_in(data)
    if not versions:
        raise Refused(f"{data} holds no cloud", "Give its folder with --data DIR.")
    if is_behind(versions, COMPONENTS, FILE):
        raise refuse_older(versions)
    record.begin(folder)
    segments = await asyncio.to_thread(_copy, data, folder)
    problems, meta, versions = await _checked(folder)
    file = await asyncio.to_thread(record.part_of, folder / FILE, FILE)
    made = Record(
        engine="embedded", made_at=made_at, epoch=meta["epoch"], sealing_key=meta.get("sealing_key", ""), versions=versions,
        files=[file, *segments], problems=len(problems),
    )  # fmt: skip
    record.finish(folder, made)
    return made, problems


def restore(folder: Path, found: Record, data: Path, begin: Work[T]) -> T:
    """Into a folder that holds no cloud; what `begin` says, which is done in it. Raises Conflicting, NewerStore, StoreDamaged.

    Until it has come to its end the file `restoring` keeps every other verb off; begun again it begins anew.
    """
    is_behind(found.versions, COMPONENTS, "the backup")
    with lock_data(data), translate_errors(f"write to {data}"):
        _clear(data)
        (data / RESTORING).write_text("A restore is at work here, or did not come to its end.\n")
        sync_folder(data)
        (data / BLOBS_FOLDER).mkdir(mode=0o700)
        for part in found.files:
            record.put_back(folder, part, data / part.path)
        sync_folder(data / BLOBS_FOLDER)
        db = EmbeddedDatabase.open(data, threaded=False)
        try:
            begun = db.write_now(begin)
        finally:
            db.close_now()
        (data / RESTORING).unlink()
        sync_folder(data)
    return begun


def _copy(data: Path, folder: Path) -> list[Part]:
    done: dict[str, Part] = {}
    with translate_errors(f"write to {folder}"):
        (folder / BLOBS_FOLDER).mkdir(mode=0o700)
    for tries_left in reversed(range(TRIES)):
        (folder / FILE).unlink(missing_ok=True)
        engine.copy_file(data / FILE, folder / FILE)
        if not _copy_segments(data / BLOBS_FOLDER, folder, done) or not tries_left:
            break  # what is missing again and again was not collected: the check tells of it
    with translate_errors(f"write to {folder}"):
        sync_folder(folder / BLOBS_FOLDER)
    return list(done.values())


def _copy_segments(source: Path, folder: Path, done: dict[str, Part]) -> list[str]:
    """`done` becomes what the database in `folder` names, but for what is not there and returned."""
    missing: list[str] = []
    with closing(engine.peek(folder / FILE)) as reader:
        rows = reader.execute("SELECT id, bytes FROM segments WHERE bytes > 0")
        named = {f"{BLOBS_FOLDER}/{segment_name(number)}": int(size) for number, size in rows}
    for path in [path for path, part in done.items() if named.get(path) != part.size]:
        (folder / path).unlink()
        del done[path]
    for path in named.keys() - done.keys():
        try:
            done[path] = record.copy_part(source.parent / path, folder / path, path, named[path])
        except FileNotFoundError:
            missing.append(path)
    return missing


async def _checked(folder: Path) -> tuple[list[str], dict[str, str], dict[str, int]]:
    """What does not fit in the copy, its table `meta`, and how far its tables have come. No file is left but the database."""
    db = EmbeddedDatabase(await asyncio.to_thread(lambda: engine.Database.open(folder / FILE, COMPONENTS)))
    try:
        with ThreadPoolExecutor(1) as pool:
            objects = EmbeddedObjects(db, folder, pool)
            try:
                problems = [problem async for problem in find_problems(db, objects)]
            finally:
                await objects.close()
        reader = db.read()
        meta = {str(key): str(value) for key, value in await reader.rows("SELECT key, value FROM meta")}
        return problems, meta, {str(name): int(at) for name, at in await reader.rows("SELECT component, version FROM schema_versions")}
    finally:
        await db.close()


def _clear(data: Path) -> None:
    """Only what an earlier try of ours put there goes. Raises Conflicting for anything else."""
    there = {path.name for path in data.iterdir()} - KEPT_ASIDE
    if there and (RESTORING not in there or there - _PUT_BACK):
        raise Conflicting(f"{data} is not empty", "A backup is restored into an empty folder; only the file `key` may be there.")
    for path in (data / BLOBS_FOLDER).glob("*.seg"):
        path.unlink()
    for name in there - {RESTORING}:
        if name == BLOBS_FOLDER:
            (data / name).rmdir()
        else:
            (data / name).unlink()
    (data / RESTORING).unlink(missing_ok=True)
