"""The cloud's database: what every engine offers, and the one SQL text that all of them run.

Theory. A work is a coroutine over a transaction. On PostgreSQL it waits for the server between its statements; on the embedded SQLite
a statement is done when it returns, so the same coroutine runs to its end without ever waiting, in the writer's thread (`drive`).
SQL is what both databases read: parameters `$1, $2, ...` first used in ascending order, `ON CONFLICT`, and `SELECT value FROM carray($1)`
for many keys at once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
Params = Sequence[object]


class Reader(Protocol):
    """Reads what is committed. All raise Busy, NoSpace, Unwritable, Conflicting, StoreDamaged."""

    async def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of one statement."""
        ...

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        ...

    def keys(self, values: Iterable[bytes]) -> object:
        """A parameter that SQL reads as a table, `SELECT value FROM carray($1)`; for thousands of keys in one statement."""
        ...


class Tx(Reader, Protocol):
    """Reads and writes in one transaction; valid only while the work runs."""

    UNLOCKED: ClassVar[str]
    """At the end of a `SELECT`: only rows that no other transaction is changing right now."""

    async def run(self, sql: str, params: Params = ()) -> int:
        """Run one statement that gives no rows; how many rows it changed."""
        ...

    async def run_many(self, sql: str, rows: Iterable[Params]) -> None:
        """Run one statement for each of `rows`."""
        ...


Work = Callable[[Tx], Coroutine[Any, Any, T]]
Reading = Callable[[Reader], Coroutine[Any, Any, T]]


class Load(NamedTuple):
    """How busy a database is: connections in use, or works that wait or are written; and how many there may be."""

    at_work: int
    most: int


class Database(Protocol):
    """One engine, opened and migrated."""

    def read(self) -> Reader:
        """For a few rows at once."""
        ...

    async def reading(self, work: Reading[T]) -> T:
        """Run a work that reads much, without holding up anybody."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run a work in one transaction; durable on return, undone when it raises. A work may run twice: it touches nothing besides."""
        ...

    def load(self) -> Load:
        """Right now, for this process."""
        ...

    async def close(self) -> None:
        """Finish what was begun."""
        ...


KEYS_AT_ONCE: Final = 16_384


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("a work on the embedded database waited for something else")
