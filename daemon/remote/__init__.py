"""`sync.ports.Remote` over HTTP: one session to the cloud, shared by all workspaces of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from daemon.remote.exchange import MAX_JSON_BYTES, PATIENCE_SECONDS, Exchange, Patience, open_session
from daemon.remote.failures import translated
from daemon.remote.messages import (
    EVENT_BYTES,
    Incoming,
    Machines,
    Me,
    Projects,
    Replicas,
    Versions,
    Workspaces,
    decode,
    parse_event,
    read_catch_up,
)
from store.blobs.frames import decode_frame
from store.errors import BlobDamaged, InvalidReply, Offline
from store.types import Digest
from sync.core.wire import (
    MISSING_DIGESTS,
    Beat,
    Head,
    PushHeader,
    Section,
    WireConflict,
    WireMachine,
    WireProject,
    WireReplica,
    WireVersion,
    WireWorkspace,
    pack_section,
    parse_bitmap,
)

FETCH_DIGESTS: Final = 20_000
BEAT_SECONDS: Final = 20
BEAT_LEAST_SECONDS: Final = 1.0
T = TypeVar("T")


class CloudRemote:
    """The cloud at `url`, asked with `token`; it may stand still for `patience_seconds`."""

    def __init__(self, url: str, token: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._patience_seconds = patience_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> CloudRemote:
        self._session = open_session(self._token)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- the port ---------------------------------------------------------------------------------------------------------------

    async def workspace(self, workspace_id: str) -> WireWorkspace:
        """The workspace with its head. Raises NotFound."""
        return await self._get(f"/v1/workspaces/{workspace_id}", WireWorkspace)

    async def find_version(self, workspace_id: str, number: int) -> WireVersion | None:
        """Who made a version, and of which root; None when there is none."""
        path = f"/v1/workspaces/{workspace_id}/versions/list?limit=1&before={number + 1}"
        listed = (await self._get(path, Versions)).versions
        return listed[0] if listed and listed[0].version == number else None

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> Incoming:
        """From the caller's agreed version and root to the head."""
        query = {"since": str(version), "root": root.hex()}
        async with self._ask("GET", f"/v1/workspaces/{workspace_id}/versions", params=query) as answer:
            return await read_catch_up(answer.sections())

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        """One compare-and-swap. Raises VersionMoved (details: head), BlobsMissing (details: digests), EpochChanged."""
        parts = [pack_section(Section.HEADER, msgspec.json.encode(header))]
        parts += [pack_section(Section.DELTA, delta) for delta in deltas]
        parts += [pack_section(Section.FRAME, frame) for frame in frames]
        body: Any = b"".join(parts) if sum(map(len, parts)) < 1 << 20 else _stream(parts)
        async with self._ask("POST", f"/v1/workspaces/{workspace_id}/push", data=body) as answer:
            return decode(await answer.read(MAX_JSON_BYTES), Head)

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        """Which of these the cloud lacks."""
        lacking: set[Digest] = set()
        for at in range(0, len(digests), MISSING_DIGESTS):
            batch = digests[at : at + MISSING_DIGESTS]
            async with self._ask("POST", "/v1/blobs/missing", data=b"".join(batch)) as answer:
                flags = parse_bitmap(await answer.read(MAX_JSON_BYTES), len(batch))
            lacking.update(digest for digest, is_missing in zip(batch, flags, strict=True) if is_missing)
        return lacking

    async def upload(self, frames: Iterable[bytes]) -> None:
        """Frames up, any number, streamed; the frames are made in a thread, one at a time."""
        async with self._ask("POST", "/v1/blobs/batch", data=_stream_frames(iter(frames))) as answer:
            await answer.read(MAX_JSON_BYTES)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        """Frames down that hold every asked blob; a chunked one comes as its recipe frame. Raises NotFound."""
        for at in range(0, len(digests), FETCH_DIGESTS):
            async with self._ask("POST", "/v1/blobs/fetch", data=b"".join(digests[at : at + FETCH_DIGESTS])) as answer:
                async for frame in answer.frames():
                    yield frame

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        """Manifest nodes, not yet checked as nodes (their digests are). Raises InvalidReply."""
        for at in range(0, len(digests), FETCH_DIGESTS):
            body = b"".join(digests[at : at + FETCH_DIGESTS])
            async with self._ask("POST", "/v1/manifests/nodes", params={"workspace_id": workspace_id}, data=body) as answer:
                async for frame in answer.frames():
                    for digest, data in _decoded(frame):
                        yield digest, data

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        """Make these records known, idempotent by id."""
        await self._post(f"/v1/workspaces/{workspace_id}/conflicts", {"conflicts": list(conflicts)})

    # --- what the daemon asks beside it -----------------------------------------------------------------------------------------

    async def whoami(self) -> dict[str, Any]:
        """The signed-in user: id, email, name, picture."""
        return msgspec.structs.asdict((await self._get("/v1/auth/me", Me)).user)

    async def sign_out(self) -> None:
        """Revoke this session on the server."""
        await self._post("/v1/auth/logout", {})

    async def projects(self) -> list[WireProject]:
        """The user's projects."""
        return (await self._get("/v1/projects", Projects)).projects

    async def add_project(self, project_id: str, name: str) -> None:
        """Create, idempotent by id."""
        await self._post("/v1/projects", {"id": project_id, "name": name})

    async def workspaces(self, project_id: str) -> list[WireWorkspace]:
        """A project's workspaces."""
        return (await self._get(f"/v1/projects/{project_id}/workspaces", Workspaces)).workspaces

    async def add_workspace(self, project_id: str, body: dict[str, Any]) -> None:
        """Create, idempotent by id; `base_workspace_id` forks that one's head."""
        await self._post(f"/v1/projects/{project_id}/workspaces", body)

    async def set_main(self, workspace_id: str) -> None:
        """Make it its project's main workspace, idempotent. Raises NotFound."""
        await self._post(f"/v1/workspaces/{workspace_id}/set-as-main", {"actor": "cli"})

    async def add_machine(self, machine_id: str, name: str, platform: str, version: str) -> None:
        """Say who this machine is, idempotent by id."""
        await self._post("/v1/machines", {"id": machine_id, "name": name, "platform": platform, "version": version})

    async def machines(self) -> list[WireMachine]:
        """The account's machines."""
        return (await self._get("/v1/machines", Machines)).machines

    async def add_replica(self, workspace_id: str, replica_id: str, machine_id: str, local_path: str) -> None:
        """Attach a replica, idempotent by id."""
        body = {"id": replica_id, "machine_id": machine_id, "local_path": local_path}
        await self._post(f"/v1/workspaces/{workspace_id}/replicas", body)

    async def replicas(self, workspace_id: str) -> list[WireReplica]:
        """A workspace's replicas with what they last agreed on."""
        return (await self._get(f"/v1/workspaces/{workspace_id}/replicas", Replicas)).replicas

    async def events(self, machine_id: str, beat_of: Callable[[], Beat], stirred: asyncio.Event) -> AsyncIterator[Incoming]:
        """Messages as they come, until the connection ends. Beats while it lasts, sooner when `stirred` is set."""
        with translated(self.url):
            connecting = self._open().ws_connect(
                f"{self.url}/v1/events", params={"machine_id": machine_id}, heartbeat=BEAT_SECONDS, max_msg_size=EVENT_BYTES, compress=0
            )
            connection = await asyncio.wait_for(connecting, self._patience_seconds)
        beat = asyncio.create_task(_beat(connection, beat_of, stirred))
        try:
            yield Incoming("connected", None, None, None, (), (), (), "")
            with translated(self.url):
                async for message in connection:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        yield parse_event(message.data)
        finally:
            beat.cancel()
            await connection.close()

    # --- one request ------------------------------------------------------------------------------------------------------------

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Offline("the connection to the cloud is closed")
        return self._session

    def _ask(self, method: str, path: str, **options: Any) -> Exchange:
        patience = Patience(self._patience_seconds)
        body = options.get("data")
        if isinstance(body, AsyncIterator):
            options["data"] = patience.count(body)
        return Exchange(self._open(), self.url, patience, method, path, **options)

    async def _get(self, path: str, shape: type[T]) -> T:
        async with self._ask("GET", path) as answer:
            return decode(await answer.read(MAX_JSON_BYTES), shape)

    async def _post(self, path: str, body: Any) -> None:
        async with self._ask("POST", path, data=msgspec.json.encode(body), headers={"Content-Type": "application/json"}) as answer:
            await answer.read(MAX_JSON_BYTES)


def _decoded(frame: bytes) -> list[tuple[Digest, bytes]]:
    try:
        return decode_frame(frame)
    except BlobDamaged as error:
        raise InvalidReply(f"the cloud sent something else: {error.message}") from None


async def _stream(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _stream_frames(frames: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        yield pack_section(Section.FRAME, frame)


async def _beat(connection: aiohttp.ClientWebSocketResponse, beat_of: Callable[[], Beat], stirred: asyncio.Event) -> None:
    while True:
        stirred.clear()
        await connection.send_str(msgspec.json.encode(beat_of()).decode())
        await asyncio.sleep(BEAT_LEAST_SECONDS)
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await stirred.wait()
        except TimeoutError:
            continue
