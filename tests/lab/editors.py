"""How programs save a file: the system calls of each, as `strace` shows them, so that a test can save as they do.

Each takes the file's path and its new bytes. What a program leaves beside the file for good (emacs's `~`) it leaves here, too.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

Save = Callable[[Path, bytes], None]

PIECE_BYTES = 4096
PACE_SECONDS = 0.004


def pause(seconds: float = PACE_SECONDS) -> None:
    """A moment in which somebody else may look."""
    threading.Event().wait(seconds)


def in_place(path: Path, data: bytes) -> None:
    """VS Code, nano, shell redirections: truncate, write."""
    path.write_bytes(data)


def in_pieces(path: Path, data: bytes) -> None:
    """A slow writer: truncate, then a piece now and then."""
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(data), PIECE_BYTES):
            file.write(data[at : at + PIECE_BYTES])
            pause()


def over_pages(path: Path, data: bytes) -> None:
    """A database or an image editor: pages in place, from the last to the first, cut to size at the end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for at in reversed(range(0, len(data), PIECE_BYTES)):
            os.pwrite(fd, data[at : at + PIECE_BYTES], at)
            pause()
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def by_mapping(path: Path, data: bytes) -> None:
    """A mapping that outlives its descriptor: no write, and no close that anybody hears of."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, len(data))
    with mmap.mmap(fd, len(data)) as pages:
        os.close(fd)
        for at in range(0, len(data), PIECE_BYTES):
            pages[at : at + PIECE_BYTES] = data[at : at + PIECE_BYTES]
            pause()
        pages.flush()


def vim(path: Path, data: bytes) -> None:
    """`backupcopy=no`: a swap file, a probe of the folder, the old file renamed, a new one written, the old one removed."""
    swap, probe, backup = path.with_name(f".{path.name}.swp"), path.with_name("4913"), path.with_name(path.name + "~")
    swap.write_bytes(b"b0VIM 9.0" + bytes(4087))
    probe.touch()
    probe.unlink()
    if path.exists():
        path.rename(backup)
    _write_synced(path, data)
    path.chmod(0o644)
    backup.unlink(missing_ok=True)
    swap.unlink()


def vim_copy(path: Path, data: bytes) -> None:
    """`backupcopy=yes`: a copy beside it, the file written in place, the copy removed."""
    backup = path.with_name(path.name + "~")
    if path.exists():
        backup.write_bytes(path.read_bytes())
    _write_synced(path, data)
    backup.unlink(missing_ok=True)


def emacs(path: Path, data: bytes) -> None:
    """A lock that is a dangling link; the first save of a session renames the old file to `~` and leaves it."""
    lock = path.with_name(f".#{path.name}")
    lock.unlink(missing_ok=True)
    lock.symlink_to("ann@example.4242:1700000000")
    if path.exists():
        path.rename(path.with_name(path.name + "~"))
    _write_synced(path, data)
    lock.unlink()


def jetbrains(path: Path, data: bytes) -> None:
    """Safe write: new beside it, old aside, new in, old removed."""
    new, old = path.with_name(path.name + "___jb_tmp___"), path.with_name(path.name + "___jb_old___")
    new.write_bytes(data)
    if path.exists():
        path.rename(old)
    new.rename(path)
    old.unlink(missing_ok=True)


def replaced(path: Path, data: bytes) -> None:
    """GNOME, KDE, `sed -i`, every careful script: a temporary renamed over the file."""
    new = path.with_name(f".goutputstream-{path.name}")
    _write_synced(new, data)
    new.replace(path)


def linked(path: Path, data: bytes) -> None:
    """A second name as backup, then a temporary renamed over the first."""
    backup, new = path.with_name(path.name + ".bak"), path.with_name(path.name + ".new")
    if path.exists():
        backup.hardlink_to(path)
    new.write_bytes(data)
    new.replace(path)
    backup.unlink(missing_ok=True)


def checked_out(path: Path, data: bytes) -> None:
    """git: the old file unlinked, the new one made under its name."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


WHOLE: dict[str, Save] = {
    "in_place": in_place,
    "in_pieces": in_pieces,
    "over_pages": over_pages,
    "by_mapping": by_mapping,
    "vim": vim,
    "vim_copy": vim_copy,
    "emacs": emacs,
    "jetbrains": jetbrains,
    "replaced": replaced,
    "linked": linked,
    "checked_out": checked_out,
}
"""Of these nobody may ever take a part for the whole."""
KEEPS_BACKUP = {"emacs"}
