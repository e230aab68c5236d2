"""What a push may and may not do to a head: versions, retries, hostile deltas, missing blobs, snapshots."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from cloud.database import Tx, drive
from cloud.records.people import accounts
from cloud.records.work import projects, workspaces
from cloud.records.work.snapshots import parents_first
from cloud.records.work.workspaces import HeadMove, Workspace, advance_head
from store.blobs.frames import encode_frame
from store.errors import NotFound, VersionMoved
from store.types import DIR, Digest, File, Link, digest_of
from sync.core.wire import MAX_SECTION_BYTES, PROTOCOL, Head, PushHeader, PushStep, Section, WireSnapshot, WireWorkspace, pack_section
from tests.clouds import EMPTY, Edits, Line, Reply, Served, in_loop, next_message, opened, push_body, serving

replace = msgspec.structs.replace


async def ready(served: Served, **files: bytes) -> Line:
    """A workspace that holds these files."""
    line = await served.user().line()
    if files:
        assert (await line.push(dict(files))).status == 200
    return line


def packed(*records: dict[str, Any]) -> bytes:
    """A delta section that no honest client would make."""
    return zstandard.ZstdCompressor().compress(msgspec.json.encode(list(records)))


def file_record(path: str, data: bytes = b"1", **fields: Any) -> dict[str, Any]:
    return {"path": path, "type": "file", "hash": digest_of(data).hex(), "size": len(data), **fields}


async def workspace_of(line: Line) -> WireWorkspace:
    return msgspec.convert(await line.caller.get(f"/v1/workspaces/{line.workspace_id}"), WireWorkspace)


async def head_of(line: Line) -> Head:
    shown = await workspace_of(line)
    return Head(shown.id, shown.epoch, shown.version, shown.root, shown.snapshot_id)


@in_loop
async def test_a_version_grows_by_one_and_keeps_its_root(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        roots = [EMPTY]
        moves: list[Edits] = [
            {"a": b"1"}, {"b": b"2", "d": DIR, "d/c": b""}, {"a": None}, {"l": Link(b"../up"), "x": File(digest_of(b"2"), 1, True)},
        ]  # fmt: skip
        for edits in moves:
            assert (await line.push(edits)).status == 200
            roots.append(line.head.root)
        assert line.head.version == 5 and await head_of(line) == line.head
        listed = (await line.caller.get(f"/v1/workspaces/{line.workspace_id}/versions/list"))["versions"]
        assert [each["root"] for each in reversed(listed)] == roots
        assert [each["replica_id"] for each in listed] == [line.replica_id] * 4 + [None]


@in_loop
async def test_a_lost_race_is_told_the_winner_and_costs_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        one = await ready(served)
        two = await one.caller.mirror(await workspace_of(one))
        await one.push({"a": b"1"})
        reply = await two.push({"b": b"2"})
        assert (reply.status, reply.code) == (409, "VERSION_MOVED")
        assert msgspec.convert(reply.json["error"]["details"]["head"], Head) == one.head
        await two.follow()
        assert (await two.push({"b": b"2"})).status == 200
        await one.follow()
        assert one.head == two.head == await head_of(one)


@in_loop
async def test_the_same_push_again_gets_the_same_answer(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        before = line.head
        step, deltas = line.step({"a": b"2"}, message="kept")
        body = push_body(line.header(step), deltas, [encode_frame([(digest_of(b"2"), b"2")])])
        first, second = await line.send_raw(body), await line.send_raw(body)
        assert first.status == second.status == 200 and first.body == second.body
        line.head = msgspec.json.decode(first.body, type=Head)
        await line.push({"a": b"3"})
        third = await line.send_raw(body)
        assert third.status == 200 and third.body == first.body, "also after the head went on"
        assert (await head_of(line)).version == before.version + 2
        # The same move by another replica, or with a snapshot the cloud never saw, is no retry.
        line.head = before
        other = await line.caller.mirror(await workspace_of(line))
        assert (await line.send(replace(line.header(step), replica_id=other.replica_id), deltas)).code == "VERSION_MOVED"
        unseen = replace(step, snapshot=line.snapshot(Digest(bytes.fromhex(step.root)), "never sent"))
        assert (await line.send(line.header(unseen), deltas)).code == "VERSION_MOVED"


@in_loop
async def test_a_retry_is_one_whether_it_carries_snapshots_or_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        plain, deltas = line.step({"d": DIR})
        body = push_body(line.header(plain), deltas)
        assert [(await line.send_raw(body)).status for _ in range(2)] == [200, 200]
        await line.follow()
        root = Digest(bytes.fromhex(line.head.root))
        one = PushStep(line.head.root, 0, line.snapshot(root, "one"))
        two = PushStep(line.head.root, 0, line.snapshot(root, "two"))
        assert (await line.send(line.header(one))).status == 200
        assert (await line.send(line.header(one, two))).code == "VERSION_MOVED", "the second snapshot is news"


def test_a_head_moves_only_from_the_version_it_has(tmp_path: Path) -> None:
    """H1 in the SQL itself, whatever was checked before it."""
    with opened(tmp_path) as db:

        async def begin(tx: Tx) -> None:
            await accounts.add_user(tx, "ada", "ada@example.org", "t")
            await projects.add_project(tx, "ada", "p", "p", "t")
            await workspaces.add_workspace(tx, Workspace("w", "p", "w", None, None, None, EMPTY, None, None, "t", 1, None), "cli")

        db.write_now(begin)
        for user_id, version in (("ada", 0), ("ada", 2), ("eve", 1)):
            with pytest.raises((VersionMoved, NotFound)):
                db.write_now(lambda tx, u=user_id, v=version: advance_head(tx, u, HeadMove("w", v, "x", None, None, "cli"), "t"))  # type: ignore[misc]
        assert drive(workspaces.get_head(db.read(), "ada", "w")).version == 1
        assert db.write_now(lambda tx: advance_head(tx, "ada", HeadMove("w", 1, "x", None, None, "cli"), "t")) == 2
        assert drive(workspaces.get_head(db.read(), "ada", "w")).root == "x"


@in_loop
async def test_another_epoch_stops_everything(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        step, deltas = line.step({"a": None})
        reply = await line.send(replace(line.header(step), epoch="0" * 32), deltas)
        assert (reply.status, reply.code) == (409, "EPOCH_CHANGED")
        assert reply.json["error"]["details"]["head"]["epoch"] == served.cloud.epoch


@in_loop
async def test_missing_blobs_are_named_and_nothing_else_happens(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        one, two = digest_of(b"one"), digest_of(b"two")
        step, deltas = line.step({"a": b"one", "b": b"two"})
        reply = await line.send(line.header(step), deltas, [encode_frame([(one, b"one")])])
        assert (reply.status, reply.code) == (422, "MISSING_BLOBS")
        assert reply.json["error"]["details"]["hashes"] == [two.hex()]
        assert (await head_of(line)).version == 1
        assert await line.caller.missing([one, two]) == [True, True], "a refused push keeps nothing"
        await line.caller.upload(b"one", b"two")
        assert (await line.send(line.header(step), deltas)).status == 200


@in_loop
async def test_a_size_that_is_not_the_blobs_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.caller.upload(b"four")
        for size in (0, 3, 5, 2**62):
            reply = await line.push({"a": File(digest_of(b"four"), size)})
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR"), size
        reply = await line.push({"a": File(digest_of(b"four"), 4), "b": File(digest_of(b"four"), 5)})
        assert reply.code == "VALIDATION_ERROR"
        assert (await line.push({"a": File(digest_of(b"four"), 4)})).status == 200


PATHS = [
    "", ".", "..", "a/../b", "../a", "/etc/passwd", "/x", "a//b", "a/", "a/./b", ".git", ".git/config", "a/.GIT/x", ".Git", ".g\u200cit/x",
    "git~1", "a/GIT~1/hooks", ".git.", ".git ", ".git::$INDEX_ALLOCATION", ".fst/state", "a/.FST", "a\0b", "x" * 256, "d/" * 2049 + "x",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=[repr(path)[:24] for path in PATHS])
@in_loop
async def test_a_path_that_must_exist_nowhere(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.caller.upload(b"1")
        for record in (file_record(path), {"path": path, "type": "dir"}, {"path": path, "type": "none"}):
            for before in ([], [file_record("a")], [file_record("a"), file_record("a/b")]):
                reply = await line.send(line.header(PushStep("0" * 64, 1)), [packed(*before, record)])
                assert reply.code == "VALIDATION_ERROR"
                assert reply.json["error"]["message"].startswith(("not a path", "not a file name", "a reserved name")), (before, record)


TREES: Sequence[tuple[str, Edits]] = [
    ("a file under nothing", {"d/f": b"1"}),
    ("a file under a file", {"a/f": b"1"}),
    ("a file under a link", {"l/f": b"1"}),
    ("a folder removed from under its files", {"kept": None}),
    ("a folder that becomes a file", {"kept": b"1"}),
    ("a folder that becomes a link", {"kept": Link(b"elsewhere")}),
    ("a file deep under nothing", {"x": DIR, "x/y/z": b"1"}),
]


@pytest.mark.parametrize(("what", "edits"), TREES, ids=[what for what, _ in TREES])
@in_loop
async def test_what_is_no_tree_is_refused(tmp_path: Path, what: str, edits: Edits) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.push({"a": b"1", "l": Link(b"a"), "kept": DIR, "kept/in": DIR, "kept/in/f": b"1"})
        before = line.head
        reply = await line.push(edits)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
        assert "tree" in reply.json["error"]["message"]
        assert await head_of(line) == before


@in_loop
async def test_a_folder_may_become_a_file_when_all_below_goes_too(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.push({"d": DIR, "d/f": b"1"})
        assert (await line.push({"d": b"2", "d/f": None})).status == 200
        assert (await line.push({"d": DIR, "d/f": b"1"})).status == 200


DELTAS: Sequence[tuple[str, bytes]] = [
    ("not sorted", packed(file_record("b"), file_record("a"))),
    ("twice", packed(file_record("a"), file_record("a", b"2"))),
    ("not zstd", b"[]"),
    ("not JSON", zstandard.ZstdCompressor().compress(b"{")),
    ("no list", zstandard.ZstdCompressor().compress(b"{}")),
    ("cut short", packed(file_record("a"))[:-4]),
    ("unknown type", packed({"path": "a", "type": "fifo"})),
    ("no hash", packed({"path": "a", "type": "file", "size": 1})),
    ("a hash that is none", packed({"path": "a", "type": "file", "hash": "A" * 64, "size": 1})),
    ("a negative size", packed({"path": "a", "type": "file", "hash": "0" * 64, "size": -1})),
    ("a size of 2**64", packed({"path": "a", "type": "file", "hash": "0" * 64, "size": 2**64})),
    ("a folder with bytes", packed({"path": "a", "type": "dir", "size": 1})),
    ("a link to nothing", packed({"path": "a", "type": "link", "target": ""})),
    ("two names", packed({"path": "a", "path_b64": "Yg==", "type": "dir"})),
    ("text as base64", packed({"path_b64": base64.b64encode(b"a").decode(), "type": "dir"})),
    ("base64 of ..", packed({"path_b64": base64.b64encode(b"..").decode(), "type": "dir"})),
    ("a bomb", zstandard.ZstdCompressor().compress(b" " * (64 << 20))),
    ("a size that lies", zstandard.ZstdCompressor(write_content_size=False).compress(b"[]")),
]


@pytest.mark.parametrize(("what", "delta"), DELTAS, ids=[what for what, _ in DELTAS])
@in_loop
async def test_a_hostile_delta_changes_nothing(tmp_path: Path, what: str, delta: bytes) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.caller.upload(b"1", b"2")
        reply = await line.send(line.header(PushStep("0" * 64, 1)), [delta])
        assert reply.status in (413, 422) and reply.code in ("VALIDATION_ERROR", "TOO_LARGE")
        if what in ("not sorted", "twice"):
            assert "sorted by path, each path once" in reply.json["error"]["message"]
        assert (await head_of(line)).version == 1


@in_loop
async def test_sections_of_one_step_are_one_delta(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.caller.upload(b"1")
        root = line.root_after(line.delta({"a": b"1", "b": b"1"}))
        right, wrong = [packed(file_record("a")), packed(file_record("b"))], [packed(file_record("b")), packed(file_record("a"))]
        assert (await line.send(line.header(PushStep(root.hex(), 2)), wrong)).code == "VALIDATION_ERROR"
        assert (await line.send(line.header(PushStep(root.hex(), 2)), right)).status == 200


@in_loop
async def test_the_root_that_is_claimed_must_come_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        step, deltas = line.step({"b": b"1"})
        for root in (EMPTY, line.head.root, "0" * 64):
            reply = await line.send(line.header(replace(step, root=root)), deltas)
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
        for parent in (EMPTY, step.root):
            reply = await line.send(replace(line.header(step), parent_root=parent), deltas)
            assert reply.code == "VERSION_MOVED"
        assert (await head_of(line)).version == line.head.version


BODIES: Sequence[tuple[str, bytes]] = [
    ("nothing", b""),
    ("half a section head", b"\1\0"),
    ("a header cut short", pack_section(Section.HEADER, b"{}" * 50)[:20]),
    ("an unknown kind", b"\x09\0\0\0\0"),
    ("a section over the bound", b"\1" + (MAX_SECTION_BYTES + 1).to_bytes(4, "big") + b"x" * 100),
    ("a header that is no JSON", pack_section(Section.HEADER, b"{")),
    ("a header of nothing", pack_section(Section.HEADER, b"{}")),
    ("a delta first", pack_section(Section.DELTA, b"")),
    ("text", b"hello, this is not a section at all"),
]


@pytest.mark.parametrize(("what", "body"), BODIES, ids=[what for what, _ in BODIES])
@in_loop
async def test_a_body_that_is_none(tmp_path: Path, what: str, body: bytes) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        reply = await line.send_raw(body)
        assert reply.status in (413, 422) and reply.code in ("VALIDATION_ERROR", "TOO_LARGE")


@in_loop
async def test_a_header_that_does_not_fit_its_body(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.caller.upload(b"1")
        step, deltas = line.step({"a": b"1"})
        header, frame = line.header(step), encode_frame([(digest_of(b"1"), b"1")])
        bodies: list[tuple[PushHeader, list[bytes], list[bytes]]] = [
            (header, [], []), (header, [], [frame]), (header, deltas * 2, []), (replace(header, steps=[]), [], []),
            (replace(header, steps=[replace(step, sections=0)]), deltas, []),
            (replace(header, steps=[replace(step, sections=-1)]), deltas, []),
            (replace(header, actor="root"), deltas, []), (replace(header, protocol=PROTOCOL + 1), deltas, []),
            (replace(header, parent_root="x"), deltas, []), (replace(header, steps=[replace(step, root="..")]), deltas, []),
            (replace(header, steps=[step] * 1001), deltas, []),
        ]  # fmt: skip
        for sent, with_deltas, with_frames in bodies:
            reply = await line.send(sent, with_deltas, with_frames)
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR"), sent
        late = push_body(header, deltas, [frame]) + pack_section(Section.DELTA, deltas[0])
        assert (await line.send_raw(late)).code == "VALIDATION_ERROR"
        assert (await head_of(line)).version == 1


@in_loop
async def test_frames_in_a_push_are_checked(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        step, deltas = line.step({"a": b"1"})
        lie = encode_frame([(digest_of(b"1"), b"2")])
        assert (await line.send(line.header(step), deltas, [lie])).code == "HASH_MISMATCH"
        whole = encode_frame([(digest_of(b"1"), b"1")])
        for broken in (b"", whole[:-1], whole + b"x", b"XXXX" + whole[4:], whole[:20] + b"\xff" + whole[21:]):
            assert (await line.send(line.header(step), deltas, [broken])).code == "VALIDATION_ERROR"
        much = [encode_frame([(digest_of(data), data)]) for data in (bytes([n]) * (3 << 20) for n in range(3))]
        assert (await line.send(line.header(step), deltas, much)).code == "TOO_LARGE"
        assert (await line.send(line.header(step), deltas, [whole])).status == 200


@in_loop
async def test_steps_are_followed_one_by_one_under_one_version(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        await line.caller.upload(b"2", b"3")
        one, first = line.step({"a": b"2", "gone": b"3"}, message="one")
        assert one.snapshot is not None
        two, second = line.step({"gone": None}, root=one.root, message="two", parents=[one.snapshot.id])
        three, third = line.step({"b": b"3"}, root=two.root)
        reply = await line.send(line.header(one, two, three), first + second + third)
        assert reply.status == 200
        head = msgspec.json.decode(reply.body, type=Head)
        assert (head.version, head.root) == (3, three.root) and two.snapshot and head.snapshot_id == two.snapshot.id
        caught = await line.caller.catch_up(line.workspace_id, 2, line.head.root)
        assert caught.delta == line.delta({"a": b"2", "b": b"3"})
        assert caught.header.snapshots == [one.snapshot, two.snapshot]
        nodes, _ = await line.caller.fetch("/v1/manifests/nodes", [Digest(bytes.fromhex(one.root))])
        assert nodes.status == 200, "the states in between can be read too"


@in_loop
async def test_a_step_in_the_middle_needs_its_blobs_too(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        one, first = line.step({"a": b"passing"}, message="one")
        two, second = line.step({"a": None}, root=one.root)
        reply = await line.send(line.header(one, two), first + second)
        assert reply.json["error"]["details"]["hashes"] == [digest_of(b"passing").hex()]


@in_loop
async def test_a_snapshot_must_verify_and_fit(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        other = await line.caller.line(name="other", project_id=line.project_id)
        foreign = await served.user("eve@example.org").line()
        await foreign.push({"a": b"1"}, message="hers")
        step, deltas = line.step({"a": b"1", "b": b"1"}, message="mine")
        good = step.snapshot
        assert good is not None
        root = Digest(bytes.fromhex(step.root))
        wrong = [
            replace(good, message="changed"), replace(good, created_ms=good.created_ms + 1), replace(good, id="snap-" + "0" * 26),
            replace(good, id="../../x"), other.snapshot(root, "of another workspace"), foreign.snapshot(root, "of another project"),
            line.snapshot(Digest(bytes.fromhex(line.head.root)), "of another root"),
            line.snapshot(root, "of a stranger's", [foreign.head.snapshot_id or ""]), line.snapshot(root, "of nobody's", ["snap-x"]),
            replace(good, source="robot"), replace(good, parents=["b", "a"]), line.snapshot(root, "x" * 70_000),
        ]  # fmt: skip
        for snapshot in wrong:
            reply = await line.send(line.header(replace(step, snapshot=snapshot)), deltas)
            assert reply.status in (413, 422), snapshot
        assert (await line.send(line.header(step), deltas)).status == 200
        assert msgspec.convert((await line.caller.get(f"/v1/snapshots/{good.id}"))["snapshot"], WireSnapshot) == good


@in_loop
async def test_a_known_id_with_other_content_is_a_conflict(tmp_path: Path) -> None:
    """`source` is no part of what the id covers."""
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        step, deltas = line.step({"d": DIR}, message="m")
        assert (await line.send(line.header(step), deltas)).status == 200
        await line.follow()
        again = PushStep(step.root, 0, replace(step.snapshot, source="web") if step.snapshot else None)
        assert (await line.send(line.header(again))).code == "CONFLICT"
        assert await head_of(line) == line.head


@in_loop
async def test_the_heads_snapshot_only_goes_forward(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        await line.push({"a": b"1"}, message="one")
        one = line.head.snapshot_id or ""
        await line.push({"a": b"2"}, message="two", parents=[one])
        two = line.head.snapshot_id or ""
        await line.push({"a": b"3"}, message="beside", parents=[one])
        assert line.head.snapshot_id == two, "what does not continue the head's snapshot does not replace it"
        beside = (await line.caller.get(f"/v1/workspaces/{line.workspace_id}/snapshots"))["snapshots"][0]["id"]
        await line.push({"a": b"4"}, message="both", parents=sorted([two, beside]))
        assert line.head.snapshot_id not in (one, two, beside)
        project = (await line.caller.get(f"/v1/projects/{line.project_id}"))["project"]
        assert project["last_snapshot_id"] == line.head.snapshot_id


@in_loop
async def test_activity_tells_of_snapshots_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served)
        step, deltas = line.step({"d": DIR}, message="why")
        assert (await line.send(replace(line.header(step), actor="web"), deltas)).status == 200
        newest = (await line.caller.get(f"/v1/projects/{line.project_id}/events?limit=1"))["events"][0]
        assert step.snapshot and newest["type"] == "snapshot.pushed" and newest["actor"] == "web" and newest["message"] == "why"
        assert (newest["workspace_id"], newest["snapshot_id"]) == (line.workspace_id, step.snapshot.id)


@in_loop
async def test_catch_up_from_a_root_the_workspace_never_had_gives_no_delta(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        other = await served.user().line(name="other")
        await other.push({"z": b"1"})
        for root in (other.head.root, "0" * 64):
            found = await line.caller.catch_up(line.workspace_id, 2, root)
            assert found.header.parent_root is None and found.header.sections == 0 and found.header.head == line.head
        same = await line.caller.catch_up(line.workspace_id, 2, line.head.root)
        assert same.header.parent_root == line.head.root and same.delta == []
        reply: Reply = await line.caller.ask("GET", f"/v1/workspaces/{line.workspace_id}/versions?since=1&root=..")
        assert reply.code == "VALIDATION_ERROR"


def test_parents_come_first_whatever_their_ids() -> None:
    def made(name: str, *parents: str) -> WireSnapshot:
        return WireSnapshot(name, "p", "w", EMPTY, list(parents), "cli", "", "", "", "", 0)

    shuffled = [made("d", "b", "c"), made("c", "a"), made("a", "outside"), made("b", "a"), made("e")]
    ordered = [snapshot.id for snapshot in parents_first(shuffled)]
    assert sorted(ordered) == ["a", "b", "c", "d", "e"] and ordered[-1] == "e"
    assert all(ordered.index(parent) < ordered.index(each.id) for each in shuffled for parent in each.parents if parent in ordered)
    chain = [made(str(number), str(number - 1)) for number in range(3000, 0, -1)]
    assert [snapshot.id for snapshot in parents_first(chain)] == [str(number) for number in range(1, 3001)]


@in_loop
async def test_a_head_may_go_to_a_state_the_project_has_had(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        line = await ready(served, a=b"1")
        old = line.head
        await line.push({"a": b"2"}, message="kept")
        path = f"/v1/workspaces/{line.workspace_id}/current-manifest"
        stale = await line.caller.ask("POST", path, {"manifest_hash": EMPTY, "previous_manifest_hash": old.root})
        assert (stale.status, stale.code) == (409, "VERSION_MOVED")
        assert msgspec.convert(stale.json["error"]["details"]["head"], Head) == line.head
        assert (await line.caller.ask("POST", path, {"manifest_hash": old.root})).code == "VERSION_MOVED"
        async with line.caller.listening() as socket:
            back = await line.caller.post(path, {"manifest_hash": old.root, "previous_manifest_hash": line.head.root, "actor": "web"})
            heard = (await next_message(socket)).header
        head = msgspec.convert(back["head"], Head)
        assert (head.root, head.version, head.snapshot_id) == (old.root, line.head.version + 1, line.head.snapshot_id)
        assert heard.head == head == await head_of(line)
        again = await line.caller.post(path, {"manifest_hash": old.root, "previous_manifest_hash": line.head.root})
        assert msgspec.convert(again["head"], Head) == head, "asked for what it is, nothing moves"
        other = await served.user("eve@example.org").line(name="elsewhere")
        await other.push({"z": b"1"})
        for unknown, code in (("0" * 64, "MANIFEST_NOT_FOUND"), (other.head.root, "MANIFEST_NOT_FOUND"), ("..", "VALIDATION_ERROR")):
            reply = await line.caller.ask("POST", path, {"manifest_hash": unknown, "previous_manifest_hash": old.root})
            assert reply.code == code
        await line.follow()
        assert line.head == head and (await line.push({"b": b"1"})).status == 200
