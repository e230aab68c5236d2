"""Letters with a code: through an SMTP server, or, where none is set, into the server's log."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from store.errors import InvalidValue, Offline

log = logging.getLogger(f"fastest.{__name__}")

SMTP_SECONDS: Final = 20
EXAMPLE: Final = "smtp://user:password@mail.example.org:587?from=fastest@example.org"
LETTER: Final = """\
Your code for {cloud} is

    {code}

It is good for {minutes} minutes, once, and only in the browser that asked for it.
If you did not ask for it, somebody else typed your address: nothing happens without the code.
"""


class Mailer(Protocol):
    """Sends. Raises Offline when the letter was not taken."""

    async def send_code(self, to: str, code: str, cloud: str, minutes: int) -> None:
        """A sign-in code."""
        ...


class LogMailer:
    """For whoever reads the log."""

    async def send_code(self, to: str, code: str, cloud: str, minutes: int) -> None:
        """A line of the log."""
        log.warning("no SMTP is set: the sign-in code for %s is %s", to, code)


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """`smtps://` is TLS from the start; `smtp://` changes to it, and sends nothing without unless the server is this very machine."""

    server: str
    port: int
    is_tls: bool
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)

    async def send_code(self, to: str, code: str, cloud: str, minutes: int) -> None:
        """One letter."""
        letter = EmailMessage()
        letter["Subject"] = f"{code} is your code for Fastest"
        letter["From"] = self.sender
        letter["To"] = to
        letter["Date"] = formatdate()
        letter["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(LETTER.format(cloud=cloud, code=code, minutes=minutes))
        try:
            await asyncio.to_thread(self._send, letter)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise Offline(f"the letter was not taken: {type(error).__name__}") from error

    def _send(self, letter: EmailMessage) -> None:
        context = ssl.create_default_context()
        if self.is_tls:
            with smtplib.SMTP_SSL(self.server, self.port, timeout=SMTP_SECONDS, context=context) as link:
                self._deliver(link, letter)
            return
        with smtplib.SMTP(self.server, self.port, timeout=SMTP_SECONDS) as link:
            if self.server not in ("localhost", "127.0.0.1", "::1"):
                link.starttls(context=context)
            self._deliver(link, letter)

    def _deliver(self, link: smtplib.SMTP, letter: EmailMessage) -> None:
        if self.user:
            link.login(self.user, self.password)
        link.send_message(letter)


def mailer_of(url: str) -> Mailer:
    """From `smtp://USER:PASSWORD@SERVER:PORT?from=ADDRESS`. Raises InvalidValue, which shows nothing of it."""
    if not url:
        return LogMailer()
    try:
        parts = urlsplit(url)
        server, port = parts.hostname, parts.port
        sender = parse_qs(parts.query).get("from", [""])[0]
    except ValueError:
        server = None
    if not server or parts.scheme not in ("smtp", "smtps") or "@" not in sender:
        raise InvalidValue("the address of the SMTP server cannot be read", f"It looks like {EXAMPLE}")
    is_tls = parts.scheme == "smtps"
    return SmtpMailer(
        server, port or (465 if is_tls else 587), is_tls, sender, unquote(parts.username or ""), unquote(parts.password or "")
    )
