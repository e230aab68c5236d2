"""How far a long work is: bars on a terminal, else a line each ten seconds; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TextIO

from daemon.cli.render.text import amount_text, phase_text, plain
from daemon.cli.session import Session
from daemon.client.exchange import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from daemon.client.exchange import Document

LINE_SECONDS: Final = 10.0
PHASE_WIDTH: Final = 21
BAR_WIDTH: Final = 20
"""With word, time and amount within 80 columns."""
BAR_AFTER_SECONDS: Final = 0.4
"""A work that is done sooner shows no bar (and never imports rich)."""


class Reporter(Protocol):
    """What shows progress."""

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """So far `done` of `total` in this phase; None: nobody knows yet."""
        ...

    def close(self) -> None:
        """The work is over."""
        ...


class Silent:
    """For `-q`."""

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A line each ten seconds: for logs and pipes."""

    def __init__(self, out: TextIO, steady: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._steady = steady
        self._next = steady() + LINE_SECONDS

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """A line, when the last one is ten seconds old."""
        if self._steady() >= self._next:
            self._next = self._steady() + LINE_SECONDS
            print(phase_text(phase, done, total, unit), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """One bar a phase, drawn by rich once the work takes long enough to be waited for."""

    def __init__(self, out: TextIO, steady: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._steady = steady
        self._start_at = steady() + BAR_AFTER_SECONDS
        self._bars: _RichBars | None = None

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Move the phase's bar."""
        if self._bars is None and self._steady() >= self._start_at:
            self._bars = _RichBars(self._out)
        if self._bars is not None:
            self._bars.move(phase, done, total, unit)

    def close(self) -> None:
        """Leave the screen clean."""
        if self._bars is not None:
            self._bars.stop()


class _RichBars:
    """The phase that goes on is the last line; above it the ones that are over, full."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        # One width for all phases, and the amount last, as it grows longer: nothing on the screen may jump to and fro.
        word = TextColumn("{task.description}", table_column=Column(min_width=PHASE_WIDTH, no_wrap=True))
        amount = TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True))
        columns = (word, BarColumn(BAR_WIDTH), TimeElapsedColumn(), amount)
        self._progress = Progress(*columns, console=Console(file=out), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._phase = ""
        self._progress.start()

    def move(self, phase: str, done: int, total: int | None, unit: str) -> None:
        amount = amount_text(done, total, unit)
        if phase == self._phase:
            self._progress.update(self._tasks[phase], completed=done, total=total, amount=amount)
            return
        if self._phase:
            self._progress.update(self._tasks[self._phase], completed=1, total=1)
            self._progress.stop_task(self._tasks[self._phase])
        if phase in self._tasks:  # it comes again and moves down: there are never more lines than phases
            self._progress.remove_task(self._tasks[phase])
        self._tasks[phase] = self._progress.add_task(plain(phase), completed=done, total=total, amount=amount)
        self._phase = phase

    def stop(self) -> None:
        self._progress.stop()


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
                counted = int(moved.get("done") or 0), moved.get("total") or None, plain(moved.get("unit") or "")
                reporter.update(str(moved.get("phase", "working")), *counted)
    finally:
        reporter.close()
    return result
