"""What the disk under a root keeps of what it is given: it is asked, in temporary names of ours that are gone again at once."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

from store.atomic import Folder, TempName, temp_name
from store.errors import FileMoved, InvalidValue, Unwritable
from store.types import MAX_NAME_BYTES
from sync.core.disk import PLAIN, Disk

REFUSALS: Final = (FileMoved, InvalidValue, Unwritable)
"""What a system says of a name it cannot hold: exFAT's answer to `a:b` is that there is no such file."""


def probe_disk(root: Folder) -> Disk | None:
    """What this disk does with names and bits; None where nothing can be written now. Raises NoSpace, Busy."""
    if not _holds(root, b""):
        return None
    case = _is_one(root, b"a", b"A")
    found = Disk(
        case=case,
        letters=_is_one(root, "é".encode(), "É".encode()),
        wide=_is_one(root, "ß".encode(), b"ss"),
        forms=_is_one(root, "\u00e9".encode(), "e\u0301".encode()),
        marks=not _holds(root, b":"),
        tails=_is_one(root, b".", b"") or not _holds(root, b" "),
        text=not _holds(root, b"\xff"),
        lowers=_comes_back_as(root, b"A", b"a"),
        decomposes=_comes_back_as(root, "\u00e9".encode(), "e\u0301".encode()),
        longest=min(MAX_NAME_BYTES, os.fpathconf(root.fd, "PC_NAME_MAX")),
        bits=_keeps_bit(root, executable=False) and _keeps_bit(root, executable=True),
    )
    return PLAIN if found == PLAIN else found


def _is_one(root: Folder, tail: bytes, other: bytes) -> bool:
    """True when names with these ends are one file."""
    temp = temp_name(tail)
    with suppress(*REFUSALS):
        root.write_hidden(temp + tail, (), False)
        try:
            return root.stat(temp + other) is not None
        finally:
            root.discard(TempName(temp + tail))
    return False


def _comes_back_as(root: Folder, tail: bytes, other: bytes) -> bool:
    """True when a name with this end is listed with the other one."""
    temp = temp_name(tail)
    with suppress(*REFUSALS):
        root.write_hidden(temp + tail, (), False)
        try:
            return os.fsdecode(temp + other) in root.names()
        finally:
            root.discard(TempName(temp + tail))
    return False


def _keeps_bit(root: Folder, *, executable: bool) -> bool:
    """True when a file is as executable as it was made."""
    temp = temp_name(b"")
    status = root.write_hidden(temp, (), executable)
    root.discard(temp)
    return bool(status.st_mode & stat.S_IXUSR) == executable


def _holds(root: Folder, tail: bytes) -> bool:
    """True when a name with this end can be."""
    temp = TempName(temp_name(tail) + tail)
    with suppress(*REFUSALS):
        root.write_hidden(temp, (), False)
        root.discard(temp)
        return True
    return False
