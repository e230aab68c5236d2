"""POST /v1/projects/{id}/snapshots: what is not fully there is refused, and a head moves by compare-and-swap, forward only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.records.moments import ms_of
from store.database import Database
from store.snapshots import SNAPSHOTS, add_snapshot, get_snapshot
from store.types import DIR, digest_of, new_ulid, parse_digest
from sync.adopt import wire_snapshot
from sync.core.wire import WireSnapshot
from sync.incoming import received_snapshot
from tests.clouds import EMPTY, Caller, Line, Reply, in_loop, next_message, serving


async def begun(ada: Caller) -> Line:
    line = await ada.line()
    assert (await line.push({"a": b"1", "d": DIR, "d/b": b"2"}, message="first")).status == 200
    return line


async def register(line: Line, **body: object) -> Reply:
    return await line.caller.ask("POST", f"/v1/projects/{line.project_id}/snapshots", {"manifest_hash": line.head.root} | body)


def fields(snapshot: WireSnapshot) -> dict[str, Any]:
    renamed = {"id": "snapshot_id", "parents": "parent_snapshot_ids"}
    given = {renamed.get(name, name): value for name, value in msgspec.structs.asdict(snapshot).items() if name != "project_id"}
    return given


@in_loop
async def test_a_snapshot_is_registered_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await begun(ada)
        first = line.head.snapshot_id or ""
        drawn = line.snapshot(parse_digest(line.head.root), "by hand", [first])
        made = await register(line, **fields(drawn), actor="web")
        assert (made.status, made.json["created"]) == (201, True)
        assert msgspec.convert(made.json["snapshot"], WireSnapshot) == drawn
        again = await register(line, **fields(drawn))
        assert (again.status, again.json["created"]) == (200, False)
        others: list[dict[str, object]] = [
            {"message": "other"},
            {"created_ms": drawn.created_ms + 1},
            {"parent_snapshot_ids": []},
            {"author_name": "Eve"},
        ]
        for other in others:
            assert (await register(line, **(fields(drawn) | other))).code == "VALIDATION_ERROR", "the id is not its own"
        assert (await register(line, **(fields(drawn) | {"source": "web"}))).code == "CONFLICT"
        shown = (await ada.get(f"/v1/snapshots/{drawn.id}"))["snapshot"]
        assert msgspec.convert(shown, WireSnapshot) == drawn and shown["parent_snapshot_ids"] == [first]
        assert ms_of(shown["created_at"]) == drawn.created_ms
        assert (await ada.workspace(line.workspace_id)).version == 2, "no version was expected: no head moved"
        event = (await ada.get(f"/v1/projects/{line.project_id}/events"))["events"][0]
        found = (event["type"], event["actor"], event["workspace_id"], event["snapshot_id"], event["message"])
        assert found == ("snapshot.pushed", "web", line.workspace_id, drawn.id, "by hand")
        assert (await ada.get(f"/v1/projects/{line.project_id}"))["project"]["last_snapshot_id"] == drawn.id


@in_loop
async def test_all_that_a_snapshot_says_comes_to_another_machine(tmp_path: Path) -> None:
    """SNAP-5: author, message, agent, summary and source, as they were given; the id verifies over what it covers."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await begun(ada)
        since = line.head.version
        given = {"author_name": "Ann", "author_email": "ann@x.org", "message": "m", "agent": "coder", "summary": "s", "source": "import"}
        place = {"workspace_id": line.workspace_id, "parent_snapshot_ids": [line.head.snapshot_id], "expected_version": since}
        made = await register(line, **given, **place)
        assert made.status == 201
        heard = (await ada.catch_up(line.workspace_id, since, line.head.root)).header.snapshots
        assert [{name: getattr(each, name) for name in given} for each in heard] == [given]
        told = received_snapshot(heard[0])
        db = Database.open(tmp_path / "store.db", (SNAPSHOTS,), threaded=False)
        db.write_now(lambda tx: add_snapshot(tx, told, told.manifest_hash, shared=True))
        kept, _ = get_snapshot(db.read(), told.id)
        db.close()
        assert wire_snapshot(kept) == heard[0]
        assert (await register(line, **(given | {"summary": "x" * 100_000}))).code == "TOO_LARGE"


@in_loop
async def test_the_cloud_draws_what_is_left_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await begun(served.user())
        made = await register(line, source="web", message="m", agent="helper")
        snapshot = made.json["snapshot"]
        assert made.status == 201 and (snapshot["author_email"], snapshot["source"], snapshot["agent"]) == (
            "ada@example.org",
            "web",
            "helper",
        )
        again = await register(line, **fields(msgspec.convert(snapshot, WireSnapshot)))
        assert again.status == 200, "its id verifies"
        assert (await register(line, source="elsewhere")).code == "VALIDATION_ERROR"
        assert (await register(line, message="x" * 70_000)).code == "TOO_LARGE"
        assert (await register(line, manifest_hash=EMPTY)).status == 201


@in_loop
async def test_what_is_not_fully_there_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        line = await begun(ada)
        hers = await bob.line()
        await hers.push({"x": b"bob's"}, message="hers")
        for unknown in ("0" * 64, hers.head.root):
            assert (await register(line, manifest_hash=unknown)).code == "MANIFEST_NOT_FOUND"
        for wrong in ({"manifest_hash": "zz"}, {"parent_snapshot_ids": [hers.head.snapshot_id]}, {"parent_snapshot_ids": ["snap-x"]}):
            assert (await register(line, **wrong)).code == "VALIDATION_ERROR"
        assert (await register(line, workspace_id=hers.workspace_id)).code == "NOT_FOUND"
        other = await ada.line()
        assert (await register(line, workspace_id=other.workspace_id)).code == "VALIDATION_ERROR"
        assert (await register(line, expected_version=2)).code == "VALIDATION_ERROR"
        path = f"/v1/projects/{hers.project_id}/snapshots"
        assert (await ada.ask("POST", path, {"manifest_hash": line.head.root})).code == "NOT_FOUND"
        lost = digest_of(b"2")
        await served.cloud.write(lambda tx: tx.run("DELETE FROM owned_blobs WHERE hash = $1", (lost,)))
        refused = await register(line)
        assert refused.code == "MISSING_BLOBS" and refused.json["error"]["details"]["hashes"] == [lost.hex()]
        await ada.upload(b"2")
        assert (await register(line)).status == 201
        assert (await ada.ask("PATCH", f"/v1/projects/{line.project_id}", {"archived": True})).status == 200
        assert (await register(line)).code == "ARCHIVED"


@in_loop
async def test_a_lost_node_is_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({f"f{number}": b"%d" % number for number in range(200)})
        child = next(digest for digest in line.nodes.nodes if digest.hex() != line.head.root)
        await served.cloud.write(lambda tx: tx.run("DELETE FROM owned_nodes WHERE hash = $1", (child,)))
        assert (await register(line)).code == "MANIFEST_NOT_FOUND"


@in_loop
async def test_a_head_moves_by_its_version_and_only_forward(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await begun(ada)
        first = line.head.snapshot_id or ""
        await line.push({"a": b"unsnapshotted"})
        named = {"workspace_id": line.workspace_id}
        lost = await register(line, **named, parent_snapshot_ids=[first], expected_version=2)
        assert lost.code == "VERSION_MOVED" and lost.json["error"]["details"]["head"]["version"] == 3
        aside = await register(line, **named, expected_version=3)
        assert aside.code == "CONFLICT", "it does not continue the head's snapshot"
        drawn = fields(line.snapshot(parse_digest(line.head.root), "next", [first]))
        async with ada.listening() as socket:
            moved = await register(line, **drawn, expected_version=3)
            heard = await next_message(socket)
        assert (moved.status, moved.json["head"]["version"], moved.json["head"]["snapshot_id"]) == (201, 4, drawn["snapshot_id"])
        assert heard.header.head is not None and heard.header.head.version == 4
        again = await register(line, **drawn, expected_version=3)
        assert (again.status, again.json["head"]) == (200, moved.json["head"]), "the answer was lost: the same again"
        back = await ada.get(f"/v1/snapshots/{first}")
        earlier = fields(msgspec.convert(back["snapshot"], WireSnapshot))
        assert (await register(line, **earlier, expected_version=4)).code == "CONFLICT"
        assert (await ada.workspace(line.workspace_id)).version == 4
        log = (await ada.get(f"/v1/workspaces/{line.workspace_id}/versions/list"))["versions"]
        assert [each["version"] for each in log] == [4, 3, 2, 1]


@in_loop
async def test_of_many_registered_at_once_one_is_the_head(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await begun(ada)
        common = {"workspace_id": line.workspace_id, "expected_version": 2, "parent_snapshot_ids": [line.head.snapshot_id]}
        replies = await asyncio.gather(*(register(line, **common, message=str(at)) for at in range(8)))
        assert sorted(reply.status for reply in replies) == [201] + [409] * 7
        assert {reply.code for reply in replies} == {"", "VERSION_MOVED"}
        assert (await ada.workspace(line.workspace_id)).version == 3
        assert len((await ada.get(f"/v1/projects/{line.project_id}/snapshots"))["snapshots"]) == 2, "who lost left nothing"


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"{}", b'{"manifest_hash": 1}', b'{"manifest_hash": "' + b"0" * 64 + b'", "created_ms": -1}']
)
@in_loop
async def test_a_body_that_is_none(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project_id = await ada.project()
        assert (await ada.ask("POST", f"/v1/projects/{project_id}/snapshots", data=body)).status in (400, 422)
        assert (
            await ada.ask("POST", f"/v1/projects/{new_ulid(1)}/snapshots", data=b'{"manifest_hash": "' + b"0" * 64 + b'"}')
        ).status == 404
