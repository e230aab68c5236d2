"""Whole manifests as one document: what any client can put, what is refused, and that a part of a tree is never taken for a tree."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.app import wall_ms
from cloud.operate import collect
from store.manifest import record_of
from store.types import DIR, Entry, File, Link, RelPath, digest_of
from tests.clouds import EMPTY, Caller, Reply, in_loop, serving

A, B = b"alpha", b"beta"
FILE_A, FILE_B = File(digest_of(A), len(A)), File(digest_of(B), len(B), executable=True)


def document(entries: Mapping[str, Entry]) -> bytes:
    """Exactly as docs/format-manifest.md has a leaf."""
    records = [record_of(RelPath(path.encode()), entry) for path, entry in sorted(entries.items(), key=lambda item: item[0].encode())]
    return b'{"level":0,"entries":[' + b",".join(map(msgspec.json.encode, records)) + b"]}"


async def put(caller: Caller, body: bytes, named: str = "") -> Reply:
    return await caller.ask("PUT", f"/v1/blobs/manifests/{named or sha256(body).hexdigest()}", data=body)


@in_loop
async def test_any_client_makes_a_snapshot_from_blobs_and_a_manifest(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        body = document({"b": DIR, "b/run": FILE_B, "a": FILE_A, "link": Link(b"../x")})
        root = sha256(body).hexdigest()
        made = await put(ada, body)
        assert (made.status, made.json) == (201, {"hash": root, "entries": 4, "files": 2, "bytes": 9, "created": True})
        assert ((await put(ada, body)).status, (await put(ada, body)).json["created"]) == (200, False)
        snapshots, asked = f"/v1/projects/{line.project_id}/snapshots", {"manifest_hash": root, "workspace_id": line.workspace_id}
        assert (await ada.ask("POST", snapshots, asked)).code == "MISSING_BLOBS"
        await ada.upload(A, B)
        moved = await ada.ask("POST", snapshots, asked | {"expected_version": 1})
        assert (moved.status, moved.json["head"]["version"], moved.json["head"]["root"]) == (201, 2, root)
        got = await ada.ask("GET", f"/v1/blobs/manifests/{root}")
        assert (got.status, got.body) == (200, body) and got.headers["Content-Type"].startswith("application/json")
        # And the daemon's way, from the empty state to that head.
        found = await ada.catch_up(line.workspace_id, 1, EMPTY)
        assert [path for path, _ in found.delta] == [b"a", b"b", b"b/run", b"link"]


@in_loop
async def test_a_manifest_of_many_nodes_goes_in_and_comes_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        entries: Mapping[str, Entry] = {"d": DIR} | {f"d/{number:04}": FILE_A for number in range(1_000)}
        root = line.root_after(line.delta(entries)).hex()
        wrong = await put(ada, document(entries))
        assert (wrong.status, wrong.code, wrong.json["error"]["details"]) == (400, "HASH_MISMATCH", {"hash": root})
        assert (await ada.ask("GET", f"/v1/blobs/manifests/{root}")).status == 404, "what is refused is not kept"
        assert (await put(ada, document(entries), root)).status == 201
        assert (await ada.ask("GET", f"/v1/blobs/manifests/{root}")).body == document(entries)
        assert (await put(ada, document({}), EMPTY)).status == 200, "everybody has the empty one"


BAD: dict[str, Mapping[str, Entry]] = {
    "absolute": {"/a": FILE_A},
    "up": {"d": DIR, "d/../a": FILE_A},
    "here": {"./a": FILE_A},
    "nothing": {"": FILE_A},
    "empty part": {"d": DIR, "d//a": FILE_A},
    "nul": {"a\0b": FILE_A},
    "git": {".git": DIR},
    "git folded": {".GiT": DIR},
    "ours": {"d": DIR, "d/.fst": DIR},
    "below a file": {"a": FILE_A, "a/b": FILE_A},
    "in no folder": {"d/a": FILE_A},
}


@pytest.mark.parametrize("case", sorted(BAD))
@in_loop
async def test_a_manifest_that_is_no_tree_is_refused(tmp_path: Path, case: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        body = document(BAD[case])
        refused = await put(ada, body)
        assert (refused.status, refused.code) == (422, "VALIDATION_ERROR"), refused
        assert (await ada.ask("GET", f"/v1/blobs/manifests/{sha256(body).hexdigest()}")).status == 404


@in_loop
async def test_a_body_that_is_no_manifest(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        one = document({"a": FILE_A})[22:-2]
        bodies: dict[bytes, tuple[int, str]] = {
            b"": (400, "INVALID_JSON"),
            b"{nope": (400, "INVALID_JSON"),
            b"[]": (422, "VALIDATION_ERROR"),
            b'{"entries":1}': (422, "VALIDATION_ERROR"),
            b'{"level":1,"entries":[]}': (422, "VALIDATION_ERROR"),
            b'{"level":0,"entries":[%s,%s]}' % (one, one): (422, "VALIDATION_ERROR"),
            document({"a": FILE_A}).replace(digest_of(A).hex().encode(), b"f" * 63): (422, "VALIDATION_ERROR"),
            b'{"level":0,"entries":[{"path":"b","type":"dir"},{"path":"a","type":"dir"}]}': (422, "VALIDATION_ERROR"),
            b'{"level":0,"entries":[{"path":"a","type":"none"}]}': (422, "VALIDATION_ERROR"),
        }
        for body, told in bodies.items():
            refused = await put(ada, body)
            assert (refused.status, refused.code) == told, body
        assert (await put(ada, document({"a": FILE_A}), "zz")).status == 422
        assert (await served.stranger().ask("PUT", f"/v1/blobs/manifests/{EMPTY}", data=document({}))).status == 401


@in_loop
async def test_anothers_manifest_is_neither_read_nor_used(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        body = document({"a": FILE_A})
        root = sha256(body).hexdigest()
        assert (await put(ada, body)).status == 201
        nobodys = await bob.ask("GET", f"/v1/blobs/manifests/{'0' * 64}")
        hers = await bob.ask("GET", f"/v1/blobs/manifests/{root}")
        assert (hers.status, hers.code, hers.json["error"]["message"]) == (404, nobodys.code, nobodys.json["error"]["message"])
        line = await bob.line()
        asked = {"manifest_hash": root}
        assert (await bob.ask("POST", f"/v1/projects/{line.project_id}/snapshots", asked)).code == "MANIFEST_NOT_FOUND"
        assert (await put(bob, body)).json["created"] is True, "whether it is here already is not told"


@in_loop
async def test_a_part_of_a_tree_is_no_manifest(tmp_path: Path) -> None:
    """The nodes of one's own tree are all one's own: none below the root may become a head, whose paths would be in no folder."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        assert (await line.push({"d": DIR} | {f"d/{number:04}": A for number in range(300)}, message="first")).status == 200
        part = next(digest for digest, data in line.nodes.nodes.items() if b'"d/0299"' in data and b'"level":0' in data)
        drawn = line.snapshot(part, "a part", [line.head.snapshot_id or ""])
        asked: dict[str, Any] = msgspec.to_builtins(drawn)
        body = {
            "snapshot_id": drawn.id, "parent_snapshot_ids": asked.pop("parents"), "expected_version": 2,
            **{name: value for name, value in asked.items() if name not in ("id", "project_id")},
        }  # fmt: skip
        refused = await ada.ask("POST", f"/v1/projects/{line.project_id}/snapshots", body)
        assert (refused.status, refused.code) == (422, "MANIFEST_NOT_FOUND"), refused
        asked = {"manifest_hash": part.hex(), "previous_manifest_hash": line.head.root}
        assert (await ada.ask("POST", f"/v1/workspaces/{line.workspace_id}/current-manifest", asked)).status == 422
        assert (await ada.workspace(line.workspace_id)).version == 2


@in_loop
async def test_a_head_goes_to_a_manifest_that_was_put_once_it_is_whole(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        body = document({"a": FILE_A})
        root, path = sha256(body).hexdigest(), f"/v1/workspaces/{line.workspace_id}/current-manifest"
        assert (await ada.ask("POST", path, {"manifest_hash": root})).code == "MANIFEST_NOT_FOUND"
        await put(ada, body)
        assert (await ada.ask("POST", path, {"manifest_hash": root})).code == "MISSING_BLOBS"
        await ada.upload(A)
        told = await ada.post(path, {"manifest_hash": root})
        assert (told["current_manifest_hash"], told["head"]["version"]) == (root, 2)
        assert (await ada.post(path, {"manifest_hash": root, "previous_manifest_hash": EMPTY}))["head"]["version"] == 2


@in_loop
async def test_what_is_put_and_never_named_is_collected_and_may_be_put_again(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        body = document({"a": FILE_A})
        root = sha256(body).hexdigest()
        await ada.upload(A)
        assert (await put(ada, body)).status == 201
        cloud, days = served.cloud, 24 * 60 * 60 * 1000
        for later in (30, 60):
            limits = collect.limits_at(wall_ms() + later * days)
            await collect.execute(cloud.db, cloud.objects, await collect.plan_collection(cloud.db, cloud.objects, limits))
        assert (await ada.ask("GET", f"/v1/blobs/manifests/{root}")).status == 404
        asked = {"manifest_hash": root}
        assert (await ada.ask("POST", f"/v1/projects/{line.project_id}/snapshots", asked)).code == "MANIFEST_NOT_FOUND"
        await ada.upload(A)
        assert (await put(ada, body)).status == 201
        assert (await ada.ask("POST", f"/v1/projects/{line.project_id}/snapshots", asked)).status == 201
