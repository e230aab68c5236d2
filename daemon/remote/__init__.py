"""`sync.ports.Remote` over HTTP: one session to the cloud, shared by all workspaces of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from daemon.remote.messages import (
    MAX_JSON_BYTES,
    Incoming,
    check_type,
    decode,
    failure_of,
    listed_in,
    parse_incoming,
    read_bounded,
    read_frames,
    translated,
)
from store.blobs.frames import decode_frame
from store.errors import FastestError, Offline
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
    WireVersion,
    WireWorkspace,
    pack_section,
    parse_bitmap,
)

FETCH_DIGESTS: Final = 20_000
MAX_CATCH_UP_BYTES: Final = 512 * 1024 * 1024
CONNECT_SECONDS: Final = 5
IDLE_SECONDS: Final = 60
EVENT_BYTES: Final = 8 * 1024 * 1024
BEAT_SECONDS: Final = 20
BEAT_LEAST_SECONDS: Final = 1.0
T = TypeVar("T")


class CloudRemote:
    """The cloud at `url`, asked with `token`."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> CloudRemote:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"}, timeout=timeout, raise_for_status=False, auto_decompress=False
        )
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
        listed = listed_in(await self._get(path, dict[str, list[WireVersion]]), "versions")
        return listed[0] if listed and listed[0].version == number else None

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> Incoming:
        """From the caller's agreed version and root to the head."""
        query = {"since": str(version), "root": root.hex()}
        async with self._ask("GET", f"/v1/workspaces/{workspace_id}/versions", params=query) as answer:
            body = await read_bounded(answer, MAX_CATCH_UP_BYTES)
        return parse_incoming(body)

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        """One compare-and-swap. Raises VersionMoved (details: head), BlobsMissing (details: digests), EpochChanged."""
        parts = [pack_section(Section.HEADER, msgspec.json.encode(header))]
        parts += [pack_section(Section.DELTA, delta) for delta in deltas]
        parts += [pack_section(Section.FRAME, frame) for frame in frames]
        body: Any = b"".join(parts) if sum(map(len, parts)) < 1 << 20 else _stream(parts)
        async with self._ask("POST", f"/v1/workspaces/{workspace_id}/push", data=body) as answer:
            return decode(await read_bounded(answer, MAX_JSON_BYTES), Head)

    async def missing(self, digests: Sequence[Digest]) -> set[Digest]:
        """Which of these the cloud lacks."""
        lacking: set[Digest] = set()
        for at in range(0, len(digests), MISSING_DIGESTS):
            batch = digests[at : at + MISSING_DIGESTS]
            async with self._ask("POST", "/v1/blobs/missing", data=b"".join(batch)) as answer:
                flags = parse_bitmap(await read_bounded(answer, MAX_JSON_BYTES), len(batch))
            lacking.update(digest for digest, is_missing in zip(batch, flags, strict=True) if is_missing)
        return lacking

    async def upload(self, frames: Iterable[bytes]) -> None:
        """Frames up, any number, streamed; the frames are made in a thread, one at a time."""
        async with self._ask("POST", "/v1/blobs/batch", data=_stream_frames(iter(frames))) as answer:
            await read_bounded(answer, MAX_JSON_BYTES)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        """Frames down that hold every asked blob; a chunked one comes as its recipe frame. Raises NotFound."""
        for at in range(0, len(digests), FETCH_DIGESTS):
            async with self._ask("POST", "/v1/blobs/fetch", data=b"".join(digests[at : at + FETCH_DIGESTS])) as answer:
                async for frame in read_frames(answer):
                    yield frame

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        """Manifest nodes, not yet checked as nodes (their digests are)."""
        for at in range(0, len(digests), FETCH_DIGESTS):
            body = b"".join(digests[at : at + FETCH_DIGESTS])
            async with self._ask("POST", "/v1/manifests/nodes", params={"workspace_id": workspace_id}, data=body) as answer:
                async for frame in read_frames(answer):
                    for digest, data in decode_frame(frame):
                        yield digest, data

    async def send_conflicts(self, workspace_id: str, conflicts: Sequence[WireConflict]) -> None:
        """Make these records known, idempotent by id."""
        await self._post(f"/v1/workspaces/{workspace_id}/conflicts", {"conflicts": list(conflicts)})

    # --- what the daemon asks beside it -----------------------------------------------------------------------------------------

    async def whoami(self) -> dict[str, Any]:
        """The signed-in user: id, email, name, picture."""
        answer: dict[str, Any] = await self._get("/v1/auth/me", dict)
        user = answer.get("user", answer)
        return dict(user)

    async def sign_out(self) -> None:
        """Revoke this session on the server."""
        await self._post("/v1/auth/logout", {})

    async def projects(self) -> list[WireProject]:
        """The user's projects."""
        answer = await self._get("/v1/projects", dict[str, list[WireProject]])
        return listed_in(answer, "projects")

    async def add_project(self, project_id: str, name: str) -> None:
        """Create, idempotent by id."""
        await self._post("/v1/projects", {"id": project_id, "name": name})

    async def workspaces(self, project_id: str) -> list[WireWorkspace]:
        """A project's workspaces."""
        answer = await self._get(f"/v1/projects/{project_id}/workspaces", dict[str, list[WireWorkspace]])
        return listed_in(answer, "workspaces")

    async def add_workspace(self, project_id: str, body: dict[str, Any]) -> None:
        """Create, idempotent by id; `base_workspace_id` forks that one's head."""
        await self._post(f"/v1/projects/{project_id}/workspaces", body)

    async def add_machine(self, machine_id: str, name: str, platform: str, version: str) -> None:
        """Say who this machine is, idempotent by id."""
        await self._post("/v1/machines", {"id": machine_id, "name": name, "platform": platform, "version": version})

    async def machines(self) -> list[WireMachine]:
        """The account's machines."""
        answer = await self._get("/v1/machines", dict[str, list[WireMachine]])
        return listed_in(answer, "machines")

    async def add_replica(self, workspace_id: str, replica_id: str, machine_id: str, local_path: str) -> None:
        """Attach a replica, idempotent by id."""
        body = {"id": replica_id, "machine_id": machine_id, "local_path": local_path}
        await self._post(f"/v1/workspaces/{workspace_id}/replicas", body)

    async def replicas(self, workspace_id: str) -> list[dict[str, Any]]:
        """A workspace's replicas with what they last agreed on."""
        answer = await self._get(f"/v1/workspaces/{workspace_id}/replicas", dict[str, list[dict[str, Any]]])
        return listed_in(answer, "replicas")

    async def events(self, machine_id: str, beat_of: Callable[[], Beat], stirred: asyncio.Event) -> AsyncIterator[Incoming]:
        """Messages as they come, until the connection ends. Beats while it lasts, sooner when `stirred` is set."""
        with translated(self.url):
            connection = await self._open().ws_connect(
                f"{self.url}/v1/events", params={"machine_id": machine_id}, heartbeat=BEAT_SECONDS, max_msg_size=EVENT_BYTES, compress=0
            )
        beat = asyncio.create_task(_beat(connection, beat_of, stirred))
        try:
            yield Incoming("connected", None, None, None, (), (), (), "")
            with translated(self.url):
                async for message in connection:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        yield parse_incoming(message.data)
        finally:
            beat.cancel()
            await connection.close()

    # --- one request ------------------------------------------------------------------------------------------------------------

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Offline("the connection to the cloud is closed")
        return self._session

    def _ask(self, method: str, path: str, **options: Any) -> _Answer:
        return _Answer(self, method, path, options)

    async def _get(self, path: str, shape: type[T]) -> T:
        async with self._ask("GET", path) as answer:
            return decode(await read_bounded(answer, MAX_JSON_BYTES), shape)

    async def _post(self, path: str, body: Any) -> None:
        async with self._ask("POST", path, data=msgspec.json.encode(body), headers={"Content-Type": "application/json"}) as answer:
            await read_bounded(answer, MAX_JSON_BYTES)


class _Answer:
    """One request as a context: a good answer, or one of our errors."""

    def __init__(self, remote: CloudRemote, method: str, path: str, options: dict[str, Any]) -> None:
        self._remote, self._method, self._path, self._options = remote, method, path, options
        self._context: Any = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        with translated(self._remote.url):
            self._context = self._remote._open().request(
                self._method, self._remote.url + self._path, allow_redirects=False, **self._options
            )
            answer: aiohttp.ClientResponse = await self._context.__aenter__()
            try:
                if answer.status >= 300:
                    raise failure_of(answer.status, await read_bounded(answer, MAX_JSON_BYTES), answer.headers.get("Retry-After"))
                check_type(self._remote.url, answer.content_type)
            except FastestError:
                await self._context.__aexit__(None, None, None)
                raise
        return answer

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with translated(self._remote.url):
            await self._context.__aexit__(kind, error, trace)
            if isinstance(error, (aiohttp.ClientError, OSError)) and not isinstance(error, FastestError):
                raise error


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
            await asyncio.wait_for(stirred.wait(), BEAT_SECONDS)
        except TimeoutError:
            continue
