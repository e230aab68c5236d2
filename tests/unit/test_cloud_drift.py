"""How far two workspaces are apart (DRIFT-1 to DRIFT-6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud.merges.decide import Three
from cloud.merges.drift import extension_of, risk_of
from cloud.records.work.drift import KEPT_REPORTS
from store.types import DIR, Link, RelPath, new_ulid, parse_digest
from tests.clouds import Caller, Line, Served, in_loop, serving
from tests.merging import TEXT, fork_of, pair_of, script


async def compared(line: Line, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = (await line.caller.get(f"/v1/workspaces/{line.workspace_id}/drift/compare?include_dirty=true{query}"))["drift"]
    return found


async def everything(served: Served) -> list[object]:
    """What every table of the work holds."""
    reader = served.cloud.read()
    found: list[object] = []
    for sql in (
        "SELECT * FROM drift_reports ORDER BY id", "SELECT * FROM workspaces ORDER BY id", "SELECT * FROM activity_events ORDER BY id",
        "SELECT * FROM sync_previews ORDER BY id", "SELECT * FROM projects ORDER BY id", "SELECT * FROM snapshots ORDER BY id",
    ):  # fmt: skip
        found.append(await reader.rows(sql))
    return found


@pytest.mark.embedded
@in_loop
async def test_four_sets_and_what_they_come_to(tmp_path: Path) -> None:
    """DRIFT-1, DRIFT-2."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"s")
        pair = await pair_of(ada, {"same.py": b"1", "z": b"1", "mode.sh": b"s", "d": DIR, "d/x": b"1", "link": Link(b"a")})
        await pair.apart(
            {"new.PY": b"m" * 200_000, "z": b"main", "b": b"main", "mode.sh": script(b"s"), "empty": DIR},
            {"mine": b"1", "z": b"fork", "b": b"fork", "d": b"no folder", "d/x": None},
        )
        drift = await compared(pair.fork)
        assert drift["source_only"] == ["d/x", "new.PY"] and drift["workspace_only"] == ["mine"]
        assert drift["both_same"] == ["link", "same.py"] and drift["both_different"] == ["b", "d", "mode.sh", "z"]
        assert drift["counts"] == {"source_only": 2, "workspace_only": 1, "both_different": 4, "both_same": 1}
        assert (drift["total_drift_files"], drift["has_overlaps"], drift["overlap_ratio"]) == (6, True, 4 / 6)
        assert drift["risk_level"] == "high" and drift["top_overlap_files"] == drift["both_different"]
        assert drift["counts_by_ext"] == {".py": 1, ".sh": 1, "none": 4} and drift["large_files_changed"] is True
        assert drift["staleness_hours"] == 0.0
        few = await compared(pair.fork, "&paths=1")
        assert few["both_different"] == ["b"] and few["counts"] == drift["counts"]
        back = await compared(pair.main, f"&source_workspace_id={pair.fork.workspace_id}")
        assert (back["source_only"], back["workspace_only"]) == (drift["workspace_only"], drift["source_only"])


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("overlaps", "ratio", "risk"),
    [(0, 0.0, "low"), (1, 0.59, "medium"), (1, 0.6, "high"), (9, 0.1, "medium"), (10, 0.1, "high")],
)
def test_risk(overlaps: int, ratio: float, risk: str) -> None:
    assert risk_of(overlaps, ratio) == risk


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "extension"),
    [
        (b"a.TXT", ".txt"),
        (b"a", "none"),
        (b".env", "none"),
        (b"d.x/a", "none"),
        (b"a.tar.gz", ".gz"),
        (b"a.", "none"),
        (b"a.\xe9", ".\ufffd"),
    ],
)  # fmt: skip
def test_extensions(name: bytes, extension: str) -> None:
    assert extension_of(RelPath(name)) == extension


@pytest.mark.embedded
@in_loop
async def test_each_sides_changes_since_they_parted(tmp_path: Path) -> None:
    """DRIFT-6: deletions are overlaps too; where lines do not join it says which."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"joins": TEXT, "lines": TEXT, "gone": b"12345", "kept": b"1", "edited": b"1"})
        await pair.apart(
            {"joins": TEXT.replace(b"one", b"1"), "lines": TEXT.replace(b"two", b"2"), "gone": None, "kept": None, "same": b"1"},
            {"joins": TEXT.replace(b"five", b"5"), "lines": TEXT.replace(b"two", b"II"), "kept": b"edit", "edited": b"123", "same": b"1"},
        )
        drift = await compared(pair.fork)
        mine, mains = drift["workspace_changes"], drift["source_changes"]
        assert (mine["added"], mine["modified"], mine["deleted"]) == (["same"], ["edited", "joins", "kept", "lines"], [])
        assert (mains["added"], mains["modified"], mains["deleted"]) == (["same"], ["joins", "lines"], ["gone", "kept"])
        assert mains["counts"] == {"added": 1, "modified": 2, "deleted": 2} and mains["bytes"] == 1 + 2 + 2 + 5 + 1
        assert drift["mode"] == "three-way" and drift["base_snapshot_id"]
        assert drift["overlaps"] == [
            {"path": "joins", "kind": "joins", "hunks": []}, {"path": "kept", "kind": "edit-delete", "hunks": []},
            {"path": "lines", "kind": "edit-edit", "hunks": [{"base": [1, 2], "ours": [1, 2], "theirs": [1, 2]}]},
        ]  # fmt: skip
        assert (drift["overlap_count"], drift["decide_count"]) == (3, 2)
        preview = await pair.prepare()
        assert [each["path"] for each in preview["decisions_needed"]] == ["kept", "lines"], "a merge does what drift told"


@in_loop
async def test_committed_or_as_it_is_now(tmp_path: Path) -> None:
    """DRIFT-3."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.fork.push({"a": b"2"})
        path = f"/v1/workspaces/{pair.fork.workspace_id}/drift/compare"
        assert (await pair.caller.get(path))["drift"]["both_different"] == []
        assert (await compared(pair.fork))["both_different"] == ["a"]
        await pair.fork.push({"b": b"2"}, message="kept", parents=[pair.fork.head.snapshot_id or ""])
        found = await pair.caller.get(path)
        assert found["drift"]["both_different"] == ["a"] and found["drift"]["workspace_only"] == ["b"]
        assert found["source_workspace"] == {"id": pair.main.workspace_id, "name": "main"} and found["is_main_workspace"] is False


@in_loop
async def test_reading_writes_nothing_and_equal_roots_are_drawn_once(tmp_path: Path) -> None:
    """DRIFT-4."""
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        await pair.apart({"a": b"2"}, {"b": b"1"})
        before = await everything(served)
        first = await compared(pair.fork)
        base = (await pair.caller.get(f"/v1/snapshots/{first['base_snapshot_id']}"))["snapshot"]["manifest_hash"]
        three = Three(*(parse_digest(root) for root in (base, pair.fork.head.root, pair.main.head.root)))  # type: ignore[arg-type]
        drawn = await served.cloud.drifts.compare(served.cloud, three)
        assert [path.decode() for path in drawn.both_different] == first["both_different"]
        again = await compared(pair.fork)
        assert again | {"reported_at": ""} == first | {"reported_at": ""}
        assert await served.cloud.drifts.compare(served.cloud, three) is drawn
        await pair.caller.get(f"/v1/workspaces/{pair.fork.workspace_id}/drift")
        assert await everything(served) == before
        await pair.fork.push({"a": b"2"})
        assert (await compared(pair.fork))["both_different"] == [], "another head is another answer"


@pytest.mark.embedded
@in_loop
async def test_what_cannot_be_compared(tmp_path: Path) -> None:
    """DRIFT-1: itself, no main, no snapshot: a clear message; another project: refused; somebody else's: not there."""
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        pair = await pair_of(ada, {"a": b"1"})
        other, hers = await ada.line(), await eve.line()
        bare = await ada.line("bare", pair.main.project_id)

        async def ask(line: Line, query: str = "", caller: Caller = ada) -> Any:
            return await caller.ask("GET", f"/v1/workspaces/{line.workspace_id}/drift/compare?{query}")

        for line, query, is_main in (
            (pair.main, "", True), (pair.fork, f"source_workspace_id={pair.fork.workspace_id}", False), (bare, "", False),
            (pair.fork, f"source_workspace_id={bare.workspace_id}", False),
        ):  # fmt: skip
            found = (await ask(line, query)).json
            assert found["drift"] is None and found["is_main_workspace"] is is_main and found["message"].endswith(".")
        foreign = await ask(pair.fork, f"source_workspace_id={other.workspace_id}")
        assert (foreign.status, foreign.code) == (400, "INVALID_OPERATION")
        for query in (f"source_workspace_id={hers.workspace_id}", f"source_workspace_id={new_ulid(1)}"):
            assert (await ask(pair.fork, query)).status == 404
        assert (await ask(pair.fork, caller=eve)).status == 404
        for query in ("include_dirty=maybe", "paths=-1", "paths=10001"):
            assert (await ask(pair.fork, query)).status == 422


@in_loop
async def test_a_client_reports_what_it_counted(tmp_path: Path) -> None:
    """DRIFT-5, DRIFT-4: non-negative whole numbers, an event when there is any, a bounded history, the latest of each source."""
    now = [10**12]
    async with serving(tmp_path / "cloud", now_ms=lambda: now[0]) as served:
        ada = served.user()
        pair = await pair_of(ada, {"a": b"1"})
        path = f"/v1/workspaces/{pair.fork.workspace_id}/drift"
        wrong: list[object] = [{"files_added": -1}, {"files_added": 1.5}, {"files_added": "1"}, {"files_added": 2**60}, {"summary": 7}, []]
        for body in (*wrong, {"actor": "me"}):
            assert (await ada.ask("POST", path, body)).status == 422, body
        assert (await ada.ask("POST", path, {"source_workspace_id": new_ulid(1)})).status == 404
        assert (await ada.ask("POST", path, {"summary": "x" * 1001})).status == 422
        made = await ada.ask("POST", path, {"files_added": 1, "files_modified": 2, "files_deleted": 3, "bytes_changed": 4, "summary": "s"})
        assert made.status == 201 and made.json["drift_report"]["total_drift_files"] == 6
        assert made.json["drift_report"]["workspace_snapshot_id"] == pair.fork.head.snapshot_id
        now[0] += 90 * 60 * 1000
        await ada.post(path, {"source_workspace_id": pair.main.workspace_id})
        events = (await ada.get(f"/v1/projects/{pair.main.project_id}/events"))["events"]
        assert [each["message"] for each in events if each["type"] == "drift.reported"] == ["Drift: +1 ~2 -3"]
        found = await ada.get(path)
        assert [each["staleness_hours"] for each in found["drift_reports"]] == [0.0, 1.5]
        assert [each["source_workspace_id"] for each in found["latest_by_source"]] == [pair.main.workspace_id, None]
        assert found["latest"] == found["drift_reports"][0]
        one, project = f"/v1/workspaces/{pair.fork.workspace_id}", f"/v1/projects/{pair.main.project_id}"
        assert (await ada.get(one))["drift"] == found["latest"]
        for listing in (project, f"{project}/workspaces"):
            listed = {each["id"]: each["drift"] for each in (await ada.get(listing))["workspaces"]}
            assert listed == {pair.fork.workspace_id: found["latest"], pair.main.workspace_id: None}
        for number in range(KEPT_REPORTS + 2):
            now[0] += 1
            await ada.post(path, {"files_added": number})
        rows = (await ada.get(f"{path}?limit=100"))["drift_reports"]
        assert [each["files_added"] for each in rows] == [*range(KEPT_REPORTS + 1, 1, -1)]
        older = (await ada.get(f"{path}?limit=100&before={rows[-1]['id']}"))["drift_reports"]
        assert [each["source_workspace_id"] for each in older] == [pair.main.workspace_id], "another source's history is its own"
        assert (await ada.ask("GET", f"{path}?limit=101")).status == 422


@pytest.mark.embedded
@in_loop
async def test_two_forks_against_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        pair = await pair_of(served.user(), {"a": b"1"})
        other = await fork_of(pair.main, "other")
        await other.push({"a": b"2"})
        drift = await compared(pair.fork, f"&source_workspace_id={other.workspace_id}")
        assert drift["both_different"] == ["a"] and drift["overlaps"] == []
