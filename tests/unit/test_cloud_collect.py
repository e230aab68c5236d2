"""Collection: what nothing names goes, after its grace and its quarantine, and never what a push beside it counts on."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from cloud.app import wall_ms
from cloud.operate.collect import DAY_MS, Collected, execute, limits_at, plan_collection
from cloud.operate.fsck import find_problems
from store.blobs import CHUNKED_MIN
from store.blobs.frames import encode_frame
from store.errors import StoreDamaged
from store.manifest import walk_manifest
from store.types import Digest, File, digest_of, new_ulid, parse_digest
from sync.core.wire import Section, pack_section
from tests.clouds import Caller, Line, Served, in_loop, serving


async def collect(served: Served, days: float = 0) -> Collected:
    """A run as if it were so many days from now."""
    plan = await plan_collection(served.cloud.db, served.cloud.objects, limits_at(wall_ms() + int(days * DAY_MS)))
    return await execute(served.cloud.db, served.cloud.objects, plan)


async def collect_all(served: Served) -> None:
    """All that may ever go."""
    for days in (30, 60, 90, 120):
        await collect(served, days)


async def problems(served: Served) -> list[str]:
    return [problem async for problem in find_problems(served.cloud.db, served.cloud.objects)]


async def held(ada: Caller, *contents: bytes) -> list[bool]:
    """Asked without renewing them."""
    replies = [await ada.ask("GET", f"/v1/blobs/download/{digest_of(data).hex()}") for data in contents]
    assert {reply.status for reply in replies} <= {200, 404}
    return [reply.status == 200 for reply in replies]


@in_loop
async def test_what_nothing_names_goes_after_its_grace_and_its_quarantine(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"never pushed")
        for days in (0, 6.9):
            assert await collect(served, days) == Collected(0, 0, 0, 0, 0, 0)
        assert (await collect(served, 7.1)).condemned == 1
        assert (await collect(served, 8.0)).removed == 0, "in quarantine"
        assert await held(ada, b"never pushed") == [True], "and readable meanwhile"
        assert await collect(served, 8.2) == Collected(0, 0, 1, 1, 0, 12)
        assert await held(ada, b"never pushed") == [False]
        assert await ada.missing([digest_of(b"never pushed")]) == [True]
        await ada.upload(b"never pushed")
        assert await held(ada, b"never pushed") == [True]


@in_loop
async def test_heads_versions_snapshots_and_conflicts_are_kept(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        large = random.Random(1).randbytes(CHUNKED_MIN + 1_000_000)
        assert (await ada.ask("PUT", f"/v1/blobs/upload/{digest_of(large).hex()}", data=large)).status == 201
        await line.push({"a": b"old", "large": File(digest_of(large), len(large))})
        await line.push({"a": b"a snapshot's"}, message="kept")
        await line.push({"a": b"new", "large": None})
        conflict = {
            "id": new_ulid(wall_ms()), "workspace_id": line.workspace_id, "kind": "both-edited", "state": "open", "created_ms": wall_ms(),
            "record": {"type": "file", "path": "a", "hash": digest_of(b"mine").hex(), "size": 4},
            "ours": {"type": "file", "path": "a", "hash": digest_of(b"mine").hex(), "size": 4}, "base": None, "theirs": None,
        }  # fmt: skip
        await ada.upload(b"mine", b"nobody's")
        await ada.post(f"/v1/workspaces/{line.workspace_id}/conflicts", {"conflicts": [conflict]})
        await collect_all(served)
        assert await held(ada, b"old", b"a snapshot's", b"new", b"mine", b"nobody's", large) == [True] * 4 + [False, True]
        assert await problems(served) == []


@in_loop
async def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"never pushed")
        limits = limits_at(wall_ms() + 30 * DAY_MS)
        for _ in range(2):
            plan = await plan_collection(served.cloud.db, served.cloud.objects, limits)
            assert (plan.count("condemn"), plan.count("remove")) == ((1, 0), (0, 0))


@pytest.mark.parametrize("what", ["asked", "uploaded", "pushed"])
@in_loop
async def test_what_is_named_again_is_pardoned(tmp_path: Path, what: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await ada.upload(b"x")
        assert (await collect(served, 30)).condemned == 1
        if what == "asked":
            assert await ada.missing([digest_of(b"x")]) == [False]
        elif what == "uploaded":
            await ada.upload(b"x")
        else:
            step, deltas = line.step({"a": File(digest_of(b"x"), 1)})
            assert (await line.send(line.header(step), deltas)).status == 200
        assert (await collect(served, 32)).removed == 0
        await collect(served, 34)
        assert await held(ada, b"x") == [what == "pushed"], "forgotten again, unless it is in a version now"
        assert await problems(served) == []


@in_loop
async def test_a_push_of_what_was_collected_is_told_so(tmp_path: Path) -> None:
    """Checked before the transaction, gone inside it: the check there is what counts."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await ada.upload(b"x")
        written = asyncio.Event()
        ready = served.cloud.objects.ready

        async def slowly(contents: object) -> None:
            await collect_all(served)
            written.set()
            await ready({})

        object.__setattr__(served.cloud.objects, "ready", slowly)
        step, deltas = line.step({"a": File(digest_of(b"x"), 1)})
        reply = await line.send(line.header(step), deltas)
        assert written.is_set() and reply.code == "MISSING_BLOBS"
        assert reply.json["error"]["details"]["hashes"] == [digest_of(b"x").hex()]
        assert (await ada.workspace(line.workspace_id)).version == 1


@in_loop
async def test_an_unreadable_manifest_stops_everything(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({f"f{number}": b"%d" % number for number in range(100)})
        root = line.head.root
        await line.push({"a": b"2"})
        bob = served.user("bob@example.org")
        await bob.upload(b"never pushed")
        served.forget_node(parse_digest(root))
    async with serving(tmp_path / "cloud") as served:
        bob = served.user("bob@example.org")
        for days in (30, 60):
            with pytest.raises(StoreDamaged, match=root):
                await collect(served, days)
        assert await held(bob, b"never pushed") == [True]


@in_loop
async def test_one_users_rubbish_is_anothers_treasure(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        line = await ada.line()
        await line.push({"a": b"shared"})
        await bob.upload(b"shared")
        await collect_all(served)
        assert await held(ada, b"shared") == [True] and await held(bob, b"shared") == [False]
        assert await problems(served) == []


async def write(line: Line, draw: random.Random, name: str, edits: int) -> dict[str, bytes]:
    """Edits of every kind, often back to what was there long ago; what the head must hold of this writer's files."""
    files: dict[str, bytes] = {}
    for _ in range(edits):
        contents = {f"{name}-{draw.randrange(4)}": b"%d" % draw.randrange(6) * draw.choice([1, 1, 40_000]) for _ in range(2)}
        while True:
            if draw.random() < 0.5:
                reply = await line.push(contents)
            else:
                await line.caller.upload(*contents.values())
                step, deltas = line.step({path: File(digest_of(data), len(data)) for path, data in contents.items()})
                reply = await line.send(line.header(step), deltas)
            if reply.status == 200:
                break
            assert reply.code in ("VERSION_MOVED", "MISSING_BLOBS", "BUSY"), reply
            await line.follow()
        files |= contents
        await line.follow()
    return files


@pytest.mark.parametrize("seed", range(3))
@in_loop
async def test_collecting_beside_pushes_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Every run believes that all periods are over: only what is asked again inside each transaction protects a push."""
    async with serving(tmp_path / "cloud") as served:
        ada, done = served.user(), asyncio.Event()
        lines = [await ada.line(f"w{at}", project_id=await ada.project()) for at in range(4)]

        async def run() -> int:
            days, gone = 0, 0
            while not done.is_set():
                days += 30
                gone += (await collect(served, days)).removed
            return gone

        running = asyncio.create_task(run())
        written = await asyncio.gather(*(write(line, random.Random(seed * 10 + at), f"w{at}", 12) for at, line in enumerate(lines)))
        done.set()
        await running
        for _ in range(3):
            await ada.upload(os.urandom(8))
        await collect_all(served)
        assert await problems(served) == []
        for line, files in zip(lines, written, strict=True):
            held_now = {path.decode(): entry for path, entry in walk_manifest(parse_digest(line.head.root), line.nodes)}
            assert held_now == {path: File(digest_of(data), len(data)) for path, data in files.items()}
            assert await held(ada, *files.values()) == [True] * len(files)


@in_loop
async def test_statistics_count_ones_own(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        line = await ada.line()
        await line.push({"a": b"12345", "b": b"123"})
        found = await ada.get("/v1/blobs/stats")
        assert found["blobs"] == {"count": 2, "bytes": 8} and found["manifests"]["count"] == 1 and found["manifests"]["bytes"] > 50
        assert (await bob.get("/v1/blobs/stats"))["blobs"] == {"count": 0, "bytes": 0}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("way", ["put_frames", "put_file"])
@in_loop
async def test_what_is_swept_before_it_has_an_owner_is_kept_again(tmp_path: Path, way: str, times: int) -> None:
    """Bytes are durable before a row says whose they are; a sweep that comes between takes them for nobody's."""
    async with serving(tmp_path / "cloud") as served:
        ada, left = served.user(), times
        put = getattr(served.cloud.objects, way)

        async def then_swept(*given: object) -> object:
            nonlocal left
            kept = await put(*given)
            if left > 0:
                left -= 1
                await collect_all(served)
            return kept

        object.__setattr__(served.cloud.objects, way, then_swept)
        data = os.urandom(100_000)
        if way == "put_frames":
            sent = pack_section(Section.FRAME, encode_frame([(digest_of(data), data)]))
            reply = await ada.ask("POST", "/v1/blobs/batch", data=sent)
        else:
            reply = await ada.ask("PUT", f"/v1/blobs/upload/{digest_of(data).hex()}", data=data)
        assert (reply.status, reply.code) == ((503, "BUSY") if times == 3 else (200 if way == "put_frames" else 201, ""))
        assert await held(ada, data) == [times == 1]
        assert await problems(served) == []


@in_loop
async def test_a_push_whose_large_blob_is_swept_on_its_way_moves_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        ready = served.cloud.objects.ready

        async def then_swept(contents: Mapping[Digest, bytes]) -> None:
            await ready(contents)
            await collect_all(served)

        object.__setattr__(served.cloud.objects, "ready", then_swept)
        reply = await line.push({"a": os.urandom(200_000)})
        # Embedded it comes with the transaction itself; beside PostgreSQL it lay in the bucket before.
        assert reply.status == 200 or reply.code == "BUSY"
        object.__setattr__(served.cloud.objects, "ready", ready)
        assert await problems(served) == []
