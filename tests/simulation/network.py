"""Between one machine and the cloud: every request and message takes its time, and may be lost, doubled, late or overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cloud import content
from cloud.context import Cloud
from cloud.heads import push
from cloud.heads.body import Push
from cloud.heads.catchup import catch_up
from cloud.records.work import workspaces
from cloud.routes.work.workspaces import shown_workspace
from daemon.remote.messages import Incoming, read_catch_up
from store.blobs.frames import decode_frame, is_recipe
from store.errors import Offline
from store.types import Digest
from sync.core.wire import Head, PushHeader, Section, WireConflict, WireVersion, WireWorkspace, split_sections
from tests.simulation.cloud import ACCOUNT, USER, as_json
from tests.simulation.people import SECRET

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

T = TypeVar("T")
LATENCY_SECONDS = 0.02
FAULTS = ("lose request", "lose answer", "double", "late", "slow", "lose message", "double message", "overtake")
"""`late`: the sender gives up on it, and it comes all the same. The last three are about messages of the cloud."""


class Remote:
    """The engine's port, and what a supervisor's registration asks beside it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._world = machine.world
        self._loop = machine.world.loop
        self.faults: list[str] = []
        """What happens to the next requests, or messages, one each."""
        self._arrives_at = 0.0

    def _look_for_leaks(self, frames: Iterable[bytes]) -> None:
        """Nothing with a secret in it leaves before a person lets it go, here or where it was let go first."""
        machines = self._world.machines.values()
        if any(machine.has_let_go for machine in machines):
            return
        for frame in frames:
            for _, data in [] if is_recipe(frame) else decode_frame(frame):
                if SECRET.search(data):
                    self._world.blame("leaked", f"{self._machine.name}: {data!r}")

    def _take_fault(self, *kinds: str) -> str:
        for fault in self.faults:
            if fault in kinds:
                self.faults.remove(fault)
                self._world.count(fault)
                return fault
        return ""

    def _latency(self) -> float:
        return self._loop.rng.random() * LATENCY_SECONDS

    async def _ask(self, act: Callable[[Cloud], Awaitable[T]]) -> T:
        self._world.count("requests")
        if not self._machine.is_online:
            raise Offline("there is no connection")
        fault = self._take_fault(*FAULTS[:5])
        if fault == "late":
            self._loop.call_later(self._loop.rng.random() * 3, self._spawn, act)
            raise Offline("no answer in time")
        await self._loop.pause(self._latency() * (50 if fault == "slow" else 1))
        if fault == "lose request":
            raise Offline("the request was lost")
        if fault == "double":
            self._loop.call_later(self._latency() * 2, self._spawn, act)
        result = await asyncio.shield(self._spawn(act))
        await self._loop.pause(self._latency())
        if fault == "lose answer" or not self._machine.is_online:
            raise Offline("the answer was lost")
        return result

    def _spawn(self, act: Callable[[Cloud], Awaitable[T]]) -> asyncio.Task[T]:
        """The cloud works on it, whatever becomes of who asked."""
        task = self._loop.create_task(self._world.cloud.serve(act))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    # --- messages -------------------------------------------------------------------------------------------------------------------

    def bring(self, message: bytes) -> None:
        """A message of the cloud, in its turn."""
        if not self._machine.is_online:
            return
        fault = self._take_fault(*FAULTS[5:])
        if fault == "lose message":
            self._machine.hang_up()  # a connection that loses anything is cut
            return
        at = self._loop.now + self._latency()
        if fault != "overtake":
            at = self._arrives_at = max(at, self._arrives_at)
        self._loop.call_at(at, self._machine.hear, message)
        if fault == "double message":
            self._loop.call_at(at + self._latency(), self._machine.hear, message)

    # --- the port -------------------------------------------------------------------------------------------------------------------

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        async def act(cloud: Cloud) -> WireWorkspace:
            return as_json(shown_workspace(await workspaces.get_workspace(cloud.read(), USER, workspace_id), cloud.epoch), WireWorkspace)

        return await self._ask(act)

    async def add_replica(self, workspace_id: str, replica_id: str, machine_id: str, local_path: str) -> None:
        """It is known."""

    async def find_version(self, workspace_id: str, number: int) -> WireVersion | None:
        async def act(cloud: Cloud) -> WireVersion | None:
            return await workspaces.get_version(cloud.read(), workspace_id, number)

        return await self._ask(act)

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> Incoming:
        async def act(cloud: Cloud) -> Incoming:
            return await read_catch_up(in_pieces(await catch_up(cloud, ACCOUNT, workspace_id, version, root.hex())))

        return await self._ask(act)

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        sent = Push(as_json(header, PushHeader), list(deltas), list(frames))
        self._look_for_leaks(sent.frames)

        async def act(cloud: Cloud) -> Head:
            place = await push.check_header(cloud.read(), ACCOUNT, workspace_id, sent.header)
            if place.made is not None:
                return place.made
            prepared = await push.prepare(cloud, ACCOUNT, place, sent)
            await self._loop.pause(self._latency())  # here others win
            return await push.keep(cloud, ACCOUNT, prepared, sent.header)

        self._world.count("pushes")
        return await self._ask(act)

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        async def act(cloud: Cloud) -> set[Digest]:
            flags = await content.missing(cloud, USER, digests)
            return {digest for digest, is_missing in zip(digests, flags, strict=True) if is_missing}

        return await self._ask(act)

    async def upload(self, frames: Iterable[bytes]) -> None:
        sent = list(frames)
        self._look_for_leaks(sent)

        async def act(cloud: Cloud) -> None:
            await content.take_frames(cloud, USER, sent)

        await self._ask(act)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        async def act(cloud: Cloud) -> list[bytes]:
            batches = await content.check_owned(cloud, USER, digests)
            return [frame for batch in batches for frame in await content.give_blobs(cloud, batch)]

        for frame in await self._ask(act):
            yield frame

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        async def act(cloud: Cloud) -> list[bytes]:
            batches = await content.check_nodes(cloud, USER, digests)
            return [frame for batch in batches for frame in await content.give_nodes(cloud, batch)]

        for frame in await self._ask(act):
            for node in decode_frame(frame):
                yield node

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        sent = as_json(list(conflicts), list[WireConflict])

        async def act(cloud: Cloud) -> None:
            await self._world.cloud.put_conflicts(cloud, sent)

        await self._ask(act)


async def in_pieces(body: bytes) -> AsyncIterator[tuple[Section, bytes]]:
    """As they come over HTTP."""
    for section in split_sections(body):
        yield section
