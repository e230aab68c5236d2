"""Who may ask: tokens, their only storage, their end, and where they are accepted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cloud.accounts.session import DAY_MS, SESSION_DAYS, sign_in, who_is
from cloud.app import wall_ms
from cloud.database import drive
from cloud.database.embedded import EmbeddedDatabase
from cloud.records.people.accounts import Account
from store.errors import InvalidValue, NotSignedIn
from tests.clouds import Served, in_loop, opened, serving

NOW = 1_800_000_000_000


def sign(db: EmbeddedDatabase, email: str, now_ms: int = NOW) -> str:
    return db.write_now(lambda tx: sign_in(tx, email, now_ms))


def who(db: EmbeddedDatabase, header: str, now_ms: int = NOW) -> Account:
    return drive(who_is(db.read(), header, now_ms))


def test_a_token_has_256_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        token = sign(db, "Ada@Example.org ")
        assert len(token) >= 43
        rows = [value for row in drive(db.read().rows("SELECT * FROM sessions")) for value in row]
        assert hashlib.sha256(token.encode()).hexdigest() in rows and token not in rows
    assert token.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_second_token_is_another_session_of_the_same_user(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        one, two = (who(db, f"Bearer {sign(db, email)}", NOW) for email in ("ada@example.org", "ADA@example.org"))
        assert one.user_id == two.user_id and one.session_id != two.session_id


@pytest.mark.parametrize("email", ["", "ada", "a@", "@b", "a b@c", "a@b@c", "a" * 65 + "@b"])
def test_what_is_no_address_is_refused(tmp_path: Path, email: str) -> None:
    with opened(tmp_path) as db, pytest.raises(InvalidValue):
        sign(db, email)


def test_a_session_ends_after_thirty_days_and_is_then_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        header = f"Bearer {sign(db, 'ada@example.org')}"
        end = NOW + SESSION_DAYS * DAY_MS
        assert who(db, header, end - 1).email == "ada@example.org"
        with pytest.raises(NotSignedIn):
            who(db, header, end)
        sign(db, "bob@example.org", end)
        assert drive(db.read().one("SELECT count(*) FROM sessions")) == (1,)


def test_only_the_very_token_is_accepted(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        token = sign(db, "ada@example.org")
        hashed = hashlib.sha256(token.encode()).hexdigest()
        for header in (
            "", token, "Bearer", "Bearer ", f"Basic {token}", f"Bearer {token[:-1]}", f"Bearer {token}x", f"Bearer  {token}",
            f"Bearer {token.swapcase()}", f"Bearer {hashed}", "Bearer " + "x" * 10_000, "Bearer \udcff", f"Bearer {token}\0",
        ):  # fmt: skip
            with pytest.raises(NotSignedIn):
                who(db, header, NOW)
        assert who(db, f"bearer {token}", NOW).email == "ada@example.org"


async def first_user(served: Served) -> str:
    return served.write(lambda tx: sign_in(tx, "ada@example.org", wall_ms()))


@in_loop
async def test_a_token_counts_in_the_header_only(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        token = await first_user(served)
        nobody = served.stranger()
        for path in (f"/v1/auth/me?token={token}", f"/v1/auth/me?access_token={token}"):
            assert (await nobody.ask("GET", path)).code == "UNAUTHORIZED"
        assert (await nobody.ask("GET", "/v1/auth/me", **{"X-Token": token, "Cookie": f"token={token}"})).status == 401
        user = (await served.stranger(token).get("/v1/auth/me"))["user"]
        assert user.keys() == {"id", "email", "name", "picture"} and user["email"] == "ada@example.org"


@in_loop
async def test_signing_out_revokes_this_session_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        one, two = served.user(), served.user()
        assert (await one.ask("POST", "/v1/auth/logout")).status == 200
        assert (await one.ask("GET", "/v1/auth/me")).code == "UNAUTHORIZED"
        assert (await two.ask("GET", "/v1/auth/me")).status == 200


OPEN = {
    *["GET /health", "GET /v1/health", "GET /openapi.json", "GET /v1/openapi.json"],
    *["POST /v1/oauth/device", "POST /v1/oauth/token"],
    *["GET /ready", "GET /metrics"],  # the latter looks who asks (tests/unit/test_cloud_watching.py)
    "GET /v1/events",  # with a session, or a ticket
    "GET /v1/auth/api-keys/{provider}/value",  # with a session for that alone
    # The pages look for a session in a cookie (tests/unit/test_cloud_pages.py).
    *["GET /", "GET /account", "POST /account", "GET /device", "POST /device", "GET /sign-in", "POST /sign-in", "POST /sign-in-code"],
    *["GET /sign-in-with", "GET /sign-in-back", "GET /work", "POST /work"],
    *["GET /v1/blobs/signed/{ticket}/{hash}", "PUT /v1/blobs/signed/{ticket}/{hash}"],  # by the address itself
    "GET /v1/projects/{project}/env-vars/values",  # with a session of another scope
}


@in_loop
async def test_all_but_health_needs_a_session(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        nobody = served.stranger("x" * 43)
        open_routes = {route for route in served.cloud_routes() if route.is_open}
        assert {f"{route.method} {route.path}" for route in open_routes} == OPEN
        for path in ("/health", "/v1/health"):
            reply = await nobody.ask("GET", path)
            assert reply.status == 200 and reply.json["status"] == "ok"
        for route in served.cloud_routes():
            if route not in open_routes:
                reply = await nobody.ask(route.method, route.path)
                assert (reply.status, reply.code) == (401, "UNAUTHORIZED"), route
        assert (await nobody.ask("GET", "/v1/nothing")).status == 401
