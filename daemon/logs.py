"""Where the daemon's log goes: JSON lines in a rotating file. Facts and ids, never contents, tokens or names of files."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 5 * 1024 * 1024
KEPT_FILES: Final = 3
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, logger, message, and every `extra` field."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logging(folder: Path) -> None:
    """Every `fastest.*` logger writes to `daemon.log` in this folder from now on."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(folder / "daemon.log", maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("fastest")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
