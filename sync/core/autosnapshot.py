"""When is a change worth a snapshot of its own (SNAP-7)?

Every settled state is kept as a version anyway; a snapshot marks one that a person would recognise. A change since the newest snapshot
is *significant* when something was added or removed, or two files or 5 KiB changed. Snapshots stand ten minutes apart, unless ten
files or 50 KiB changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from store.types import Change, Dir, Entry, File

SIGNIFICANT_FILES: Final = 2
SIGNIFICANT_BYTES: Final = 5 * 1024
LARGE_FILES: Final = 10
LARGE_BYTES: Final = 50 * 1024
COOLDOWN_MS: Final = 10 * 60 * 1000

ChangedBytes = Callable[[File, File], int]
"""How many bytes of a file differ between two states of it (`count_changed_bytes` over their contents, or a fair estimate)."""


def snapshot_due_ms(changes: Iterable[Change], newest_ms: int | None, now_ms: int, changed_bytes: ChangedBytes) -> int | None:
    """When an automatic snapshot is due: a time, `now_ms` for at once, None for not at all.

    `changes` lead from the newest snapshot's manifest to the present one, and are read no further than the tenth file; `newest_ms` is
    when that snapshot was taken here, None when there is none yet. A clock that went back since starts no new wait.
    """
    if newest_ms is None:
        return now_ms
    significant, large = _measure(changes, changed_bytes)
    if not significant:
        return None
    if large or not 0 <= now_ms - newest_ms < COOLDOWN_MS:
        return now_ms
    return newest_ms + COOLDOWN_MS


def count_changed_bytes(old: bytes, new: bytes) -> int:
    """The longer side's length without what both begin and end with: exact for one edited place, an upper bound for several."""
    start = _common_start(old, new)
    end = _common_start(old[start:][::-1], new[start:][::-1])
    return max(len(old), len(new)) - start - end


def _measure(changes: Iterable[Change], changed_bytes: ChangedBytes) -> tuple[bool, bool]:
    """(significant, large)."""
    files = size = 0
    significant = False
    for change in changes:
        significant |= change.old is None or change.new is None
        if _is_folder(change.old) and _is_folder(change.new):
            continue
        files += 1
        size += _bytes_of(change, changed_bytes)
        if files >= LARGE_FILES or size >= LARGE_BYTES:
            return True, True
    return significant or files >= SIGNIFICANT_FILES or size >= SIGNIFICANT_BYTES, False


def _bytes_of(change: Change, changed_bytes: ChangedBytes) -> int:
    if isinstance(change.old, File) and isinstance(change.new, File):
        return 0 if change.old.digest == change.new.digest else changed_bytes(change.old, change.new)
    return sum(entry.size for entry in (change.old, change.new) if isinstance(entry, File))


def _is_folder(entry: Entry | None) -> bool:
    """A folder, or nothing: neither is a file that counts."""
    return entry is None or isinstance(entry, Dir)


def _common_start(one: bytes, other: bytes) -> int:
    """How many first bytes are equal, by halving: comparing slices is what bytes are fast at."""
    low, high = 0, len(one)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
