"""One replica's watcher from the daemon's side: begin, hear, ask for what is still on its way, and notice when it died."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Final

from daemon.agenda import RESCAN_SECONDS, Agenda
from store.errors import AlreadyRunning
from store.types import show_path
from sync.ports import Clock
from sync.watch import Watcher

log = logging.getLogger(f"fastest.{__name__}")

BARRIER_SECONDS: Final = 2.0


class Lookout:
    """Used on the loop; what the watcher notices goes into the agenda, and `wake` is called."""

    def __init__(self, agenda: Agenda, clock: Clock, wake: Callable[[], None]) -> None:
        self._agenda = agenda
        self._clock = clock
        self._wake = wake
        self._watcher: Watcher | None = None
        self._again_at = 0.0
        self._claim: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """It watches, or polls because the system could not watch all of it."""
        return self._watcher is not None

    @property
    def has_died(self) -> bool:
        """It began to watch and hears nothing any more; or a limit kept it from it, which may have been raised since."""
        if self._watcher is None or not self._agenda.polling:
            return self._watcher is not None and not self._watcher.is_alive
        return bool(self._watcher.limit) and self._clock.steady() >= self._again_at

    @property
    def why_polling(self) -> str:
        """Why it polls, with the remedy where there is one; empty while all of it is watched."""
        return "" if self._watcher is None else self._watcher.limit or self._watcher.network

    def claim(self, root: bytes) -> None:
        """A folder has one daemon, whatever home that has (K4). Raises AlreadyRunning.

        The claim is a name that the system forgets with the process, and nothing in the folder: that would keep its disk from being
        unmounted.
        """
        if self._claim is not None or sys.platform != "linux":
            return
        try:
            seen = os.stat(root)  # noqa: PTH116 - roots are bytes
        except OSError:
            return  # whoever looks at it says so
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(b"\0fastest-root-%d-%d-%d" % (os.getuid(), seen.st_dev, seen.st_ino))
        except OSError:
            claim.close()
            raise AlreadyRunning(
                f"another daemon looks after {show_path(root)}", "Stop that one, or use its FASTEST_HOME: two would be in each other's way."
            ) from None
        self._claim = claim

    async def open(self, root: bytes) -> None:
        """Begin to watch, and have everything looked at: what came before was not heard. Raises Unwritable."""
        loop = asyncio.get_running_loop()
        watcher = Watcher(root, lambda: _call_on(loop, self._hear))
        self._agenda.polling = not await asyncio.to_thread(watcher.start)
        self._watcher, self._agenda.rescan, self._again_at = watcher, True, self._clock.steady() + RESCAN_SECONDS

    def close(self) -> None:
        """Stop watching, and let go of the folder."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def glance(self, has_root: bool, *, is_lost: bool) -> None:
        """No event tells that a root was replaced or unmounted (nor that one that `is_lost` is back), nor that the watcher died."""
        if self.has_died or has_root == is_lost:
            self.close()
            self._agenda.rescan = self._agenda.rushed = True

    async def catch_up(self) -> None:
        """Return once every file event that came before this call was heard."""
        if self._watcher is not None and not self._agenda.polling:
            await asyncio.to_thread(self._watcher.barrier, BARRIER_SECONDS)
            self._hear()

    def _hear(self) -> None:
        if self._watcher is None:
            return
        nudge = self._watcher.fetch()
        if nudge.spots:
            self._agenda.add_dirty(nudge.spots, self._clock.steady())
        if nudge.rescan:
            self._agenda.polling = bool(self.why_polling)  # a limit may be reached later, by new folders
            log.info("rescan wanted", extra={"reason": nudge.rescan})
            self._agenda.rescan = True
        self._wake()


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """From another thread; a loop that has ended needs no more nudges."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)
