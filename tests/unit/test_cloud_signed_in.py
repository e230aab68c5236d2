"""Where an account is signed in, how that ends, and tickets for those who cannot send a header: AUTH-8, AUTH-11."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from cloud.accounts.device import CODE_SECONDS, TOLD_SECONDS
from cloud.accounts.session import DAY_MS, SESSION_DAYS, TICKET_SECONDS, sign_in
from cloud.operate.upkeep import look_after
from tests.clouds import Caller, Served, in_loop, serving


async def listen_with(served: Served, ticket: str) -> int:
    """The status of the handshake."""
    try:
        async with served.http.ws_connect(f"{served.url}/v1/events?ticket={ticket}") as socket:
            return 101 if (await socket.receive_bytes(timeout=10)) else 0
    except aiohttp.WSServerHandshakeError as error:
        return error.status


@in_loop
async def test_sessions_are_listed_and_revoked_one_and_all(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        one, two, three = served.user(), served.user(), served.user()
        listed = (await one.get("/v1/auth/sessions"))["sessions"]
        assert [each["is_current"] for each in listed].count(True) == 1 and len(listed) == 3
        assert all("token" not in name for each in listed for name in each)
        for caller in (two, three):
            async with caller.listening() as socket:
                mine = next(each["id"] for each in (await caller.get("/v1/auth/sessions"))["sessions"] if each["is_current"])
                assert (await one.ask("DELETE", f"/v1/auth/sessions/{mine}")).status == 200
                while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.BINARY:
                    continue
                assert message.data == 1013, "its stream ends with it"
            assert (await caller.ask("GET", "/v1/auth/me")).status == 401
            assert (await one.ask("DELETE", f"/v1/auth/sessions/{mine}")).code == "NOT_FOUND"
        served.user()
        assert (await one.ask("DELETE", "/v1/auth/sessions")).json == {"success": True, "count": 2}
        assert (await one.ask("GET", "/v1/auth/me")).status == 401


@in_loop
async def test_somebody_elses_session_is_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        theirs = (await bob.get("/v1/auth/sessions"))["sessions"]
        assert len(theirs) == 1
        for wrong in (theirs[0]["id"], "01HXNOTHERE", "%00", "x" * 500):
            assert (await ada.ask("DELETE", f"/v1/auth/sessions/{wrong}")).status == 404
        assert (await ada.ask("DELETE", "/v1/auth/sessions")).json["count"] == 1
        await bob.get("/v1/auth/me")


@in_loop
async def test_what_was_used_last_is_noted(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with serving(tmp_path / "cloud", lambda: now[0]) as served:
        ada = served.stranger(served.write(lambda tx: sign_in(tx, "ada@example.org", now[0])))

        async def seen() -> object:
            return (await served.cloud.read().rows("SELECT last_seen_at FROM sessions"))[0][0]

        assert await seen() is None
        await ada.get("/v1/auth/me")
        assert await seen() == "2027-01-15T08:00:00.000Z"
        now[0] += 4 * 60_000
        await ada.get("/v1/auth/me")
        assert await seen() == "2027-01-15T08:00:00.000Z", "not with every request"
        now[0] += 2 * 60_000
        await ada.get("/v1/auth/me")
        assert await seen() == "2027-01-15T08:06:00.000Z"


@in_loop
async def test_a_ticket_opens_one_stream_soon(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with serving(tmp_path / "cloud", lambda: now[0]) as served:
        ada = served.stranger(served.write(lambda tx: sign_in(tx, "ada@example.org", now[0])))

        async def ticket() -> str:
            told = await ada.post("/v1/auth/ticket", {})
            assert told["expires_in"] == TICKET_SECONDS
            return str(told["ticket"])

        once = await ticket()
        assert once not in str(await served.cloud.read().rows("SELECT * FROM stream_tickets"))
        assert sorted(await asyncio.gather(*(listen_with(served, once) for _ in range(8)))) == [101] + [401] * 7
        late = await ticket()
        now[0] += TICKET_SECONDS * 1000
        for worthless in (late, "", "x", "x" * 5000, ada.auth["Authorization"].partition(" ")[2]):
            assert await listen_with(served, worthless) == 401
        revoked = await ticket()
        assert (await ada.ask("POST", "/v1/auth/logout")).status == 200
        assert await listen_with(served, revoked) == 401, "it ends with its session"
        assert (await Caller(served.http, served.url, once).ask("GET", "/v1/auth/me")).status == 401, "and opens nothing else"


@in_loop
async def test_what_has_expired_is_forgotten(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with serving(tmp_path / "cloud", lambda: now[0]) as served:
        ada = served.stranger(served.write(lambda tx: sign_in(tx, "ada@example.org", now[0])))
        await ada.post("/v1/auth/ticket", {})
        await ada.post("/v1/oauth/device", None)

        async def kept() -> list[int]:
            tables = ("sessions", "stream_tickets", "device_codes", "account_events")
            return [int((await served.cloud.read().rows(f"SELECT count(*) FROM {table}"))[0][0]) for table in tables]

        steps = ((TICKET_SECONDS, [1, 0, 1, 1]), (CODE_SECONDS, [1, 0, 1, 1]), (CODE_SECONDS + TOLD_SECONDS, [1, 0, 0, 1]),
                 (SESSION_DAYS * DAY_MS // 1000, [0, 0, 0, 1]), (366 * DAY_MS // 1000, [0, 0, 0, 0]))  # fmt: skip
        begun = now[0]
        assert await kept() == [1, 1, 1, 1]
        for seconds, left in steps:
            now[0] = begun + seconds * 1000
            await look_after(served.cloud)
            assert await kept() == left, seconds
