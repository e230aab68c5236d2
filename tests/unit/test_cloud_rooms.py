"""Projects, workspaces, forks, machines and replicas, and the envelope every failure comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.app import wall_ms
from store.types import new_ulid
from sync.core.wire import WireMachine, WireProject, WireReplica, WireWorkspace
from tests.clouds import EMPTY, Caller, in_loop, next_message, serving


def ulid() -> str:
    return new_ulid(wall_ms())


async def activity_of(ada: Caller, project_id: str) -> list[tuple[Any, ...]]:
    events = (await ada.get(f"/v1/projects/{project_id}/events"))["events"]
    return [(each["type"], each["actor"], each["workspace_id"], each["snapshot_id"]) for each in reversed(events)]


@in_loop
async def test_a_project_is_created_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project_id = served.user(), ulid()
        made = await ada.ask("POST", "/v1/projects", {"id": project_id, "name": "  thing  ", "actor": "web"})
        assert made.status == 201 and made.json["created"] is True
        assert msgspec.convert(made.json["project"], WireProject) == WireProject(project_id, "thing")
        again = await ada.ask("POST", "/v1/projects", {"id": project_id, "name": "thing"})
        assert again.status == 200 and again.json["created"] is False
        assert (await ada.ask("POST", "/v1/projects", {"id": project_id, "name": "other"})).code == "CONFLICT"
        minted = await ada.post("/v1/projects", {"name": "thing"})
        assert minted["project"]["id"] != project_id
        assert await activity_of(ada, project_id) == [("project.created", "web", None, None)]


@in_loop
async def test_the_last_changed_project_comes_first(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud", now_ms=iter(range(10**12, 2 * 10**12, 1000)).__next__) as served:
        ada = served.user()
        one, two = await ada.project("one"), await ada.project("two")
        assert [each["id"] for each in (await ada.get("/v1/projects"))["projects"]] == [two, one]
        await ada.line(project_id=one)
        assert [each["id"] for each in (await ada.get("/v1/projects"))["projects"]] == [one, two]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "   "}, {"name": "x" * 201}, {"name": "a\nb"}, {}, {"name": 7}, [], {"name": "x", "id": "short"},
        {"name": "x", "actor": "me"}, {"name": "x", "id": "01" + "I" * 24},
    ],
)  # fmt: skip
@in_loop
async def test_a_project_that_must_not_be(tmp_path: Path, body: object) -> None:
    async with serving(tmp_path / "cloud") as served:
        reply = await served.user().ask("POST", "/v1/projects", body)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")


@in_loop
async def test_a_workspace_begins_empty_at_version_one_and_the_first_is_main(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project_id, workspace_id = await ada.project(), ulid()
        body = {"id": workspace_id, "name": "main"}
        made = await ada.ask("POST", f"/v1/projects/{project_id}/workspaces", body)
        assert made.status == 201
        first = WireWorkspace(workspace_id, project_id, "main", 1, EMPTY, served.cloud.epoch)
        assert msgspec.convert(made.json["workspace"], WireWorkspace) == first
        assert (await ada.ask("POST", f"/v1/projects/{project_id}/workspaces", body)).status == 200
        shown = await ada.get(f"/v1/workspaces/{workspace_id}")
        assert msgspec.convert(shown, WireWorkspace) == msgspec.convert(shown["workspace"], WireWorkspace) == first
        taken = await ada.ask("POST", f"/v1/projects/{project_id}/workspaces", {"id": ulid(), "name": "main"})
        assert (taken.status, taken.code) == (409, "CONFLICT")
        await ada.post(f"/v1/projects/{project_id}/workspaces", {"name": "second", "actor": "web"})
        detail = await ada.get(f"/v1/projects/{project_id}")
        assert detail["project"]["main_workspace_id"] == workspace_id
        assert [each["name"] for each in detail["workspaces"]] == ["second", "main"]
        kinds = [row[:2] for row in await activity_of(ada, project_id)]
        assert kinds == [
            ("project.created", "cli"), ("workspace.created", "cli"), ("project.main_changed", "cli"), ("workspace.created", "web"),
        ]  # fmt: skip


@in_loop
async def test_a_fork_takes_the_head_and_a_snapshot_of_it_first(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({"a": b"1"}, message="kept")
        kept = line.head.snapshot_id
        await line.push({"a": b"2"})
        async with ada.listening() as socket:
            fork = await ada.post(f"/v1/projects/{line.project_id}/workspaces", {"name": "fork", "base_workspace_id": line.workspace_id})
            heard = await next_message(socket)
        made = fork["workspace"]
        assert (made["version"], made["root"]) == (1, line.head.root)
        taken = (await ada.get(f"/v1/snapshots/{made['base_snapshot_id']}"))["snapshot"]
        assert (taken["source"], taken["parents"], taken["workspace_id"]) == ("system", [kept], line.workspace_id)
        assert taken["manifest_hash"] == line.head.root
        # The source's head took the snapshot in, by the same compare-and-swap as everything, and its listeners know.
        source = await ada.get(f"/v1/workspaces/{line.workspace_id}")
        assert (source["version"], source["snapshot_id"], source["root"]) == (line.head.version + 1, taken["id"], line.head.root)
        assert heard.header.head and heard.header.head.version == source["version"]
        assert heard.header.parent_root == line.head.root and heard.delta == []
        again = await ada.post(f"/v1/projects/{line.project_id}/workspaces", {"name": "fork2", "base_workspace_id": line.workspace_id})
        assert again["workspace"]["base_snapshot_id"] == taken["id"]
        by_snapshot = await ada.post(f"/v1/projects/{line.project_id}/workspaces", {"name": "fork3", "base_snapshot_id": kept})
        assert by_snapshot["workspace"]["snapshot_id"] == kept and by_snapshot["workspace"]["root"] != line.head.root


@in_loop
async def test_the_snapshot_before_a_fork_sorts_behind_its_parent_whatever_the_clocks_say(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud", now_ms=lambda: 10**12) as served:
        ada = served.user()
        line = await ada.line()
        await line.push({"a": b"1"}, message="by a clock far ahead of the cloud's")
        kept = line.head.snapshot_id
        await line.push({"a": b"2"})
        fork = await ada.post(f"/v1/projects/{line.project_id}/workspaces", {"name": "fork", "base_workspace_id": line.workspace_id})
        assert kept is not None and fork["workspace"]["base_snapshot_id"] > kept


@in_loop
async def test_a_fork_of_nothing_needs_no_snapshot(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        body = {"name": "fork", "base_workspace_id": line.workspace_id}
        fork = (await ada.post(f"/v1/projects/{line.project_id}/workspaces", body))["workspace"]
        assert (fork["root"], fork["base_snapshot_id"]) == (EMPTY, None)


@in_loop
async def test_a_base_of_another_project_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line, other = await ada.line(), await ada.project("other")
        await line.push({"a": b"1"}, message="m")
        path = f"/v1/projects/{other}/workspaces"
        for base in ({"base_snapshot_id": line.head.snapshot_id}, {"base_snapshot_id": "snap-x"}, {"base_workspace_id": line.workspace_id}):
            reply = await ada.ask("POST", path, {"name": "fork", **base})
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR"), base


@in_loop
async def test_machines_and_replicas_are_kept_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        machine_id = await ada.machine("desk")
        renamed = {"id": machine_id, "name": "desk 2", "platform": "linux", "version": "0.2.0"}
        assert (await ada.ask("POST", "/v1/machines", renamed)).status == 200
        replica = {"id": ulid(), "machine_id": machine_id, "local_path": "/w"}
        path = f"/v1/workspaces/{line.workspace_id}/replicas"
        assert [(await ada.ask("POST", path, replica)).status for _ in range(2)] == [201, 200]
        found = [msgspec.convert(each, WireReplica) for each in (await ada.get(path))["replicas"]]
        assert {each.id for each in found} == {replica["id"], line.replica_id}
        machines = [msgspec.convert(each, WireMachine) for each in (await ada.get("/v1/machines"))["machines"]]
        desk = next(each for each in machines if each.id == machine_id)
        assert (desk.name, desk.online, desk.workspaces) == ("desk 2", True, [line.workspace_id])
        assert (await ada.ask("DELETE", f"{path}/{line.replica_id}")).status == 200
        assert (await line.push({"a": b"1"})).code == "NOT_FOUND"
        assert (await ada.ask("DELETE", f"{path}/{line.replica_id}")).status == 404


@in_loop
async def test_a_machine_is_offline_a_minute_after_its_last_beat(tmp_path: Path) -> None:
    clock = [wall_ms()]
    async with serving(tmp_path / "cloud", now_ms=lambda: clock[0]) as served:
        ada = served.user()
        line = await ada.line()
        clock[0] += 59_000
        assert (await ada.get("/v1/machines"))["machines"][0]["online"] is True
        clock[0] += 2_000
        assert (await ada.get("/v1/machines"))["machines"][0]["online"] is False
        beat = await ada.post(f"/v1/workspaces/{line.workspace_id}/heartbeat", {})
        assert (await ada.get(f"/v1/workspaces/{line.workspace_id}"))["workspace"]["last_seen_at"] == beat["last_seen_at"]


@in_loop
async def test_history_is_paged(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        for number in range(5):
            await line.push(
                {"a": str(number).encode()}, message=f"m{number}", parents=[line.head.snapshot_id] if line.head.snapshot_id else []
            )
        path = f"/v1/workspaces/{line.workspace_id}/snapshots"
        page = await ada.get(f"{path}?limit=2")
        assert [each["message"] for each in page["snapshots"]] == ["m4", "m3"]
        assert [each["is_current"] for each in page["snapshots"]] == [True, False]
        newest, before = page["snapshots"]
        listed = (await ada.get(f"/v1/projects/{line.project_id}"))["snapshots"][0]
        assert listed == {name: value for name, value in newest.items() if name != "is_current"}
        assert (
            newest["parent_snapshot_ids"] == newest["parents"] == [before["id"]] and newest["created_at"] >= before["created_at"] > "2020"
        )
        rest = await ada.get(f"{path}?limit=10&before={page['snapshots'][-1]['id']}")
        assert [each["message"] for each in rest["snapshots"]] == ["m2", "m1", "m0"]
        versions = (await ada.get(f"/v1/workspaces/{line.workspace_id}/versions/list?limit=3"))["versions"]
        assert [each["version"] for each in versions] == [6, 5, 4]
        older = (await ada.get(f"/v1/workspaces/{line.workspace_id}/versions/list?before=3"))["versions"]
        assert [each["version"] for each in older] == [2, 1]
        project = await ada.get(f"/v1/projects/{line.project_id}/snapshots?limit=1")
        assert [each["message"] for each in project["snapshots"]] == ["m4"]


@pytest.mark.parametrize("limit", ["0", "-1", "101", "nan", "1e3", "", "٣", "99999999999999999999"])
@in_loop
async def test_a_limit_that_is_none(tmp_path: Path, limit: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project_id = await ada.project()
        assert (await ada.ask("GET", f"/v1/projects/{project_id}/events?limit={limit}")).code == "VALIDATION_ERROR"


@in_loop
async def test_failures_have_one_envelope(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        for method, path, data, status, code in (
            ("POST", "/v1/projects", b"{", 400, "INVALID_JSON"),
            ("POST", "/v1/projects", b"\xff\xfe", 400, "INVALID_JSON"),
            ("POST", "/v1/projects", b'{"name": "\xff"}', 400, "INVALID_JSON"),
            ("POST", "/v1/projects", b"", 400, "INVALID_JSON"),
            ("POST", "/v1/projects", b'"' + b"x" * 4_000_000 + b'"', 413, "TOO_LARGE"),
            ("POST", "/v1/projects", b'{"name": "\\ud800"}', 400, "INVALID_JSON"),
            ("POST", "/v1/projects", b'{"name": 1}', 422, "VALIDATION_ERROR"),
            ("GET", "/v1/nothing", None, 404, "NOT_FOUND"),
            ("PUT", "/v1/projects", b"{}", 405, "METHOD_NOT_ALLOWED"),
            ("GET", "/v1/projects/..%2f..%2fetc", None, 404, "NOT_FOUND"),
        ):
            reply = await ada.ask(method, path, data=data)
            assert (reply.status, reply.code) == (status, code)
            error = reply.json["error"]
            assert set(error) == {"code", "message", "hint", "details", "request_id"} and error["message"]
            assert error["request_id"] == reply.headers["X-Request-Id"]
            assert reply.headers["X-Fastest-Epoch"] == served.cloud.epoch


@in_loop
async def test_a_request_id_comes_back_and_none_is_made_up_when_it_is_fit(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        assert (await ada.ask("GET", "/health", **{"X-Request-Id": "abc-1"})).headers["X-Request-Id"] == "abc-1"
        odd = (await ada.ask("GET", "/health", **{"X-Request-Id": "a b\t"})).headers["X-Request-Id"]
        assert odd != "a b\t" and len(odd) == 16


@in_loop
async def test_a_failure_of_ours_shows_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.project()
        served.write(lambda tx: tx.run("ALTER TABLE projects RENAME TO secret_table"))
        reply = await ada.ask("GET", "/v1/projects")
        assert (reply.status, reply.code) == (500, "INTERNAL_ERROR")
        assert b"secret" not in reply.body and b"SQL" not in reply.body and b"projects" not in reply.body
