"""`status`, `wait`, `workspaces`, `machines`, `sync`, `pause`, `resume`, `approve`: how things stand, and transfer."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from typing import Final

import click

from daemon.cli.progress import follow, reporter_for
from daemon.cli.quick import ask_status
from daemon.cli.render.places import machine_lines, main_lines, workspace_lines
from daemon.cli.render.standing import approve_lines, pause_lines, resume_lines, sync_lines, wait_lines
from daemon.cli.render.status import status_code, status_lines
from daemon.cli.render.text import json_text
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.client.exchange import TYPE_CHECKING
from store.errors import InvalidValue

if TYPE_CHECKING:
    from daemon.client.exchange import Document

WATCH_SECONDS: Final = 0.2
"""The screen is drawn anew at most this often."""
_CLEAR: Final = "\x1b[H\x1b[2J"
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """`30`, `30s`, `5m`, `1h`, `2d` -> seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or a usage error."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is not a time (30, 30s, 5m, 1h)", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@verb(fst, "status", "fst status --json")
@click.argument("path", required=False)
@click.option("--watch", is_flag=True, help="Go on, live, until Ctrl-C; with --json a document a line.")
def status(session: Session, path: str | None, watch: bool) -> int:
    """What is safe, what is sent, and what waits for you.

    Without PATH: the workspace we are in, or all. Exit codes: 0 clean, 3 no daemon, 5 something waits for you, 6 the brake holds.
    """
    document = ask_status(session.client, str(session.folder), path)
    session.show(document, status_lines(document, session.ink))
    if watch:
        for fresh in _changes(session, path, document):
            _redraw(session, fresh)
    return status_code(document)


def _changes(session: Session, path: str | None, last: Document) -> Iterator[Document]:
    """A fresh status for every event that changed it, never more than five a second."""
    for _ in session.client.events():
        fresh = ask_status(session.client, str(session.folder), path)
        if fresh != last:
            yield fresh
            last = fresh
        time.sleep(WATCH_SECONDS)


def _redraw(session: Session, document: Document) -> None:
    if session.as_json:
        print(json_text(document), flush=True)
        return
    above = _CLEAR if sys.stdout.isatty() else "\n"
    print(above + "\n".join(status_lines(document, session.ink)), flush=True)


@verb(fst, "wait", "fst wait --uploaded --timeout 60")
@click.argument("path", required=False)
@click.option("--settled", "until", flag_value="settled", default=True, help="Everything seen is kept and applied here (default).")
@click.option("--uploaded", "until", flag_value="uploaded", help="The cloud's head is this state.")
@click.option("--on", "machine", metavar="MACHINE", help="That machine has this state too.")
@click.option("--timeout", "timeout_s", type=Duration(), metavar="S", help="Give up after so long (exit code 7); default: never.")
def wait(session: Session, path: str | None, until: str, machine: str | None, timeout_s: float | None) -> int:
    """Block until this state is kept, uploaded, or elsewhere."""
    until = "on" if machine else until
    answer = follow(session.client.wait(session.place(path), until, machine=machine, timeout_s=timeout_s), reporter_for(session))
    session.show({"waited_for": until, **answer}, wait_lines(until, machine, session.ink))
    return 0


@verb(fst, "workspaces", "fst workspaces --main thing/try-out")
@click.option("--main", "main", metavar="PROJECT/WORKSPACE", help="Make it the project's main one: what a clone without a name takes.")
def workspaces(session: Session, main: str | None) -> int:
    """All workspaces: here, and in your cloud."""
    if main is not None:
        made = session.client.set_main(main)
        session.show(made, main_lines(made))
        return 0
    answer = session.client.workspaces()
    session.show(answer, workspace_lines(answer))
    return 0


@verb(fst, "machines", "fst machines")
def machines(session: Session) -> int:
    """The machines of your account."""
    answer = session.client.machines()
    session.show(answer, machine_lines(answer))
    return 0


@verb(fst, "sync", "fst sync --rescan")
@click.argument("path", required=False)
@click.option("--rescan", is_flag=True, help="Look at the whole folder again first.")
def sync(session: Session, path: str | None, rescan: bool) -> int:
    """Look, pull and push now, and wait for it."""
    answer = follow(session.client.sync(session.place(path), rescan=rescan), reporter_for(session))
    session.show(answer, sync_lines(answer, session.ink))
    return 0


@verb(fst, "pause", "fst pause --for 1h")
@click.argument("path", required=False)
@click.option("--for", "for_s", type=Duration(), metavar="TIME", help="Resume by itself after so long.")
@click.option("--all", "everywhere", is_flag=True, help="Every workspace of this machine.")
@click.option("--dry-run", is_flag=True, help="Say what would be paused.")
def pause(session: Session, path: str | None, for_s: float | None, everywhere: bool, dry_run: bool) -> int:
    """Stop sending and receiving. History goes on being kept here."""
    answer = session.client.pause(_chosen(session, path, everywhere), for_s, dry_run=dry_run)
    session.show(answer, pause_lines(answer, for_s, dry_run=dry_run))
    return 0


@verb(fst, "resume", "fst resume")
@click.argument("path", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Every workspace of this machine.")
@click.option("--dry-run", is_flag=True, help="Say what would resume.")
def resume(session: Session, path: str | None, everywhere: bool, dry_run: bool) -> int:
    """Send and receive again."""
    answer = session.client.resume(_chosen(session, path, everywhere), dry_run=dry_run)
    session.show(answer, resume_lines(answer, dry_run=dry_run))
    return 0


def _chosen(session: Session, path: str | None, everywhere: bool) -> str | None:
    if everywhere and path is not None:
        raise InvalidValue("--all and a path", "Give one of the two.")
    return None if everywhere else session.place(path)


@verb(fst, "approve", "fst approve")
@click.argument("path", required=False)
@click.option("--dry-run", is_flag=True, help="Say what waits.")
def approve(session: Session, path: str | None, dry_run: bool) -> int:
    """Let through what the brake holds.

    A change that removes or empties very many files waits until a person says that it is meant.
    """
    answer = follow(session.client.approve(session.place(path), dry_run=dry_run), reporter_for(session))
    session.show(answer, approve_lines(answer, dry_run=dry_run))
    return 0
