"""`fst login` with real processes: a daemon, a cloud, and a person at its pages; once with a real browser that runs no scripts."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from cloud.accounts.gate import GateSettings
from tests.browsing import Browser, Page
from tests.clouds import in_loop, serving
from tests.lab.chromium import chromium
from tests.lab.cloud import Cloud
from tests.lab.issuer import CLIENT, SECRET, issuing
from tests.lab.machine import Machine
from tests.lab.process import Lab, fst_command
from tests.waiting import until, wait_until

PAGE = re.compile(r"open (http\S+)\nand approve there the code  ([A-Z]{4}-[0-9]{4})\n")
TABLE = '[[issuer]]\nname = "test"\nurl = "{url}"\nclient_id = "{client}"\nclient_secret = "{secret}"\n'
LETTER = re.compile(r"sign-in code for ada@example\.org is (\d{4} \d{4})")


class Login:
    """`fst login` under way."""

    def __init__(self, machine: Machine, url: str, name: str = "login") -> None:
        self.said = machine.folder / f"{name}.log"
        command = [*fst_command(), "login", "--cloud", url, "--json"]
        self._process = machine.lab.start(command, machine.env, cwd=machine.folder, log=self.said)
        wait_until(lambda: PAGE.search(self.said.read_text()) or self._process.poll() is not None, 30, "a code is shown")
        found = PAGE.search(self.said.read_text())
        assert found, self.said.read_text()
        self.page, self.code = found.groups()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def ends(self) -> int:
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said.read_text()) from None


@pytest.fixture
def place(lab: Lab) -> Iterator[tuple[Cloud, Machine]]:
    cloud, machine = Cloud(lab), Machine(lab, "a", settings={"FASTEST_MACHINE_NAME": "ada-laptop"})
    cloud.start()
    machine.start()
    yield cloud, machine


def letter_in(cloud: Cloud) -> str:
    wait_until(lambda: LETTER.search(cloud.log.read_text()), 10, "a letter is in the log")
    return str(LETTER.findall(cloud.log.read_text())[-1])


async def sign_in(http: aiohttp.ClientSession, cloud: Cloud, page: str) -> tuple[Browser, Page]:
    browser = Browser(http, cloud.url)
    asked = await browser.send(await browser.open(page), "Send me a code", email="ada@example.org")
    return browser, await browser.send(asked, "Sign in", code=letter_in(cloud))


def test_a_person_comes_back_from_an_issuer_in_a_real_browser(tmp_path: Path) -> None:
    @in_loop
    async def person() -> None:
        # Another name is another site: the browser keeps our strict cookies to itself on the way back.
        async with issuing("localhost") as issuer, chromium(tmp_path / "profile") as tab:
            file = tmp_path / "issuers.toml"
            await asyncio.to_thread(file.write_text, TABLE.format(url=issuer.url, client=CLIENT, secret=SECRET))
            async with serving(tmp_path / "cloud", gate=GateSettings(issuers=str(file))) as served:
                await tab.open(f"{served.url}/sign-in")
                await tab.picture(tmp_path / "issuers.png")
                issuer.asks = True
                await tab.click("a.other")
                await tab.click("a")
                await tab.until_says("Your account")
                assert "ada@example.org" in await tab.text()
                assert tab.complaints == []

    person()


def test_a_machine_that_is_denied_ends_with_4_and_ctrl_c_with_130(place: tuple[Cloud, Machine]) -> None:
    cloud, machine = place

    @in_loop
    async def person() -> None:
        login, given_up = Login(machine, cloud.url), Login(machine, cloud.url, "given-up")
        given_up.interrupt()
        assert given_up.ends() == 130 and "Traceback" not in given_up.said.read_text()
        async with aiohttp.ClientSession() as http:
            browser, consent = await sign_in(http, cloud, login.page)
            assert "Nothing was shared" in (await browser.send(consent, "Deny")).text
        assert login.ends() == 4 and "denied" in login.said.read_text()
        assert machine.fst("whoami").code == 4, "it was denied, or revoked: it has to sign in again"

    person()


def test_a_machine_is_let_in_with_a_real_browser(place: tuple[Cloud, Machine], tmp_path: Path) -> None:
    cloud, machine = place

    @in_loop
    async def person() -> None:
        login = Login(machine, cloud.url)
        assert login.page == f"{cloud.url}/device?user_code={login.code}" and machine.fst("whoami").code == 4
        async with chromium(tmp_path / "profile") as tab:
            await tab.open(login.page)
            await tab.type("#email", "ada@example.org")
            await tab.click("button")
            await until(lambda: LETTER.search(cloud.log.read_text()), what="a letter is in the log")
            await tab.type("#code", letter_in(cloud))
            await tab.click("button")
            assert login.code in await tab.text() and "Let this machine in?" in await tab.text()
            await tab.picture(tmp_path / "consent.png")
            await tab.click("button[value=approve]")
            assert "Approved" in await tab.text()
            assert login.ends() == 0, login.said.read_text()
            assert '"email": "ada@example.org"' in login.said.read_text() and "ada@example.org" in machine.must("whoami").text
            await tab.open(f"{cloud.url}/account")
            assert "ada-laptop" in await tab.text() and "Chrome on Linux" in await tab.text()
            await tab.picture(tmp_path / "account.png")
            await tab.click("button[aria-label='Revoke ada-laptop']")
            assert "Revoke ada-laptop" not in await tab.text()
            await tab.click("button[value=sign-out]")
            assert "Sign in" in await tab.text()
            await tab.picture(tmp_path / "sign-in.png")
            assert tab.complaints == []
        assert machine.fst("whoami").code == 4, "it was denied, or revoked: it has to sign in again"

    person()
