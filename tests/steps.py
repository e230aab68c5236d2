"""A bound on work that no clock is needed for: how many lines of the core run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CORE = str(Path(__file__).resolve().parents[1] / "sync/core")


@contextmanager
def few_steps(most: int) -> Iterator[None]:
    """Fails as soon as more than so many lines of `sync/core` were run inside, so that a loop without an end is a failed assertion."""
    steps = 0

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return count if frame.f_code.co_filename.startswith(CORE) else None

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal steps
        steps += 1
        assert steps <= most, f"more than {most} steps, now in {frame.f_code.co_qualname}"
        return count

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)
