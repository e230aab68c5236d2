"""A load generator for the cloud: pushes prepared beforehand, sent over kept connections, every answer checked.

`FASTEST_TOKEN=... python -m benchmarks.load URL --connections N --pushes N [--rate PER_SECOND] [--kill PID --after N]` prints one line of
JSON. It is a process of its own, so that its work is not the server's; it speaks HTTP by hand, so that it is little. With `--kill` the
server gets SIGKILL after so many answers; once somebody has started it again, every push that was answered 200 is looked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
from contextlib import suppress
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
FOLDERS = 97
FIRST_PUSH_FILES = 2_500
EDIT_BYTES = 2_000
BACK_SECONDS = 60.0
LISTED = 1_000


@dataclass(slots=True)
class Lane:
    """One connection with the pushes it will send, to a workspace of its own."""

    line: Line
    bodies: list[bytes] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Seconds of each push that was answered 200, in the order of `roots`."""


@dataclass(slots=True)
class Load:
    """One run: all lanes in turn, `rate` pushes a second (0: each as soon as the one before it is answered)."""

    url: str
    token: str
    lanes: list[Lane]
    rate: float
    kill: int = 0
    after: int = 0
    answered: int = 0
    began: float = 0.0

    def note(self) -> None:
        """One more was answered."""
        self.answered += 1
        if self.kill and self.answered == self.after:
            os.kill(self.kill, signal.SIGKILL)


async def prepare(caller: Caller, lanes: int, pushes: int) -> list[Lane]:
    """A workspace of FILES files a lane, all forked from one, and the bodies of its pushes: each a real edit with its blob."""
    machine = await caller.machine("load")
    first = await caller.line("first", machine_id=machine)
    edits = {f"src/{number % FOLDERS:02d}/{number:05d}.py": f"# file {number}\n".encode() for number in range(FILES)}
    assert (await first.push({"src": DIR} | {f"src/{number:02d}": DIR for number in range(FOLDERS)})).status == 200
    for at in range(0, FILES, FIRST_PUSH_FILES):
        reply = await first.push(dict(list(edits.items())[at : at + FIRST_PUSH_FILES]))
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


async def run(load: Load) -> dict[str, float]:
    """All pushes of all lanes; with a rate, due at their times whatever the server does (latency counts from then)."""
    load.began = time.perf_counter()
    await asyncio.gather(*(_drive(load, number) for number in range(len(load.lanes))))
    seconds = time.perf_counter() - load.began
    took = [each for lane in load.lanes for each in lane.took]
    return {
        "pushes": len(took),
        "seconds": seconds,
        "per_second": len(took) / seconds,
        "p50_ms": percentile(took, 0.5) * 1e3,
        "p99_ms": percentile(took, 0.99) * 1e3,
    }


async def _drive(load: Load, number: int) -> None:
    lane = load.lanes[number]
    host, _, port = load.url.removeprefix("http://").partition(":")
    head = f"POST /v1/workspaces/{lane.line.workspace_id}/push HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {load.token}\r\n"
    # A server that was killed cuts the rest off.
    with suppress(*((OSError, asyncio.IncompleteReadError) if load.kill else ())):
        reader, writer = await asyncio.open_connection(host, int(port))
        for turn, body in enumerate(lane.bodies):
            start = time.perf_counter()
            if load.rate:
                due = load.began + (turn * len(load.lanes) + number) / load.rate
                await asyncio.sleep(max(0.0, due - start))
                start = due
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            said = await reader.readexactly(length)
            lane.took.append(time.perf_counter() - start)
            assert answer.startswith(b"HTTP/1.1 200"), said
            assert lane.roots[turn].encode() in said
            load.note()
        writer.close()


async def count_lost(caller: Caller, lanes: list[Lane]) -> int:
    """Of the pushes that were answered 200, those that the cloud does not have."""
    end = time.perf_counter() + BACK_SECONDS
    while time.perf_counter() < end:
        with suppress(aiohttp.ClientError):
            if (await caller.ask("GET", "/health")).status == 200:
                break
        await asyncio.sleep(0.05)
    lost = 0
    for lane in lanes:
        listed = await caller.get(f"/v1/workspaces/{lane.line.workspace_id}/versions/list?limit={LISTED}")
        kept = {version["root"] for version in listed["versions"]}
        lost += sum(root not in kept for root in lane.roots[: len(lane.took)])
    return lost


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pushes", type=int, default=30, help="by each connection")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--after", type=int, default=0)
    asked = parser.parse_args()
    token = os.environ["FASTEST_TOKEN"]
    async with aiohttp.ClientSession() as http:
        caller = Caller(http, asked.url, token)
        lanes = await prepare(caller, asked.connections, asked.pushes)
        told = await run(Load(asked.url, token, lanes, asked.rate, asked.kill, asked.after))
        print(json.dumps(told | {"lost": await count_lost(caller, lanes)}))


if __name__ == "__main__":
    asyncio.run(_main())
