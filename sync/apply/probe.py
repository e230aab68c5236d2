"""What the disk under a root keeps of what it is given: it is asked, in temporary names of ours that are gone again at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from store.atomic import Folder, TempName, temp_name
from store.errors import FileMoved, InvalidValue, Unwritable
from store.types import MAX_NAME_BYTES
from sync.core.disk import PLAIN, Disk

REFUSALS: Final = (FileMoved, InvalidValue, Unwritable)
"""What a system says of a name it cannot hold: exFAT's answer to `a:b` is that there is no such file."""


def probe_disk(root: Folder, left: list[TempName]) -> Disk | None:
    """What this disk does with names and bits; None where nothing can be written now, or could not from the middle of it on.

    `left` has what an earlier probe could not take away, which is tried first, and then what this one could not. Raises NoSpace, Busy.
    """
    with suppress(*REFUSALS):
        while left:
            root.discard(left[-1])
            left.pop()
    if left:
        return None
    found = Disk(
        case=_is_one(root, b"a", b"A", left),
        letters=_is_one(root, "é".encode(), "É".encode(), left),
        wide=_is_one(root, "ß".encode(), b"ss", left),
        forms=_is_one(root, "\u00e9".encode(), "e\u0301".encode(), left),
        marks=not _holds(root, b":", left),
        tails=_is_one(root, b".", b"", left) or not _holds(root, b" ", left),
        text=not _holds(root, b"\xff", left),
        lowers=_comes_back_as(root, b"A", b"a", left),
        decomposes=_comes_back_as(root, "\u00e9".encode(), "e\u0301".encode(), left),
        longest=min(MAX_NAME_BYTES, os.fpathconf(root.fd, "PC_NAME_MAX")),
        bits=_keeps_bit(root, left, executable=False) and _keeps_bit(root, left, executable=True),
    )
    if left or not _holds(root, b"", left):
        return None  # what was refused was perhaps refused for another reason than its name
    return PLAIN if found == PLAIN else found


@contextmanager
def _made(root: Folder, tail: bytes, left: list[TempName], *, executable: bool = False) -> Iterator[tuple[bytes, os.stat_result]]:
    """A file whose name has this end: the name without it, and the file's status."""
    temp = temp_name(tail)
    status = root.write_hidden(temp + tail, (), executable)
    left.append(TempName(temp + tail))
    try:
        yield temp, status
    finally:
        root.discard(left[-1])
        left.pop()


def _is_one(root: Folder, tail: bytes, other: bytes, left: list[TempName]) -> bool:
    """True when names with these ends are one file."""
    found = False
    with suppress(*REFUSALS), _made(root, tail, left) as (temp, _):
        found = root.stat(temp + other) is not None
    return found


def _comes_back_as(root: Folder, tail: bytes, other: bytes, left: list[TempName]) -> bool:
    """True when a name with this end is listed with the other one."""
    found = False
    with suppress(*REFUSALS), _made(root, tail, left) as (temp, _):
        found = os.fsdecode(temp + other) in root.names()
    return found


def _keeps_bit(root: Folder, left: list[TempName], *, executable: bool) -> bool:
    """True when a file is as executable as it was made."""
    with suppress(*REFUSALS), _made(root, b"", left, executable=executable) as (_, status):
        return bool(status.st_mode & stat.S_IXUSR) == executable
    return False


def _holds(root: Folder, tail: bytes, left: list[TempName]) -> bool:
    """True when a name with this end can be."""
    with suppress(*REFUSALS), _made(root, tail, left):
        return True
    return False
