"""Signing in through an OpenID issuer, an honest one and one that lies: AUTH-9."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from cloud.accounts.gate import GateSettings
from cloud.accounts.oidc import read_issuers
from store.errors import FastestError, InvalidValue, Refused, Unwritable
from tests.browsing import Browser, Page
from tests.clouds import Served, in_loop, serving
from tests.lab.issuer import CLIENT, SECRET, TestIssuer, issuing

NOW = int(time.time())
ADDRESSES = itertools.count(1)


def issuers_file(folder: Path, url: str) -> str:
    file = folder / "issuers.toml"
    file.write_text(f'[[issuer]]\nname = "test"\nurl = "{url}"\nclient_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n')
    return str(file)


@asynccontextmanager
async def site(folder: Path, allow: tuple[str, ...] = ()) -> AsyncIterator[tuple[Served, TestIssuer]]:
    async with issuing() as issuer:
        gate = GateSettings(issuers=issuers_file(folder, issuer.url), allow=allow, proxies=("127.0.0.1",))
        async with serving(folder / "cloud", gate=gate) as served:
            yield served, issuer


async def sign_in(browser: Browser, path: str = "/sign-in") -> Page:
    """Over to the issuer and back, to where it then leads."""
    page = await browser.open(path)
    back = await browser.open(page.links["Continue with test"])
    return await browser.open(back.links["Continue"]) if back.title.startswith("Signed in") else back


async def users(served: Served) -> list[tuple[object, ...]]:
    return await served.cloud.read().rows("SELECT email, name, picture FROM users ORDER BY email")


@in_loop
async def test_a_person_signs_in_and_lets_a_machine_in(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, issuer):
        told = await served.stranger().post("/v1/oauth/device", {"machine": "ada-laptop"})
        browser = Browser(served.http, served.url)
        consent = await sign_in(browser, told["verification_uri_complete"])
        assert consent.title.startswith("Let this machine in?") and "ada@example.org" in consent.text
        assert (await browser.send(consent, "Approve")).title.startswith("Approved")
        assert await users(served) == [("ada@example.org", "Ada", "https://x.org/a.png")]
        rows = await served.cloud.read().rows("SELECT issuer, subject FROM user_identities")
        assert rows == [(issuer.url, "subject-1")]
        begun = [text for text in browser.set_cookies if text.startswith("fst_begun=")]
        assert "SameSite=Lax" in begun[0] and "HttpOnly" in begun[0] and "fst_begun" not in browser.cookies


@in_loop
async def test_a_person_is_the_subject_and_not_the_address(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, issuer):
        await sign_in(Browser(served.http, served.url))
        issuer.person |= {"email": "ada@new.org", "name": "Ada L."}
        again = await sign_in(Browser(served.http, served.url))
        assert "ada@example.org" in again.text, "the account stays, whatever the address is now"
        assert [(row[0], row[1]) for row in await users(served)] == [("ada@example.org", "Ada L.")]
        issuer.person |= {"sub": "subject-2", "email": "ADA@example.org"}
        stranger = await sign_in(Browser(served.http, served.url))
        assert stranger.status == 422 and "belongs to somebody else" in stranger.text, "an address that was given to another person"
        assert await served.cloud.read().one("SELECT count(*) FROM user_identities") == (1,)


@in_loop
async def test_a_user_who_is_there_already_is_bound(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, _):
        project = await served.user().project()
        assert (await sign_in(Browser(served.http, served.url))).title.startswith("Your account")
        assert len(await users(served)) == 1
        assert [each["id"] for each in (await served.user().get("/v1/projects"))["projects"]] == [project]


LIES: dict[str, dict[str, object]] = {
    "another issuer": {"iss": "https://evil.example"},
    "for another program": {"aud": "other-client"},
    "for several, and another one asked": {"aud": [CLIENT, "other"], "azp": "other"},
    "for several, and nobody asked": {"aud": [CLIENT, "other"]},
    "for us, asked by another": {"azp": "other"},
    "for nobody": {"aud": []},
    "of another sign-in": {"nonce": "another"},
    "of no sign-in": {"nonce": None},
    "over": {"exp": NOW - 120},
    "of tomorrow": {"iat": NOW + 86_400, "exp": NOW + 90_000},
    "not yet": {"nbf": NOW + 3600},
    "of yesterday": {"iat": NOW - 86_400},
    "without an end": {"exp": None},
    "without a subject": {"sub": None},
    "with an empty subject": {"sub": ""},
    "with a long subject": {"sub": "x" * 300},
    "with a subject that is no text": {"sub": 7},
    "with a zero byte": {"sub": "a\0b"},
    "with an address that nobody verified": {"email_verified": False},
    "with an address of which that is not said": {"email_verified": None},
    "with an address verified in a word": {"email_verified": "true"},
    "without an address": {"email": None},
    "with an address that is none": {"email": "ada"},
}
FORGERIES: dict[str, Callable[[TestIssuer], Callable[[dict[str, object]], str]]] = {
    "not signed": lambda issuer: issuer.unsigned,
    "signed with the public key": lambda issuer: issuer.signed_with_the_public_key,
    "signed by another": lambda issuer: issuer.signed_by_another,
    "changed after": lambda issuer: issuer.changed_after,
    "no token": lambda _: lambda claims: "",
    "nonsense": lambda _: lambda claims: "a.b.c",
    "not even text": lambda _: lambda claims: "\0\u00e9..",
}


@pytest.mark.embedded
@in_loop
async def test_what_is_not_believed(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, issuer):
        for name, lie in LIES.items():
            issuer.claims = lie
            await expect_refused(served, name)
        issuer.claims = {}
        for name, forge in FORGERIES.items():
            issuer.sign = forge(issuer)
            await expect_refused(served, name)
        assert await users(served) == []
        issuer.sign = issuer.signed
        assert (await sign_in(Browser(served.http, served.url))).title.startswith("Your account"), "all but the lies was right"


async def expect_refused(served: Served, name: str) -> None:
    # From an address of its own: an address may not try so often.
    browser = Browser(served.http, served.url, address=f"10.0.0.{next(ADDRESSES)}")
    page = await sign_in(browser)
    assert page.status == 422 and "fst_session" not in browser.cookies, f"{name}: {page.status} {page.text}"


@pytest.mark.embedded
@in_loop
async def test_what_comes_back_must_have_been_begun_here(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, issuer):
        ada, eve = Browser(served.http, served.url), Browser(served.http, served.url)
        for answer in ({"state": "another"}, {"state": "\u00e9"}, {"iss": "https://evil.example"}, {"code": "unknown"}, {"code": ""}):
            issuer.answer = answer
            page = await sign_in(ada)
            assert page.status == 422 and "fst_session" not in ada.cookies, answer
        issuer.answer = {}
        there = (await eve.open("/sign-in")).links["Continue with test"]
        async with served.http.get(f"{served.url}/{there}", allow_redirects=False) as begun:
            away = begun.headers["Location"]
        async with served.http.get(away, allow_redirects=False) as back:
            stolen = back.headers["Location"]
        assert (await ada.open(stolen)).status == 422, "the way back of one browser lets no other in"
        for odd in ("x", "%00", "a" * 5000):
            ada.cookies["fst_begun"] = odd
            assert (await ada.open(stolen)).status == 422
        assert (await ada.open("/sign-in-back")).status == 422
        assert (await ada.open("/sign-in-with?issuer=other")).status == 404


@pytest.mark.embedded
@in_loop
async def test_a_sign_in_is_over_after_ten_minutes(tmp_path: Path) -> None:
    now = [NOW * 1000]
    async with issuing() as issuer:
        gate = GateSettings(issuers=issuers_file(tmp_path, issuer.url))
        async with serving(tmp_path / "cloud", lambda: now[0], gate) as served:
            browser = Browser(served.http, served.url)
            page = await browser.open("/sign-in")
            url = f"{served.url}/{page.links['Continue with test']}"
            async with served.http.get(url, allow_redirects=False) as begun:
                browser.cookies["fst_begun"] = begun.cookies["fst_begun"].value
                away = begun.headers["Location"]
            now[0] += 10 * 60_000 + 1
            assert "too long ago" in (await browser.open(away)).text


@pytest.mark.embedded
@in_loop
async def test_an_issuer_that_changes_its_keys_is_believed_after_a_look(tmp_path: Path) -> None:
    now = [int(time.time() * 1000)]
    async with issuing() as issuer:
        gate = GateSettings(issuers=issuers_file(tmp_path, issuer.url))
        async with serving(tmp_path / "cloud", lambda: now[0], gate) as served:
            assert (await sign_in(Browser(served.http, served.url))).title.startswith("Your account")
            issuer.key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"}, private=True)
            assert (await sign_in(Browser(served.http, served.url))).status == 422, "not a minute after the last look"
            assert issuer.key_fetches == 1
            now[0] += 61_000
            assert (await sign_in(Browser(served.http, served.url))).title.startswith("Your account")
            assert issuer.key_fetches == 2


@pytest.mark.embedded
@in_loop
async def test_an_issuer_that_is_not_who_it_should_be(tmp_path: Path) -> None:
    lies: list[dict[str, object]] = [{"issuer": "https://evil.example"}, {"issuer": 7}]
    lies += [{"token_endpoint": "http://evil.example/token"}, {"jwks_uri": "file:///etc/passwd"}]
    for lie in lies:
        async with site(tmp_path) as (served, issuer):
            issuer.discovery = lie
            assert (await sign_in(Browser(served.http, served.url))).status == 422


@pytest.mark.embedded
@in_loop
async def test_an_issuer_that_is_away(tmp_path: Path) -> None:
    gate = GateSettings(issuers=issuers_file(tmp_path, "http://127.0.0.1:9"))
    async with serving(tmp_path / "cloud", gate=gate) as served:
        page = await sign_in(Browser(served.http, served.url))
        assert page.status == 503 and "does not answer" in page.text


@pytest.mark.embedded
@in_loop
async def test_who_may_not_have_an_account_gets_none(tmp_path: Path) -> None:
    async with site(tmp_path, allow=("@example.org",)) as (served, issuer):
        issuer.person |= {"email": "eve@else.net"}
        assert "may not sign in" in (await sign_in(Browser(served.http, served.url))).text
        assert await users(served) == []


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[[issuer]]\nname = "x"\nurl = "https://x.org"\n', InvalidValue),
        ('[[issuer]]\nname = "x"\nurl = "https://x.org"\nclient_id = " "\n', InvalidValue),
        ('[[issuer]]\nname = "x"\nurl = "https://x.org"\nclient_id = "a"\nextra = 1\n', InvalidValue),
        ('[[issuer]]\nname = "<b>"\nurl = "https://x.org"\nclient_id = "a"\n', InvalidValue),
        ('[[issuer]]\nname = "x"\nurl = "http://x.org"\nclient_id = "a"\n', Refused),
        ("[[issuer", InvalidValue),
    ],
)
def test_without_an_audience_or_over_plain_http_there_is_no_issuer(tmp_path: Path, text: str, error: type[FastestError]) -> None:
    (tmp_path / "issuers.toml").write_text(text)
    with pytest.raises(error):
        read_issuers(str(tmp_path / "issuers.toml"))
    with pytest.raises(Unwritable):
        read_issuers(str(tmp_path / "none.toml"))
