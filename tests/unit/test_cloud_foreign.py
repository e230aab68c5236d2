"""What is somebody else's is not there: not by an answer, and not by the time it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import wall_ms
from store.database.connection import Params, Reader, Row
from store.types import digest_of, new_ulid
from tests.clouds import EMPTY, Caller, Line, Reply, Route, Served, in_loop, push_body, serving


def ulid() -> str:
    return new_ulid(wall_ms())


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The statements that are asked of the embedded engine, with how many rows came; transactions are shared, and end when they end."""
    seen: list[tuple[str, int]] = []
    really_one, really_execute = Reader.one, Reader.execute

    def one(self: Reader, sql: str, params: Params = ()) -> Row | None:
        row = really_one(self, sql, params)
        seen.append((sql, int(row is not None)))
        return row

    def execute(self: Reader, sql: str, params: Params = ()) -> Iterator[Row]:
        rows = list(really_execute(self, sql, params))
        if sql.startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            seen.append((sql, len(rows)))
        return iter(rows)

    monkeypatch.setattr(Reader, "one", one)
    monkeypatch.setattr(Reader, "execute", execute)
    return seen


class Foreign:
    """Every route with an id in its path, to be asked by eve: for what is ada's, and for what nobody has."""

    def __init__(self, served: Served, ada: Caller, eve: Caller, line: Line, eves: str, session: str) -> None:
        self.eve = eve
        self.line = line
        self.eves = eves
        theirs = {"project": line.project_id, "workspace": line.workspace_id, "snapshot": str(line.head.snapshot_id)}
        theirs |= {"replica": line.replica_id, "hash": digest_of(b"1").hex(), "key": "A", "session": session}
        self.names = [theirs, dict.fromkeys(theirs, ulid()) | {"hash": "0" * 64, "key": "A"}]
        self.routes = [route for route in served.cloud_routes() if "{" in route.path and not route.is_open]
        # What anybody may send, and words that everybody has.
        self.routes = [
            each for each in self.routes if "{provider}" not in each.path and (each.method, each.path[:10]) != ("PUT", "/v1/blobs/")
        ]

    @classmethod
    async def meet(cls, served: Served) -> Foreign:
        ada, eve = served.user(), served.user("eve@example.org")
        line = await ada.line()
        await line.push({"a": b"1"}, message="m")
        session = (await ada.get("/v1/auth/sessions"))["sessions"][0]["id"]
        return cls(served, ada, eve, line, await eve.machine("hers"), session)

    async def ask(self, route: Route, names: dict[str, str]) -> Reply:
        path = route.path.format(**names)
        if path.endswith("/push"):
            step, _ = self.line.step({"b": b"2"})
            return await self.eve.ask("POST", path, data=push_body(self.line.header(step)))
        sent: dict[str, object] = {"name": "x", "id": ulid(), "machine_id": self.eves, "local_path": "/", "conflicts": []}
        sent |= {"manifest_hash": EMPTY, "key": "A", "value": "", "variables": [], "intent": "fun", "brief": {"intent": "fun"}}
        sent["preview_id"] = ulid()
        return await self.eve.ask(route.method, path, sent if route.method in ("POST", "PUT", "PATCH") else None)


@pytest.mark.embedded
@in_loop
async def test_what_is_somebody_elses_takes_the_same_work_as_what_nobody_has(tmp_path: Path, work: list[tuple[str, int]]) -> None:
    """So no clock tells one from the other: statement for statement, and as many rows."""
    async with serving(tmp_path / "cloud") as served:
        foreign = await Foreign.meet(served)
        for route in foreign.routes:
            told = []
            for names in foreign.names:
                await foreign.ask(route, names)  # what only the first of two has to do
                work.clear()
                reply = await foreign.ask(route, names)
                told.append((list(work), reply.status, reply.json["error"]["message"]))
            assert told[0][0] and told[0] == told[1], route


@in_loop
async def test_somebody_elses_is_not_there(tmp_path: Path) -> None:
    """Every route with an id in its path, asked by another user: as if it did not exist."""
    async with serving(tmp_path / "cloud") as served:
        foreign = await Foreign.meet(served)
        for route in foreign.routes:
            for names in foreign.names:
                reply = await foreign.ask(route, names)
                assert (reply.status, reply.code) == (404, "NOT_FOUND"), (route, reply)
        assert len(foreign.routes) >= 15
        ada, eve, line, eves = served.user(), foreign.eve, foreign.line, foreign.eves
        for path, body in (
            ("/v1/projects", {"id": line.project_id, "name": "project"}),
            ("/v1/machines", {"id": (await ada.machine()), "name": "x"}),
            (f"/v1/projects/{await eve.project()}/workspaces", {"id": line.workspace_id, "name": "main"}),
            (f"/v1/projects/{await eve.project()}/workspaces", {"id": ulid(), "name": "w", "base_workspace_id": line.workspace_id}),
            (f"/v1/projects/{await eve.project()}/workspaces", {"id": ulid(), "name": "w", "machine_id": await ada.machine()}),
        ):
            assert (await eve.ask("POST", path, body)).status == 404, path
        fork = {"id": ulid(), "name": "w", "base_snapshot_id": line.head.snapshot_id}
        assert (await eve.ask("POST", f"/v1/projects/{await eve.project()}/workspaces", fork)).status == 422
        assert line.project_id not in str(await eve.get("/v1/projects"))
        assert {each["id"] for each in (await eve.get("/v1/machines"))["machines"]} == {eves}
