"""`login`, `logout`, `whoami`: the cloud this machine speaks with."""

from __future__ import annotations

import platform
import sys
from typing import Final

import click

from daemon.cli.browser import open_page
from daemon.cli.launch import ensure_daemon
from daemon.cli.render.places import login_lines, whoami_lines
from daemon.cli.render.text import plain
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.login import MAX_TOKEN_BYTES, check_cloud_url, parse_token
from store.errors import InvalidValue

MAX_MACHINE: Final = 100
"""Of a name, as the cloud takes it."""


@verb(fst, "login", "fst login --cloud https://cloud.example.org")
@click.option("--cloud", "url", metavar="URL", help="The cloud's address; default: the setting cloud.url.")
@click.option("--token-stdin", is_flag=True, help="Read a session token from standard input.")
@click.option("--no-browser", is_flag=True, help="Only print the page's address and the code.")
@click.option("--dry-run", is_flag=True, help="Check the address and say where the token would go.")
def login(session: Session, url: str | None, token_stdin: bool, no_browser: bool, dry_run: bool) -> int:
    """Sign in to a cloud, for your other machines.

    Prints a page's address and a code, and opens the page when there is a browser. Approve this machine there. Where no browser can
    reach the cloud, make a token with `fst cloud token` on the server and pipe it in.
    """
    settings = session.settings()
    if not (url or settings.cloud_url):
        raise InvalidValue("no cloud is named", "Give --cloud URL, or: fst config set cloud.url URL")
    address = check_cloud_url(url or settings.cloud_url, insecure=settings.cloud_insecure)
    if dry_run:
        session.show({"url": address, "dry_run": True}, [f"dry run: would sign in to {address}"])
        return 0
    given = parse_token(sys.stdin.read(MAX_TOKEN_BYTES + 1)) if token_stdin else ""
    client = ensure_daemon(session)
    token = given or _ask_for_token(session, address, settings.machine_name or platform.node(), opens=not no_browser)
    answer = client.login(address, token)
    session.show({"undo": "fst logout", **answer}, login_lines(answer, str(settings.places.account_file)))
    return 0


def _ask_for_token(session: Session, address: str, machine: str, *, opens: bool) -> str:
    """Through the page. What the person must do is said even with -q: without it nothing would go on."""
    # The door to the network, which no other verb needs; asyncio alone would be a third of every verb's start.
    import asyncio

    from daemon.remote.sign_in import Asked, sign_in

    def show(asked: Asked) -> None:
        is_open = opens and open_page(asked.full_page or asked.page, session.env)
        where = plain(asked.full_page or asked.page)
        said = f"a browser opens {where}" if is_open else f"open {where}"
        minutes = max(1, round(asked.life_seconds / 60))
        print(f"{said}\nand approve there the code  {plain(asked.user_code)}", file=sys.stderr)
        print(f"waiting, for {minutes} minutes at most; Ctrl-C stops", file=sys.stderr, flush=True)

    name = "".join(letter for letter in machine if letter.isprintable()).strip()[:MAX_MACHINE]
    return asyncio.run(sign_in(address, name, show))


@verb(fst, "logout", "fst logout")
@click.option("--dry-run", is_flag=True, help="Say who is signed in.")
def logout(session: Session, dry_run: bool) -> int:
    """Forget the token.

    Files, history and workspaces stay; nothing is sent or received until the next login.
    """
    if dry_run:
        answer = session.client.whoami()
        session.show({**answer, "dry_run": True}, ["dry run: nothing was changed", *whoami_lines(answer)])
        return 0
    answer = session.client.logout()
    session.show(answer, ["signed out; files and local history stay", "undo       fst login"])
    return 0


@verb(fst, "whoami", "fst whoami")
def whoami(session: Session) -> int:
    """Which account and cloud this machine uses.

    Exit code 4 when signed out.
    """
    answer = session.client.whoami()
    session.show(answer, whoami_lines(answer))
    return 0
