"""May requests be sent here, and what was counted: GET /ready and GET /metrics."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from cloud.accounts.gate import GateSettings
from cloud.accounts.session import DAY_MS
from cloud.app import wall_ms
from cloud.context import Cloud
from cloud.hub.local import LocalHub
from cloud.operate import daily
from cloud.telemetry import ready
from cloud.telemetry.ready import Readiness
from store.errors import Busy, StoreDamaged
from tests.clouds import Reply, Served, in_loop, serving
from tests.waiting import until

TOKEN = "w" * 43


async def counted(served: Served, **headers: str) -> dict[str, float]:
    """Every series, by its name and labels."""
    reply = await served.stranger().ask("GET", "/metrics", **headers)
    assert reply.status == 200, reply
    lines = [line.rpartition(" ") for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@in_loop
async def test_requests_are_counted_by_template_and_status(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        for _ in range(2):
            assert (await ada.ask("GET", f"/v1/workspaces/{line.workspace_id}")).status == 200
        assert (await ada.ask("GET", "/v1/workspaces/nobody")).status == 404
        assert (await served.stranger().ask("GET", f"/v1/workspaces/{line.workspace_id}")).status == 401
        for path in ("/a", "/b", f"/v1/{line.workspace_id}"):
            reply = await ada.ask("PROPFIND", path)
            assert reply.status == 404, reply
        found = await counted(served)
        at = 'method="GET",route="/v1/workspaces/{workspace}"'
        seen = {status: found[f'fastest_requests_total{{{at},status="{status}"}}'] for status in (200, 404, 401)}
        assert seen == {200: 2, 404: 1, 401: 1}
        assert found[f"fastest_request_seconds_count{{{at}}}"] == 4 and 0 < found[f"fastest_request_seconds_sum{{{at}}}"] < 10
        assert found['fastest_requests_total{method="ANY",route="none",status="404"}'] == 3


@in_loop
async def test_pushes_streams_and_bytes_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        first = line.head
        async with ada.listening():
            assert (await line.push({"a": b"x" * 1000})).status == 200
            assert (await counted(served))["fastest_event_streams"] == 1
        line.head = first
        assert (await line.push({"a": b"y"})).status == 409
        assert (await line.send_raw(b"nonsense")).status == 422
        await ada.upload(b"z" * 5000)
        before = await counted(served)
        pushes = {outcome: before[f'fastest_pushes_total{{outcome="{outcome}"}}'] for outcome in ("accepted", "stale", "refused", "failed")}
        assert pushes == {"accepted": 1, "stale": 1, "refused": 1, "failed": 0}
        assert before['fastest_blob_bytes_total{direction="in"}'] > 0 == before['fastest_blob_bytes_total{direction="out"}']
        digest = (await ada.ask("PUT", f"/v1/blobs/upload/{'0' * 64}", data=b"w" * 7000)).code
        assert digest == "HASH_MISMATCH"
        after = await counted(served)
        assert after['fastest_blob_bytes_total{direction="in"}'] == before['fastest_blob_bytes_total{direction="in"}'] + 7000
        assert after["fastest_database_at_work_most"] > 0 and after["fastest_database_at_work"] >= 0
        assert after["process_resident_memory_bytes"] > 10_000_000
        await until(lambda: b"fastest_event_streams 0.0" in served.cloud.metrics.text())
        stream = 'method="GET",route="/v1/events"'
        await until(lambda: f'fastest_requests_total{{{stream},status="101"}} 1.0' in served.cloud.metrics.text().decode())
        assert f"fastest_request_seconds_count{{{stream}}}" not in await counted(served), "how long it was open says nothing"


@in_loop
async def test_runs_of_housekeeping_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Cloud) -> str:
        raise StoreDamaged("a manifest cannot be read")

    now = [wall_ms()]
    async with serving(tmp_path / "cloud", lambda: now[0]) as served:
        monkeypatch.setitem(daily.JOBS, "prune", fail)
        assert await daily.run_due(served.cloud) == [], "a new cloud has nothing to clear away"
        now[0] += DAY_MS + 1000
        await daily.run_due(served.cloud)
        found = await counted(served)
        assert found['fastest_jobs_total{job="collect",outcome="done"}'] == found['fastest_jobs_total{job="prune",outcome="failed"}'] == 1
        assert found['fastest_job_done_timestamp_seconds{job="collect"}'] > 1_700_000_000
        assert 'fastest_job_done_timestamp_seconds{job="prune"}' not in found


@in_loop
async def test_no_label_names_anybody(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line("secretname")
        assert (await line.push({"secretfile": b"x"}, message="secretmessage")).status == 200
        presigned = await ada.post("/v1/blobs/presign-download", {"hashes": []})
        assert presigned == {"urls": []}
        assert (await served.stranger().ask("GET", f"/v1/blobs/signed/secretticket/{'0' * 64}")).status == 401
        text = (await served.stranger().ask("GET", "/metrics")).body.decode()
        labels = set(re.findall(r'="([^"]*)"', text))
        assert line.workspace_id not in text and line.project_id not in text and "secret" not in text
        allowed = re.compile(r"[A-Z]+|\d{3}|[\d.e+]+|\+Inf|[a-z]+|none|/|(/([a-z0-9-]+|\{[a-z]+\}))+")
        assert not {label for label in labels if not allowed.fullmatch(label)}


# --- who may read them ----------------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
@in_loop
async def test_metrics_are_for_this_machine_alone_when_there_is_no_token(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        assert await counted(served)
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            assert (await served.user().ask("GET", "/metrics", **{name: "127.0.0.1"})).code == "UNAUTHORIZED", "a proxy brings the world"
        for host in ("cloud.example.org", "cloud.example.org:80", "evil.localhost.example.org", "192.0.2.1"):
            assert (await served.stranger().ask("GET", "/metrics", Host=host)).code == "UNAUTHORIZED", "a browser led astray"
    async with serving(tmp_path / "proxied", gate=GateSettings(proxies=("127.0.0.1",))) as served:
        assert (await served.stranger().ask("GET", "/metrics")).code == "UNAUTHORIZED", "who comes from a proxy's address may be anybody"


@pytest.mark.embedded
@in_loop
async def test_with_a_token_metrics_are_for_whoever_has_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud", metrics_token=TOKEN) as served:
        assert await counted(served, Authorization=f"Bearer {TOKEN}")
        assert await counted(served, Authorization=f"Bearer {TOKEN}", Host="cloud.example.org", **{"X-Forwarded-For": "192.0.2.1"})
        for shown in ("", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \udcff"):
            assert (await served.stranger().ask("GET", "/metrics", Authorization=shown)).code == "UNAUTHORIZED"
        assert (await served.user().ask("GET", "/metrics")).code == "UNAUTHORIZED", "a session is not enough"


# --- readiness ------------------------------------------------------------------------------------------------------------------------


async def ask(served: Served) -> Reply:
    served.readiness._found_at = float("-inf")
    return await served.stranger().ask("GET", "/ready")


def lacking(reply: Reply) -> list[str]:
    assert (reply.status, reply.code) == (503, "BUSY") and int(reply.headers["Retry-After"]) > 0
    return list(reply.json["error"]["details"]["lacking"])


@in_loop
async def test_ready_with_all_parts(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        reply = await ask(served)
        assert (reply.status, reply.json) == (200, {"status": "ready", "degraded": []})
        found = await counted(served)
        assert {part: found[f'fastest_part_reachable{{part="{part}"}}'] for part in ("database", "schema", "objects", "hub")} == {
            "database": 1, "schema": 1, "objects": 1, "hub": 1,
        }  # fmt: skip


@in_loop
async def test_a_schema_that_this_server_does_not_know_takes_it_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        assert (await ask(served)).status == 200
        await served.cloud.write(lambda tx: tx.run("UPDATE schema_versions SET version = version + 1 WHERE component = 'cloud'"))
        assert lacking(await ask(served)) == ["schema"]
        assert (await served.stranger().ask("GET", "/health")).status == 200, "it lives: nobody is to kill it"
        await served.cloud.write(lambda tx: tx.run("UPDATE schema_versions SET version = version - 1 WHERE component = 'cloud'"))
        assert (await ask(served)).status == 200


class Gone:
    """A database that does not answer."""

    async def reading(self, work: object) -> object:
        raise Busy("the database does not answer")


@pytest.mark.embedded
@in_loop
async def test_a_database_that_does_not_answer_takes_it_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        assert (await ask(served)).status == 200
        db = served.cloud.db
        object.__setattr__(served.cloud, "db", Gone())
        assert lacking(await ask(served)) == ["database", "schema"]
        object.__setattr__(served.cloud, "db", db)
        assert (await ask(served)).status == 200


class Deaf(LocalHub):
    """A hub whose Redis is there or not."""

    is_there = False

    async def ping(self) -> None:
        if not self.is_there:
            raise Busy("Redis does not answer")


@pytest.mark.embedded
@in_loop
async def test_a_part_counts_until_it_has_answered_once_and_then_only_degrades(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        hub = Deaf()
        object.__setattr__(served.cloud, "hub", hub)
        assert lacking(await ask(served)) == ["hub"], "a wrong address is found before the first request comes"
        hub.is_there = True
        assert (await ask(served)).json == {"status": "ready", "degraded": []}
        hub.is_there = False
        reply = await ask(served)
        assert (reply.status, reply.json["degraded"]) == (200, ["hub"]), "a Redis that is gone is gone for all: pushes go on"
        assert (await counted(served))['fastest_part_reachable{part="hub"}'] == 0


@pytest.mark.embedded
@in_loop
async def test_who_hangs_does_not_hold_up_the_answer_and_many_who_ask_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    class Hung(LocalHub):
        async def ping(self) -> None:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()

    monkeypatch.setattr(ready, "ANSWER_SECONDS", 0.05)
    async with serving(tmp_path / "cloud") as served:
        object.__setattr__(served.cloud, "hub", Hung())
        replies = await asyncio.gather(*(served.stranger().ask("GET", "/ready") for _ in range(20)))
        assert [lacking(reply) for reply in replies] == [["hub"]] * 20
        assert asked == 1


@pytest.mark.embedded
@in_loop
async def test_who_is_about_to_stop_is_not_ready_and_still_serves(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        assert (await ask(served)).status == 200
        served.readiness.leave()
        assert lacking(await served.stranger().ask("GET", "/ready")) == ["leaving"]
        assert (await served.user().ask("GET", "/v1/auth/me")).status == 200


@pytest.mark.embedded
@in_loop
async def test_a_new_server_is_asked_anew(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        assert (await Readiness(served.cloud).standing()).lacking == []
