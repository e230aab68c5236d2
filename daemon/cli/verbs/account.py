"""`login`, `logout`, `whoami`: the cloud this machine speaks with."""

from __future__ import annotations

import sys

import click

from daemon.cli.launch import ensure_daemon
from daemon.cli.render.places import login_lines, whoami_lines
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.login import MAX_TOKEN_BYTES, check_cloud_url, parse_token
from store.errors import InvalidValue

_HOW = "Make one with `fst cloud token --email YOU` where the cloud runs, then: fst login --cloud URL --token-stdin < token"


@verb(fst, "login", "fst login --cloud https://cloud.example.org --token-stdin < token")
@click.option("--cloud", "url", metavar="URL", help="The cloud's address; default: the setting cloud.url.")
@click.option("--token-stdin", is_flag=True, help="Read a session token from standard input.")
@click.option("--dry-run", is_flag=True, help="Check the address and say where the token would go.")
def login(session: Session, url: str | None, token_stdin: bool, dry_run: bool) -> int:
    """Sign in to a cloud, for your other machines."""
    settings = session.settings()
    if not (url or settings.cloud_url):
        raise InvalidValue("no cloud is named", "Give --cloud URL, or: fst config set cloud.url URL")
    address = check_cloud_url(url or settings.cloud_url, insecure=settings.cloud_insecure)
    if dry_run:
        session.show({"url": address, "dry_run": True}, [f"dry run: would sign in to {address}"])
        return 0
    if not token_stdin:
        raise InvalidValue("this release signs in with a token, not yet through the browser", _HOW)
    token = parse_token(sys.stdin.read(MAX_TOKEN_BYTES + 1))
    answer = ensure_daemon(session).login(address, token)
    session.show({"undo": "fst logout", **answer}, login_lines(answer, str(settings.places.account_file)))
    return 0


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
