"""How the cloud's log looks: one JSON document a line, or plain text for a person at a terminal.

A line holds what its place in the code gave it, never a whole header, query, body or address. What is not ours to word is put right
here: in what libraries say, and in the trace of an unforeseen failure, whatever looks like a token is struck out; and of a request
that aiohttp could not read only that much is told.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

LEVELS: Final = ("debug", "info", "warning", "error")
_KNOWN: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_SECRET: Final = re.compile(r"[A-Za-z0-9+=_-]{32,}")
"""A token, a key, a digest: no word of code is so long and means nothing to a reader when it is gone."""
_PLACE: Final = re.compile(r'^  File ".*", line \d+, in .*$')


def set_up_log(level: str, stream: TextIO | None = None) -> None:
    """All loggers of this process to stderr, or to `stream`."""
    stream = stream or sys.stderr
    written = logging.StreamHandler(stream)
    written.setFormatter(PlainLines() if stream.isatty() else JsonLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(written)
    root.setLevel(level.upper())
    # Nobody reads them, and each costs every line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class JsonLines(logging.Formatter):
    """`at`, `level`, `logger`, `message`, what the place in the code added, and the trace of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "logger": record.name, "message": _said(record), **_added(record),
        }  # fmt: skip
        if record.exc_info:
            line["trace"] = _trace(self, record)
        return msgspec.json.encode(line, enc_hook=str).decode()


class PlainLines(logging.Formatter):
    """The same for people: `time LEVEL logger message name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a trace."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        words = [at, record.levelname, record.name, _shown(_said(record))]
        words += [f"{name}={_shown(str(value))}" for name, value in _added(record).items()]
        return " ".join(words) + (f"\n{_trace(self, record)}" if record.exc_info else "")


def without_quotes(record: logging.LogRecord) -> bool:
    """Keeps a line of aiohttp's about a request, without the piece of the request that its exception quotes."""
    if record.exc_info and isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        record.msg, record.args = "a request could not be read", ()
        record.reason = type(record.exc_info[1]).__name__
        record.exc_info, record.exc_text = None, None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


logging.getLogger("aiohttp.server").addFilter(without_quotes)  # wherever a cloud is served, whoever set up the log


def _said(record: logging.LogRecord) -> str:
    """A library may quote what failed, an exception or a task with all it holds."""
    text = record.getMessage()
    return text if record.name.startswith("fastest") else _SECRET.sub("...", text)


def _added(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _KNOWN}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Where it was, whole; what it said, without what may be a secret."""
    lines = formatter.formatException(record.exc_info).splitlines() if isinstance(record.exc_info, tuple) else []
    return "\n".join(line if _PLACE.match(line) else _SECRET.sub("...", line) for line in lines)


def _shown(text: str) -> str:
    """A terminal must not be told what to do by what somebody sent."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
