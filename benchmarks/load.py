"""A load generator for the cloud: pushes prepared beforehand, sent over kept connections, every answer checked.

`python -m benchmarks.load URL TOKEN --connections N --pushes N [--rate PER_SECOND]` prints one line of JSON. It is a process of its own,
so that its work is not the server's; it speaks HTTP by hand, so that it is little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass, field

import aiohttp
import msgspec

from benchmarks.measure import percentile
from store.blobs.frames import encode_frame
from store.manifest import Draft, edit_manifest
from store.types import DIR, digest_of, parse_digest
from sync.core.wire import PushHeader, PushStep, WireWorkspace, pack_delta
from tests.clouds import Caller, Line, push_body

FILES = 10_000
EDIT_BYTES = 2_000


@dataclass(slots=True)
class Lane:
    """One connection with the pushes it will send, to a workspace of its own."""

    line: Line
    bodies: list[bytes] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a push is due: all lanes in turn, `rate` a second; 0: as soon as the one before is answered."""

    began: float
    rate: float
    lanes: int


async def prepare(url: str, token: str, lanes: int, pushes: int) -> list[Lane]:
    """A workspace of FILES files a lane, all forked from one, and the bodies of its pushes: each a real edit with its blob."""
    async with aiohttp.ClientSession() as http:
        caller = Caller(http, url, token)
        machine = await caller.machine("load")
        first = await caller.line("first", machine_id=machine)
        edits = {f"src/{number % 97:02d}/{number:05d}.py": f"# file {number}\n".encode() for number in range(FILES)}
        assert (await first.push({"src": DIR} | {f"src/{number:02d}": DIR for number in range(97)})).status == 200
        for at in range(0, FILES, 2_500):
            reply = await first.push(dict(list(edits.items())[at : at + 2_500]))
            assert reply.status == 200, reply
        made = []
        for number in range(lanes):
            asked = {"name": f"lane{number}", "base_workspace_id": first.workspace_id}
            forked = await caller.post(f"/v1/projects/{first.project_id}/workspaces", asked)
            line = await caller.mirror(msgspec.convert(forked["workspace"], WireWorkspace), machine)
            line.nodes.nodes.update(first.nodes.nodes)
            made.append(_lane(line, list(edits), number, pushes))
        return made


def _lane(line: Line, names: list[str], seed: int, pushes: int) -> Lane:
    rng = random.Random(seed)
    lane = Lane(line)
    root, version = line.head.root, line.head.version
    for _ in range(pushes):
        data = rng.randbytes(EDIT_BYTES // 2).hex().encode()
        delta = line.delta({rng.choice(names): data})
        draft = Draft(line.nodes)
        after = edit_manifest(parse_digest(root), delta, draft)
        line.nodes.nodes.update(draft.new)
        sections = list(pack_delta(delta))
        header = PushHeader(line.head.epoch, version, root, line.replica_id, [PushStep(after.hex(), len(sections), None)])
        lane.bodies.append(push_body(header, sections, [encode_frame([(digest_of(data), data)])]))
        root, version = after.hex(), version + 1
        lane.roots.append(root)
    return lane


async def run(url: str, token: str, lanes: list[Lane], rate: float) -> dict[str, float]:
    """All pushes of all lanes; with a rate, begun at their times whatever the server does (latency counts from then)."""
    host, _, port = url.removeprefix("http://").partition(":")
    began = time.perf_counter()
    took: list[float] = []
    await asyncio.gather(
        *(_drive(lane, host, int(port), token, began, rate, number, len(lanes), took) for number, lane in enumerate(lanes))
    )
    seconds = time.perf_counter() - began
    return {
        "pushes": len(took),
        "seconds": seconds,
        "per_second": len(took) / seconds,
        "p50_ms": percentile(took, 0.5) * 1e3,
        "p99_ms": percentile(took, 0.99) * 1e3,
    }


async def _drive(lane: Lane, server: tuple[str, int, str], pace: Pace, number: int, took: list[float]) -> None:
    host, port, token = server
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /v1/workspaces/{lane.line.workspace_id}/push HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    for turn, body in enumerate(lane.bodies):
        start = time.perf_counter()
        if pace.rate:
            due = pace.began + (turn * pace.lanes + number) / pace.rate
            await asyncio.sleep(max(0.0, due - start))
            start = due
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(length)
        took.append(time.perf_counter() - start)
        assert answer.startswith(b"HTTP/1.1 200"), said
        assert lane.roots[turn].encode() in said
    writer.close()


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pushes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0.0)
    asked = parser.parse_args()
    lanes = await prepare(asked.url, asked.token, asked.connections, asked.pushes)
    print(json.dumps(await run(asked.url, asked.token, lanes, asked.rate)))


if __name__ == "__main__":
    asyncio.run(_main())
