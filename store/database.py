"""The one door to SQLite: open, migrate, read, and write in grouped transactions.

One writer thread takes queued works and runs many of them in one transaction, each under its own savepoint: a failed work undoes
only itself, and one fsync serves all. A future resolves only after COMMIT with `synchronous=FULL`, so what it acknowledges is
durable. A work that is waited for while nothing else is runs at once in the caller's thread: two switches of threads less. Readers
are connections of their own, one a thread, and never wait for the writer (WAL).
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple, NewType, TypeVar

import apsw

from store.errors import Busy, Conflicting, FastestError, NewerStore, NoSpace, StoreDamaged, Unwritable

T = TypeVar("T")
Row = tuple[Any, ...]
Array = NewType("Array", object)
"""Made by `array_of`."""
Params = Sequence[int | float | bytes | str | Array | None]

BUSY_MS: Final = 5_000
WRITER_CACHE_KIB: Final = 8_192
READER_CACHE_KIB: Final = 1_024
WAL_LIMIT_BYTES: Final = 16 * 1024 * 1024
BATCH_WORKS: Final = 256
"""Works in one transaction at most."""
QUEUE_WORKS: Final = 4_096
"""Works waiting at most; `write` blocks beyond."""

_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"


def array_of(values: Iterable[bytes]) -> Array | None:
    """A parameter that SQL reads as a table: `SELECT value FROM carray($1)`; for thousands of keys in one statement."""
    items = tuple(values)
    return Array(apsw.carray(items, flags=apsw.SQLITE_CARRAY_BLOB)) if items else None


class Migration(NamedTuple):
    """One step of a component's schema; a component's numbers are consecutive from 1."""

    number: int
    sql: str


class Component(NamedTuple):
    """A set of tables with one owner and one history of migrations."""

    name: str
    migrations: tuple[Migration, ...]


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
            raise _translated(error) from error

    def execute_many(self, sql: str, rows: Iterable[Params]) -> Iterator[Row]:
        """Run one statement for each of `rows`; results come in order, as they are iterated."""
        bindings: Any = rows
        try:
            return _rows(self._connection.executemany(sql, bindings))
        except apsw.Error as error:
            raise _translated(error) from error

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        bindings: Any = params
        try:
            return next(self._connection.execute(sql, bindings), None)
        except apsw.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        """Let the connection go; called by `Database.close`."""
        self._connection.close(True)


class Tx(Reader):
    """The write connection inside a transaction; valid only while the work runs."""

    def changes(self) -> int:
        """Rows changed by the last statement."""
        return self._connection.changes()


class _Job(NamedTuple):
    work: Callable[[Tx], Any]
    future: Future[Any]


class Database:
    """A SQLite file with one writer and any number of reading threads. Works must not write through the database again."""

    def __init__(self, path: Path, connection: apsw.Connection, threaded: bool) -> None:
        self.path = path
        self._connection = connection
        self._tx = Tx(connection)
        self._local = threading.local()
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._gate = threading.RLock()
        self._writing = threading.Lock()
        self._at_work = 0
        """The thread that runs works just now."""
        self._unfinished = 0
        """Works that were accepted and have no outcome yet; with `_closed` behind `_gate`."""
        self._closed = False
        self._room = threading.Semaphore(QUEUE_WORKS)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_queued, name=f"write {path.name}", daemon=True) if threaded else None
        if self._writer:
            self._writer.start()

    @classmethod
    def open(cls, path: Path, components: Sequence[Component], *, threaded: bool = True) -> Database:
        """Open or create, then migrate each component. `threaded=False` runs each write at once in the calling thread.

        Raises NewerStore for a file that a newer Fastest has written, StoreDamaged, Unwritable, Busy.
        """
        try:
            _create_private(path)
            connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, WRITER_CACHE_KIB)
            try:
                _migrate(path, connection, components)
            except BaseException:
                connection.close(True)
                raise
        except apsw.Error as error:
            raise _translated(error) from error
        return cls(path, connection, threaded)

    def write(self, work: Callable[[Tx], T]) -> Future[T]:
        """Queue `work`; the future resolves with what it returned once that is durable, or with what it raised."""
        if threading.get_ident() == self._at_work:
            raise AssertionError("a work must not write through the database: it would wait for itself")
        job = _Job(work, Future())
        self._room.acquire()
        with self._gate:
            self._refuse_closed()
            if self._writer:
                self._unfinished += 1
                self._queue.put(job)
            else:
                self._write_inline(job)
        return job.future

    def write_now(self, work: Callable[[Tx], T]) -> T:
        """`write`, waited for."""
        with self._gate:
            self._refuse_closed()
            if self._unfinished or self._writer is None:
                free = False
            else:
                free = self._writing.acquire(blocking=False)
                self._unfinished += free
        if not free:
            return self.write(work).result()
        job = _Job(work, Future())
        try:
            self._commit([job])
        finally:
            self._writing.release()
            self._finish(1)
        result: T = job.future.result()
        return result

    def read(self) -> Reader:
        """This thread's read connection; it sees what is committed when a statement starts."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            with self._gate:
                self._refuse_closed()
                try:
                    reader = Reader(_connect(self.path, apsw.SQLITE_OPEN_READONLY, READER_CACHE_KIB))
                except apsw.Error as error:
                    raise _translated(error) from error
                self._local.reader = reader
                self._readers.add(reader)
        return reader

    def release_memory(self) -> None:
        """Let the writer's cache go; it grows again with the next work."""
        self.write_now(lambda tx: list(tx.execute("PRAGMA shrink_memory")))

    def close(self) -> None:
        """Finish the queued works, then fold the log into the file. No thread may be reading any more."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        if self._writer:
            self._queue.put(None)
            self._writer.join()
        self._writing.acquire()  # whoever writes at once ends first
        try:
            for reader in list(self._readers):
                reader.close()
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.close(True)
        except apsw.Error as error:
            raise _translated(error) from error

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unwritable(f"the store {self.path.name} is closed")

    def _write_inline(self, job: _Job) -> None:
        self._room.release()
        self._commit([job])

    def _write_queued(self) -> None:
        job = self._queue.get()
        while job is not None:
            jobs = [job]
            while len(jobs) < BATCH_WORKS and not self._queue.empty() and (job := self._queue.get()) is not None:
                jobs.append(job)
            self._room.release(len(jobs))
            with self._writing:
                self._commit([each for each in jobs if each.future.set_running_or_notify_cancel()])
            self._finish(len(jobs))
            job = job and self._queue.get()

    def _finish(self, works: int) -> None:
        with self._gate:
            self._unfinished -= works

    def _commit(self, jobs: list[_Job]) -> None:
        """All jobs in one transaction. Either each has its own outcome, or, when the transaction itself fails, all have that error."""
        results: list[tuple[Future[Any], Any]] = []
        self._at_work = threading.get_ident()
        try:
            self._tx.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._run(job, results)
            self._tx.execute("COMMIT")
        except FastestError as error:
            if self._connection.in_transaction:
                self._tx.execute("ROLLBACK")
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(error)
            return
        finally:
            self._at_work = 0
        for future, result in results:
            future.set_result(result)

    def _run(self, job: _Job, results: list[tuple[Future[Any], Any]]) -> None:
        """One job under a savepoint. Raises FastestError when the whole transaction is gone."""
        self._tx.execute("SAVEPOINT work")
        try:
            results.append((job.future, job.work(self._tx)))
        except BaseException as error:  # whatever it is belongs to whoever waits for the future, not to this thread
            if not self._connection.in_transaction:
                # SQLite undoes everything itself when the disk is full or broken: the works before this one are gone too.
                raise error if isinstance(error, FastestError) else Unwritable(f"a transaction was lost: {error}") from error
            self._tx.execute("ROLLBACK TO work")
            self._tx.execute("RELEASE work")
            job.future.set_exception(error)
        else:
            self._tx.execute("RELEASE work")


def _rows(cursor: apsw.Cursor) -> Iterator[Row]:
    try:
        yield from cursor
    except apsw.Error as error:
        raise _translated(error) from error


def _translated(error: apsw.Error) -> Exception:
    """The error as ours where the world is at fault; wrong SQL is our own mistake and stays what it is."""
    text = str(error)
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return Busy(f"the store is locked: {text}", "Is another daemon running on this folder?")
        case apsw.FullError():
            return NoSpace(f"no room for the store: {text}", "Free some space; the work goes on by itself.")
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreDamaged(f"the store's database cannot be read: {text}", "Run `fst fsck`.")
        case apsw.ReadOnlyError() | apsw.IOError() | apsw.CantOpenError() | apsw.PermissionsError():
            return Unwritable(f"the store's database cannot be opened or written: {text}")
        case apsw.ConstraintError():
            return Conflicting(f"it exists already, or names what does not: {text}")
    return error


def _create_private(path: Path) -> None:
    """An empty file only its owner may read; SQLite gives its log the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        return
    except OSError as error:
        raise Unwritable(f"cannot create the store {path}: {error.strerror}") from error


def _connect(path: Path, flags: int, cache_kib: int) -> apsw.Connection:
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


def _migrate(path: Path, connection: apsw.Connection, components: Sequence[Component]) -> None:
    connection.execute(_VERSIONS)
    found: dict[str, int] = dict(connection.execute("SELECT component, version FROM schema_versions"))
    known = {component.name: len(component.migrations) for component in components}
    for name, version in found.items():
        # Tables of an owner we do not know may hold references we would not see: as newer as a higher number.
        if version > known.get(name, 0):
            raise NewerStore(
                f"{path.name} was written by a newer Fastest: its {name} are at {version}, this one knows {known.get(name, 0)}",
                "Update Fastest; nothing was changed.",
            )
    pending = [component for component in components if found.get(component.name, 0) < known[component.name]]
    if any(component.name in found for component in pending):
        _copy(path, connection)
    for component in pending:
        _upgrade(connection, component, found.get(component.name, 0))


def _upgrade(connection: apsw.Connection, component: Component, version: int) -> None:
    if [migration.number for migration in component.migrations] != list(range(1, len(component.migrations) + 1)):
        raise AssertionError(f"the migrations of {component.name} are not numbered from 1")
    with connection:
        for migration in component.migrations[version:]:
            connection.execute(migration.sql).fetchall()
        connection.execute(
            "INSERT INTO schema_versions VALUES ($1, $2) ON CONFLICT(component) DO UPDATE SET version = excluded.version",
            (component.name, len(component.migrations)),
        )


def _copy(path: Path, connection: apsw.Connection) -> None:
    """`<name>.before-upgrade`: the file as it was, whole or not there."""
    unfinished = path.with_name(path.name + ".copying")
    unfinished.unlink(missing_ok=True)
    _create_private(unfinished)
    target = apsw.Connection(str(unfinished))
    with target.backup("main", connection, "main") as backup:
        backup.step()
    target.close()
    unfinished.replace(path.with_name(path.name + ".before-upgrade"))
