"""`fst cloud backup` and `fst cloud restore`: whole, checked copies of a cloud that goes on running, and one put back in a new epoch."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.backup import embedded, record
from cloud.config import Settings
from cloud.database import Tx
from cloud.database.schema import renew_epoch
from cloud.parts import objects_url, refuse_unfinished, refuse_without_scale
from cloud.records.moments import text_of
from cloud.records.sealed import forget_sealed
from store.errors import Refused

if TYPE_CHECKING:
    from cloud.objects.bucket import Bucket

KEY_HINT = (
    "The key that opens sealed secrets is not in it, so that a stolen backup gives none away. Keep a copy apart: {}.\n"
    "Without it `fst cloud restore --key-lost` lets those secrets go; nothing else is sealed."
)

NEXT = (
    "Next: `fst cloud serve`. Machines see the new epoch, stop, and keep all they have; `fst approve` on each joins it with what was\n"
    "restored. Whoever signed in after the backup signs in again."
)


async def back_up(settings: Settings) -> int:
    """Into an empty folder, or look again whether one is whole; each problem a line on stdout, and then 1."""
    if settings.verify:
        return await _verify(settings.folder)
    refuse_unfinished(settings.data)
    made_at = text_of(time.time_ns() // 1_000_000)
    if settings.database:
        with refuse_without_scale():
            from cloud.backup import scaled

        made, problems = await scaled.back_up(settings.database, _bucket(settings), settings.folder, made_at)
    else:
        made, problems = await embedded.back_up(settings.data, settings.folder, made_at)
    for problem in problems:
        print(problem)
    size = sum(part.size for part in made.files)
    print(f"backup {settings.folder}: {len(made.files)} files of {size} bytes, {made.frames} objects, {made.made_at}")
    print(KEY_HINT.format("FASTEST_CLOUD_KEY" if settings.key else settings.data / "key"), file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems: the cloud itself is damaged. `fst cloud fsck --repair`, then back up again.", file=sys.stderr)
    return 1 if problems else 0


async def restore(settings: Settings) -> int:
    """Into an empty place, with a new epoch."""

    async def begin(tx: Tx) -> tuple[str, int]:
        return await renew_epoch(tx), await forget_sealed(tx) if settings.key_lost else 0

    found = await asyncio.to_thread(record.read, settings.folder)
    if found.engine == "postgresql" and not settings.database:
        raise Refused(f"{settings.folder} is a backup of a cloud on PostgreSQL", "Give --database, and --objects if it has a bucket.")
    if found.engine == "embedded" and settings.database:
        raise Refused(f"{settings.folder} is a backup of a cloud in a folder", "Leave out --database; give --data DIR.")
    if settings.database:
        with refuse_without_scale():
            from cloud.backup import scaled

        epoch, gone = await scaled.restore(settings.folder, found, settings.database, _bucket(settings), begin)
    else:
        epoch, gone = await asyncio.to_thread(embedded.restore, settings.folder, found, settings.data, begin)
    print(f"restored the cloud of {found.made_at}; new epoch {epoch}")
    if found.problems:
        print(f"it had {found.problems} problems when it was copied: `fst cloud fsck` names them", file=sys.stderr)
    if settings.key_lost:
        print(f"{gone} secrets whose key is lost were let go.", file=sys.stderr)
    elif found.sealing_key and not settings.key and not (settings.data / "key").exists():
        print(f"First put the key {found.sealing_key} back: FASTEST_CLOUD_KEY, or {settings.data / 'key'}.", file=sys.stderr)
    print(NEXT, file=sys.stderr)
    return 0


async def _verify(folder: Path) -> int:
    found = await asyncio.to_thread(record.read, folder)
    problems = await asyncio.to_thread(record.check, folder, found)
    if found.engine == "postgresql":
        with refuse_without_scale():
            from cloud.backup import scaled

        problems += await asyncio.to_thread(scaled.check_objects, folder, found)
    for problem in problems:
        print(problem)
    print("whole" if not problems else f"{len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


def _bucket(settings: Settings) -> Bucket:
    from cloud.objects.bucket import Bucket

    return Bucket.open(objects_url(settings))
