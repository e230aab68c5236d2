"""Machines that meet at a real cloud: what `tests.two_replicas` does in memory, over HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cloud.app import wall_ms
from daemon.remote import CloudRemote
from store.errors import VersionMoved
from store.snapshots import Snapshot
from store.types import new_ulid
from store.workspaces import Workspace
from sync.core.wire import Head, WireWorkspace
from sync.outgoing.steps import BOUNDS, Bounds
from tests.clouds import EMPTY, Caller, Served, serving
from tests.two_replicas import Seat


class FarSide(Seat):
    """One machine at the cloud, with the verbs a supervisor would call."""

    def __init__(self, folder: Path, remote: CloudRemote, workspace: WireWorkspace, replica_id: str, bounds: Bounds) -> None:
        here = Workspace(workspace.id, workspace.project_id, "thing", workspace.name, 1, True)
        # What `fst up` makes begins at its empty head, what `fst clone` makes knows nothing.
        version = workspace.version if workspace.root == EMPTY else 0
        super().__init__(folder, workspace=here, replica_id=replica_id, version=version, epoch=workspace.epoch, bounds=bounds)
        self.remote = remote

    async def snapshot(self, message: str = "") -> Snapshot:
        """Look, and take one."""
        await self.engine.look(None)
        await self.engine.share()
        return self.take_snapshot(message)

    async def pull(self) -> None:
        await self.engine.pull(self.remote, None, lambda: None)

    async def sync(self) -> None:
        """Look, pull, push, until the cloud agrees."""
        await self.engine.look(None)
        for _ in range(5):
            await self.pull()
            try:
                await self.engine.push(self.remote)
                return
            except VersionMoved:
                continue
        raise AssertionError("the head kept moving")

    async def head(self) -> Head:
        """What the cloud says."""
        shown = await self.remote.workspace(self.replica.row.workspace_id)
        return Head(shown.id, shown.epoch, shown.version, shown.root, shown.snapshot_id)


class Meeting:
    """A cloud, one account, and machines that mirror its workspaces."""

    def __init__(self, folder: Path, served: Served, caller: Caller, remote: CloudRemote, stack: AsyncExitStack) -> None:
        self.served = served
        self._folder = folder
        self._caller = caller
        self._remote = remote
        self._stack = stack

    async def project(self) -> str:
        return await self._caller.project()

    async def workspace(self, project_id: str, base_workspace_id: str | None = None) -> WireWorkspace:
        """A new one, empty or forked."""
        identity = new_ulid(wall_ms())
        await self._remote.add_workspace(project_id, {"id": identity, "name": identity, "base_workspace_id": base_workspace_id})
        return await self._remote.workspace(identity)

    async def side(self, name: str, workspace: WireWorkspace, bounds: Bounds = BOUNDS) -> FarSide:
        """A machine with an empty folder that mirrors this workspace."""
        replica_id = new_ulid(wall_ms())
        await self._remote.add_replica(workspace.id, replica_id, await self._caller.machine(name), f"/home/me/{name}")
        made = FarSide(self._folder / name, self._remote, workspace, replica_id, bounds)
        self._stack.callback(made.close)
        return made


@asynccontextmanager
async def meeting(folder: Path) -> AsyncIterator[Meeting]:
    """A cloud under `folder`, until the end of the block."""
    async with serving(folder / "cloud") as served, AsyncExitStack() as stack:
        caller = served.user()
        remote = await stack.enter_async_context(CloudRemote(served.url, caller.auth["Authorization"].removeprefix("Bearer ")))
        yield Meeting(folder, served, caller, remote, stack)
