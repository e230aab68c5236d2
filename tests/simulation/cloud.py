"""The cloud's own code for heads, blobs and records over its own database, without HTTP: served, killed, and restored from a backup."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from cloud import content
from cloud.context import Cloud
from cloud.database import Tx, drive
from cloud.database.embedded import EmbeddedDatabase
from cloud.database.schema import epoch_of
from cloud.hub import Telling, pack_message
from cloud.hub.local import LocalHub
from cloud.objects.embedded import EmbeddedObjects
from cloud.operate.fsck import find_problems
from cloud.records.people import accounts
from cloud.records.people.accounts import Account
from cloud.records.work import conflicts, projects, replicas, workspaces
from cloud.records.work.workspaces import Workspace
from cloud.routes.work.conflicts import _check
from store.errors import BlobsMissing, Corrupt, Offline
from store.manifest import EMPTY_ROOT, walk_manifest
from store.types import Entry, RelPath, parse_digest
from sync.core.wire import EventHeader, Head, NewMachine, NewReplica, WireConflict
from tests.simulation.disk import Died, Disk

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
USER, PROJECT, WORKSPACE = (f"{'0' * 25}{number}" for number in (1, 2, 3))
ACCOUNT = Account(USER, "ada@example.org", None, None, "session")
NAMES = ("a", "b", "c")
MACHINES = {name: f"{'0' * 24}M{number}" for number, name in enumerate(NAMES)}
REPLICAS = {name: f"{'0' * 24}R{number}" for number, name in enumerate(NAMES)}
DOWN_SECONDS = 0.7
AT = "2023-11-14 22:13:20"


def make_cloud(folder: Path) -> None:
    """A data folder with one user, one empty workspace, and three machines that follow it."""
    folder.mkdir(parents=True)
    db = EmbeddedDatabase.open(folder, threaded=False)

    async def work(tx: Tx) -> None:
        await accounts.add_user(tx, USER, ACCOUNT.email, AT)
        await projects.add_project(tx, USER, PROJECT, "thing", AT)
        row = Workspace(WORKSPACE, PROJECT, "main", None, None, None, EMPTY_ROOT.hex(), None, None, AT, 1, None)
        await workspaces.add_workspace(tx, row, "cli")
        for name in NAMES:
            await replicas.put_machine(tx, USER, NewMachine(MACHINES[name], name, "linux", "1"), AT)
            await replicas.put_replica(tx, USER, WORKSPACE, NewReplica(REPLICAS[name], MACHINES[name], "/" + name), AT)

    db.write_now(work)
    db.close_now()


class Told(LocalHub):
    """Messages go to the network, which brings them late, or not at all."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def tell(self, user_id: str, telling: Telling) -> None:
        for machine in self._world.machines.values():
            its_id = MACHINES[machine.name]
            if telling.machines is None or its_id in telling.machines:
                machine.remote.bring(telling.lean if its_id == telling.sender else telling.full)


class Objects(EmbeddedObjects):
    """Blocking work is done at this instant."""

    async def _compute(self, work: Callable[[], T]) -> T:
        return work()


class SimulatedCloud:
    """One process and its data folder."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self.folder = folder
        self.disk = Disk(99, world.rng, lambda: 0)
        self._backup: Path | None = None
        self.restores = 0

    def open(self) -> None:
        """A start."""
        self.db = EmbeddedDatabase.open(self.folder, threaded=False)
        self.objects = Objects(self.db, self.folder, cast(Any, None))
        epoch = drive(epoch_of(self.db.read()))
        none = cast(Any, None)
        self.cloud = Cloud(self.db, self.objects, Told(self._world), none, none, none, self._now_ms, epoch, self.folder, none, none)

    def _now_ms(self) -> int:
        return 1_700_000_000_000 + int(self._world.loop.now * 1000)

    def close(self) -> None:
        self.objects.store.close()
        self.db.close_now()

    @property
    def is_up(self) -> bool:
        return not self.disk.is_dead

    # --- what is asked of it --------------------------------------------------------------------------------------------------------

    async def serve(self, act: Callable[[Cloud], Awaitable[T]]) -> T:
        """One request. Raises what the client would, or Offline when the process dies under it."""
        if not self.is_up:
            raise Offline("nobody listens")
        cloud = self.cloud
        try:
            return await act(cloud)
        except Died:
            raise Offline("the connection was cut") from None
        except BlobsMissing as error:
            listed = cast(list[str], error.details["hashes"])
            raise BlobsMissing(error.message, digests=[parse_digest(text) for text in listed]) from None
        except Corrupt as error:
            self._world.blame("corrupt", f"the cloud met damage: {error.message}")
            raise Offline("the cloud answered 500") from None
        except Exception as error:
            if not self.is_up or cloud is not self.cloud:
                raise Offline("the connection was cut") from None
            raise error

    async def put_conflicts(self, cloud: Cloud, sent: list[WireConflict]) -> None:
        """As the route does it."""
        wanted = {digest for conflict in sent for digest in _check(conflict, WORKSPACE)}

        async def work(tx: Tx) -> list[WireConflict]:
            await content.hold(tx, cloud, USER, wanted)
            version = (await workspaces.get_workspace(tx, USER, WORKSPACE)).version
            return [conflict for conflict in sent if await conflicts.put_conflict(tx, conflict, version)]

        changed = await cloud.write(work)
        if changed:
            message = pack_message(EventHeader("conflicts", self.head(), conflicts=changed))
            await cloud.hub.tell(USER, Telling(message, frozenset(MACHINES.values())))

    # --- what is known of it --------------------------------------------------------------------------------------------------------

    def head(self) -> Head:
        return drive(workspaces.get_head(self.cloud.read(), USER, WORKSPACE))

    def entries(self) -> dict[RelPath, Entry]:
        return dict(walk_manifest(parse_digest(self.head().root), self.objects.store))

    def records(self) -> list[WireConflict]:
        return drive(conflicts.list_conflicts(self.cloud.read(), WORKSPACE, ""))

    def problems(self) -> list[str]:
        async def ask() -> list[str]:
            return [problem async for problem in find_problems(self.db, self.objects)]

        return drive(ask())

    # --- trouble ----------------------------------------------------------------------------------------------------------------------

    def die(self) -> None:
        """The process is gone; it is back a little later."""
        if self.is_up:
            self.disk.is_dead = True
            self._world.count("cloud killed")
            self._world.loop.call_soon(self._bury)

    def _bury(self) -> None:
        for machine in self._world.machines.values():
            machine.hang_up()
        self.close()
        self._world.loop.call_later(DOWN_SECONDS, self.revive)

    def revive(self) -> None:
        if not self.is_up:
            self.disk.is_dead = False
            self.open()

    def back_up(self) -> None:
        if self.is_up:
            self._backup = self.folder.with_name("backup")
            shutil.rmtree(self._backup, ignore_errors=True)
            shutil.copytree(self.folder, self._backup)

    def restore(self) -> None:
        """The data folder is put back as it was; nobody says `fst cloud restored`."""
        if self._backup is None or not self.is_up:
            return
        for machine in self._world.machines.values():
            machine.hang_up()
        self.close()
        shutil.rmtree(self.folder)
        shutil.copytree(self._backup, self.folder)
        self.restores += 1
        self._world.count("cloud restored")
        self.disk.plans.clear()
        self.open()


def as_json(value: Any, shape: type[T]) -> T:
    """There and back, as over HTTP."""
    return msgspec.json.decode(msgspec.json.encode(value), type=shape)
