"""How far a long work is: bars on a terminal, else a line each ten seconds; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TextIO

from daemon.cli.render.text import plain
from daemon.cli.session import Session
from daemon.client.exchange import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from daemon.client.exchange import Document

LINE_SECONDS: Final = 10.0
BAR_AFTER_SECONDS: Final = 0.4
"""A work that is done sooner shows no bar (and never imports rich)."""


class Reporter(Protocol):
    """What shows progress."""

    def update(self, phase: str, done: int, total: int | None) -> None:
        """So far `done` of `total` in this phase; None: nobody knows yet."""
        ...

    def close(self) -> None:
        """The work is over."""
        ...


class Silent:
    """For `-q`."""

    def update(self, phase: str, done: int, total: int | None) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A line each ten seconds: for logs and pipes."""

    def __init__(self, out: TextIO, steady: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._steady = steady
        self._next = steady() + LINE_SECONDS

    def update(self, phase: str, done: int, total: int | None) -> None:
        """A line, when the last one is ten seconds old."""
        if self._steady() >= self._next:
            self._next = self._steady() + LINE_SECONDS
            print(line_of(phase, done, total), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """One bar a phase, drawn by rich once the work takes long enough to be waited for."""

    def __init__(self, out: TextIO, steady: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._steady = steady
        self._start_at = steady() + BAR_AFTER_SECONDS
        self._bars: _RichBars | None = None

    def update(self, phase: str, done: int, total: int | None) -> None:
        """Move the phase's bar."""
        if self._bars is None and self._steady() >= self._start_at:
            self._bars = _RichBars(self._out)
        if self._bars is not None:
            self._bars.move(phase, done, total)

    def close(self) -> None:
        """Leave the screen clean."""
        if self._bars is not None:
            self._bars.stop()


class _RichBars:
    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(file=out), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def move(self, phase: str, done: int, total: int | None) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(plain(phase), total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)

    def stop(self) -> None:
        self._progress.stop()


def line_of(phase: str, done: int, total: int | None) -> str:
    """`upload: 1,200 of 4,000`."""
    amount = f" {done:,}" + (f" of {total:,}" if total else "") if done or total else ""
    return f"{plain(phase)}:{amount}" if amount else f"{plain(phase)} ..."


def reporter_for(session: Session) -> Reporter:
    """Bars on a terminal, lines elsewhere, nothing for `-q`."""
    if session.quiet:
        return Silent()
    on_terminal = sys.stderr.isatty() and session.env.get("TERM") != "dumb"
    return Bars(sys.stderr) if on_terminal else Lines(sys.stderr)


def follow(stream: Iterator[Document], reporter: Reporter) -> Document:
    """Show the progress lines of a long work until its result, and return that."""
    result: Document = {}
    try:
        for told in stream:
            if "result" in told:
                result = told["result"]
            elif moved := told.get("progress"):
                reporter.update(str(moved.get("phase", "working")), int(moved.get("done") or 0), moved.get("total") or None)
    finally:
        reporter.close()
    return result
