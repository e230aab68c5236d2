"""The one unfinished apply of a replica.

J1: it is written before the first user file changes. It names roots, not steps: the plan is always computed again (A1), and the
paths that may be torn after a power cut are the difference between `from_root` and `to_root`.

Which of its files are in the folder already is in its trail. Without that, a path that is absent after a kill may not have come yet,
or may have come and been removed by a person: the first has to come, the second must not come back.

Beside it stand the folders in which a plan, of a pull or of a verb, works though they are not carried yet: after a crash its
temporaries are looked for there, whatever the rules say by then.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.errors import FastestError
from store.manifest import entry_of, record_of
from store.manifest.entry import EntryRecord
from store.types import UNREADABLE, Digest, Entry, File, Link, RelPath

KEPT_BYTES: Final = 16 * 1024
"""Of a trail that has ended."""

JOURNAL: Final = Component(
    "journal",
    (
        Migration(
            1,
            """
            CREATE TABLE journal (
                replica_id TEXT PRIMARY KEY REFERENCES replicas (id) ON DELETE CASCADE, from_root BLOB NOT NULL, to_root BLOB NOT NULL,
                boot_id TEXT NOT NULL, started_ms INTEGER NOT NULL
            ) WITHOUT ROWID;
            """,
        ),
        Migration(
            2,
            """
            CREATE TABLE sites (
                replica_id TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE, folder BLOB NOT NULL, PRIMARY KEY (replica_id, folder)
            ) WITHOUT ROWID;
            """,
        ),
    ),
)


class Pending(msgspec.Struct, frozen=True):
    """An apply that began: from which shared root to which, in which boot of the system."""

    from_root: Digest
    to_root: Digest
    boot_id: str
    started_ms: int


def begin(tx: Tx, replica_id: str, pending: Pending) -> None:
    """Write it down before anything is touched."""
    tx.execute(
        "INSERT INTO journal (replica_id, from_root, to_root, boot_id, started_ms) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (replica_id) DO UPDATE SET from_root = excluded.from_root, to_root = excluded.to_root,"
        " boot_id = excluded.boot_id, started_ms = excluded.started_ms",
        (replica_id, pending.from_root, pending.to_root, pending.boot_id, pending.started_ms),
    )


def pending(reader: Reader, replica_id: str) -> Pending | None:
    """The apply that was not finished, if any."""
    row = reader.one("SELECT from_root, to_root, boot_id, started_ms FROM journal WHERE replica_id = $1", (replica_id,))
    return None if row is None else Pending(*row)


def finish(tx: Tx, replica_id: str) -> None:
    """Everything is on disk, or nothing is left to do."""
    tx.execute("DELETE FROM journal WHERE replica_id = $1", (replica_id,))


def note_sites(tx: Tx, replica_id: str, folders: Iterable[RelPath]) -> None:
    """Write down where a plan is to work and nothing is carried yet, before anything is touched."""
    tx.execute_many(
        "INSERT INTO sites (replica_id, folder) VALUES ($1, $2) ON CONFLICT DO NOTHING", [(replica_id, folder) for folder in folders]
    )


def list_sites(reader: Reader, replica_id: str) -> list[RelPath]:
    """Folders in which a plan that did not end may have left temporaries."""
    rows = reader.execute("SELECT folder FROM sites WHERE replica_id = $1 ORDER BY folder", (replica_id,))
    return [RelPath(folder) for (folder,) in rows]


def forget_sites(tx: Tx, replica_id: str) -> None:
    """The plan has ended, or what it left is removed."""
    tx.execute("DELETE FROM sites WHERE replica_id = $1", (replica_id,))


class Trail:
    """A file beside the database: which apply it belongs to, then a line for each file and link that was placed.

    It is not synced: a kill leaves it whole, and after a power cut it is not believed. Nothing depends on its being there. The apply is
    known by its end and its beginning in time: where it starts from moves on while it is pending. The file stays between applies, and is
    emptied only when it is long: to make, empty or remove one each time costs as much as all else that is done for a small file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        self._has_ended = False

    def begin(self, started: Pending, placed: Mapping[RelPath, Entry | None]) -> None:
        """An apply, with what one before it placed and no agreement knows of. At once, for a kill may come in between."""
        self._write([b"", _head_of(started), *_notes(placed)])

    def note(self, placed: Mapping[RelPath, Entry | None]) -> None:
        """These are in the folder now; None: it is there no more."""
        if notes := _notes(placed):
            self._write(notes)

    def resume(self, started: Pending) -> dict[RelPath, Entry | None]:
        """What was placed by this very apply, as far as the file can be read; more is noted behind it."""
        placed: dict[RelPath, Entry | None] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except OSError:
            return placed
        is_ours = False
        for line in lines:
            if line.startswith(b"{"):
                try:
                    path, entry = entry_of(msgspec.json.decode(line, type=EntryRecord))
                except (*UNREADABLE, FastestError):
                    is_ours = False
                if is_ours:
                    placed[RelPath(path)] = entry
            elif line:
                is_ours = line == _head_of(started)
                placed = placed if is_ours else {}
        return placed

    def end(self) -> None:
        """Agreed knows all of it."""
        if self._has_ended:
            return
        self._write([b"", b"-"])
        self._has_ended = True
        with contextlib.suppress(OSError), self._opened() as file:
            self._file = None
            if file.tell() > KEPT_BYTES:
                file.truncate(0)

    def _write(self, lines: list[bytes]) -> None:
        self._has_ended = False
        with contextlib.suppress(OSError):  # a full disk: then what is removed after a kill comes back, as it would without a trail
            self._opened().write(b"\n".join(lines) + b"\n")

    def _opened(self) -> io.FileIO:
        if self._file is None:
            self._file = io.FileIO(self._path, "a")
        return self._file


def _head_of(started: Pending) -> bytes:
    return b"%s %d" % (started.to_root.hex().encode(), started.started_ms)


def _notes(placed: Mapping[RelPath, Entry | None]) -> list[bytes]:
    noted = ((path, entry) for path, entry in placed.items() if entry is None or isinstance(entry, File | Link))
    return [msgspec.json.encode(record_of(path, entry)) for path, entry in noted]
