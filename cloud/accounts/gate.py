"""What signing in stands on: how codes are mailed, how often one may try, and under which address people reach the pages."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from cloud.accounts.mail import Mailer, mailer_of
from cloud.accounts.oidc import Issuer, read_issuers
from cloud.limits import Limits
from cloud.limits.local import LocalLimits
from store.errors import FastestError, InvalidValue

log = logging.getLogger(f"fastest.{__name__}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class GateSettings:
    """As the command line and the environment say."""

    public_url: str = ""
    proxies: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    smtp: str = field(default="", repr=False)
    issuers: str = ""
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """Open for as long as the cloud runs."""

    public_url: str
    proxies: tuple[Network, ...]
    allow: tuple[str, ...]
    mailer: Mailer
    limits: Limits
    issuers: Mapping[str, Issuer]
    origins: frozenset[str] = frozenset()
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def lets_in(self, email: str) -> bool:
        """True when somebody with this address may have an account."""
        return not self.allow or email in self.allow or f"@{email.rpartition('@')[2]}" in self.allow

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it while the answer goes out: its time must not tell whether it was done."""
        task = asyncio.create_task(_logged(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """What is under way gets its end."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=CLOSE_SECONDS)
        await self.limits.close()


CLOSE_SECONDS: Final = 5
VARIABLES: Final = (
    "FASTEST_CLOUD_PUBLIC_URL", "FASTEST_CLOUD_PROXIES", "FASTEST_CLOUD_ALLOW", "FASTEST_CLOUD_SMTP", "FASTEST_CLOUD_ISSUERS",
    "FASTEST_CLOUD_ORIGINS",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `serve`."""
    parser.add_argument("--public-url", default="", metavar="URL", help="where people reach this cloud; default: as each request says")
    parser.add_argument("--proxy", action="append", default=[], metavar="NETWORK", help="a reverse proxy whose X-Forwarded headers count")
    parser.add_argument("--allow", action="append", default=[], metavar="WHO", help="who may have an account: ADDRESS or @DOMAIN")
    parser.add_argument("--origin", action="append", default=[], metavar="URL", help="a web page's origin whose scripts may use the API")
    parser.add_argument("--issuers", default="", metavar="FILE", help="OpenID issuers that people may sign in through, as TOML")


def gate_settings(found: argparse.Namespace, environment: Mapping[str, str]) -> GateSettings:
    """The options, else the environment. An address with a password stands in the environment alone."""
    url, proxies, allow, smtp, issuers, origins = (environment.get(name, "") for name in VARIABLES)
    return GateSettings(
        getattr(found, "public_url", "") or url,
        tuple(getattr(found, "proxy", []) or proxies.split()),
        tuple(getattr(found, "allow", []) or allow.split()),
        smtp,
        getattr(found, "issuers", "") or issuers,
        tuple(getattr(found, "origin", []) or origins.split()),
    )


def open_gate(settings: GateSettings) -> Gate:
    """Raises InvalidValue for settings that cannot be."""
    try:
        proxies = tuple(ipaddress.ip_network(text, strict=False) for text in settings.proxies)
    except ValueError as error:
        raise InvalidValue(f"not a proxy's network: {error}", "It looks like 127.0.0.1 or 10.0.0.0/8.") from None
    for who in settings.allow:
        if "@" not in who:
            raise InvalidValue(f"neither an e-mail address nor a domain: {who!r}", "It looks like ada@example.org or @example.org.")
    issuers, origins = read_issuers(settings.issuers), frozenset(map(_checked_origin, settings.origins))
    allow = tuple(who.lower() for who in settings.allow)
    return Gate(_checked_url(settings.public_url), proxies, allow, mailer_of(settings.smtp), LocalLimits(), issuers, origins)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise InvalidValue(f"not an address people can open: {url!r}", "It looks like https://cloud.example.org.")
    return url.rstrip("/")


def _checked_origin(text: str) -> str:
    """As browsers write it: nothing behind the host but a port that is not the scheme's own."""
    parts = urlsplit(_checked_url(text))
    if not text or parts.path or parts.username is not None:
        raise InvalidValue(f"not an origin: {text!r}", "It looks like https://app.example.org.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except FastestError as error:
        log.error("not done: %s", error.message)
