"""`conflicts` and `resolve`: both sides changed, and a person decides. Until then both texts are kept."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import click

from daemon.cli.render.conflicts import conflict_lines, resolve_lines
from daemon.cli.render.text import path_bytes
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.client import Client
from daemon.client.exchange import TYPE_CHECKING
from store.errors import FastestError, InvalidValue, NotFound, Refused

if TYPE_CHECKING:
    from daemon.client.exchange import Document

HOW: Final = ("ours", "theirs", "both", "edit")


@verb(fst, "conflicts", "fst conflicts")
@click.argument("path", required=False)
def conflicts(session: Session, path: str | None) -> int:
    """What waits for your decision."""
    answer = session.client.conflicts(session.place(path))
    session.show(answer, conflict_lines(answer, session.now_ms(), session.ink))
    return 0


@verb(fst, "resolve", "fst resolve notes.txt --ours")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--ours", "how", flag_value="ours", help="Take the text of the record: what lost the race to the cloud.")
@click.option("--theirs", "how", flag_value="theirs", help="Keep what the folder has now: the cloud's.")
@click.option("--both", "how", flag_value="both", help="Keep both: ours goes to a file beside it.")
@click.option("--edit", "how", flag_value="edit", help="Open both in $EDITOR, and keep what you save.")
@click.option("--dry-run", is_flag=True, help="Say what would be settled.")
def resolve(session: Session, paths: tuple[str, ...], how: str | None, dry_run: bool) -> int:
    """Settle conflicts by ours, theirs, both or an edit."""
    if how is None:
        raise InvalidValue("say how to resolve", "One of --ours, --theirs, --both, --edit.")
    here = session.place()
    with _edited(session, here, paths) if how == "edit" and not dry_run else nullcontext() as text:
        answer = session.client.resolve(here, [session.file(path) for path in paths], how, text=text, dry_run=dry_run)
    session.show(answer, resolve_lines(answer, how, dry_run=dry_run))
    return 0


def _find(conflicts: list[Document], file: str) -> Document:
    raw = os.fsencode(file)
    for item in conflicts:
        if raw.endswith(b"/" + path_bytes(item)):
            return item
    raise NotFound(f"no conflict at {file}", "`fst conflicts` lists them.")


@contextmanager
def _edited(session: Session, place: str, paths: Sequence[str]) -> Iterator[bytes]:
    """Both texts in one file with markers, opened in the editor; what was saved.

    Until the block has ended well the file stays: somebody's work is in it, and whatever fails says where. Raises Refused when it was
    not settled.
    """
    editor = session.env.get("VISUAL") or session.env.get("EDITOR")
    if len(paths) != 1:
        raise InvalidValue("--edit takes one path", "Settle them one by one.")
    conflict = _find(session.client.conflicts(place).get("conflicts", []), session.file(paths[0]))
    if not editor:
        raise InvalidValue("no editor is set", "Set EDITOR, or use --ours, --theirs or --both.")
    ours, theirs = (_text(session.client, place, conflict.get(side)) for side in ("ours", "theirs"))
    if b"\0" in ours + theirs:
        raise InvalidValue("these are not texts", "Use --ours, --theirs or --both.")
    begun, folder = _marked(ours, theirs), tempfile.mkdtemp(prefix="fst-edit-")
    file = Path(folder) / Path(str(conflict.get("path", "conflict"))).name
    file.write_bytes(begun)
    try:
        yield _edit(editor, file)
    except FastestError as error:
        if not file.exists() or file.read_bytes() == begun:
            shutil.rmtree(folder)
        else:
            error.hint = f"{error.hint} Your text is kept in {file}.".strip()
        raise
    shutil.rmtree(folder)


def _edit(editor: str, file: Path) -> bytes:
    done = subprocess.run([*shlex.split(editor), os.fspath(file)], check=False)
    if done.returncode:
        raise Refused(f"the editor ended with {done.returncode}", "Nothing was changed.")
    saved = file.read_bytes()
    if any(mark in saved for mark in (_OURS_MARK, _THEIRS_MARK)):
        raise Refused("the markers are still in the text", "Nothing was changed. Remove them to say that it is settled.")
    return saved


_OURS_MARK: Final = b"<<<<<<< ours\n"
_THEIRS_MARK: Final = b">>>>>>> theirs\n"


def _marked(ours: bytes, theirs: bytes) -> bytes:
    return _OURS_MARK + _whole_line(ours) + b"=======\n" + _whole_line(theirs) + _THEIRS_MARK


def _whole_line(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _text(client: Client, place: str, side: Document | None) -> bytes:
    digest = (side or {}).get("hash")
    return b"".join(client.cat(place, digest)) if digest else b""
