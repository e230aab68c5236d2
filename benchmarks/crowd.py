"""A crowd of daemons that do nothing: their event streams, their beats, and one push a second among them.

`python -m benchmarks.crowd URL SECONDS < tokens` registers a machine and a replica on each token's workspace for each of MACHINES,
connects them all, and says `ready` on a line. When a line comes back it watches for so many seconds and prints one line of JSON. It
speaks WebSocket by hand, for five thousand clients of a library are heavier than the server that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import msgspec

from benchmarks.measure import percentile
from sync.core.wire import Beat, BeatReplica, WireWorkspace
from tests.clouds import Caller, Line, read_message

MACHINES = 10
"""Of each user, all with a replica of the same workspace."""
BEAT_SECONDS = 20.0
"""A beat and a ping: as a daemon has it (daemon/remote)."""
AT_ONCE = 24
_TEXT, _BINARY, _PING, _PONG = 1, 2, 9, 10


@dataclass(slots=True)
class Member:
    """One machine with its open stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    beat: bytes
    workspace_id: str
    heard: dict[int, float]
    """When each version was heard of."""


async def gather_crowd(url: str, tokens: Sequence[str]) -> tuple[list[Member], list[Line]]:
    """All members, connected; and for each token the line whose pushes they hear of."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as http:

        async def user(token: str) -> tuple[list[Member], Line]:
            async with gate:
                caller = Caller(http, url, token)
                first = await caller.line()
                assert (await first.push({"a": b"0"})).status == 200
                known = await caller.workspace(first.workspace_id)
                return [await _join(caller, token, known, number) for number in range(MACHINES)], first

        found = await asyncio.gather(*map(user, tokens))
    return [member for members, _ in found for member in members], [line for _, line in found]


async def _join(caller: Caller, token: str, workspace: WireWorkspace, number: int) -> Member:
    machine = await caller.machine(f"machine{number}")
    line = await caller.mirror(workspace, machine)
    host, _, port = caller.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /v1/events?machine_id={machine} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101"), answer
    replica = BeatReplica(line.replica_id, workspace.version, workspace.root)
    return Member(reader, writer, msgspec.json.encode(Beat(workspaces=[workspace.id], replicas=[replica])), workspace.id, {})


async def live(member: Member) -> None:
    """Beat, answer pings, and note what is heard, until cancelled."""
    beating = asyncio.create_task(_beat(member))
    try:
        while True:
            kind, payload = await _frame(member.reader)
            if kind == _PING:
                _send(member.writer, _PONG, payload)
            elif kind == _BINARY:
                head = read_message(payload).header.head
                if head is not None:
                    member.heard[head.version] = time.perf_counter()
    finally:
        beating.cancel()


async def _beat(member: Member) -> None:
    await asyncio.sleep(random.uniform(0, BEAT_SECONDS))
    while True:
        _send(member.writer, _TEXT, member.beat)
        await asyncio.sleep(BEAT_SECONDS / 2)
        _send(member.writer, _PING, b"")
        await asyncio.sleep(BEAT_SECONDS / 2)


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(opcode, payload): a server's frames are not masked, and it does not split them here."""
    first, length = await reader.readexactly(2)
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    return first & 15, await reader.readexactly(length)


def _send(writer: asyncio.StreamWriter, kind: int, payload: bytes) -> None:
    mask = os.urandom(4)
    long = len(payload) >= 126
    head = bytes([0x80 | kind, 0x80 | (126 if long else len(payload))]) + (len(payload).to_bytes(2, "big") if long else b"")
    writer.write(head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload)))


async def watch(url: str, members: list[Member], lines: list[Line], seconds: float) -> dict[str, float]:
    """A push a second by somebody; how long until each other replica of the workspace has heard of it."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    async with aiohttp.ClientSession() as http:
        for turn, line in enumerate(lines):
            if time.perf_counter() > end:
                break
            line.caller.http = http
            began = time.perf_counter()
            assert (await line.push({"a": b"%d" % (turn + 1)})).status == 200
            await asyncio.sleep(1.0)
            heard = [each.heard.get(line.head.version) for each in members if each.workspace_id == line.workspace_id]
            took += [60.0 if at is None else at - began for at in heard]
    return {"heard": len(took), "p50_ms": percentile(took, 0.5) * 1e3, "p95_ms": percentile(took, 0.95) * 1e3, "members": len(members)}


async def _main() -> None:
    url, seconds = sys.argv[1], float(sys.argv[2])
    tokens = sys.stdin.readline().split()
    members, lines = await gather_crowd(url, tokens)
    living = [asyncio.create_task(live(member)) for member in members]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    told = await watch(url, members, lines, seconds)
    ended = [task for task in living if task.done()]
    assert not ended, ended[0].exception()
    print(json.dumps(told), flush=True)
    os._exit(0)  # five thousand farewells are not measured


if __name__ == "__main__":
    asyncio.run(_main())
