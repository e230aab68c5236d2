"""Projects and workspaces renamed, archived, deleted, brought back and purged; what a project's page says; its activity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud.app import wall_ms
from cloud.database import Reader, Row, Tx
from cloud.database.embedded import EmbeddedDatabase
from cloud.operate import purge
from cloud.operate.collect import execute, limits_at, plan_collection
from cloud.operate.daily import JOBS, run_due
from cloud.operate.fsck import find_problems
from cloud.records.moments import text_of
from cloud.records.work.activity import add_activity
from store.types import digest_of, parse_digest
from tests.clouds import EMPTY, Caller, Line, Served, in_loop, serving

DAY_MS = 24 * 60 * 60 * 1000


class Clock:
    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return wall_ms() + self.ahead_ms

    def wait(self, days: float) -> None:
        self.ahead_ms += int(days * DAY_MS)


async def names(ada: Caller, path: str, what: str) -> list[str]:
    return sorted(each["name"] for each in (await ada.get(path))[what])


async def told(ada: Caller, project_id: str) -> list[tuple[str, str, str | None]]:
    events = (await ada.get(f"/v1/projects/{project_id}/events?limit=100"))["events"]
    return [(each["type"], each["actor"], each["message"]) for each in reversed(events)]


async def ask(ada: Caller, method: str, path: str, body: object = None) -> tuple[int, str]:
    reply = await ada.ask(method, path, body)
    assert reply.status < 500
    return reply.status, reply.code


@in_loop
async def test_a_project_is_renamed(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project = f"/v1/projects/{await ada.project('old')}"
        for name in ("  new  ", "new"):
            reply = await ada.ask("PATCH", project, {"name": name, "actor": "web"})
            assert (reply.status, reply.json["project"]["name"]) == (200, "new")
        wrong: list[object] = [{"name": " "}, {"name": "x" * 201}, {}, {"archived": "yes"}, {"name": "x", "actor": "me"}, []]
        for body in wrong:
            assert await ask(ada, "PATCH", project, body) == (422, "VALIDATION_ERROR")
        assert (await told(ada, project[13:]))[1:] == [("project.renamed", "web", "new")], "once"


@in_loop
async def test_an_archived_project_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line(project_id=await ada.project("thing"))
        await line.push({"a": b"1"}, message="m")
        project, workspace = f"/v1/projects/{line.project_id}", f"/v1/workspaces/{line.workspace_id}"
        for _ in range(2):
            assert await ask(ada, "PATCH", project, {"archived": True}) == (200, "")
        assert await names(ada, "/v1/projects", "projects") == []
        assert await names(ada, "/v1/projects?shelf=archived", "projects") == ["thing"]
        assert (await ada.get(project))["project"]["archived_at"] is not None
        assert (await line.push({"a": b"2"})).code == "ARCHIVED"
        empty = {"manifest_hash": EMPTY, "previous_manifest_hash": line.head.root}
        refused: list[tuple[str, str, object]] = [
            ("PATCH", project, {"name": "other"}), ("POST", f"{project}/workspaces", {"name": "another"}),
            ("PATCH", workspace, {"name": "other"}), ("DELETE", workspace, None),
            ("POST", f"{workspace}/current-manifest", empty),
        ]  # fmt: skip
        for method, path, body in refused:
            assert await ask(ada, method, path, body) == (409, "ARCHIVED")
        assert (await ada.workspace(line.workspace_id)).version == 2
        assert await ask(ada, "PATCH", project, {"archived": False}) == (200, "")
        assert (await line.push({"a": b"2"})).status == 200
        assert [each[0] for each in await told(ada, line.project_id)][-2:] == ["project.archived", "project.unarchived"]


@in_loop
async def test_an_archived_workspace_takes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        main = await ada.line()
        line = await ada.line("side", main.project_id)
        await line.push({"a": b"1"})
        listed = f"/v1/projects/{main.project_id}/workspaces"
        assert await ask(ada, "PATCH", f"/v1/workspaces/{main.workspace_id}", {"archived": True}) == (409, "CONFLICT"), "it is the main one"
        assert await ask(ada, "PATCH", f"/v1/workspaces/{line.workspace_id}", {"archived": True}) == (200, "")
        assert await names(ada, listed, "workspaces") == ["main"] and await names(ada, f"{listed}?shelf=archived", "workspaces") == ["side"]
        assert (await line.push({"a": b"2"})).code == "ARCHIVED"
        empty = {"manifest_hash": EMPTY, "previous_manifest_hash": line.head.root}
        assert await ask(ada, "POST", f"/v1/workspaces/{line.workspace_id}/current-manifest", empty) == (409, "ARCHIVED")
        assert await ask(ada, "PATCH", f"/v1/workspaces/{line.workspace_id}", {"name": "x"}) == (409, "ARCHIVED")
        assert await ask(ada, "PATCH", f"/v1/workspaces/{line.workspace_id}", {"archived": False, "name": "main"}) == (409, "CONFLICT")
        assert await ask(ada, "PATCH", f"/v1/workspaces/{line.workspace_id}", {"archived": False, "name": "beside"}) == (200, "")
        assert (await line.push({"a": b"2"})).status == 200
        assert await names(ada, listed, "workspaces") == ["beside", "main"]


@in_loop
async def test_a_deleted_project_is_nowhere_until_it_is_restored(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line(project_id=await ada.project("thing"))
        await line.push({"a": b"1"}, message="m")
        snapshot = (await ada.workspace(line.workspace_id)).snapshot_id
        project, workspace = f"/v1/projects/{line.project_id}", f"/v1/workspaces/{line.workspace_id}"
        assert await ask(ada, "DELETE", f"{project}?actor=web") == (200, "")
        nowhere = [
            *[("GET", f"{project}{each}") for each in ("", "/events", "/snapshots", "/workspaces", "/status")],
            *[("GET", f"{workspace}{each}") for each in ("", "/snapshots", "/replicas", "/conflicts", "/versions", "/versions/list")],
            *[("GET", f"/v1/snapshots/{snapshot}"), ("DELETE", project), ("DELETE", workspace), ("POST", f"{workspace}/heartbeat")],
        ]
        for method, path in nowhere:
            assert await ask(ada, method, path) == (404, "NOT_FOUND"), path
        assert (await line.push({"a": b"2"})).code == "NOT_FOUND"
        assert await ask(ada, "POST", "/v1/projects", {"id": line.project_id, "name": "thing"}) == (404, "NOT_FOUND")
        assert (await ada.get("/v1/machines"))["machines"][0]["workspaces"] == []
        assert await names(ada, "/v1/projects", "projects") == []
        assert await names(ada, "/v1/projects?shelf=deleted", "projects") == ["thing"]
        bob = served.user("bob@example.org")
        assert await ask(bob, "POST", f"{project}/restore", {}) == (404, "NOT_FOUND")
        assert await ask(ada, "POST", f"{project}/restore", {}) == (200, "")
        assert await ask(ada, "POST", f"{project}/restore", {}) == (404, "NOT_FOUND")
        assert (await line.push({"a": b"2"})).status == 200
        assert [each[:2] for each in await told(ada, line.project_id)][-2:] == [("project.deleted", "web"), ("project.restored", "cli")]


@in_loop
async def test_a_deleted_workspace_gives_its_name_free(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        main = await ada.line()
        line = await ada.line("side", main.project_id)
        await line.push({"a": b"1"}, message="m")
        side, listed = f"/v1/workspaces/{line.workspace_id}", f"/v1/projects/{main.project_id}/workspaces"
        assert await ask(ada, "DELETE", f"/v1/workspaces/{main.workspace_id}") == (409, "CONFLICT"), "it is the main one"
        assert await ask(ada, "DELETE", side) == (200, "")
        assert await ask(ada, "GET", side) == (404, "NOT_FOUND") and (await line.push({"a": b"2"})).code == "NOT_FOUND"
        assert len((await ada.get(f"/v1/projects/{main.project_id}/snapshots"))["snapshots"]) == 1, "its snapshots are the project's"
        other = await ada.line("side", main.project_id)
        assert await ask(ada, "POST", f"{side}/restore", {}) == (409, "CONFLICT")
        assert await ask(ada, "POST", f"{side}/restore", {"name": "side again"}) == (200, "")
        assert await names(ada, listed, "workspaces") == ["main", "side", "side again"]
        assert (await line.push({"a": b"2"})).status == 200 and (await other.push({"b": b"2"})).status == 200


@in_loop
async def test_the_last_workspace_may_go_and_the_next_is_main(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        main = await ada.line()
        assert await ask(ada, "DELETE", f"/v1/workspaces/{main.workspace_id}") == (200, "")
        assert (await ada.get(f"/v1/projects/{main.project_id}"))["project"]["main_workspace_id"] is None
        other = await ada.line("other", main.project_id)
        assert (await ada.get(f"/v1/projects/{main.project_id}"))["project"]["main_workspace_id"] == other.workspace_id


async def rows_of(served: Served, ids: list[str]) -> dict[str, int]:
    """In every table, how many rows name one of these in any column."""
    found: dict[str, int] = {}

    async def columns(reader: Reader) -> list[Row]:
        if not isinstance(served.cloud.db, EmbeddedDatabase):
            return await reader.rows(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'text'"
            )
        tables = [row[0] for row in await reader.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return [(table, row[1]) for table in tables for row in await reader.rows(f"PRAGMA table_info({table})") if row[2] == "TEXT"]

    for table, column in await served.cloud.reading(columns):
        for each in ids:
            rows = await served.cloud.read().rows(f'SELECT 1 FROM {table} WHERE "{column}" = $1', (each,))
            if rows:
                found[f"{table}.{column}"] = len(rows)
    return found


async def fill(tx: Tx, line: Line, other: Line, snapshot: str) -> None:
    """Rows in the tables that no cascade empties."""
    project, workspace = line.project_id, line.workspace_id
    await tx.run("INSERT INTO conversations VALUES ('c', $1, NULL, '', '')", (workspace,))
    await tx.run(
        "INSERT INTO jobs (id, workspace_id, project_id, prompt, output_snapshot_id, created_at) VALUES ('j', $1, $2, '', $3, '')",
        (workspace, project, snapshot),
    )
    for at, (one, two) in enumerate([(line, other), (other, line)]):
        await tx.run(
            "INSERT INTO drift_reports (id, workspace_id, source_workspace_id, workspace_snapshot_id, reported_at)"
            " VALUES ($1, $2, $3, $4, '')",
            (f"d{at}", one.workspace_id, two.workspace_id, snapshot),
        )
    await tx.run(
        "INSERT INTO refactoring_suggestions (id, workspace_id, snapshot_id, type, title, created_at) VALUES ('r', $1, $2, '', '', '')",
        (workspace, snapshot),
    )
    await tx.run(
        "INSERT INTO project_decisions (id, project_id, conversation_id, decision, decided_at) VALUES ('p', $1, 'c', '', '')", (project,)
    )
    await tx.run(
        'INSERT INTO deployments (id, workspace_id, project_id, snapshot_id, status, "trigger", started_at)'
        " VALUES ('x', $1, $2, $3, 'success', '', '')",
        (workspace, project, snapshot),
    )


@pytest.mark.parametrize("what", ["project", "workspace"])
@in_loop
async def test_what_was_deleted_is_purged_after_its_retention_and_collected(tmp_path: Path, what: str) -> None:
    clock = Clock()
    async with serving(tmp_path / "cloud", clock) as served:
        ada = served.user()
        main = await ada.line()
        line = await ada.line("side", main.project_id)
        await line.push({"a": b"snapshotted"}, message="m")
        await line.push({"a": b"between"})
        await main.push({"b": b"main's"})
        snapshot = (await ada.workspace(line.workspace_id)).snapshot_id or ""
        served.write(lambda tx: fill(tx, line, main, snapshot))
        gone = [line.project_id, line.workspace_id, main.workspace_id] if what == "project" else [line.workspace_id]
        assert len(await rows_of(served, gone)) > 10
        assert await ask(ada, "DELETE", f"/v1/{what}s/{gone[0]}") == (200, "")
        clock.wait(29.9)
        assert await purge.purge_deleted(served.cloud) == "0 projects, 0 workspaces"
        clock.wait(0.2)
        assert await purge.purge_deleted(served.cloud) == ("1 projects, 0 workspaces" if what == "project" else "0 projects, 1 workspaces")
        kept = set() if what == "project" else {"snapshots.workspace_id", "activity_events.workspace_id"}
        assert (await rows_of(served, gone)).keys() == kept
        caller = served.user_at("ada@example.org", clock())
        assert await ask(caller, "POST", f"/v1/{what}s/{gone[0]}/restore", {}) == (404, "NOT_FOUND")
        for _ in range(3):
            clock.wait(30)
            await execute(
                served.cloud.db, served.cloud.objects, await plan_collection(served.cloud.db, served.cloud.objects, limits_at(clock()))
            )
        caller = served.user_at("ada@example.org", clock())
        lost = await caller.missing([digest_of(data) for data in (b"between", b"snapshotted", b"main's")])
        assert lost == ([True] * 3 if what == "project" else [True, False, False])
        assert [problem async for problem in find_problems(served.cloud.db, served.cloud.objects)] == []
        if what == "project":
            assert (await caller.get("/v1/blobs/stats"))["total"]["count"] == 0


@in_loop
async def test_each_job_is_done_once_a_day_whoever_looks(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path / "cloud", clock) as served:
        assert await run_due(served.cloud) == [], "a new cloud has nothing to clear away"
        clock.wait(1.01)
        assert await run_due(served.cloud) == list(JOBS)
        assert await run_due(served.cloud) == []
        clock.wait(1.01)
        served.write(lambda tx: tx.run("UPDATE housekeeping SET held_until = '9999', holder = 'another' WHERE name = 'collect'"))
        assert await run_due(served.cloud) == ["purge", "prune"]


@in_loop
async def test_a_job_that_fails_is_tried_again_in_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path / "cloud", clock) as served:
        line = await served.user().line()
        await line.push({"a": b"1"})
        root = parse_digest(line.head.root)
    async with serving(tmp_path / "cloud", clock) as served:
        served.forget_node(root)
        assert await run_due(served.cloud) == []
        clock.wait(1.01)
        assert await run_due(served.cloud) == ["purge", "prune"]
        assert await run_due(served.cloud) == []
        row = await served.cloud.read().one("SELECT result FROM housekeeping WHERE name = 'collect'")
        assert row is not None and "nothing was collected" in row[0]


@in_loop
async def test_old_activity_is_pruned_but_for_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "EVENTS_KEPT", 3)
    monkeypatch.setattr(purge, "PROJECTS_AT_ONCE", 1)
    clock = Clock()
    async with serving(tmp_path / "cloud", clock) as served:
        ada = served.user()
        project_id, other, few = await ada.project(), await ada.project(), await ada.project()

        async def fill_up(tx: Tx) -> None:
            for number in range(6):
                await add_activity(tx, clock(), project_id, "tested", "cli", message=str(number))
                await add_activity(tx, clock(), other, "tested", "cli")

        await served.cloud.write(fill_up)
        clock.wait(366)
        await served.cloud.write(lambda tx: add_activity(tx, clock(), few, "tested", "cli"))
        assert await purge.prune_events(served.cloud) == "8 events"
        caller = served.user_at("ada@example.org", clock())
        assert [each[2] for each in await told(caller, project_id)] == ["3", "4", "5"]
        assert (len(await told(caller, other)), len(await told(caller, few))) == (3, 2)


@in_loop
async def test_what_happened_is_read_page_by_page_each_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        project = await ada.project("0")
        for name in range(1, 8):
            await ada.ask("PATCH", f"/v1/projects/{project}", {"name": str(name)})
        read: list[str] = []
        before = ""
        for size in (3, 3, 2, 0):
            page = (await ada.get(f"/v1/projects/{project}/events?limit=3{before}"))["events"]
            assert len(page) == size
            read += [each["message"] for each in page]
            before = f"&before={page[-1]['id']}" if page else ""
        assert read == [message for _, _, message in reversed(await told(ada, project))] and len(read) == 8


@in_loop
async def test_a_projects_page_says_what_happened_since(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        page = f"/v1/projects/{line.project_id}"
        nothing: dict[str, Any] = dict.fromkeys(["last_merge_at", "snapshots_since_merge", "last_deploy_at", "snapshots_since_deploy"])
        assert (await ada.get(page))["snapshot_insights"] == nothing
        await line.push({"a": b"1"}, message="before")

        async def happen(tx: Tx) -> None:
            now_ms = wall_ms() + 1
            await add_activity(tx, now_ms, line.project_id, "merge.completed", "cli")
            for at, status in enumerate(("success", "failed")):
                await tx.run(
                    "INSERT INTO deployments (id, project_id, status, \"trigger\", started_at) VALUES ($1, $2, $3, 'cli', $4)",
                    (str(at), line.project_id, status, text_of(now_ms + at)),
                )

        await served.cloud.write(happen)
        snapshot = (await ada.workspace(line.workspace_id)).snapshot_id
        first = (await ada.get(page))["snapshot_insights"]
        assert (first["snapshots_since_merge"], first["snapshots_since_deploy"]) == (0, 0)
        clock = wall_ms()
        while wall_ms() < clock + 5:
            continue
        await line.push({"a": b"2"}, message="after", parents=[snapshot or ""])
        found = (await ada.get(page))["snapshot_insights"]
        assert (found["snapshots_since_merge"], found["snapshots_since_deploy"]) == (1, 1) and found["last_deploy_at"] == first[
            "last_deploy_at"
        ]
        status = await ada.get(f"{page}/status")
        assert status["last_snapshot_id"] == (await ada.workspace(line.workspace_id)).snapshot_id
        assert status["last_activity"]["type"] == "snapshot.pushed" and status["updated_at"]
