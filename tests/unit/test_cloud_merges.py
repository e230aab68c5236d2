"""Workspaces merged into each other: shown, done, taken back (SYNC-1 to SYNC-12)."""

from __future__ import annotations

import asyncio
import dataclasses
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from cloud.accounts.session import who_is
from cloud.app import wall_ms
from cloud.database import Tx
from cloud.merges.execute import Execute, execute
from cloud.merges.undo import Undo, undo
from cloud.objects import Objects
from cloud.operate.fsck import find_problems
from cloud.operate.upkeep import look_after
from store.errors import VersionMoved
from store.types import DIR, Digest, Link, digest_of, new_ulid
from tests.clouds import Caller, Edits, Line, Served, in_loop, next_message, serving
from tests.merging import TEXT, Pair, fork_of, pair_of, script


async def head_of(line: Line) -> tuple[int, str, str | None]:
    shown = await line.caller.get(f"/v1/workspaces/{line.workspace_id}")
    return shown["version"], shown["root"], shown["snapshot_id"]


async def counts_of(served: Served) -> dict[str, int]:
    """Rows of every table that a merge writes."""
    reader = served.cloud.read()
    counts = {}
    for table, sql in {
        "snapshots": "SELECT count(*) FROM snapshots", "versions": "SELECT count(*) FROM workspace_versions",
        "events": "SELECT count(*) FROM activity_events", "merges": "SELECT count(*) FROM workspace_merges",
        "blobs": "SELECT count(*) FROM owned_blobs", "nodes": "SELECT count(*) FROM owned_nodes",
        "used": "SELECT count(*) FROM sync_previews WHERE used_at IS NOT NULL",
    }.items():  # fmt: skip
        row = await reader.one(sql)
        assert row is not None
        counts[table] = row[0]
    return counts


async def is_sound(served: Served) -> bool:
    return [problem async for problem in find_problems(served.cloud.db, served.cloud.objects)] == []


async def kinds_of(ada: Caller, project_id: str) -> list[str]:
    events = (await ada.get(f"/v1/projects/{project_id}/events?limit=100"))["events"]
    return [each["type"] for each in reversed(events)]


@in_loop
async def test_what_main_did_comes_in_and_what_was_done_here_stays(tmp_path: Path) -> None:
    """SYNC-2, SYNC-3, SYNC-9: additions, edits and deletions of both sides; one text joined by lines."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        base = {"edited": b"1", "gone": b"1", "here": b"1", "left": b"1", "text": TEXT, "still": b"1"}
        pair = await pair_of(ada, base)
        main = {"edited": b"2", "gone": None, "new": b"main's", "text": TEXT.replace(b"one", b"ONE"), "same": b"both"}
        await pair.apart(main, {"here": b"2", "left": None, "mine": b"fork's", "text": TEXT.replace(b"five", b"FIVE"), "same": b"both"})
        async with ada.listening() as socket:
            preview = await pair.prepare()
            assert preview["mode"] == "three-way" and preview["decisions_needed"] == []
            assert {each["path"]: each["action"] for each in preview["auto_actions"]} == {
                "edited": "update", "gone": "remove", "new": "add", "text": "joined",
            }  # fmt: skip
            joined = next(each for each in preview["auto_actions"] if each["action"] == "joined")
            assert joined["combined_content"].encode() == TEXT.replace(b"one", b"ONE").replace(b"five", b"FIVE")
            before = pair.fork.head
            done = (await pair.execute(preview)).json
            told = {}
            for _ in range(2):
                message = await next_message(socket)
                assert message.header.head is not None
                told[message.header.head.workspace_id] = message
        assert (done["files_added"], done["files_updated"], done["files_deleted"]) == (1, 2, 1)
        await pair.follow()
        assert await pair.shown() == {
            "edited": "2", "new": "main's", "here": "2", "mine": "fork's", "same": "both", "still": "1",
            "text": "ONE\ntwo\nthree\nfour\nFIVE\n",
        }  # fmt: skip
        # Both parents, and between them and before them nothing is lost.
        merged = (await ada.get(f"/v1/snapshots/{done['snapshot_after_id']}"))["snapshot"]
        safe = (await ada.get(f"/v1/snapshots/{done['snapshot_before_id']}"))["snapshot"]
        mains = await ada.get(f"/v1/workspaces/{pair.main.workspace_id}")
        assert set(merged["parents"]) == {safe["id"], mains["snapshot_id"]} and merged["source"] == "web"
        assert (safe["manifest_hash"], safe["source"]) == (before.root, "system")
        history = msgspec.json.decode((await ada.get(f"/v1/workspaces/{pair.fork.workspace_id}"))["merge_history"])
        assert history[pair.main.workspace_id]["last_merged_snapshot"] == mains["snapshot_id"]
        assert pair.fork.head.version == before.version + 1 and pair.fork.head.snapshot_id == merged["id"]
        heard = told[pair.fork.workspace_id]
        assert heard.header.parent_root == before.root and len(heard.delta) == 4 and len(heard.contents) == 1
        assert [each.id for each in heard.header.snapshots] == [safe["id"], merged["id"]]
        assert told[pair.main.workspace_id].header.head == pair.main.head
        assert (await kinds_of(ada, pair.main.project_id))[-1] == "merge.completed"
        assert await is_sound(served)
        # Once merged there is nothing to merge, and such a preview cannot be used.
        again = await pair.prepare()
        assert again["up_to_date"] is True and again["auto_actions"] == []
        assert (await pair.execute(again)).code == "PREVIEW_EXPIRED"


@pytest.mark.embedded
@in_loop
async def test_nothing_moves_by_being_shown(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"a": b"2"}, {"b": b"1"})
        before = await counts_of(served), await head_of(pair.main), await head_of(pair.fork)
        preview = await pair.prepare()
        assert preview["workspace_version"] == pair.fork.head.version
        assert before == (await counts_of(served), await head_of(pair.main), await head_of(pair.fork))


CONFLICTS: list[tuple[str, Edits, Edits, Edits, str, str | None]] = [
    ("same lines", {"f": TEXT}, {"f": TEXT.replace(b"two", b"2")}, {"f": TEXT.replace(b"two", b"II")}, "edit-edit", None),
    ("binary", {"f": b"\0a"}, {"f": b"\0b"}, {"f": b"\0c"}, "edit-edit", None),
    ("both added", {"x": b"1"}, {"f": b"main"}, {"f": b"fork"}, "add-add", None),
    ("removed there", {"f": b"1"}, {"f": None}, {"f": b"2"}, "edit-delete", "use_workspace"),
    ("removed here", {"f": b"1"}, {"f": b"2"}, {"f": None}, "edit-delete", "use_main"),
    ("link against file", {"f": b"1"}, {"f": Link(b"to")}, {"f": b"2"}, "edit-edit", None),
    ("two links", {"f": Link(b"a")}, {"f": Link(b"b")}, {"f": Link(b"c")}, "edit-edit", None),
]


@pytest.mark.parametrize("side", ["use_main", "use_workspace"])
@pytest.mark.parametrize(("name", "base", "main", "fork", "kind", "recommended"), CONFLICTS, ids=[each[0] for each in CONFLICTS])
@pytest.mark.embedded
@in_loop
async def test_what_is_undecided_is_asked_and_comes_out_as_decided(
    tmp_path: Path, name: str, base: Edits, main: Edits, fork: Edits, kind: str, recommended: str | None, side: str
) -> None:
    """SYNC-2, SYNC-3, SYNC-4: no side is ever taken unasked, and no side is recommended that removes an edit."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), base)
        await pair.apart(main, fork)
        wanted = (await pair.shown(pair.main if side == "use_main" else pair.fork)).get("f")
        preview = await pair.prepare()
        [asked] = preview["decisions_needed"]
        assert (asked["path"], asked["kind"], asked["recommended_option_id"]) == ("f", kind, recommended)
        assert asked["conflict_reason"] and {"use_main", "use_workspace"} <= {each["id"] for each in asked["options"]}
        missing = await pair.execute(preview)
        assert (missing.status, missing.code, missing.json["error"]["details"]["missing"]) == (400, "MISSING_DECISIONS", ["f"])
        assert (await pair.execute(preview, {"f": side})).status == 200
        await pair.follow()
        assert (await pair.shown()).get("f") == wanted
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_a_decision_may_be_ones_own_text_or_both(tmp_path: Path) -> None:
    """SYNC-6: custom content keeps the bit; SYNC-14: binary files may both be kept, each whole."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"#!1", b"#!2", b"#!3", b"\0large")
        pair = await pair_of(ada, {"run": script(b"#!1"), "b.bin": b"\0a", "c": b"\0a", "d": b"1"})
        await pair.apart(
            {"run": script(b"#!2"), "b.bin": b"\0b", "c": b"\0b", "d": b"2"},
            {"run": script(b"#!3"), "b.bin": b"\0c", "c": b"\0c", "d": None},
        )
        preview = await pair.prepare()
        decisions = {
            "run": {"option": "custom", "content": "#!mine"}, "b.bin": "use_both", "d": {"option": "custom", "content": ""},
            "c": {"option": "custom", "hash": digest_of(b"\0large").hex()},
        }  # fmt: skip
        for wrong in (
            {"run": "use_mine"}, {"run": {"option": "custom"}}, {"run": {"option": "custom", "content": "x", "hash": "0" * 64}},
            {"x": "use_main"},
            {"d": "use_both"}, {"run": {"option": "custom", "hash": "0" * 63}}, {"run": 7},
        ):  # fmt: skip
            refused = await pair.execute(preview, decisions | wrong)
            assert (refused.status, refused.code) == (422, "VALIDATION_ERROR"), wrong
        foreign = await pair.execute(preview, decisions | {"run": {"option": "custom", "hash": digest_of(b"not hers").hex()}})
        assert (foreign.status, foreign.code) == (422, "MISSING_BLOBS")
        assert (await pair.execute(preview, decisions)).status == 200
        await pair.follow()
        tag = digest_of(b"\0c").hex()[:12]
        assert await pair.shown() == {"run": "#!mine*", "b.bin": "\0b", f"b.conflict-{tag}.bin": "\0c", "c": "\0large", "d": ""}
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_modes_links_folders_and_names(tmp_path: Path) -> None:
    """SYNC-4: every kind has a defined outcome; names that differ in case only are two files here."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"1", b"2")
        pair = await pair_of(ada, {"run": b"1", "link": Link(b"a"), "full": DIR, "full/x": b"1", "swap": b"1", "empty": DIR})
        await pair.apart(
            {"run": script(b"1"), "link": Link(b"b"), "new": DIR, "Name": b"1", "full": None, "full/x": None, "swap": None},
            {"run": b"2", "full/y": b"fork's", "name": b"2", "empty": None},
        )
        preview = await pair.prepare()
        assert preview["decisions_needed"] == []
        assert (await pair.execute(preview)).status == 200
        await pair.follow()
        assert await pair.shown() == {
            "run": "2*", "link": "-> b", "new": "/", "Name": "1", "name": "2", "full": "/", "full/y": "fork's",
        }  # fmt: skip


FOLDERS = [
    ("use_workspace", {"d": "/", "d/x": "fork's", "d/y": "1"}, "use_workspace"),
    ("use_main", {"d": "a file"}, "use_main"),
    ("use_main", None, "use_workspace"),
    ("use_both", {"d": "/", "d/x": "fork's", "d/y": "1", f"d.conflict-{digest_of(b'a file').hex()[:12]}": "a file"}, "use_workspace"),
]


@pytest.mark.parametrize(("folder", "wanted", "inside"), FOLDERS, ids=["folder", "file", "both at once", "beside"])
@pytest.mark.embedded
@in_loop
async def test_a_file_against_a_folder(tmp_path: Path, folder: str, wanted: dict[str, str] | None, inside: str) -> None:
    """SYNC-4: the folder, the file, or both; what cannot stand together is refused and changes nothing."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"d": DIR, "d/x": b"1"})
        await pair.apart({"d": b"a file", "d/x": None}, {"d/x": b"fork's", "d/y": b"1"})
        preview = await pair.prepare()
        kinds = {each["path"]: (each["kind"], each["recommended_option_id"]) for each in preview["decisions_needed"]}
        assert kinds == {"d": ("file-folder", "use_workspace"), "d/x": ("edit-delete", "use_workspace")}
        before = await counts_of(served), await head_of(pair.fork)
        reply = await pair.execute(preview, {"d": folder, "d/x": inside})
        if wanted is None:
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
            assert (await counts_of(served), await head_of(pair.fork)) == before
        else:
            assert reply.status == 200, reply
            await pair.follow()
            assert await pair.shown() == wanted
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_a_folder_goes_with_the_edit_that_held_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"d": DIR, "d/e": DIR, "d/e/x": b"1", "z": b"1"})
        await pair.apart({"d": None, "d/e": None, "d/e/x": None}, {"d/e/x": b"2"})
        await pair.merge({"d/e/x": "use_main"})
        assert await pair.shown() == {"z": "1"}


@pytest.mark.embedded
@in_loop
async def test_what_main_ignores_it_has_not_removed(tmp_path: Path) -> None:
    """A file that main stopped carrying is none it took away: every replica of the fork would lose it."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"kept.log": b"1", "gone": b"1", "d": DIR, "d/x.tmp": b"1", "d/.gitignore": b""})
        await pair.apart({".gitignore": b"*.log\n", "kept.log": None, "gone": None, "d/.gitignore": b"*.tmp\n", "d/x.tmp": None}, {})
        await pair.merge()
        shown = await pair.shown()
        assert "kept.log" in shown and "d/x.tmp" in shown and "gone" not in shown


@pytest.mark.embedded
@in_loop
async def test_a_name_that_is_not_utf8_is_decided_too(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        name, key = "caf\udce9", "\0" + b64encode(b"caf\xe9").decode()
        pair = await pair_of(ada, {"x": b"1"})
        await pair.apart({name: b"main"}, {name: b"fork"})
        preview = await pair.prepare()
        [asked] = preview["decisions_needed"]
        assert asked["path"] == key and asked["ours"]["path_b64"] == b64encode(b"caf\xe9").decode()
        assert (await pair.execute(preview, {key: "use_main"})).status == 200
        await pair.follow()
        assert (await pair.shown())["caf\\xe9"] == "main"


@in_loop
async def test_a_head_that_moved_since_stops_it_and_nothing_is_changed(tmp_path: Path) -> None:
    """SYNC-7: either head; the preview stays good for nothing else, and a new one shows the new state."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1", "b": b"1"})
        await pair.apart({"a": b"2"}, {"b": b"2"})
        for line in (pair.fork, pair.main):
            preview = await pair.prepare()
            await line.push({"c": b"later"})
            before = await counts_of(served), await head_of(pair.main), await head_of(pair.fork)
            reply = await pair.execute(preview)
            assert (reply.status, reply.code) == (409, "VERSION_MOVED")
            head = reply.json["error"]["details"]["head"]
            assert (head["workspace_id"], head["version"]) == (line.workspace_id, line.head.version)
            assert before == (await counts_of(served), await head_of(pair.main), await head_of(pair.fork))
            await line.push({"c": None})
        await pair.merge()
        assert await pair.shown() == {"a": "2", "b": "2"}


class Interrupted:
    """The cloud's bytes; something happens right before the transaction that they are made ready for."""

    def __init__(self, objects: Objects, meanwhile: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._objects = objects
        self._meanwhile = meanwhile

    async def ready(self, contents: Mapping[Digest, bytes]) -> None:
        await self._meanwhile()
        await self._objects.ready(contents)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


@pytest.mark.parametrize("moved", ["main", "kept main", "fork", "undo"])
@in_loop
async def test_a_head_that_moves_at_the_last_moment_stops_it_too(tmp_path: Path, moved: str) -> None:
    """SYNC-7: after everything was drawn and before the transaction began."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"a": b"2"}, {"b": b"2"})
        if moved == "kept main":
            # Its head is a snapshot, so that the merge itself has no reason to move it.
            await pair.main.push({"a": b"3"}, message="kept", parents=[pair.main.head.snapshot_id or ""])
        if moved == "undo":
            await pair.merge()
        preview = await pair.prepare()
        before: list[object] = []

        async def meanwhile() -> None:
            await (pair.main if "main" in moved else pair.fork).push({"c": b"later"})
            before.extend([await counts_of(served), await head_of(pair.main), await head_of(pair.fork)])

        account = await who_is(served.cloud.read(), pair.caller.auth["Authorization"], wall_ms())
        cloud = dataclasses.replace(served.cloud, objects=cast(Objects, Interrupted(served.cloud.objects, meanwhile)))
        with pytest.raises(VersionMoved):
            if moved == "undo":
                await undo(cloud, account, pair.fork.workspace_id, Undo())
            else:
                await execute(cloud, account, pair.fork.workspace_id, Execute(preview["id"]))
        assert before == [await counts_of(served), await head_of(pair.main), await head_of(pair.fork)]


@in_loop
async def test_a_preview_is_used_once(tmp_path: Path) -> None:
    """SYNC-6: many at once, one success."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": TEXT})
        await pair.apart({"a": TEXT.replace(b"one", b"1")}, {"a": TEXT.replace(b"five", b"5")})
        preview = await pair.prepare()
        before = await head_of(pair.fork)
        replies = await asyncio.gather(*(pair.execute(preview) for _ in range(8)))
        assert sorted(reply.status for reply in replies)[:2] in ([200, 404], [200, 409])
        assert {reply.status for reply in replies} <= {200, 404, 409}
        assert (await head_of(pair.fork))[0] == before[0] + 1
        assert (await pair.execute(preview)).code == "PREVIEW_EXPIRED"
        assert (await kinds_of(pair.caller, pair.main.project_id)).count("merge.completed") == 1
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_after_a_crosswise_merge_every_base_is_named(tmp_path: Path) -> None:
    """SYNC-1: merged into each other from the states before: two best common ancestors."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"m": b"1"}, {"f": b"1"})
        third = await fork_of(pair.fork, "third")
        await pair.merge()
        await pair.merge(line=pair.main, source_workspace_id=third.workspace_id)
        await pair.apart({"m": None, "new": b"1"}, {"f": None})
        preview = await pair.prepare()
        assert len(preview["base_snapshot_ids"]) == 2 and preview["base_snapshot_id"] == max(preview["base_snapshot_ids"])
        assert "crosswise" in preview["summary"]
        # One of the two bases has no `f`, the other no `m`: by it alone what was removed would come in as new.
        assert "crosswise" in {each["kind"] for each in preview["decisions_needed"]}
        assert [each["path"] for each in preview["decisions_needed"]] == ["f", "m"]
        assert (await pair.execute(preview, {"f": "use_workspace", "m": "use_main"})).status == 200
        await pair.follow()
        assert await pair.shown() == {"a": "1", "new": "1"}


@in_loop
async def test_two_merges_in_opposite_directions_and_pushes_at_once(tmp_path: Path) -> None:
    """Nobody waits for ever, and whoever loses changed nothing."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1", "b": b"1"})
        await pair.apart({"a": b"2"}, {"b": b"2"})
        for number in range(4):
            there, back = await pair.prepare(), await pair.prepare(pair.main, source_workspace_id=pair.fork.workspace_id)
            replies = await asyncio.gather(pair.execute(there), pair.execute(back), pair.main.push({"c": b"%d" % number}))
            assert {reply.status for reply in replies} <= {200, 404, 409}, replies
            assert any(reply.status == 200 for reply in replies)
            await pair.follow()
        assert await is_sound(served)


@in_loop
async def test_a_preview_lives_for_half_an_hour_and_is_its_owners(tmp_path: Path) -> None:
    """SYNC-6: foreign, of another workspace and expired ones are not there; SYNC-5: a restart does not lose it."""
    now = [wall_ms()]
    async with serving(tmp_path / "cloud", now_ms=lambda: now[0]) as served:
        ada, eve = served.user(), served.user("eve@example.org")
        pair = await pair_of(ada, {"a": b"1"})
        await pair.apart({"a": b"2"}, {})
        preview = await pair.prepare()
        hers = await pair_of(eve, {"a": b"1"})
        await hers.apart({"a": b"2"}, {})
        body = {"preview_id": preview["id"]}
        mine = f"/v1/workspaces/{pair.fork.workspace_id}/sync/execute"
        for caller, path, sent, code in (
            (eve, mine, body, "NOT_FOUND"), (eve, f"/v1/workspaces/{hers.fork.workspace_id}/sync/execute", body, "PREVIEW_EXPIRED"),
            (ada, f"/v1/workspaces/{pair.main.workspace_id}/sync/execute", body, "PREVIEW_EXPIRED"),
            (ada, mine, {"preview_id": new_ulid(now[0])}, "PREVIEW_EXPIRED"), (ada, mine, {"preview_id": "'; --"}, "PREVIEW_EXPIRED"),
        ):  # fmt: skip
            reply = await caller.ask("POST", path, sent)
            assert (reply.status, reply.code) == (404, code)
        now[0] += 30 * 60 * 1000
        assert (await ada.ask("POST", mine, body)).code == "PREVIEW_EXPIRED"
        await look_after(served.cloud)
        assert (await served.cloud.read().rows("SELECT id FROM sync_previews")) == []
        fresh = await pair.prepare()
        assert (await served.cloud.read().rows("SELECT id FROM sync_previews")) == [(fresh["id"],)]
        now[0] += 30 * 60 * 1000 - 1
        token = ada.auth
    async with serving(tmp_path / "cloud", now_ms=lambda: now[0]) as served:
        caller = served.stranger(token["Authorization"].removeprefix("Bearer "))
        reply = await caller.ask("POST", mine, {"preview_id": fresh["id"]})
        assert reply.status == 200, reply


@in_loop
async def test_a_merge_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """SYNC-8: whatever of it fails, in the middle of the transaction too."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": TEXT})
        await pair.apart({"a": TEXT.replace(b"one", b"1")}, {"a": TEXT.replace(b"five", b"5")})
        preview = await pair.prepare()
        before = await counts_of(served), await head_of(pair.main), await head_of(pair.fork)
        for table in ("activity_events", "owned_nodes", "workspace_merges"):

            async def hide(tx: Tx, table: str = table) -> None:
                await tx.run(f"ALTER TABLE {table} RENAME TO hidden_table")

            async def show(tx: Tx, table: str = table) -> None:
                await tx.run(f"ALTER TABLE hidden_table RENAME TO {table}")

            served.write(hide)
            assert (await pair.execute(preview)).code == "INTERNAL_ERROR"
            served.write(show)
            assert before == (await counts_of(served), await head_of(pair.main), await head_of(pair.fork))
        assert (await pair.execute(preview)).status == 200
        assert await is_sound(served)


@in_loop
async def test_an_undo_is_a_new_version_and_main_is_offered_again(tmp_path: Path) -> None:
    """SYNC-11, SNAP-4: the undo continues the head, and all that main did is offered once more, edits and deletions too."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        pair = await pair_of(ada, {"a": b"1", "gone": b"1", "text": TEXT})
        await pair.apart({"a": b"2", "gone": None, "text": TEXT.replace(b"one", b"1")}, {"mine": b"1", "text": TEXT.replace(b"five", b"5")})
        before = await pair.shown(), (await ada.get(f"/v1/workspaces/{pair.fork.workspace_id}"))["merge_history"]
        first = await pair.prepare()
        assert (await pair.execute(first)).status == 200
        await pair.follow()
        merged = await pair.shown(), pair.fork.head
        reply = await pair.undo()
        assert reply.status == 200, reply
        shown = await ada.get(f"/v1/workspaces/{pair.fork.workspace_id}")
        assert (await pair.shown(), shown["merge_history"]) == before
        assert pair.fork.head.version == merged[1].version + 1
        undone = (await ada.get(f"/v1/snapshots/{pair.fork.head.snapshot_id}"))["snapshot"]
        assert undone["parents"] == [merged[1].snapshot_id]
        assert (await kinds_of(ada, pair.main.project_id))[-1] == "merge.undone"
        again = await pair.prepare()
        assert again["auto_actions"] == first["auto_actions"] and again["base_snapshot_id"] == first["base_snapshot_id"]
        assert (await pair.execute(again)).status == 200
        await pair.follow()
        assert await pair.shown() == merged[0]
        # Each merge is undone once, the last one first.
        assert (await pair.undo(snapshot_id=merged[1].snapshot_id)).code == "INVALID_OPERATION"
        assert (await pair.undo(snapshot_id=pair.fork.head.snapshot_id)).status == 200
        assert (await pair.undo()).code == "INVALID_OPERATION"
        assert await pair.shown() == before[0]
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_an_undo_keeps_what_was_edited_since_or_refuses(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1", "b": b"1"})
        await pair.apart({"a": b"2", "new": b"1"}, {})
        await pair.merge()
        await pair.fork.push({"new": b"edited since"})
        refused = await pair.undo()
        assert (refused.status, refused.code, refused.json["error"]["details"]["paths"]) == (409, "CONFLICT", ["new"])
        await pair.fork.push({"new": b"1", "b": b"2"})
        done = await pair.undo()
        assert done.status == 200
        assert await pair.shown() == {"a": "1", "b": "2"}
        # The state that was taken back is a snapshot, and behind the head.
        undone = (await pair.caller.get(f"/v1/snapshots/{pair.fork.head.snapshot_id}"))["snapshot"]
        safe = (await pair.caller.get(f"/v1/snapshots/{undone['parents'][0]}"))["snapshot"]
        assert safe["source"] == "system" and safe["message"] == "Before a merge was undone"
        await pair.merge()
        assert await pair.shown() == {"a": "2", "b": "2", "new": "1"}


@pytest.mark.embedded
@in_loop
async def test_an_undo_takes_away_what_the_rules_of_before_ignore(tmp_path: Path) -> None:
    """What was there before is what is wanted: its rules are no reason to keep anything."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {".gitignore": b"*.log\n", "a": b"1"})
        await pair.apart({"forced.log": b"1"}, {})
        await pair.merge()
        assert "forced.log" in await pair.shown()
        assert (await pair.undo()).status == 200
        assert await pair.shown() == {".gitignore": "*.log\n", "a": "1"}


@pytest.mark.embedded
@in_loop
async def test_a_cloud_that_merges_otherwise_than_it_showed_does_nothing(tmp_path: Path) -> None:
    """SYNC-5: another server, or the same one updated, took the preview's place."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"a": b"2"}, {})
        preview = await pair.prepare()
        before = await counts_of(served), await head_of(pair.fork)
        row = await served.cloud.read().one("SELECT body FROM sync_previews WHERE id = $1", (preview["id"],))
        assert row is not None
        body = msgspec.json.encode(msgspec.json.decode(row[0]) | {"root": "0" * 64})

        async def tamper(tx: Tx) -> None:
            await tx.run("UPDATE sync_previews SET body = $1 WHERE id = $2", (body, preview["id"]))

        served.write(tamper)
        assert (await pair.execute(preview)).code == "PREVIEW_EXPIRED"
        assert before == (await counts_of(served), await head_of(pair.fork))


@in_loop
async def test_undos_raced_make_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"a": b"2"}, {})
        await pair.merge()
        before = await head_of(pair.fork)
        path = f"/v1/workspaces/{pair.fork.workspace_id}/sync/undo"
        replies = await asyncio.gather(*(pair.caller.ask("POST", path) for _ in range(6)))
        assert sorted(reply.status for reply in replies)[0] == 200 and {reply.status for reply in replies} <= {200, 400, 409}
        assert [reply.status for reply in replies].count(200) == 1
        assert (await head_of(pair.fork))[0] == before[0] + 1


@pytest.mark.embedded
@in_loop
async def test_a_workspace_goes_into_main_with_the_same_guarantees(tmp_path: Path) -> None:
    """SYNC-12, and back again: each merge is the base of the next."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": TEXT, "f": b"1"})
        await pair.apart({"a": TEXT.replace(b"one", b"1"), "f": b"main"}, {"a": TEXT.replace(b"five", b"5"), "f": b"fork"})
        preview = await pair.prepare(pair.main, source_workspace_id=pair.fork.workspace_id)
        [asked] = preview["decisions_needed"]
        assert [each["id"] for each in asked["options"]] == ["use_workspace", "use_main", "use_both"]
        assert (await pair.execute(preview, {"f": "use_workspace"})).status == 200
        await pair.follow()
        wanted = {"a": "1\ntwo\nthree\nfour\n5\n", "f": "fork"}
        assert await pair.shown(pair.main) == wanted
        assert (await pair.shown())["a"] == "one\ntwo\nthree\nfour\n5\n", "only main moved"
        back = await pair.prepare()
        assert back["decisions_needed"] == [] and [each["path"] for each in back["auto_actions"]] == ["a"]
        assert (await pair.execute(back)).status == 200
        await pair.follow()
        assert await pair.shown() == wanted and (await pair.prepare())["up_to_date"]
        assert await is_sound(served)


@pytest.mark.embedded
@in_loop
async def test_between_two_that_are_not_main(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"f": b"1"})
        other = await fork_of(pair.main, "other")
        await other.push({"f": b"other", "new": b"1"})
        await pair.fork.push({"f": b"fork"})
        preview = await pair.prepare(source_workspace_id=other.workspace_id)
        assert [each["id"] for each in preview["decisions_needed"][0]["options"]] == ["use_source", "use_workspace", "use_both"]
        assert (await pair.execute(preview, {"f": "use_source"})).status == 200
        await pair.follow()
        assert await pair.shown() == {"f": "other", "new": "1"}


@in_loop
async def test_without_a_common_history_it_is_two_way_and_says_so(tmp_path: Path) -> None:
    """SYNC-1: no base: nothing is read as a deletion, every difference is a decision. What merge_history claims is not believed."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        main = await ada.line()
        await main.push({"a": b"main", "only": b"1", "same": b"1"}, message="main's")
        apart = await ada.line("apart", main.project_id)
        apart.nodes = main.nodes
        await apart.push({"a": b"apart", "mine": b"1", "same": b"1"}, message="apart's")
        claimed = msgspec.json.encode({main.workspace_id: {"last_merged_snapshot": main.head.snapshot_id, "merged_at": ""}}).decode()

        async def claim(tx: Tx) -> None:
            await tx.run("UPDATE workspaces SET merge_history = $1 WHERE id = $2", (claimed, apart.workspace_id))

        served.write(claim)
        pair = Pair(ada, main, apart)
        preview = await pair.prepare()
        assert (preview["mode"], preview["base_snapshot_id"]) == ("two-way", None) and "no common history" in preview["summary"]
        assert [each["path"] for each in preview["decisions_needed"]] == ["a"]
        assert (await pair.execute(preview, {"a": "use_workspace"})).status == 200
        await pair.follow()
        assert await pair.shown() == {"a": "apart", "mine": "1", "only": "1", "same": "1"}
        assert (await pair.prepare())["up_to_date"]


@pytest.mark.embedded
@in_loop
async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        pair = await pair_of(ada, {"a": b"1"})
        other = await ada.line()
        own = {"source_workspace_id": pair.fork.workspace_id}
        for line, body, status, code in (
            (pair.main, {}, 400, "INVALID_OPERATION"), (pair.fork, own, 400, "INVALID_OPERATION"),
            (pair.fork, {"source_workspace_id": other.workspace_id}, 400, "INVALID_OPERATION"),
            (pair.fork, {"source_workspace_id": new_ulid(1)}, 404, "NOT_FOUND"),
            (pair.fork, {"source_workspace_id": 7}, 422, "VALIDATION_ERROR"),
        ):  # fmt: skip
            reply = await ada.ask("POST", f"/v1/workspaces/{line.workspace_id}/sync/prepare", body)
            assert (reply.status, reply.code) == (status, code), body
        assert (await pair.undo()).code == "INVALID_OPERATION"
        for path, sent in (("execute", {}), ("execute", {"preview_id": "x", "actor": "me"}), ("undo", {"actor": "me"})):
            assert (await ada.ask("POST", f"/v1/workspaces/{pair.fork.workspace_id}/sync/{path}", sent)).status == 422

        async def unset(tx: Tx) -> None:
            await tx.run("UPDATE projects SET main_workspace_id = NULL WHERE id = $1", (pair.main.project_id,))

        served.write(unset)
        reply = await ada.ask("POST", f"/v1/workspaces/{pair.fork.workspace_id}/sync/prepare")
        assert (reply.status, reply.code) == (400, "NO_MAIN_WORKSPACE")


@in_loop
async def test_another_workspace_becomes_main(tmp_path: Path) -> None:
    """PROJ-6: told once, as an event by whoever did it."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        pair = await pair_of(ada, {"a": b"1"})
        for _ in range(2):
            path = f"/v1/workspaces/{pair.fork.workspace_id}/set-as-main"
            assert (await ada.post(path, {"actor": "cli"})) == {"success": True, "main_workspace_id": pair.fork.workspace_id}
        project = (await ada.get(f"/v1/projects/{pair.main.project_id}"))["project"]
        assert project["main_workspace_id"] == pair.fork.workspace_id
        events = (await ada.get(f"/v1/projects/{pair.main.project_id}/events"))["events"]
        changed: list[Any] = [each for each in events if each["type"] == "project.main_changed"]
        assert [(each["actor"], each["workspace_id"]) for each in changed] == [
            ("cli", pair.fork.workspace_id),
            ("cli", pair.main.workspace_id),
        ]
        assert (await pair.prepare(pair.main))["source_workspace_id"] == pair.fork.workspace_id
