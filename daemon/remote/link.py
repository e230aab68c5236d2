"""The machine's one connection to the cloud: it stays up, beats, and hands what it hears to the workspaces."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from daemon.remote import CloudRemote
from daemon.remote.messages import Incoming
from store.errors import Corrupt, FastestError, NotSignedIn, Offline
from sync.core.wire import Beat, BeatReplica

log = logging.getLogger(f"fastest.{__name__}")

FIRST_RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 5.0
LONG_OFFLINE_TRIES: Final = 60
LONG_RETRY_SECONDS: Final = 30.0
REACH_SECONDS: Final = 5.0


class Listener(Protocol):
    """A workspace's supervisor, as the link sees it."""

    @property
    def workspace_id(self) -> str:
        """Whose messages it wants."""
        ...

    @property
    def standing(self) -> BeatReplica:
        """How far it has come."""
        ...

    def connected(self, remote: CloudRemote) -> None:
        """The cloud answers: catch up."""
        ...

    def disconnected(self) -> None:
        """The cloud is gone: work goes on here."""
        ...

    def hear(self, incoming: Incoming) -> None:
        """A message for this workspace."""
        ...


class CloudLink:
    """Connected, offline or signed-out; run as one task."""

    def __init__(self, machine: tuple[str, str, str, str], listeners: Callable[[], Iterable[Listener]]) -> None:
        self._machine = machine
        self._listeners = listeners
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._session: tuple[str, str] | None = None
        self.state = "signed-out"
        self.message = ""
        self.remote: CloudRemote | None = None
        self.stirred = asyncio.Event()
        """Set it when a replica came further: the cloud is told soon."""
        self.tried = asyncio.Event()
        """Set once it is known whether the cloud answers."""

    def sign_in(self, url: str, token: str) -> None:
        """From now on, this cloud with this token."""
        self._session = (url, token)
        self.state = "offline"
        self.tried.clear()
        self._changed.set()
        self._hurried.set()

    def sign_out(self) -> None:
        """No cloud any more."""
        self._session = None
        self.state = "signed-out"
        self._changed.set()
        self._hurried.set()

    @property
    def url(self) -> str | None:
        """The cloud's address, when signed in."""
        return None if self._session is None else self._session[0]

    async def reach(self) -> CloudRemote | None:
        """The cloud, for somebody who asks for it now: one that was lost is tried at once, and waited for. None: it is not there."""
        if self.remote is None and self._session is not None:
            self.tried.clear()
            self._hurried.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.tried.wait(), REACH_SECONDS)
        return self.remote

    async def need(self) -> CloudRemote:
        """The same. Raises NotSignedIn, Offline."""
        remote = await self.reach()
        if remote is not None:
            return remote
        if self.url is None:
            raise NotSignedIn(self.message or "not signed in", "`fst login --cloud URL`")
        raise Offline(f"the cloud at {self.url} does not answer", "Work goes on here.")

    async def run(self) -> None:
        """Connect, listen, connect again, until cancelled."""
        tries = 0
        while True:
            self._changed.clear()
            self._hurried.clear()
            session = self._session
            if session is None:
                self.tried.set()
                await self._changed.wait()
                continue
            task = asyncio.ensure_future(self._stay_connected(*session))
            change = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({task, change}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()
                task.cancel()
            try:
                was_connected = await task
            except asyncio.CancelledError:
                if not self._changed.is_set():
                    raise
                was_connected = True
            self._lose()
            if self.state == "signed-out" or self._changed.is_set():
                tries = 0
                continue
            tries = 0 if was_connected else tries + 1
            await self._pause(tries)

    async def _pause(self, tries: int) -> None:
        longest = LONG_RETRY_SECONDS if tries > LONG_OFFLINE_TRIES else MAX_RETRY_SECONDS
        delay_seconds = min(longest, FIRST_RETRY_SECONDS * 2 ** min(tries, 10)) * random.uniform(0.7, 1.3)
        try:
            async with asyncio.timeout(delay_seconds):
                await self._hurried.wait()
        except TimeoutError:
            return

    async def _stay_connected(self, url: str, token: str) -> bool:
        was_connected = False
        try:
            async with CloudRemote(url, token) as remote:
                await remote.add_machine(*self._machine)
                async for incoming in remote.events(self._machine[0], self._beat, self.stirred):
                    if incoming.type == "connected":
                        was_connected = True
                        self._gain(remote)
                    else:
                        self._tell(incoming)
        except NotSignedIn as error:
            self.state, self.message = "signed-out", error.message
            self._session = None
            log.warning("sign-in refused")
        except FastestError as error:
            self.message = error.message
            log.info("cloud not reached", extra={"reason": error.code})
            # One that talks nonsense is asked ever less often, however readily it lets itself be connected to.
            was_connected = was_connected and not isinstance(error, Corrupt)
        return was_connected

    def _beat(self) -> Beat:
        listeners = list(self._listeners())
        return Beat(
            workspaces=sorted({listener.workspace_id for listener in listeners}),
            replicas=[listener.standing for listener in listeners],
        )

    def _gain(self, remote: CloudRemote) -> None:
        self.remote, self.state, self.message = remote, "connected", ""
        self.tried.set()
        log.info("cloud connected")
        for listener in self._listeners():
            listener.connected(remote)

    def _lose(self) -> None:
        self.tried.set()
        if self.remote is not None:
            self.remote = None
            log.info("cloud lost")
        if self.state == "connected":
            self.state = "offline"
        for listener in self._listeners():
            listener.disconnected()

    def _tell(self, incoming: Incoming) -> None:
        about = {incoming.head.workspace_id} if incoming.head is not None else {record.workspace_id for record in incoming.conflicts}
        for listener in self._listeners():
            if listener.workspace_id in about:
                listener.hear(incoming)
