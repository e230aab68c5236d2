"""Letting a machine in (RFC 8628), as the machine and as an outsider sees it: AUTH-1 to AUTH-6, AUTH-12."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud.accounts.device import parse_user_code
from cloud.accounts.gate import GateSettings
from cloud.accounts.session import sign_in
from store.errors import CodeInvalid
from tests.clouds import Caller, Reply, Served, in_loop, serving

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
FORM = "application/x-www-form-urlencoded"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms

    def wait(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Machine:
    """It has no session; it asks for a code, and polls."""

    def __init__(self, caller: Caller, told: dict[str, Any]) -> None:
        self.caller = caller
        self.told = told

    @property
    def code(self) -> str:
        return str(self.told["user_code"])

    async def poll(self) -> Reply:
        return await self.caller.ask("POST", "/v1/oauth/token", {"grant_type": GRANT, "device_code": self.told["device_code"]})

    async def word(self) -> str:
        reply = await self.poll()
        assert reply.status == 400 and reply.headers["Cache-Control"] == "no-store"
        return str(reply.json["error"])


async def begin(served: Served, **body: object) -> Machine:
    caller = served.stranger()
    return Machine(caller, await caller.post("/v1/oauth/device", body or None))


@asynccontextmanager
async def cloud(folder: Path, gate: GateSettings | None = None) -> AsyncIterator[tuple[Served, Clock]]:
    clock = Clock()
    async with serving(folder / "cloud", clock, gate or GateSettings()) as served:
        yield served, clock


def person(served: Served, clock: Clock, email: str = "ada@example.org") -> Caller:
    return served.stranger(served.write(lambda tx: sign_in(tx, email, clock())))


@in_loop
async def test_a_machine_gets_a_code_to_show_and_only_a_hash_of_its_own_is_kept(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, _):
        machine = await begin(served, machine="ada-laptop")
        told = machine.told
        assert re.fullmatch(r"[A-HJ-NP-Z]{4}-[0-9]{4}", machine.code) and (told["expires_in"], told["interval"]) == (900, 5)
        assert told["verification_uri"] == f"{served.url}/device"
        assert told["verification_uri_complete"] == f"{served.url}/device?user_code={machine.code}"
        assert len(told["device_code"]) >= 43
        rows = await served.cloud.read().rows("SELECT device_code, machine, address FROM device_codes")
        assert rows == [(hashlib.sha256(told["device_code"].encode()).hexdigest(), "ada-laptop", "127.0.0.1")]


@in_loop
async def test_codes_differ_and_a_form_or_no_body_will_do(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, _):
        machines = [await begin(served) for _ in range(5)]
        assert len({machine.code for machine in machines} | {machine.told["device_code"] for machine in machines}) == 10
        reply = await served.stranger().ask("POST", "/v1/oauth/device", data=b"client_id=fst&machine=a%20b", **{"Content-Type": FORM})
        assert reply.status == 200
        assert await served.cloud.read().one("SELECT count(*) FROM device_codes WHERE machine = 'a b'") == (1,)


@in_loop
async def test_what_a_poll_is_told(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada = person(served, clock)
        pending, denied = await begin(served), await begin(served)
        assert await pending.word() == "authorization_pending"
        assert (await ada.ask("POST", "/v1/oauth/device/deny", {"user_code": denied.code})).json == {"success": True}
        assert await denied.word() == "access_denied"
        clock.wait(900)
        assert await pending.word() == "expired_token"
        clock.wait(3601)
        await begin(served)
        assert await pending.word() == "invalid_grant", "long after its end it is forgotten"


WRONG: tuple[tuple[dict[str, object], str], ...] = (
    ({"grant_type": "password", "device_code": "x"}, "unsupported_grant_type"),
    ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": GRANT}, "invalid_request"),
    ({"grant_type": GRANT, "device_code": ""}, "invalid_request"),
    ({"device_code": "x"}, "invalid_request"),
    ({}, "invalid_request"),
    ({"grant_type": GRANT, "device_code": 7}, "invalid_request"),
    ({"grant_type": GRANT, "device_code": "x"}, "invalid_grant"),
    ({"grant_type": GRANT, "device_code": "x" * 10_000}, "invalid_grant"),
)
UNREADABLE = (
    (b"{", "application/json"), (b"[]", "application/json"), (b"\xff", FORM), (b"a=%ff", FORM), (b"a=1&a=2", FORM),
    (b"grant_type=a&grant_type=b", FORM), (b"&".join(b"a%d=1" % n for n in range(100)), FORM), (b"x" * 20_000, FORM),
)  # fmt: skip


@in_loop
async def test_what_a_wrong_poll_is_told(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        for body, word in WRONG:
            reply = await served.stranger().ask("POST", "/v1/oauth/token", body)
            assert (reply.status, reply.json["error"]) == (400, word) and reply.json["error_description"]
        ada = person(served, clock)
        for sent, kind in UNREADABLE:
            reply = await served.stranger().ask("POST", "/v1/oauth/token", data=sent, **{"Content-Type": kind})
            assert (reply.status, reply.json["error"]) == (400, "invalid_request")
            for path in ("/v1/oauth/device", "/v1/oauth/device/authorize"):
                reply = await ada.ask("POST", path, data=sent, **{"Content-Type": kind})
                assert reply.status in (400, 413, 422) and reply.code in ("INVALID_JSON", "VALIDATION_ERROR", "TOO_LARGE")


@in_loop
async def test_who_polls_too_fast_is_slowed_down(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        machine = await begin(served)
        words = [await machine.word()]
        for seconds in (4.9, 9.9, 15, 14.9):
            clock.wait(seconds)
            words.append(await machine.word())
        # 5 s asked, 4.9 waited: 10. 9.9 waited: 15. 15 waited: fine. 14.9 waited: 20.
        assert words == ["authorization_pending", "slow_down", "slow_down", "authorization_pending", "slow_down"]
        clock.wait(20)
        assert await machine.word() == "authorization_pending"


@in_loop
async def test_an_approved_machine_gets_one_session_that_names_it(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada = person(served, clock)
        machine = await begin(served, machine="ada-laptop")
        assert await machine.word() == "authorization_pending"
        said = await ada.post("/v1/oauth/device/authorize", {"user_code": machine.code})
        assert said["success"] is True and "ada-laptop" in said["message"]
        reply = await machine.poll()
        assert reply.status == 200 and reply.headers["Cache-Control"] == "no-store"
        told = reply.json
        assert (told["token_type"], told["expires_in"], told["user"]["email"]) == ("Bearer", 2_592_000, "ada@example.org")
        assert (await served.stranger(told["access_token"]).get("/v1/auth/me"))["user"]["id"] == told["user"]["id"]
        assert await machine.word() == "invalid_grant"
        mine = (await ada.get("/v1/auth/sessions"))["sessions"]
        assert [(each["machine"], each["address"]) for each in mine if not each["is_current"]] == [("ada-laptop", "127.0.0.1")]


@in_loop
async def test_many_polls_at_once_make_one_session(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada, machine = person(served, clock), await begin(served)
        await ada.post("/v1/oauth/device/authorize", {"user_code": machine.code})
        replies = await asyncio.gather(*(machine.poll() for _ in range(20)))
        assert sorted(reply.status for reply in replies) == [200] + [400] * 19
        assert {reply.json["error"] for reply in replies if reply.status == 400} == {"invalid_grant"}
        assert await served.cloud.read().one("SELECT count(*) FROM sessions") == (2,)


@pytest.mark.parametrize("typed", ["{code}", "{plain}", "{lower}", " {lower} ", "{plain} ", "{spaced}"])
def test_a_code_however_it_is_typed(typed: str) -> None:
    code = "ABCD-1234"
    text = typed.format(code=code, plain="ABCD1234", lower="abcd-1234", spaced="ab cd 12 34")
    assert parse_user_code(text) == code


@pytest.mark.parametrize("typed", ["", "ABCD-123", "ABCD-12345", "1234-ABCD", "ABCÄ-1234", "ABCD-١٢٣٤", "ABCD-1234; DROP", "A" * 5000])
def test_what_is_no_code(typed: str) -> None:
    with pytest.raises(CodeInvalid):
        parse_user_code(typed)


@in_loop
async def test_what_a_person_is_told_of_a_wrong_code(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada, bob, machine = person(served, clock), person(served, clock, "bob@example.org"), await begin(served)
        for path in ("authorize", "deny"):
            for code, told in (("nonsense", "INVALID_CODE"), ("ABCD-0000", "INVALID_CODE"), ("", "VALIDATION_ERROR")):
                assert (await ada.ask("POST", f"/v1/oauth/device/{path}", {"user_code": code})).code == told
        assert (await ada.ask("POST", "/v1/oauth/device/authorize", {"user_code": machine.code.lower().replace("-", "")})).status == 200
        for caller in (ada, bob):
            for path in ("authorize", "deny"):
                reply = await caller.ask("POST", f"/v1/oauth/device/{path}", {"user_code": machine.code})
                assert (reply.status, reply.code) == (400, "ALREADY_USED")
        assert (await machine.poll()).status == 200, "it stays with who approved it"
        late = await begin(served)
        clock.wait(900)
        reply = await ada.ask("POST", "/v1/oauth/device/authorize", {"user_code": late.code})
        assert (reply.status, reply.code) == (400, "EXPIRED_CODE")
        assert await late.word() == "expired_token"


@in_loop
async def test_nobody_approves_or_denies_without_a_session(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, _):
        machine = await begin(served)
        for path in ("authorize", "deny"):
            reply = await served.stranger().ask("POST", f"/v1/oauth/device/{path}", {"user_code": machine.code})
            assert reply.status == 401
        assert await machine.word() == "authorization_pending"


@in_loop
async def test_of_those_who_decide_at_once_one_wins(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada = person(served, clock)
        for _ in range(4):
            machine = await begin(served)
            asked = [ada.ask("POST", f"/v1/oauth/device/{path}", {"user_code": machine.code}) for path in ("authorize", "deny") * 2]
            replies = await asyncio.gather(*asked)
            assert sorted(reply.status for reply in replies) == [200, 400, 400, 400]
            won = ("authorize", "deny", "authorize", "deny")[[reply.status for reply in replies].index(200)]
            reply = await machine.poll()
            assert (reply.status == 200) if won == "authorize" else (reply.json["error"] == "access_denied")


@in_loop
async def test_an_approval_that_is_not_fetched_in_time_lapses(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        ada, machine = person(served, clock), await begin(served)
        await ada.post("/v1/oauth/device/authorize", {"user_code": machine.code})
        clock.wait(900)
        assert await machine.word() == "expired_token"


@in_loop
async def test_what_is_tried_too_often_waits(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, clock):
        nobody, ada = served.stranger(), person(served, clock)
        replies = [await nobody.ask("POST", "/v1/oauth/device") for _ in range(21)]
        assert [reply.status for reply in replies] == [200] * 20 + [429]
        assert (replies[-1].code, replies[-1].headers["Retry-After"]) == ("RATE_LIMITED", "3")
        clock.wait(3)
        assert (await nobody.ask("POST", "/v1/oauth/device")).status == 200

        polls = [await nobody.ask("POST", "/v1/oauth/token", {}) for _ in range(61)]
        assert [reply.status for reply in polls] == [400] * 60 + [429]
        assert polls[-1].json["error"] == "slow_down" and int(polls[-1].headers["Retry-After"]) >= 1

        guesses = [await ada.ask("POST", "/v1/oauth/device/authorize", {"user_code": "ABCD-0000"}) for _ in range(21)]
        assert [reply.code for reply in guesses] == ["INVALID_CODE"] * 20 + ["RATE_LIMITED"]
        assert guesses[-1].headers["Retry-After"] == "10"
        bob = person(served, clock, "bob@example.org")
        assert (await bob.ask("POST", "/v1/oauth/device/authorize", {"user_code": "ABCD-0000"})).code == "INVALID_CODE"


@in_loop
async def test_behind_a_proxy_that_is_known_the_address_is_the_askers(tmp_path: Path) -> None:
    async def seen(served: Served, **headers: str) -> tuple[str, str]:
        told = (await served.stranger().ask("POST", "/v1/oauth/device", **headers)).json
        rows = await served.cloud.read().rows("SELECT address FROM device_codes WHERE user_code = $1", (told["user_code"],))
        return str(rows[0][0]), str(told["verification_uri"])

    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https", "Host": "cloud.example.org"}
    async with cloud(tmp_path / "one") as (served, _):
        assert await seen(served, **forwarded) == ("127.0.0.1", "http://cloud.example.org/device"), "anybody can say so"
    async with cloud(tmp_path / "two", GateSettings(proxies=("127.0.0.0/8",))) as (served, _):
        assert await seen(served, **forwarded) == ("203.0.113.9", "https://cloud.example.org/device")
        assert (await seen(served))[0] == "127.0.0.1"
    async with cloud(tmp_path / "three", GateSettings(public_url="https://fst.example.org/base/")) as (served, _):
        assert (await seen(served, **forwarded))[1] == "https://fst.example.org/base/device"


@in_loop
async def test_an_odd_name_of_the_server_is_not_repeated(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, _):
        reply = await served.stranger().ask("POST", "/v1/oauth/device", Host='x"><script>')
        assert reply.status in (400, 422) and b"script" not in reply.body


@in_loop
async def test_a_machines_name_is_short_and_printable(tmp_path: Path) -> None:
    async with cloud(tmp_path) as (served, _):
        for name in ("x" * 101, "a\nb", "\x1b[31m"):
            assert (await served.stranger().ask("POST", "/v1/oauth/device", {"machine": name})).code == "VALIDATION_ERROR"
