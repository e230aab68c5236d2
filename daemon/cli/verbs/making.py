"""`up`, `clone`, `down`, `daemon run`: making workspaces, and the daemon that keeps them."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.launch import ensure_daemon, stop_daemon
from daemon.cli.progress import follow, reporter_for
from daemon.cli.render.places import made_lines
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from store.errors import InvalidValue


@verb(fst, "up", "fst up ~/code/thing --project thing")
@click.argument("path", required=False)
@click.option("--project", metavar="NAME", help="Attach to this project (or make it); default: the folder's name.")
@click.option("--name", metavar="WORKSPACE", help="What to call this line of work; default: main.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, ignored and held back.")
def up(session: Session, path: str | None, project: str | None, name: str | None, dry_run: bool) -> int:
    """Keep a folder safe (default: the one we are in).

    Starts the daemon if none runs, makes PATH a workspace of a project, takes the first snapshot, and says what is ignored, what
    is held back, and how to undo. Needs no account. Running it again is harmless.
    """
    place = session.place(path)
    if not Path(place).is_dir():
        raise InvalidValue(f"no such folder: {place}", "Make it first, or give another path.")
    client = ensure_daemon(session)
    result = follow(client.up(place, project=project, name=name, dry_run=dry_run), reporter_for(session))
    session.show(result, made_lines(result, place, session.ink, dry_run=dry_run))
    return 0


@verb(fst, "clone", "fst clone thing ~/code/thing --mirror")
@click.argument("project", metavar="PROJECT[/WORKSPACE]")
@click.argument("path")
@click.option("--mirror", is_flag=True, help="The same workspace again, kept in step; without it a fork of its head.")
@click.option("--dry-run", is_flag=True, help="Say what would come here.")
def clone(session: Session, project: str, path: str, mirror: bool, dry_run: bool) -> int:
    """Bring a workspace of your cloud to this machine."""
    name, _, workspace = project.partition("/")
    if not name:
        raise InvalidValue(f"not a project: {project!r}", "Give PROJECT or PROJECT/WORKSPACE; `fst workspaces` lists them.")
    place = session.place(path)
    client = ensure_daemon(session)
    stream = client.clone(name, workspace or None, place, mirror=mirror, dry_run=dry_run)
    result = follow(stream, reporter_for(session))
    session.show(result, made_lines(result, place, session.ink, dry_run=dry_run))
    return 0


@verb(fst, "down", "fst down")
@click.option("--dry-run", is_flag=True, help="Say whether a daemon runs.")
def down(session: Session, dry_run: bool) -> int:
    """Stop the daemon.

    Your files stay as they are; `fst up` starts it again and finds what changed meanwhile.
    """
    if dry_run:
        pid = session.client.status().get("daemon", {}).get("pid")
        session.show({"stopped": False, "dry_run": True, "pid": pid}, [f"dry run: would stop the daemon (pid {pid})"])
        return 0
    stopped = stop_daemon(session)
    lines = ["daemon stopped", "undo       fst up"] if stopped else ["no daemon is running"]
    session.show({"stopped": stopped, "undo": "fst up" if stopped else None}, lines)
    return 0


@fst.group("daemon")
def daemon_group() -> None:
    """The daemon itself."""


@verb(daemon_group, "run", "fst daemon run --set settle.quiet_ms=20")
@click.option("--set", "chosen", metavar="KEY=VALUE", multiple=True, help="A setting for this run, above all others.")
def run_daemon(session: Session, chosen: tuple[str, ...]) -> int:
    """Run the daemon here, in the foreground, until Ctrl-C or `fst down`."""
    flags = dict(_pair(text) for text in chosen)
    settings = session.settings(flags)
    from daemon.app import run

    run(settings)
    return 0


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidValue(f"not KEY=VALUE: {text!r}", "For example: --set settle.quiet_ms=20")
    return key.strip(), value
