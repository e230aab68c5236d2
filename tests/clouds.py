"""A cloud on loopback for tests, and somebody who calls it the way a daemon (or an attacker) would."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import aiohttp
import asyncpg
import msgspec
from aiohttp import web

from cloud.accounts.gate import GateSettings
from cloud.accounts.session import sign_in
from cloud.app import DRAIN, ROOMS, build, over, wall_ms
from cloud.config import NO_GATE, Settings
from cloud.context import Cloud
from cloud.database import Work
from cloud.database.embedded import EmbeddedDatabase
from cloud.database.postgres import PostgresDatabase
from cloud.drain import Drain
from cloud.parts import opened as opened_parts
from cloud.routes.envelope import is_open
from cloud.telemetry.ready import READINESS, Readiness
from store.blobs.frames import decode_frame, encode_frame
from store.manifest import EMPTY_ROOT, Draft, MemoryNodes, edit_manifest
from store.snapshots import make_snapshot
from store.types import DIR, Digest, Entry, File, RelPath, digest_of, new_ulid, parse_digest
from sync.core.wire import (
    Delta,
    EventHeader,
    Head,
    PushHeader,
    PushStep,
    Section,
    WireSnapshot,
    WireWorkspace,
    pack_delta,
    pack_section,
    parse_bitmap,
    parse_delta,
    split_sections,
)

P = ParamSpec("P")
T = TypeVar("T")
Edits = Mapping[str, bytes | Entry | None]


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Route(msgspec.Struct, frozen=True):
    """One of the cloud's routes; `{name}` in its path stands for an id."""

    method: str
    path: str
    is_open: bool = False
    """Needs no session, or looks for one by itself."""


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The error's code; empty for an answer that is none."""
        return str(self.json["error"]["code"]) if self.status >= 400 else ""


class Message(msgspec.Struct, frozen=True):
    """Sections, read."""

    header: EventHeader
    delta: Delta
    contents: dict[Digest, bytes]


def read_message(data: bytes) -> Message:
    sections = list(split_sections(data))
    header = msgspec.json.decode(sections[0][1], type=EventHeader)
    delta = [change for kind, payload in sections[1:] if kind is Section.DELTA for change in parse_delta(payload)]
    contents: dict[Digest, bytes] = {}
    for kind, payload in sections[1:]:
        if kind is Section.FRAME:
            contents.update(decode_frame(payload))
    return Message(header, delta, contents)


class Caller:
    """One user's session, at one address."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self.http = http
        self.url = url
        self.auth = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: object = None, data: object = None, **headers: str) -> Reply:
        sent = msgspec.json.encode(body) if body is not None else data
        async with self.http.request(method, self.url + path, data=sent, headers={**self.auth, **headers}) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Any:
        reply = await self.ask("GET", path)
        assert reply.status == 200, reply
        return reply.json

    async def post(self, path: str, body: object) -> Any:
        reply = await self.ask("POST", path, body)
        assert reply.status in (200, 201), reply
        return reply.json

    async def upload(self, *contents: bytes) -> None:
        blobs = [(digest_of(data), data) for data in contents]
        reply = await self.ask("POST", "/v1/blobs/batch", data=pack_section(Section.FRAME, encode_frame(blobs)))
        assert reply.status == 200, reply

    async def missing(self, digests: Sequence[Digest]) -> list[bool]:
        reply = await self.ask("POST", "/v1/blobs/missing", data=b"".join(digests))
        assert reply.status == 200, reply
        return parse_bitmap(reply.body, len(digests))

    async def fetch(self, path: str, digests: Sequence[Digest]) -> tuple[Reply, dict[Digest, bytes]]:
        """From /v1/blobs/fetch or /v1/manifests/nodes."""
        reply = await self.ask("POST", path, data=b"".join(digests))
        found: dict[Digest, bytes] = {}
        for _, frame in split_sections(reply.body) if reply.status == 200 else ():
            found.update(decode_frame(frame))
        return reply, found

    async def catch_up(self, workspace_id: str, since: int, root: str) -> Message:
        reply = await self.ask("GET", f"/v1/workspaces/{workspace_id}/versions?since={since}&root={root}")
        assert reply.status == 200, reply
        return read_message(reply.body)

    @asynccontextmanager
    async def listening(self, machine_id: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        query = f"?machine_id={machine_id}" if machine_id else ""
        async with self.http.ws_connect(f"{self.url}/v1/events{query}", headers=self.auth) as socket:
            yield socket

    async def project(self, name: str = "project") -> str:
        return str((await self.post("/v1/projects", {"id": new_ulid(wall_ms()), "name": name}))["project"]["id"])

    async def machine(self, name: str = "laptop") -> str:
        machine = {"id": new_ulid(wall_ms()), "name": name, "platform": "linux", "version": "0.1.0"}
        return str((await self.post("/v1/machines", machine))["machine"]["id"])

    async def line(self, name: str = "main", project_id: str = "", machine_id: str = "") -> Line:
        """A new, empty workspace with a replica, ready to push."""
        project_id = project_id or await self.project()
        made = await self.post(f"/v1/projects/{project_id}/workspaces", {"id": new_ulid(wall_ms()), "name": name})
        return await self.mirror(msgspec.convert(made["workspace"], WireWorkspace), machine_id)

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        return msgspec.convert(await self.get(f"/v1/workspaces/{workspace_id}"), WireWorkspace)

    async def mirror(self, workspace: WireWorkspace, machine_id: str = "") -> Line:
        """Another replica of a workspace, at its head."""
        replica = {"id": new_ulid(wall_ms()), "machine_id": machine_id or await self.machine(), "local_path": "/home/me/thing"}
        await self.post(f"/v1/workspaces/{workspace.id}/replicas", replica)
        head = Head(workspace.id, workspace.epoch, workspace.version, workspace.root, workspace.snapshot_id)
        return Line(self, workspace.project_id, replica["id"], head)


async def next_message(socket: aiohttp.ClientWebSocketResponse, kind: str = "version") -> Message:
    """The next message of this type."""
    while True:
        message = read_message(await socket.receive_bytes(timeout=10))
        if message.header.type == kind:
            return message


class Line:
    """A replica's side of a workspace: what it last agreed on, and the nodes it knows."""

    def __init__(self, caller: Caller, project_id: str, replica_id: str, head: Head) -> None:
        self.caller = caller
        self.project_id = project_id
        self.replica_id = replica_id
        self.head = head
        self.nodes = MemoryNodes()

    @property
    def workspace_id(self) -> str:
        return self.head.workspace_id

    def delta(self, edits: Edits) -> Delta:
        """Bytes stand for a file with that content."""
        entries = [(RelPath(name.encode("utf-8", "surrogateescape")), entry) for name, entry in edits.items()]
        files = [(path, File(digest_of(entry), len(entry)) if isinstance(entry, bytes) else entry) for path, entry in entries]
        return sorted(files, key=lambda change: change[0])

    def root_after(self, delta: Delta, root: str = "") -> Digest:
        draft = Draft(self.nodes)
        result = edit_manifest(parse_digest(root or self.head.root), delta, draft)
        self.nodes.nodes.update(draft.new)
        return result

    def step(self, edits: Edits, root: str = "", message: str | None = None, parents: Sequence[str] = ()) -> tuple[PushStep, list[bytes]]:
        delta = self.delta(edits)
        after = self.root_after(delta, root)
        sections = list(pack_delta(delta))
        snapshot = None if message is None else self.snapshot(after, message, parents)
        return PushStep(after.hex(), len(sections), snapshot), sections

    def snapshot(self, root: Digest, message: str, parents: Sequence[str] = ()) -> WireSnapshot:
        made = make_snapshot(
            project_id=self.project_id, workspace_id=self.workspace_id, manifest_hash=root, parents=tuple(parents), source="cli",
            message=message, author_name="Ada", author_email="ada@example.org", agent="", created_ms=wall_ms(),
        )  # fmt: skip
        return WireSnapshot(
            made.id, made.project_id, made.workspace_id, root.hex(), list(made.parents), made.source, message, made.author_name,
            made.author_email, made.agent, made.created_ms,
        )  # fmt: skip

    def header(self, *steps: PushStep) -> PushHeader:
        return PushHeader(self.head.epoch, self.head.version, self.head.root, self.replica_id, list(steps))

    async def send(self, header: PushHeader, deltas: Iterable[bytes] = (), frames: Iterable[bytes] = ()) -> Reply:
        return await self.send_raw(push_body(header, deltas, frames))

    async def send_raw(self, body: object) -> Reply:
        return await self.caller.ask("POST", f"/v1/workspaces/{self.workspace_id}/push", data=body)

    async def push(self, edits: Edits, message: str | None = None, parents: Sequence[str] = ()) -> Reply:
        """One step, its contents inline. Moves what is agreed when it is taken."""
        step, deltas = self.step(edits, message=message, parents=parents)
        contents = [(digest_of(data), data) for data in edits.values() if isinstance(data, bytes)]
        reply = await self.send(self.header(step), deltas, [encode_frame(contents)] if contents else [])
        if reply.status == 200:
            self.head = msgspec.json.decode(reply.body, type=Head)
        return reply

    async def follow(self) -> None:
        """Catch up with the head."""
        found = await self.caller.catch_up(self.workspace_id, self.head.version, self.head.root)
        assert found.header.head is not None
        assert self.root_after(found.delta).hex() == found.header.head.root
        self.head = found.header.head


def push_body(header: PushHeader, deltas: Iterable[bytes] = (), frames: Iterable[bytes] = ()) -> bytes:
    parts = [pack_section(Section.HEADER, msgspec.json.encode(header))]
    parts += [pack_section(Section.DELTA, delta) for delta in deltas]
    return b"".join(parts + [pack_section(Section.FRAME, frame) for frame in frames])


class Served:
    """A cloud in this process."""

    def __init__(self, cloud: Cloud, settings: Settings, url: str, http: aiohttp.ClientSession, readiness: Readiness, drain: Drain) -> None:
        self.cloud = cloud
        self.readiness = readiness
        self.drain = drain
        self._settings = settings
        self.url = url
        self.http = http

    def user(self, email: str = "ada@example.org") -> Caller:
        return Caller(self.http, self.url, self.write(lambda tx: sign_in(tx, email, wall_ms())))

    def user_at(self, email: str, now_ms: int) -> Caller:
        """Somebody who signs in at that time."""
        return Caller(self.http, self.url, self.write(lambda tx: sign_in(tx, email, now_ms)))

    @property
    def db(self) -> EmbeddedDatabase:
        """For tests of the embedded engine alone."""
        assert isinstance(self.cloud.db, EmbeddedDatabase)
        return self.cloud.db

    def write(self, work: Work[T]) -> T:
        """A work done at once, though the loop is running."""
        if isinstance(self.cloud.db, EmbeddedDatabase):
            return self.cloud.db.write_now(work)

        async def elsewhere() -> T:
            async with asyncpg.create_pool(self._settings.database, min_size=1, max_size=1) as pool:
                return await PostgresDatabase(pool).write(work)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(elsewhere())).result()

    def forget_node(self, digest: Digest) -> None:
        """A manifest node lost by a disk; what is in memory still has it."""
        table = "nodes" if isinstance(self.cloud.db, EmbeddedDatabase) else "kept_nodes"
        self.write(lambda tx: tx.run(f"DELETE FROM {table} WHERE hash = $1", (digest,)))

    def cloud_routes(self) -> list[Route]:
        """Every route as method and path."""
        return [Route(each.method, each.path, is_open(each.handler)) for room in ROOMS for each in room.ROUTES]

    def stranger(self, token: str | None = None) -> Caller:
        return Caller(self.http, self.url, token)


class Engine:
    """What `serving` stands on: the embedded engine, or a database of PostgreSQL for each folder (tests/unit/conftest.py)."""

    def __init__(self) -> None:
        self.new_database: Callable[[], str] | None = None
        self._made: dict[Path, str] = {}

    def database_of(self, folder: Path) -> str:
        """The same for the same folder."""
        if self.new_database is None:
            return ""
        if folder not in self._made:
            self._made[folder] = self.new_database()
        return self._made[folder]


ENGINE = Engine()


@contextmanager
def opened(folder: Path) -> Iterator[EmbeddedDatabase]:
    """The database of an embedded cloud that is not running."""
    db = EmbeddedDatabase.open(folder)
    try:
        yield db
    finally:
        db.close_now()


@asynccontextmanager
async def serving(
    folder: Path, now_ms: Callable[[], int] = wall_ms, gate: GateSettings = NO_GATE, key: str = "", metrics_token: str = ""
) -> AsyncIterator[Served]:
    """A cloud over `folder`, on a free port."""
    settings = Settings("serve", folder, database=ENGINE.database_of(folder), gate=gate, key=key)
    async with opened_parts(settings) as parts, aiohttp.ClientSession(read_bufsize=2**20) as http:
        cloud = await over(parts, folder, now_ms, metrics_token)
        app = build(cloud)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield Served(cloud, settings, f"http://127.0.0.1:{runner.addresses[0][1]}", http, app[READINESS], app[DRAIN])
        finally:
            await runner.cleanup()


FOLDER = DIR
EMPTY = EMPTY_ROOT.hex()
