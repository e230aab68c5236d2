"""Keys of providers: sealed, masked, given out one at a time to those who may have that one (KEY-1 to KEY-3)."""

from __future__ import annotations

import asyncio
import base64
import secrets
from pathlib import Path
from typing import Any

import pytest

from cloud.accounts.keys import PROVIDERS, SCOPE, SCOPE_DAYS, checked_scope
from cloud.accounts.session import sign_in
from cloud.accounts.vault import Vault
from cloud.app import wall_ms
from cloud.operate.upkeep import look_after
from store.errors import InvalidValue
from tests.browsing import Browser
from tests.clouds import Caller, Served, in_loop, serving


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


SECRET = "sk-very-secret-9876"


def scoped(served: Served, scope: str, email: str = "ada@example.org") -> Caller:
    return served.stranger(served.write(lambda tx: sign_in(tx, email, wall_ms(), scope, days=SCOPE_DAYS)))


async def set_key(caller: Caller, provider: str = "anthropic", value: str = SECRET) -> None:
    assert (await caller.post("/v1/auth/api-keys", {"provider": provider, "key_value": value})) == {"success": True}


async def listed(caller: Caller) -> dict[str, str]:
    return {each["provider"]: each["key_value"] for each in (await caller.get("/v1/auth/api-keys"))["api_keys"]}


async def store(served: Served, user_id: str, value: str) -> None:
    """As somebody would who can write to the table."""
    sql = "UPDATE user_api_keys SET key_value = $1 WHERE user_id = $2 AND provider = 'anthropic'"
    await served.cloud.write(lambda tx: tx.run(sql, (value, user_id)))


async def stored(served: Served) -> list[Any]:
    return await served.cloud.read().rows("SELECT user_id, provider, key_value FROM user_api_keys ORDER BY provider")


@in_loop
async def test_a_key_is_set_replaced_and_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        for provider in PROVIDERS:
            await set_key(ada, provider, f"first-{provider}-0001")
        await set_key(ada)
        found = await listed(ada)
        assert found.keys() == PROVIDERS.keys() and found["anthropic"] == "\u2022" * 20 + "9876"
        rows = await stored(served)
        assert len(rows) == 7 and all(row[2].startswith("enc:v1:") and "secret" not in row[2] for row in rows)
        assert await listed(served.user("bob@example.org")) == {}
        await set_key(ada, "groq", "short")
        assert (await listed(ada))["groq"] == "\u2022" * 20
        for _ in range(2):
            assert (await ada.ask("DELETE", "/v1/auth/api-keys/anthropic")).json == {"success": True}
        assert "anthropic" not in await listed(ada)
        said = (await ada.ask("GET", "/v1/auth/api-keys")).body + str(
            await served.cloud.read().rows("SELECT * FROM account_events")
        ).encode()
        assert SECRET.encode() not in said and SECRET not in caplog.text


@in_loop
async def test_what_is_no_key_or_no_provider(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        bodies: list[dict[str, object]] = [
            {"provider": "acme", "key_value": "x"},
            {"provider": "", "key_value": "x"},
            {},
            {"provider": "openai"},
        ]
        bodies += [{"provider": "openai", "key_value": value} for value in ("", " ", "a\nb", "\0", "é", "x" * 4097, 7, None)]
        for body in bodies:
            assert (await ada.ask("POST", "/v1/auth/api-keys", body)).code == "VALIDATION_ERROR", body
        assert (await ada.ask("DELETE", "/v1/auth/api-keys/acme")).code == "VALIDATION_ERROR"
        assert await stored(served) == []


@in_loop
async def test_many_who_set_the_same_key_at_once_leave_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await asyncio.gather(*(set_key(ada, value=f"sk-many-000{number}") for number in range(8)))
        assert len(await stored(served)) == 1


@in_loop
async def test_a_key_is_given_out_to_a_session_for_that_key_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        await set_key(ada)
        await set_key(bob, value="sk-of-bob-0000")
        path = "/v1/auth/api-keys/anthropic/value"
        for caller in (served.stranger(), ada, scoped(served, "key:openai"), scoped(served, "web")):
            refused = await caller.ask("GET", path)
            assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
            assert "key:anthropic" in refused.json["error"]["message"], "nobody is sent to sign in again in vain"
        job = scoped(served, "key:anthropic")
        reply = await job.ask("GET", path)
        assert reply.json == {"env_vars": {"ANTHROPIC_API_KEY": SECRET}} and reply.headers["Cache-Control"] == "no-store"
        events = await served.cloud.read().rows("SELECT type, detail FROM account_events WHERE type LIKE 'key.%' ORDER BY id")
        assert events == [("key.set", "anthropic"), ("key.set", "anthropic"), ("key.released", "anthropic")]
        for other in ("/v1/auth/me", "/v1/auth/api-keys", "/v1/projects", "/v1/auth/api-keys/openai/value"):
            assert (await job.ask("GET", other)).status == 401, "and it is good for nothing else"
        assert (await scoped(served, "key:groq").ask("GET", "/v1/auth/api-keys/groq/value")).code == "NOT_FOUND"
        for odd in ("acme", "%00", "key:anthropic", "x" * 300):
            assert (await job.ask("GET", f"/v1/auth/api-keys/{odd}/value")).status in (401, 404)


@in_loop
async def test_a_key_that_was_tampered_with_or_swapped_is_not_given_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        await set_key(ada)
        await set_key(bob, value="sk-of-bob-0000")
        await set_key(ada, "openai", "sk-openai-1111")
        kept = {(row[0], row[1]): row[2] for row in await stored(served)}
        mine = (await ada.get("/v1/auth/me"))["user"]["id"]
        theirs = (await bob.get("/v1/auth/me"))["user"]["id"]
        good = kept[mine, "anthropic"]
        flipped = good[:-6] + ("A" if good[-6] != "A" else "B") + good[-5:]
        for bad in (kept[theirs, "anthropic"], kept[mine, "openai"], flipped, "sk-plain", "enc:v1:00000000:AAAA", ""):
            await store(served, mine, bad)
            reply = await scoped(served, "key:anthropic").ask("GET", "/v1/auth/api-keys/anthropic/value")
            assert (reply.status, reply.code) == (500, "INTERNAL_ERROR") and b"bob" not in reply.body
            assert (await listed(ada))["anthropic"] == "\u2022" * 20, "the list goes on, and shows nothing of it"
        assert await served.cloud.read().rows("SELECT 1 FROM account_events WHERE type = 'key.released'") == []


@pytest.mark.embedded
@in_loop
async def test_upkeep_seals_anew_with_a_new_key(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    async with serving(tmp_path, key=old) as served:
        await set_key(served.user())
    async with serving(tmp_path, key=f"{new} {old}") as served:
        await look_after(served.cloud)
        (row,) = await stored(served)
        assert row[2].startswith(f"enc:v1:{Vault.parse(new).sealing_key}:")
    async with serving(tmp_path, key=new) as served:
        assert (await listed(served.user()))["anthropic"].endswith("9876"), "the old key is needed no more"


def test_scopes_that_a_server_may_make() -> None:
    assert checked_scope("user") == "user" and checked_scope("key:groq") == f"{SCOPE}groq"
    assert checked_scope("env:01M89XZKD3TW9FSBMZJJHA03N9") == "env:01M89XZKD3TW9FSBMZJJHA03N9"
    for wrong in ("", "web", "key:", "key:acme", "USER", "env:x", "env:", "internal"):
        with pytest.raises(InvalidValue):
            checked_scope(wrong)


@pytest.mark.embedded
@in_loop
async def test_keys_on_the_page(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        browser = Browser(served.http, served.url)
        browser.cookies["fst_session"] = served.write(lambda tx: sign_in(tx, "ada@example.org", wall_ms(), "web"))
        set_page = await browser.send(await browser.open("/account"), "Set key", provider="anthropic", key=SECRET)
        assert "\u2022" * 20 + "9876" in set_page.text and SECRET not in set_page.html and "Key set" in set_page.text
        assert (await browser.send(set_page, "Set key", provider="acme", key=SECRET)).status == 422
        removed = await browser.send(set_page, "Remove anthropic")
        assert "9876" not in removed.text and "Key removed" in removed.text
        assert await stored(served) == []


@pytest.mark.embedded
def test_the_plain_key_is_nowhere_on_disk(tmp_path: Path) -> None:
    @in_loop
    async def use() -> None:
        async with serving(tmp_path) as served:
            await set_key(served.user())

    use()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"enc:v1:" in kept and SECRET.encode() not in kept
