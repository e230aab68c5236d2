"""Who hears what over the WebSocket, and what ends a listener."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
import msgspec
import pytest

from cloud.app import wall_ms
from cloud.context import Cloud
from cloud.database import drive
from cloud.hub.local import MAX_WAITING_BYTES, MAX_WAITING_MESSAGES, Listener, LocalHub
from cloud.records.people.accounts import Account
from cloud.routes import events
from store.blobs.frames import encode_frame
from store.manifest import record_of
from store.types import File, RelPath, digest_of, new_ulid
from sync.core.wire import INLINE_EVENT_BYTES, Beat, BeatReplica, WireConflict, WireWorkspace
from tests.clouds import Line, Served, in_loop, next_message, serving
from tests.waiting import until


async def replica_of(line: Line, machine_id: str) -> Line:
    shown = await line.caller.get(f"/v1/workspaces/{line.workspace_id}")
    return await line.caller.mirror(msgspec.convert(shown, WireWorkspace), machine_id)


def listeners(served: Served) -> int:
    hub = served.cloud.hub
    assert isinstance(hub, LocalHub)
    return sum(len(each) for each in hub._listeners.values())


@in_loop
async def test_a_machine_hears_of_the_workspaces_it_holds(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        desk, laptop = await ada.machine("desk"), await ada.machine("laptop")
        one, two = await ada.line("one", machine_id=laptop), await ada.line("two", machine_id=laptop)
        await replica_of(two, desk)
        async with ada.listening(desk) as at_desk, ada.listening() as everywhere:
            await one.push({"a": b"1"})
            await two.push({"a": b"1"})
            assert (await next_message(at_desk)).header.head == two.head
            assert [(await next_message(everywhere)).header.head for _ in range(2)] == [one.head, two.head]


@in_loop
async def test_nobody_hears_of_anothers(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        line = await ada.line()
        async with eve.listening() as hers:
            await line.push({"a": b"1"})
            own = await eve.line()
            await own.push({"b": b"2"})
            assert (await next_message(hers)).header.head == own.head
        stolen = await eve.ask("GET", f"/v1/events?machine_id={await ada.machine()}", **{"Connection": "Upgrade", "Upgrade": "websocket"})
        assert stolen.code == "NOT_FOUND"


@in_loop
async def test_the_machine_that_pushed_gets_no_bytes_back(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        desk, laptop = await ada.machine("desk"), await ada.machine("laptop")
        line = await ada.line(machine_id=laptop)
        await replica_of(line, desk)
        async with ada.listening(laptop) as own, ada.listening(desk) as other:
            await line.push({"a": b"one"})
            here, there = await next_message(own), await next_message(other)
        assert here.header == there.header and here.delta == there.delta and here.header.replica_id == line.replica_id
        assert here.contents == {} and there.contents == {digest_of(b"one"): b"one"}


@in_loop
async def test_what_is_large_is_left_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        small, large = os.urandom(INLINE_EVENT_BYTES), os.urandom(INLINE_EVENT_BYTES + 1)
        async with ada.listening() as socket:
            await line.push({"small": small, "large": large})
            heard = await next_message(socket)
            assert len(heard.delta) == 2 and heard.contents == {digest_of(small): small}
            many = {f"f{number:02d}": os.urandom(INLINE_EVENT_BYTES // 8) for number in range(12)}
            await line.push(dict(many))
            heard = await next_message(socket)
            assert len(heard.contents) == 8
            await line.push({f"{os.urandom(60).hex()}": b"" for _ in range(3000)})
            heard = await next_message(socket)
            assert heard.header.parent_root is None and heard.header.sections == 0 and heard.header.head == line.head


@in_loop
async def test_steps_are_told_as_one_delta(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        one, first = line.step({"a": b"1", "b": b"1"})
        two, second = line.step({"b": None}, root=one.root)
        async with ada.listening() as socket:
            frame = encode_frame([(digest_of(b"1"), b"1")])
            assert (await line.send(line.header(one, two), first + second, [frame])).status == 200
            assert (await next_message(socket)).delta == line.delta({"a": b"1"})


@in_loop
async def test_versions_are_heard_in_order_and_each_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        async with ada.listening() as socket:
            for number in range(30):
                await line.push({"a": str(number).encode()})
            heard = [(await next_message(socket)).header for _ in range(30)]
        assert [header.head.version for header in heard if header.head] == list(range(2, 32))
        roots = [header.head.root for header in heard if header.head]
        assert [header.parent_root for header in heard[1:]] == roots[:-1]


@in_loop
async def test_beats_that_say_the_same_are_written_down_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Beat] = []
    write = events._seen

    async def note(cloud: Cloud, account: Account, machine_id: str, beat: Beat) -> None:
        await write(cloud, account, machine_id, beat)
        written.append(beat)

    monkeypatch.setattr(events, "_seen", note)
    clock = [wall_ms()]
    async with serving(tmp_path / "cloud", now_ms=lambda: clock[0]) as served:
        ada = served.user()
        here, there = Beat(workspaces=["here"]), Beat(workspaces=["there"])
        async with ada.listening(await ada.machine()) as socket:
            for beat in (here, here, here, there):
                await socket.send_str(msgspec.json.encode(beat).decode())
            await until(lambda: there in written)
            assert written == [Beat(), here, there]
            clock[0] += events.NOTED_MS
            await socket.send_str(msgspec.json.encode(there).decode())
            await until(lambda: written == [Beat(), here, there, there])


@pytest.mark.embedded
@in_loop
async def test_a_beat_says_who_is_there_and_how_far(tmp_path: Path) -> None:
    clock = [wall_ms()]
    async with serving(tmp_path / "cloud", now_ms=lambda: clock[0]) as served:
        ada, eve = served.user(), served.user("eve@example.org")
        machine_id = await ada.machine()
        line = await ada.line(machine_id=machine_id)
        hers = await eve.line()
        clock[0] += 3_600_000
        async with ada.listening(machine_id) as socket:
            beat = Beat(
                workspaces=[line.workspace_id, hers.workspace_id],
                replicas=[BeatReplica(line.replica_id, 1, line.head.root, "waiting"), BeatReplica(hers.replica_id, 9, "x")],
            )
            await socket.send_str(msgspec.json.encode(beat).decode())

            agreed = "SELECT agreed_version FROM workspace_replicas WHERE id = $1"
            await until(lambda: drive(served.db.read().one(agreed, (line.replica_id,))) == (1,))
            [found] = (await ada.get(f"/v1/workspaces/{line.workspace_id}/replicas"))["replicas"]
            assert (found["agreed_root"], found["state"]) == (line.head.root, "waiting")
            seen = (await ada.get(f"/v1/workspaces/{line.workspace_id}"))["workspace"]["last_seen_at"]
            assert seen is not None
            clock[0] += 3_600_000
            [machine] = (await ada.get("/v1/machines"))["machines"]
            assert machine["online"] is True, "it listens"
        await until(lambda: listeners(served) == 0)
        assert (await ada.get("/v1/machines"))["machines"][0]["online"] is False
        assert (await eve.get(f"/v1/workspaces/{hers.workspace_id}"))["workspace"]["last_seen_at"] is None
        assert (await eve.get(f"/v1/workspaces/{hers.workspace_id}/replicas"))["replicas"][0]["agreed_version"] is None


@in_loop
async def test_machines_that_come_and_go_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        machine_id = await ada.machine()
        async with ada.listening() as socket:
            await next_message(socket, "machines")
            async with ada.listening(machine_id):
                await next_message(socket, "machines")
            await next_message(socket, "machines")


@pytest.mark.parametrize("sent", ["{", '{"type":"shout"}', "[]", '{"type":"beat","workspaces":[1]}'])
@in_loop
async def test_what_is_no_beat_ends_the_listener(tmp_path: Path, sent: str) -> None:
    async with serving(tmp_path / "cloud") as served, served.user().listening() as socket:
        await socket.send_str(sent)
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.BINARY:
            continue
        assert message.type is aiohttp.WSMsgType.CLOSE and message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


@in_loop
async def test_signing_out_ends_the_listener(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, still = served.user(), served.user()
        async with ada.listening() as socket, still.listening() as other:
            await until(lambda: listeners(served) == 2)
            await ada.post("/v1/auth/logout", {})
            while (await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.CLOSE:
                continue
            await until(lambda: listeners(served) == 1)
            line = await still.line()
            await line.push({"a": b"1"})
            assert (await next_message(other)).header.head == line.head


@in_loop
async def test_an_expired_session_hears_no_more_after_its_next_beat(tmp_path: Path) -> None:
    clock = [wall_ms()]
    async with serving(tmp_path / "cloud", now_ms=lambda: clock[0]) as served:
        async with served.user().listening() as socket:
            await socket.send_str('{"type":"beat"}')
            await next_message(socket, "machines")
            clock[0] += 31 * 24 * 3_600_000
            await socket.send_str('{"type":"beat"}')
            while (await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.CLOSE:
                continue
        await until(lambda: listeners(served) == 0)


@in_loop
async def test_a_listener_that_does_not_keep_up_is_cut_off() -> None:
    async with asyncio.timeout(10):
        slow = Listener("user", "session", "machine")
        for _ in range(MAX_WAITING_MESSAGES):
            slow.put(b"x")
        assert not slow.cut
        slow.put(b"x")
        assert slow.cut and await slow.take() is None
        heavy = Listener("user", "session", "machine")
        heavy.put(b"x" * MAX_WAITING_BYTES)
        assert not heavy.cut and len(await heavy.take() or b"") == MAX_WAITING_BYTES
        heavy.put(b"x" * MAX_WAITING_BYTES)
        heavy.put(b"x")
        assert heavy.cut and await heavy.take() is None


@in_loop
async def test_conflicts_are_kept_told_and_resolved_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({"a": b"theirs"})
        path = RelPath(b"a")
        ours = record_of(path, File(digest_of(b"ours"), 4))
        theirs = record_of(path, File(digest_of(b"theirs"), 6))
        conflict = WireConflict(
            new_ulid(wall_ms()), line.workspace_id, record_of(path, None), "edit-edit", None, ours, theirs, "open", wall_ms()
        )  # fmt: skip
        route = f"/v1/workspaces/{line.workspace_id}/conflicts"
        absent = await ada.ask("POST", route, {"conflicts": [conflict]})
        assert absent.code == "MISSING_BLOBS" and absent.json["error"]["details"]["hashes"] == [digest_of(b"ours").hex()]
        await ada.upload(b"ours")
        async with ada.listening() as socket:
            assert (await ada.post(route, {"conflicts": [conflict]}))["changed"] == [conflict.id]
            heard = (await next_message(socket, "conflicts")).header
            assert heard.head == line.head and heard.conflicts == [conflict]
            assert (await ada.post(route, {"conflicts": [conflict]}))["changed"] == []
            solved = msgspec.structs.replace(conflict, state="resolved", resolution="ours", resolved_ms=wall_ms())
            assert (await ada.post(route, {"conflicts": [solved]}))["changed"] == [conflict.id]
            assert (await next_message(socket, "conflicts")).header.conflicts == [solved]
        for late in (conflict, msgspec.structs.replace(solved, resolution="theirs")):
            assert (await ada.post(route, {"conflicts": [late]}))["changed"] == [], "the first resolution stands"
        assert msgspec.convert((await ada.get(route))["conflicts"], list[WireConflict]) == [solved]
        assert (await ada.catch_up(line.workspace_id, 2, line.head.root)).header.conflicts == [solved]
        kinds = [each["type"] for each in (await ada.get(f"/v1/projects/{line.project_id}/events"))["events"]]
        assert kinds[:2] == ["conflict.resolved", "conflict.recorded"]


@in_loop
async def test_a_conflict_that_must_not_be(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        line, hers = await ada.line(), await eve.line()
        replace = msgspec.structs.replace
        good = WireConflict(
            new_ulid(wall_ms()), line.workspace_id, record_of(RelPath(b"a"), None), "edit-edit", None, None, None, "open", wall_ms()
        )  # fmt: skip
        route = f"/v1/workspaces/{line.workspace_id}/conflicts"
        wrong = [
            replace(good, id="x"), replace(good, workspace_id=hers.workspace_id), replace(good, record=record_of(RelPath(b"../a"), None)),
            replace(good, record=record_of(RelPath(b".git/x"), None)), replace(good, state="resolved"), replace(good, resolved_ms=1),
            replace(good, kind="x" * 101), replace(good, created_ms=-1), replace(good, created_ms=2**60),
            replace(good, ours=record_of(RelPath(b"b"), File(digest_of(b""), 0))),
        ]  # fmt: skip
        for conflict in wrong:
            assert (await ada.ask("POST", route, {"conflicts": [conflict]})).status in (413, 422), conflict
        assert (await ada.get(route))["conflicts"] == []
        await ada.post(route, {"conflicts": [good]})
        stolen = replace(good, workspace_id=hers.workspace_id, state="resolved", resolved_ms=1)
        reply = await eve.ask("POST", f"/v1/workspaces/{hers.workspace_id}/conflicts", {"conflicts": [stolen]})
        assert reply.code == "NOT_FOUND"
        assert msgspec.convert((await ada.get(route))["conflicts"], list[WireConflict]) == [good]
