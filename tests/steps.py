"""A measure of work that no clock is needed for: how many lines of the core run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CORE = str(Path(__file__).resolve().parents[1] / "sync/core")


class Steps:
    """How many lines were run so far."""

    count = 0


@contextmanager
def few_steps(most: int) -> Iterator[Steps]:
    """Fails as soon as more than so many lines of `sync/core` were run inside, so that a loop without an end is a failed assertion."""
    steps = Steps()

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return count if frame.f_code.co_filename.startswith(CORE) else None

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            steps.count += 1
            assert steps.count <= most, f"more than {most} steps, now in {frame.f_code.co_qualname}"
        return count

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield steps
    finally:
        sys.settrace(before)
