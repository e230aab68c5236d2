"""Many writers on one workspace at once: no acknowledged update is ever lost, and every version follows from the one before."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec

from store.blobs.frames import encode_frame
from store.manifest import walk_manifest
from store.types import DIR, digest_of, parse_digest
from sync.core.wire import Head, WireWorkspace
from tests.clouds import EMPTY, Caller, Line, in_loop, next_message, push_body, serving

WRITERS = 8
EDITS = 12


async def workspace_of(line: Line) -> WireWorkspace:
    return msgspec.convert(await line.caller.get(f"/v1/workspaces/{line.workspace_id}"), WireWorkspace)


async def write(line: Line, name: str) -> list[int]:
    """Each edit pushed until it is taken; the versions that were acknowledged."""
    versions = []
    for number in range(EDITS):
        while (reply := await line.push({f"{name}-{number}": f"{name} {number}".encode()})).status == 409:
            assert reply.code == "VERSION_MOVED"
            await line.follow()
        assert reply.status == 200, reply
        versions.append(line.head.version)
    return versions


@in_loop
async def test_no_update_is_lost_among_eight_writers(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        first = await ada.line()
        lines = [first] + [await ada.mirror(await workspace_of(first)) for _ in range(WRITERS - 1)]
        async with ada.listening() as socket:
            acknowledged = await asyncio.gather(*(write(line, f"writer{at}") for at, line in enumerate(lines)))
            heard = [(await next_message(socket)).header for _ in range(WRITERS * EDITS)]
        versions = [version for each in acknowledged for version in each]
        assert sorted(versions) == list(range(2, WRITERS * EDITS + 2)), "each won exactly one version"
        await first.follow()
        names = {path.decode() for path, _ in walk_manifest(parse_digest(first.head.root), first.nodes)}
        assert names == {f"writer{at}-{number}" for at in range(WRITERS) for number in range(EDITS)}
        assert [header.head.version for header in heard if header.head] == sorted(versions), "told in the order they were won"


@in_loop
async def test_one_push_sent_many_times_at_once_moves_the_head_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        step, deltas = line.step({"a": b"1"}, message="once")
        body = push_body(line.header(step), deltas, [encode_frame([(digest_of(b"1"), b"1")])])
        async with ada.listening() as socket:
            replies = await asyncio.gather(*(line.send_raw(body) for _ in range(10)))
            assert {reply.status for reply in replies} == {200} and len({reply.body for reply in replies}) == 1
            assert (await workspace_of(line)).version == 2
            await line.follow()
            await line.push({"b": b"2"})
            heard = [(await next_message(socket)).header.head for _ in range(2)]
            assert [head.version for head in heard if head] == [2, 3], "told once"
        events = (await ada.get(f"/v1/projects/{line.project_id}/events"))["events"]
        assert [each["type"] for each in events].count("snapshot.pushed") == 1


@in_loop
async def test_creation_raced_makes_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project_id = await ada.project()
        path = f"/v1/projects/{project_id}/workspaces"
        replies = await asyncio.gather(*(ada.ask("POST", path, {"name": "main"}) for _ in range(8)))
        assert sorted(reply.status for reply in replies) == [201] + [409] * 7


@in_loop
async def test_forks_raced_with_pushes_leave_a_whole_history(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()

        async def fork(number: int) -> None:
            body = {"name": f"fork{number}", "base_workspace_id": line.workspace_id}
            await ada.post(f"/v1/projects/{line.project_id}/workspaces", body)

        await asyncio.gather(write(line, "w"), *(fork(number) for number in range(6)))
        listed = (await ada.get(f"/v1/workspaces/{line.workspace_id}/versions/list?limit=1000"))["versions"]
        assert [each["version"] for each in reversed(listed)] == list(range(1, len(listed) + 1))
        await line.follow()
        assert len(list(walk_manifest(parse_digest(line.head.root), line.nodes))) == EDITS


@in_loop
async def test_following_from_any_version_leads_to_the_head(tmp_path: Path) -> None:
    """A random history; then every version's root, given as one's own, catches up to the very same head."""
    draw = random.Random(7)
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        history: list[Head] = [line.head]
        held: set[str] = set()
        for _ in range(40):
            names = draw.sample([f"{folder}/f{at}" for folder in ("a", "b") for at in range(60)], draw.randint(1, 20))
            edits = {name: None if name in held and draw.random() < 0.4 else draw.randbytes(4) for name in names}
            held = (held | {name for name, data in edits.items() if data is not None}) - {n for n, data in edits.items() if data is None}
            assert (await line.push({**edits, "a": DIR, "b": DIR})).status == 200
            history.append(line.head)
        for former in history:
            behind = Line(ada, line.project_id, line.replica_id, former)
            behind.nodes = line.nodes
            await behind.follow()
            assert behind.head == line.head
        fresh: Caller = served.user()
        found = await fresh.catch_up(line.workspace_id, 0, EMPTY)
        assert {path.decode() for path, _ in found.delta} == held | {"a", "b"}
