"""Letters with codes, over real SMTP: what is sent, to whom, and what happens when they are not taken (AUTH-10)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from cloud.accounts.gate import GateSettings
from cloud.accounts.mail import LogMailer, SmtpMailer, mailer_of
from store.errors import InvalidValue, Offline
from tests.browsing import Browser
from tests.clouds import in_loop, serving
from tests.lab.mailbox import mailbox
from tests.waiting import until


@in_loop
async def test_a_letter_lets_its_reader_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with mailbox() as box:
        gate = GateSettings(smtp=f"smtp://me:p%40ss@127.0.0.1:{box.port}?from=fastest@example.org", public_url="http://127.0.0.1")
        async with serving(tmp_path / "cloud", gate=gate) as served:
            browser = Browser(served.http, served.url)
            asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="Ada@example.org")
            await until(lambda: box.letters, what="a letter came")
            letter = box.letters[0]
            code = re.search(r"^ +(\d{4} \d{4})\r?$", letter.get_content(), re.MULTILINE)
            assert code and letter["To"] == "ada@example.org" and letter["From"] == "fastest@example.org"
            assert letter["Auto-Submitted"] == "auto-generated" and "http://127.0.0.1" in letter.get_content()
            assert (await browser.send(asked, "Sign in", code=code[1])).title.startswith("Your account")
        assert base64.b64decode(box.signed_in[0].split()[-1]) == b"\0me\0p@ss" and code[1] not in caplog.text


@in_loop
async def test_a_letter_that_is_not_taken_is_told_to_the_log_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with mailbox(refuses=True) as box:
        gate = GateSettings(smtp=f"smtp://127.0.0.1:{box.port}?from=fastest@example.org")
        async with serving(tmp_path / "cloud", gate=gate) as served:
            browser = Browser(served.http, served.url)
            asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
            assert asked.status == 200 and asked.title.startswith("Look into your mailbox"), "whether there is a mailbox is not told"
            await until(lambda: "not taken" in caplog.text, what="the log tells")


@in_loop
async def test_no_address_brings_a_header_along(tmp_path: Path) -> None:
    async with mailbox() as box, serving(tmp_path / "cloud", gate=GateSettings(smtp=f"smtp://127.0.0.1:{box.port}?from=f@x.org")) as served:
        browser = Browser(served.http, served.url)
        for address in ("ada@example.org\r\nBcc: eve@example.org", "ada@example.org\nX: y", "a\0@b.c", "a b@c.d", "@", "a@b@c"):
            page = await browser.send(await browser.open("/sign-in"), "Send me a code", email=address)
            assert page.status == 422 and not box.receivers


@in_loop
async def test_a_server_elsewhere_is_never_spoken_to_in_the_clear() -> None:
    # An address that the sender does not take for this very machine.
    async with mailbox(address="127.0.0.2") as box:
        mailer = SmtpMailer("127.0.0.2", box.port, False, "f@x.org", "me", "secret")
        with pytest.raises(Offline):
            await mailer.send_code("ada@example.org", "1234 5678", "x", 10)
        assert box.said == ["EHLO", "QUIT"], "without TLS nothing more is said"


def test_where_letters_go() -> None:
    assert isinstance(mailer_of(""), LogMailer)
    assert mailer_of("smtps://u:p@mail.x.org?from=f@x.org") == SmtpMailer("mail.x.org", 465, True, "f@x.org", "u", "p")
    assert mailer_of("smtp://mail.x.org?from=f@x.org") == SmtpMailer("mail.x.org", 587, False, "f@x.org")
    assert "secret" not in repr(mailer_of("smtps://u:secret@mail.x.org?from=f@x.org"))
    for wrong in (
        "mail.x.org",
        "http://mail.x.org?from=f@x.org",
        "smtp://mail.x.org",
        "smtp://?from=f@x.org",
        "smtp://x:nine?from=f@x.org",
    ):
        with pytest.raises(InvalidValue) as told:
            mailer_of(wrong)
        assert wrong not in told.value.message
