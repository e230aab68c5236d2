"""The pages, as a person without scripts sees them, and as somebody sees them who means no good: AUTH-5, AUTH-6, AUTH-8, AUTH-10."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cloud.accounts.gate import GateSettings
from cloud.accounts.session import sign_in
from store.types import new_ulid
from tests.browsing import Browser, Page
from tests.clouds import Caller, Served, in_loop, serving

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
NASTY = "<script>alert(1)</script>\"'&"
CODE = re.compile(r"sign-in code for (\S+) is (\d{4} \d{4})")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms

    def wait(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Site:
    """A cloud whose letters go to its log, which we read."""

    def __init__(self, served: Served, clock: Clock, log: pytest.LogCaptureFixture) -> None:
        self.served = served
        self.clock = clock
        self._log = log

    def browser(self, agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0") -> Browser:
        return Browser(self.served.http, self.served.url, agent)

    def letters(self) -> list[tuple[str, str]]:
        return [(found[1], found[2]) for record in self._log.records if (found := CODE.search(record.getMessage()))]

    async def sign_in(self, browser: Browser, email: str = "ada@example.org", path: str = "/sign-in") -> Page:
        asked = await browser.send(await browser.open(path), "Send me a code", email=email)
        assert asked.status == 200 and asked.title.startswith("Look into your mailbox"), asked.text
        return await browser.send(asked, "Sign in", code=self.letters()[-1][1])

    def caller(self, email: str = "ada@example.org") -> Caller:
        """With a token of the API."""
        return self.served.stranger(self.served.write(lambda tx: sign_in(tx, email, self.clock())))

    async def machine(self, **body: object) -> dict[str, Any]:
        told: dict[str, Any] = await self.served.stranger().post("/v1/oauth/device", body or None)
        return told

    async def poll(self, machine: dict[str, Any]) -> Any:
        body = {"grant_type": GRANT, "device_code": machine["device_code"]}
        return (await self.served.stranger().ask("POST", "/v1/oauth/token", body)).json


@asynccontextmanager
async def site(folder: Path, log: pytest.LogCaptureFixture, gate: GateSettings | None = None) -> AsyncIterator[Site]:
    clock = Clock()
    async with serving(folder / "cloud", clock, gate or GateSettings()) as served:
        yield Site(served, clock, log)


@in_loop
async def test_a_machine_is_let_in_on_a_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, machine = at.browser(), await at.machine(machine="ada-laptop")
        consent = await at.sign_in(browser, path=machine["verification_uri_complete"])
        assert consent.title.startswith("Let this machine in?")
        for told in (machine["user_code"], "ada-laptop", "127.0.0.1", "2027-01-15 08:00 UTC", "ada@example.org"):
            assert told in consent.text
        assert (await at.poll(machine))["error"] == "authorization_pending"
        approved = await browser.send(consent, "Approve")
        assert approved.status == 200 and "ada-laptop is signed in as ada@example.org" in approved.text
        assert (await at.poll(machine))["user"]["email"] == "ada@example.org"


@in_loop
async def test_a_machine_is_sent_away_on_a_page_and_a_code_may_be_typed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, machine = at.browser(), await at.machine()
        await at.sign_in(browser)
        asked = await browser.open("/device")
        typed = await browser.send(asked, "Continue", user_code=machine["user_code"].lower().replace("-", " "))
        denied = await browser.send(typed, "Deny")
        assert "Nothing was shared" in denied.text and (await at.poll(machine))["error"] == "access_denied"
        again = await browser.send(typed, "Approve")
        assert again.status == 400 and "approved or denied before" in again.text
        assert (await at.poll(machine))["error"] == "access_denied"
        for code, told in (("ABCD-0000", "No machine shows this code"), ("what?", "That is no code")):
            assert told in (await browser.send(asked, "Continue", user_code=code)).text


@in_loop
async def test_where_one_is_signed_in_is_seen_and_revoked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, other = at.browser(), at.browser("Mozilla/5.0 (Windows NT 10.0) Chrome/150 Safari/537")
        await at.sign_in(other)
        machine = await at.machine(machine="ada-laptop")
        await browser.send(await at.sign_in(browser, path=machine["verification_uri_complete"]), "Approve")
        laptop = at.served.stranger((await at.poll(machine))["access_token"])
        async with laptop.listening() as socket:
            account = await browser.open("/account")
            for told in ("ada-laptop", "Firefox on Linux", "Chrome on Windows", "this page", "127.0.0.1", "Machine approved"):
                assert told in account.text
            left = await browser.send(account, "Revoke ada-laptop")
            assert "Revoke ada-laptop" not in [name for form in left.forms for name in form.buttons]
            assert await last_word(socket) == 1013
        assert (await laptop.ask("GET", "/v1/auth/me")).status == 401
        assert (await other.open("/account")).title.startswith("Your account")
        out = await browser.send(left, "Sign out everywhere")
        assert out.title.startswith("Sign in") and (await other.open("/account")).title.startswith("Sign in")
        assert await at.served.cloud.read().one("SELECT count(*) FROM sessions") == (0,)


async def last_word(socket: aiohttp.ClientWebSocketResponse) -> object:
    """What closes it."""
    while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.BINARY:
        continue
    return message.data


@pytest.mark.embedded
@in_loop
async def test_signing_out_here_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        one, two = at.browser(), at.browser()
        account = await at.sign_in(one)
        await at.sign_in(two)
        stolen = dict(one.cookies)
        assert (await one.send(account, "Sign out here")).title.startswith("Sign in")
        one.cookies = stolen
        assert (await one.open("/account")).title.startswith("Sign in"), "its cookie is worth nothing now"
        assert (await two.open("/account")).title.startswith("Your account")


@in_loop
async def test_a_mailed_code_lets_one_browser_in_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, thief = at.browser(), at.browser()
        asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email=" ADA@Example.org ")
        (to, code) = at.letters()[-1]
        assert to == "ada@example.org"
        sent = asked.form("Sign in").fields["sent"]
        elsewhere = await thief.send(await thief.open("/sign-in"), "Send me a code", email="ada@example.org")
        stolen = await thief.send(elsewhere, "Sign in", code=code, sent=sent)
        assert stolen.status == 400 and "wrong" in stolen.text, "a code is worth nothing in another browser"
        assert (await browser.send(asked, "Sign in", code=code)).title.startswith("Your account")
        again = await browser.send(asked, "Sign in", code=code)
        assert again.status in (400, 422), "and nothing the second time"
        rows = await at.served.cloud.read().rows("SELECT code, used, attempts FROM auth_codes WHERE used = 1")
        assert len(rows) == 1 and code.replace(" ", "") not in rows[0][0] and re.fullmatch("[0-9a-f]{64}", rows[0][0])


@in_loop
async def test_a_mailed_code_has_five_tries_and_ten_minutes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
        code = at.letters()[-1][1]
        wrong = "0000 0000" if code != "0000 0000" else "1111 1111"
        for _ in range(5):
            page = await browser.send(asked, "Sign in", code=wrong)
            assert page.status == 400
        assert (await browser.send(asked, "Sign in", code=code)).status == 400, "the right one comes too late"
        at.clock.wait(200)
        late = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
        at.clock.wait(600)
        assert (await browser.send(late, "Sign in", code=at.letters()[-1][1])).status == 400
        assert (await browser.open("/account")).title.startswith("Sign in")


@in_loop
async def test_many_tries_of_one_mailed_code_at_once_make_one_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
        code, form = at.letters()[-1][1], asked.form("Sign in")
        twins = [at.browser() for _ in range(8)]
        for twin in twins:
            twin.cookies = dict(browser.cookies)
        pages = await asyncio.gather(*(twin.ask("POST", f"{at.served.url}/sign-in-code", {**form.fields, "code": code}) for twin in twins))
        assert sorted(page.status for page in pages) == [200] + [400] * 7
        assert await at.served.cloud.read().one("SELECT count(*) FROM sessions") == (1,)


@pytest.mark.embedded
@in_loop
async def test_whether_an_address_may_sign_in_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog, GateSettings(allow=("@example.org", "bob@else.net"))) as at:
        pages = []
        for email in ("ada@example.org", "bob@else.net", "eve@else.net", "eve@sub.example.org"):
            browser = at.browser()
            pages.append(await browser.send(await browser.open("/sign-in"), "Send me a code", email=email))
        assert {re.sub(r"\S+@\S+", "", page.text) for page in pages} == {re.sub(r"\S+@\S+", "", pages[0].text)}
        assert [to for to, _ in at.letters()] == ["ada@example.org", "bob@else.net"]


@pytest.mark.embedded
@in_loop
async def test_letters_to_one_mailbox_and_tries_from_one_address_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        asked = await browser.open("/sign-in")
        pages = [await browser.send(asked, "Send me a code", email="ada@example.org") for _ in range(6)]
        assert [page.status for page in pages] == [200] * 5 + [429]
        assert pages[-1].title.startswith("Too many tries") and pages[-1].headers["Retry-After"] == "600"
        assert len(at.letters()) == 5
        more = [await browser.send(asked, "Send me a code", email=f"a{n}@example.org") for n in range(15)]
        assert [page.status for page in more] == [200] * 14 + [429] and more[-1].headers["Retry-After"] == "10"


@pytest.mark.embedded
@in_loop
async def test_a_form_from_elsewhere_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, machine = at.browser(), await at.machine()
        consent = await at.sign_in(browser, path=machine["verification_uri_complete"])
        form = consent.form("Approve")
        url, good = f"{at.served.url}/device", {**form.fields, "action": "approve"}
        other = at.browser()
        await at.sign_in(other, "eve@example.org")
        foreign = (await other.open(f"/device?user_code={machine['user_code']}")).form("Approve").fields["word"]
        for fields, headers in (
            ({**good, "word": ""}, {}),
            ({**good, "word": "0" * 64}, {}),
            ({**good, "word": foreign}, {}),
            ({name: value for name, value in good.items() if name != "word"}, {}),
            (good, {"Origin": "https://evil.example"}),
            (good, {"Origin": "null"}),
            (good, {"Sec-Fetch-Site": "cross-site"}),
            (good, {"Sec-Fetch-Site": "same-site"}),
            (good, {"Content-Type": "text/plain"}),
            (good, {"Content-Type": "application/json"}),
        ):
            page = await browser.ask("POST", url, fields, **headers)
            assert page.status == 422 and "was not" not in page.text, (fields, headers)
        assert (await at.poll(machine))["error"] == "authorization_pending"
        assert (await browser.ask("POST", url, good)).status == 200


@in_loop
async def test_another_workspace_becomes_main_on_a_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, ada, eve = at.browser(), at.caller(), at.caller("eve@example.org")
        await at.sign_in(browser)
        assert "Nothing yet" in (await browser.open("/work")).text
        project = await ada.project()
        main, side = [
            (await ada.post(f"/v1/projects/{project}/workspaces", {"name": name}))["workspace"]["id"] for name in ("main", "side " + NASTY)
        ]
        page = await browser.open("/work")
        assert "main: what a clone" in page.text and NASTY in page.text and "<script" not in page.html
        assert [form.fields["workspace"] for form in page.forms] == [side]
        page = await browser.send(page, f"Make side {NASTY} main")
        assert page.url.endswith("/work") and [form.fields["workspace"] for form in page.forms] == [main]
        assert (await ada.get(f"/v1/projects/{project}"))["project"]["main_workspace_id"] == side
        event, _ = [one for one in (await ada.get(f"/v1/projects/{project}/events"))["events"] if one["type"] == "project.main_changed"]
        assert event["actor"] == "web"
        await eve.post(f"/v1/projects/{(other := await eve.project())}/workspaces", {"name": "hers"})
        await eve.post(f"/v1/projects/{other}/workspaces", made := {"id": new_ulid(at.clock()), "name": "foreign"})
        form = page.form("Make main main")
        fields = {**form.fields, "workspace": made["id"]}
        assert (await browser.ask("POST", f"{at.served.url}/work", fields)).status == 404


@pytest.mark.embedded
@in_loop
async def test_cookies_and_tokens_are_each_good_for_their_own_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        await at.sign_in(browser)
        cookie = browser.cookies["fst_session"]
        assert (await at.served.stranger(cookie).ask("GET", "/v1/auth/me")).status == 401, "a page's session opens no route"
        stranger = at.served.stranger()
        assert (await stranger.ask("GET", "/v1/auth/me", Cookie=f"fst_session={cookie}")).status == 401
        caller = at.caller()
        assert (await caller.ask("GET", "/v1/auth/me")).status == 200
        browser.cookies["fst_session"] = caller.auth["Authorization"].partition(" ")[2]
        assert (await browser.open("/account")).title.startswith("Sign in"), "and a token of the API no page"
        kept = {text.partition("=")[0]: text for text in browser.set_cookies}
        assert kept.keys() == {"fst_visit", "fst_session"}
        assert all("HttpOnly" in text and "SameSite=Strict" in text and "Path=/" in text for text in kept.values())


@pytest.mark.embedded
@in_loop
async def test_over_https_cookies_are_secure_and_bound_to_the_very_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog, GateSettings(public_url="https://cloud.example.org")) as at:
        browser = at.browser()
        await at.sign_in(browser)
        kept = {text.partition("=")[0]: text for text in browser.set_cookies}
        assert kept.keys() == {"__Host-fst_visit", "__Host-fst_session"} and all("Secure" in text for text in kept.values())
        browser.cookies = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
        assert (await browser.open("/account")).title.startswith("Sign in")


@pytest.mark.embedded
@in_loop
async def test_what_strangers_say_is_shown_as_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser, machine = at.browser("Firefox/" + NASTY), await at.machine(machine=NASTY)
        consent = await at.sign_in(browser, path=machine["verification_uri_complete"])
        approved = await browser.send(consent, "Approve")
        account = await browser.open("/account")
        for page in (consent, approved):
            assert NASTY in page.text and escape(NASTY) in page.html
        for path in (f"/device?user_code={escape(NASTY)}", "/device?user_code=%3Cscript%3E", "/sign-in?user_code=%22%3E%3Cscript%3E"):
            assert "<script" not in (await browser.open(path)).html
        assert all("<script" not in page.html for page in (consent, approved, account))


@pytest.mark.embedded
@in_loop
async def test_every_page_has_the_strict_headers_and_no_script(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        pages = [await browser.open("/sign-in"), await browser.open("/"), await browser.open("/device?user_code=ABCD-1234")]
        pages.append(await at.sign_in(browser))
        pages += [await browser.open("/device"), await browser.open("/device?user_code=ABCD-1234")]
        pages.append(await browser.ask("POST", f"{at.served.url}/account", {"word": "no"}))
        for page in pages:
            allowed = page.headers["Content-Security-Policy"]
            assert allowed.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in allowed
            assert "frame-ancestors 'none'" in allowed and "form-action 'self'" in allowed and "base-uri 'none'" in allowed
            assert page.headers["Cache-Control"] == "no-store" and page.headers["X-Content-Type-Options"] == "nosniff"
            assert page.headers["Referrer-Policy"] == "same-origin"
            assert "<script" not in page.html and not re.search(r"\son\w+=", page.html) and "style=" not in page.html
            assert not re.search(r"(src|href)=\"?(https?:)?//", page.html), "nothing comes from elsewhere"


@pytest.mark.embedded
@in_loop
async def test_what_leads_on_never_leads_elsewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        for code in ("https://evil.example", "//evil.example", "ABCD-1234%0d%0aX-Evil:1", "%5cevil", "A" * 300):
            async with at.served.http.get(f"{at.served.url}/device?user_code={code}", allow_redirects=False) as answer:
                assert answer.status == 303 and answer.headers["Location"] == "sign-in" and "X-Evil" not in answer.headers


@in_loop
async def test_nobody_revokes_somebody_elses_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        account = await at.sign_in(browser)
        bob = at.caller("bob@example.org")
        theirs = (await bob.get("/v1/auth/sessions"))["sessions"][0]["id"]
        word = account.form("Sign out here").fields["word"]
        page = await browser.ask("POST", f"{at.served.url}/account", {"word": word, "action": "revoke", "session": theirs})
        assert page.status == 404
        await bob.get("/v1/auth/me")


@in_loop
async def test_odd_texts_in_forms_find_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        browser = at.browser()
        asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
        for odd in ("\0", "", "é", "x" * 1000):
            assert (await browser.send(asked, "Sign in", sent=odd, code="1")).status in (400, 404)
            assert (await browser.send(asked, "Sign in", code=odd)).status == 400
        account = await browser.send(asked, "Sign in", code=at.letters()[-1][1])
        word = account.form("Sign out here").fields["word"]
        for odd in ("\0", "", "é", "x" * 1000):
            page = await browser.ask("POST", f"{at.served.url}/account", {"word": word, "action": odd, "session": odd})
            assert page.status == 404
            page = await browser.ask("POST", f"{at.served.url}/device", {"word": word, "action": "approve", "user_code": odd})
            assert page.status == 400
        for odd in ("%00", "a%00@b.c", "%ff"):
            assert (await browser.ask("GET", f"{at.served.url}/device?user_code={odd}")).status == 200


@pytest.mark.embedded
@in_loop
async def test_bodies_of_forms_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, caplog) as at:
        for path in ("/sign-in", "/sign-in-code", "/device", "/account"):
            for fields in ({"email": "x" * 20_000}, {f"a{n}": "1" for n in range(50)}, {"word": "é"}):
                assert (await at.browser().ask("POST", at.served.url + path, fields)).status in (413, 422)
