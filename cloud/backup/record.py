"""What makes a folder a backup: `backup.json`, written last, with the length and SHA-256 of every file beside it.

A folder without it is what a backup left that did not come to its end (`unfinished` says so to whoever looks), and is never restored.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from store.blobs.segments import sync_folder, translate_errors
from store.errors import Conflicting, Refused, StoreDamaged
from store.types import UNREADABLE

NAME: Final = "backup.json"
UNFINISHED: Final = "unfinished"
FORMAT: Final = 1
PIECE_BYTES: Final = 1024 * 1024
_PATH: Final = re.compile(r"([a-z]+/)?[a-z0-9_]+(\.[a-z]+)?\Z")


class Part(msgspec.Struct, frozen=True):
    """One file: its path below the backup, bytes, and SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`versions`: how far the tables had come. `columns`: of each table, where tables lie as files. `frames`: objects of the bucket.

    `problems`: what `fst cloud fsck` would have said of the state that was copied; more than none means that the cloud was damaged.
    """

    format: int = FORMAT
    engine: Literal["embedded", "postgresql"]
    made_at: str
    epoch: str
    sealing_key: str
    versions: dict[str, int]
    files: list[Part]
    columns: dict[str, list[str]] = {}
    frames: int = 0
    problems: int = 0


def begin(folder: Path) -> None:
    """An empty folder that says what it is. Raises Conflicting when there is something in it, Unwritable, NoSpace."""
    with translate_errors(f"write to {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        if UNFINISHED in found and NAME not in found:
            raise Conflicting(f"in {folder} lies a backup that did not come to its end", "Remove it, or give another folder.")
        if found:
            raise Conflicting(f"{folder} is not empty", "Each backup has a folder of its own.")
        (folder / UNFINISHED).write_text("This backup did not come to its end. It cannot be restored.\n")
        sync_folder(folder)


def finish(folder: Path, record: Record) -> None:
    """From here on it is a backup; durable on return."""
    with translate_errors(f"write to {folder}"):
        fresh = folder / (NAME + ".new")
        write_durably(fresh, msgspec.json.format(msgspec.json.encode(record), indent=1))
        for path, _, _ in os.walk(folder):
            sync_folder(Path(path))
        (folder / UNFINISHED).unlink()
        fresh.replace(folder / NAME)
        sync_folder(folder)
        sync_folder(folder.parent)


def read(folder: Path) -> Record:
    """Raises Refused for what is no finished backup, or one of a newer Fastest."""
    try:
        data = (folder / NAME).read_bytes()
    except OSError as error:
        hint = f"It did not come to its end: it has no {NAME}." if (folder / UNFINISHED).exists() else f"A backup has a {NAME}."
        raise Refused(f"{folder} is no finished backup", hint) from error
    try:
        if msgspec.json.decode(data, type=dict[str, object]).get("format") != FORMAT:
            raise Refused(f"{folder} is a backup of another format than {FORMAT}", "Use the Fastest that made it, or a newer one.")
        record = msgspec.json.decode(data, type=Record)
    except UNREADABLE as error:
        raise Refused(f"{folder / NAME} cannot be read") from error
    if not all(_PATH.match(part.path) for part in record.files):
        raise Refused(f"{folder / NAME} names what is in no backup")
    return record


def check(folder: Path, record: Record) -> list[str]:
    """A sentence for each file that is not as it was written."""
    found = []
    for part in record.files:
        try:
            with (folder / part.path).open("rb") as file:
                told = _copy(file, None, None)
        except OSError as error:
            found.append(f"{part.path}: {error.strerror}")
            continue
        if told != (part.size, part.sha256):
            found.append(f"{part.path}: it is not as it was written")
    return found


def put_back(folder: Path, part: Part, target: Path) -> None:
    """One file to its place. Raises StoreDamaged when it is not as it was written."""
    try:
        done = copy_part(folder / part.path, target, part.path)
    except FileNotFoundError:
        done = None
    if done != part:
        raise StoreDamaged(f"{folder / part.path} is not as it was written", "Restore another backup.")


def copy_part(source: Path, target: Path, path: str, size: int | None = None) -> Part:
    """A file's first `size` bytes, or all of it, as a new file; durable on return.

    Raises FileNotFoundError, NoSpace, Unwritable.
    """
    with translate_errors(f"copy {source} to {target}"), source.open("rb") as file, _fresh(target) as out:
        done = _copy(file, out.write, size)
        out.flush()
        os.fsync(out.fileno())
    return Part(path, *done)


def part_of(file: Path, path: str) -> Part:
    """Of a file that lies in its place already."""
    with translate_errors(f"read {file}"), file.open("rb") as opened:
        return Part(path, *_copy(opened, None, None))


def write_durably(path: Path, data: bytes) -> None:
    """A new file for its owner alone; on disk on return."""
    with _fresh(path) as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _fresh(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _copy(file: BinaryIO, write: Callable[[bytes], object] | None, size: int | None) -> tuple[int, str]:
    """How many bytes, and their SHA-256."""
    hashed, done = hashlib.sha256(), 0
    while piece := file.read(PIECE_BYTES if size is None else min(PIECE_BYTES, size - done)):
        hashed.update(piece)
        done += len(piece)
        if write is not None:
            write(piece)
    return done, hashed.hexdigest()
