"""The one door to SQLite: open, migrate, read, and write in grouped transactions.

One writer thread takes queued works and runs many of them in one transaction, each under its own savepoint: a failed work undoes
only itself, and one fsync serves all. A future resolves only after COMMIT with `synchronous=FULL`, so what it acknowledges is
durable. A work that is waited for while nothing else is runs at once in the caller's thread: two switches of threads less. Readers
are connections of their own, one a thread, and never wait for the writer (WAL).
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from store.database.connection import BUSY_MS, HINT, Array, Params, Reader, Row, connect, create_private, translated
from store.database.schema import Component, Migration, check_pages, copy_pages, drop_copy, migrate, refuse_newer
from store.errors import FastestError, Unwritable

__all__ = [
    "HINT", "Array", "Component", "Database", "Migration", "Params", "Reader", "Row", "Tx",
    "array_of", "copy_file", "drop_copy", "peek", "refuse_newer",
]  # fmt: skip

T = TypeVar("T")

WRITER_CACHE_KIB: Final = 8_192
READER_CACHE_KIB: Final = 1_024
BATCH_WORKS: Final = 256
"""Works in one transaction at most."""
QUEUE_WORKS: Final = 4_096
"""Works waiting at most; `write` blocks beyond."""


def array_of(values: Iterable[bytes]) -> Array | None:
    """A parameter that SQL reads as a table: `SELECT value FROM carray($1)`; for thousands of keys in one statement."""
    items = tuple(values)
    return Array(apsw.carray(items, flags=apsw.SQLITE_CARRAY_BLOB)) if items else None


def peek(path: Path) -> Reader:
    """A reader of a file as it lies there, whatever its state. Raises StoreDamaged, Unwritable."""
    try:
        return Reader(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY))
    except apsw.Error as error:
        raise translated(error) from error


def copy_file(path: Path, target: Path) -> None:
    """One state of a database that others may be writing to, as the new file `target`. Raises StoreDamaged, Unwritable, NoSpace, Busy."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)  # its log may have to be read, and that takes a lock
        try:
            connection.set_busy_timeout(BUSY_MS)
            copy_pages(connection, target)
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise translated(error) from error


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
    def open(cls, path: Path, components: Sequence[Component], *, threaded: bool = True, doubted: bool = False) -> Database:
        """Open or create, then migrate all components. `threaded=False` runs each write at once in the calling thread.

        `doubted`: look at every page first, for whoever had it open did not end well. Raises NewerStore for a file that a newer
        Fastest has written, StoreDamaged, Unwritable, Busy.
        """
        try:
            create_private(path)
            connection = connect(path, apsw.SQLITE_OPEN_READWRITE, WRITER_CACHE_KIB)
            try:
                if doubted:
                    check_pages(connection)
                migrate(path, connection, components)
            except BaseException:
                connection.close(True)
                raise
        except apsw.Error as error:
            raise translated(error) from error
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
                    reader = Reader(connect(self.path, apsw.SQLITE_OPEN_READONLY, READER_CACHE_KIB))
                except apsw.Error as error:
                    raise translated(error) from error
                self._local.reader = reader
                self._readers.add(reader)
        return reader

    @property
    def unfinished(self) -> int:
        """Works that were accepted and have no outcome yet, QUEUE_WORKS at most."""
        return self._unfinished

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
            raise translated(error) from error

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
