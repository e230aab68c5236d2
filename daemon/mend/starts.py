"""Starts and ends: the lock that keeps the daemon single, whether the one before ended well, and what to do when it keeps crashing.

A crash is an end that was our own doing: an exception nobody caught, or a fatal signal in native code, whose trace the system writes
for us. Being killed is no crash: who kills a daemon ten times a minute still wants his files in step.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from store.errors import AlreadyRunning, CrashLoop, FastestError

FAST_SECONDS: Final = 60.0
"""A daemon that lives longer did not crash because it started."""
CRASHES: Final = 3
LOCK_FILE: Final = "daemon.lock"
FATAL_FILE: Final = "fatal.log"
CRASHES_FILE: Final = "crashes"


@contextmanager
def hold_lock(state: Path) -> Iterator[bool]:
    """A lock on an open file: it goes with the process, however that ends. True: whoever held it last did not end well."""
    handle = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "another process"
            raise AlreadyRunning(f"a daemon runs already (process {holder})", "`fst status` shows it, `fst down` stops it.") from None
        left = os.fstat(handle).st_size > 0
        _count_fatal(state, os.fstat(handle).st_mtime)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield left
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


class Crashes:
    """How often in a row the daemon crashed soon after its start."""

    def __init__(self, state: Path) -> None:
        self._file = state / CRASHES_FILE
        self._began = time.monotonic()

    @property
    def loop(self) -> CrashLoop | None:
        """Why nothing is to be synced now: it would only crash again."""
        if not self._file.exists() or self._file.stat().st_size < CRASHES:
            return None
        return CrashLoop(
            f"the daemon crashed {CRASHES} times right after its start: it only answers, and leaves every folder alone",
            "Look at the log with `fst doctor`, then go on with `fst sync`.",
        )

    @contextmanager
    def watch(self, state: Path) -> Iterator[None]:
        """Count what ends by itself; forget all of it when a run lived long enough or ended well."""
        with (state / FATAL_FILE).open("wb") as fatal:
            faulthandler.enable(fatal)
            try:
                yield
            except FastestError:
                raise  # it says itself what is wrong
            except Exception:
                if time.monotonic() - self._began < FAST_SECONDS:
                    _count(self._file)
                raise
            finally:
                faulthandler.disable()
        self.forget()

    def forget(self) -> None:
        """It lives."""
        self._file.unlink(missing_ok=True)


def _count_fatal(state: Path, began: float) -> None:
    """The trace of a fatal signal, if the run before left one."""
    fatal = state / FATAL_FILE
    if fatal.exists() and fatal.stat().st_size and fatal.stat().st_mtime - began < FAST_SECONDS:
        _count(state / CRASHES_FILE)


def _count(file: Path) -> None:
    with file.open("ab") as counted:
        counted.write(b"+")
