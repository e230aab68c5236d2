"""UTC milliseconds and the ISO text that stands for them in rows: one spelling, so that text sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from store.errors import InvalidValue

MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(ms: int) -> str:
    """`2026-11-22T09:30:00.123Z`. Raises InvalidValue outside the years 1970 to 9999."""
    if not 0 <= ms <= MAX_MS:
        raise InvalidValue(f"not a time in milliseconds: {ms}")
    return (_START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:23] + "Z"


def ms_of(text: str) -> int:
    """The inverse of `text_of`."""
    return (datetime.fromisoformat(text) - _START) // timedelta(milliseconds=1)
