"""One connection to SQLite: how it is opened, how rows are read from it, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NewType

import apsw

from store.errors import Busy, Conflicting, NoSpace, StoreDamaged, Unwritable

Row = tuple[Any, ...]
Array = NewType("Array", object)
"""Made by `array_of`."""
Params = Sequence[int | float | bytes | str | Array | None]

BUSY_MS: Final = 5_000
HINT: Final = "`fst fsck --repair` builds it anew; no folder is touched."
"""The next step where the database is damaged."""
WAL_LIMIT_BYTES: Final = 16 * 1024 * 1024


class Reader:
    """A read connection of one thread. SQL parameters are `$1, $2, ...`, first used in ascending order."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Params = ()) -> Iterator[Row]:
        """Run one statement; rows come as they are iterated. Raises Busy, NoSpace, Unwritable, Conflicting, StoreDamaged."""
        bindings: Any = params
        try:
            return _rows(self._connection.execute(sql, bindings))
        except apsw.Error as error:
            raise translated(error) from error

    def execute_many(self, sql: str, rows: Iterable[Params]) -> Iterator[Row]:
        """Run one statement for each of `rows`; results come in order, as they are iterated."""
        bindings: Any = rows
        try:
            return _rows(self._connection.executemany(sql, bindings))
        except apsw.Error as error:
            raise translated(error) from error

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        bindings: Any = params
        try:
            return next(self._connection.execute(sql, bindings), None)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise translated(error) from error

    def close(self) -> None:
        """Let the connection go; called by `Database.close`."""
        self._connection.close(True)


def _rows(cursor: apsw.Cursor) -> Iterator[Row]:
    try:
        yield from cursor
    except (apsw.Error, UnicodeDecodeError) as error:
        raise translated(error) from error


def damaged(text: str) -> StoreDamaged:
    """The database is not what was written."""
    return StoreDamaged(f"the store's database cannot be read: {text}", HINT)


def translated(error: apsw.Error | UnicodeDecodeError) -> Exception:
    """The error as ours where the world is at fault; wrong SQL is our own mistake and stays what it is."""
    text = str(error)
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return Busy(f"the store is locked: {text}", "Is another daemon running on this folder?")
        case apsw.FullError():
            return NoSpace(f"no room for the store: {text}", "Free some space; the work goes on by itself.")
        case apsw.CorruptError() | apsw.NotADBError() | UnicodeDecodeError():
            return damaged(text)
        case apsw.ReadOnlyError() | apsw.IOError() | apsw.CantOpenError() | apsw.PermissionsError():
            return Unwritable(f"the store's database cannot be opened or written: {text}")
        case apsw.ConstraintError():
            return Conflicting(f"it exists already, or names what does not: {text}")
    return error


def create_private(path: Path) -> None:
    """An empty file only its owner may read; SQLite gives its log the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise Unwritable(f"cannot create the store {path}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """A new, renamed or removed name in `folder` reaches the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect(path: Path, flags: int, cache_kib: int) -> apsw.Connection:
    """A connection whose settings were read back: SQLite ignores what it does not like without a word."""
    connection = apsw.Connection(str(path), flags=flags)
    # Else SQLite parses a statement anew for each value bound, wherever a partial index might fit: three times the cost.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    settings: dict[str, int | str] = {"busy_timeout": BUSY_MS, "cache_size": -cache_kib, "foreign_keys": 1}
    if flags & apsw.SQLITE_OPEN_READWRITE:
        settings |= {"journal_mode": "wal", "synchronous": 2, "journal_size_limit": WAL_LIMIT_BYTES}
    for name, value in settings.items():
        connection.pragma(name, value)
        if connection.pragma(name) != value:
            connection.close(True)
            raise Unwritable(f"SQLite does not accept {name} = {value} for {path}")
    return connection
