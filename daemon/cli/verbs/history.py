"""`snapshot`, `log`, `show`, `history`, `diff`, `cat`, `restore`, `undo`: what was, and how to have it back."""

from __future__ import annotations

import re
import sys
from typing import Final

import click

from daemon.cli.render.graph import graph_lines
from daemon.cli.render.history import (
    diff_lines,
    history_lines,
    log_lines,
    restore_lines,
    show_lines,
    snapshot_lines,
    undone_lines,
)
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from store.errors import InvalidValue

DIFFERENT: Final = 10
_WHAT: Final = re.compile(r"[0-9a-f]{64}|[^:/]+:.+", re.DOTALL)
_AUTHOR: Final = re.compile(r"\s*([^<>]*?)\s*(?:<([^<>]*)>)?\s*")


@verb(fst, "snapshot", "fst snapshot -m 'before the big change'")
@click.option("-m", "--message", default="", metavar="TEXT", help="What this point is.")
@click.option("--author", metavar="'NAME <EMAIL>'", help="Whose work it is; default: as git's environment says, else the account.")
@click.option("--agent", default="", metavar="NAME", help="The program that did the work, if one did.")
@click.option("--dry-run", is_flag=True, help="Say whether there is anything new to keep.")
def snapshot(session: Session, message: str, author: str | None, agent: str, dry_run: bool) -> int:
    """Keep this state as a point in history."""
    name, email = _author(author) if author else (session.env.get("GIT_AUTHOR_NAME", ""), session.env.get("GIT_AUTHOR_EMAIL", ""))
    answer = session.client.snapshot(session.place(), message=message, author_name=name, author_email=email, agent=agent, dry_run=dry_run)
    session.show(answer, snapshot_lines(answer, dry_run=dry_run))
    return 0


def _author(text: str) -> tuple[str, str]:
    found = _AUTHOR.fullmatch(text)
    if found is None:
        raise InvalidValue(f"not an author: {text!r}", "Write it as 'Name <name@example.org>'.")
    return found[1], found[2] or ""


@verb(fst, "log", "fst log --graph")
@click.argument("path", required=False)
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--graph", is_flag=True, help="Draw which came from which.")
def log(session: Session, path: str | None, limit: int, graph: bool) -> int:
    """The snapshots, newest first."""
    answer = session.client.log(session.place(path), limit)
    ink = session.ink
    session.show(answer, graph_lines(answer, ink) if graph else log_lines(answer, ink))
    return 0


@verb(fst, "show", "fst show snap-01JZX4...")
@click.argument("snapshot_id", metavar="ID")
def show(session: Session, snapshot_id: str) -> int:
    """One snapshot and what it changed. The beginning of an id is enough."""
    answer = session.client.show(session.place(), snapshot_id)
    session.show(answer, show_lines(answer, session.ink))
    return 0


@verb(fst, "history", "fst history notes.txt")
@click.argument("file")
def history(session: Session, file: str) -> int:
    """Every kept content of one file, newest first.

    `fst cat DIGEST` prints one of them.
    """
    named = session.file(file)
    answer = session.client.history(session.place(), named)
    session.show(answer, history_lines(answer, session.ink))
    return 0


@verb(fst, "diff", "fst diff snap-01JZX4...")
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--names", is_flag=True, help="Only which files, not their lines.")
@click.option("--exit-code", "tells", is_flag=True, help="End with 10 when there are differences.")
def diff(session: Session, a: str | None, b: str | None, names: bool, tells: bool) -> int:
    """What changed since the last snapshot, or from A to B."""
    answer = session.client.diff(session.place(), a, b)
    session.show(answer, diff_lines(answer, session.ink, names_only=names))
    return DIFFERENT if tells and answer.get("changes") else 0


@verb(fst, "cat", "fst cat snap-01JZX4...:src/main.py > main.py")
@click.argument("what", metavar="DIGEST|ID:PATH")
def cat(session: Session, what: str) -> int:
    """The bytes of any kept content, to stdout."""
    if not _WHAT.fullmatch(what):
        raise InvalidValue(
            f"neither a digest nor ID:PATH: {what!r}", "A digest is 64 lower-case hex digits; `fst history FILE` lists them."
        )
    pieces = session.client.cat(session.place(), what)
    if session.as_json:
        raise InvalidValue("cat gives bytes, not a document", "Leave --json out.")
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


@verb(fst, "restore", "fst restore --from snap-01JZX4... src/main.py")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--from", "source", metavar="ID", help="The snapshot to take them from; default: the last one.")
@click.option("--dry-run", is_flag=True, help="Say what would change.")
def restore(session: Session, paths: tuple[str, ...], source: str | None, dry_run: bool) -> int:
    """Bring back paths, or everything, as they were.

    What is there now is kept first, and `fst undo` brings it back.
    """
    answer = session.client.restore(session.place(), source, [session.file(path) for path in paths], dry_run=dry_run)
    session.show(answer, restore_lines(answer, dry_run=dry_run))
    return 0


@verb(fst, "undo", "fst undo")
@click.option("--dry-run", is_flag=True, help="Say what would be undone.")
def undo(session: Session, dry_run: bool) -> int:
    """Take back the last restore, resolve or undo.

    What was edited since stays. Undo is a new version: it can be undone too.
    """
    answer = session.client.undo(session.place(), dry_run=dry_run)
    session.show(answer, undone_lines(answer, dry_run=dry_run))
    return 0
