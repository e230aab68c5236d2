"""`config` and `ignore`: what may be chosen, and why a path is left out."""

from __future__ import annotations

import shlex
import subprocess

import click

from daemon.cli.render.checks import ignore_lines, setting_lines
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.config import KEYS, choose_settings, find_places, read_settings, unknown_key, write_setting
from store.errors import InvalidValue, Refused


@fst.group("config")
def config_group() -> None:
    """Read and change settings.

    A flag wins over FASTEST_* in the environment, that over the file, that over the default.
    """


@verb(config_group, "get", "fst config get secrets.hold")
@click.argument("key")
def get(session: Session, key: str) -> int:
    """One setting's value."""
    if key not in KEYS:
        raise unknown_key(key, "fst config get")
    value, origin = choose_settings({}, session.env, find_places(session.env).config_file)[key]
    session.show({"key": key, "value": value, "origin": origin}, [_text(value)])
    return 0


@verb(config_group, "set", "fst config set brake.files 200")
@click.argument("key")
@click.argument("value")
@click.option("--dry-run", is_flag=True, help="Check it and write nothing.")
def set_value(session: Session, key: str, value: str, dry_run: bool) -> int:
    """Write one setting to the file; a running daemon takes it at its next start."""
    file = find_places(session.env).config_file
    if key not in KEYS:
        raise unknown_key(key, "fst config set")
    before, _ = read_settings(file).get(key, (KEYS[key].default, "default"))
    after = write_setting(file, key, value, dry_run=dry_run)
    undo = f"fst config set {key} {shlex.quote(_text(before))}"
    report = {"key": key, "value": after, "before": before, "file": str(file), "dry_run": dry_run, "undo": undo}
    told = "dry run: would set" if dry_run else "set"
    session.show(report, [f"{told} {key} = {_text(after)} in {file}", f"undo       {undo}"])
    if not dry_run:
        session.say("A running daemon takes it at its next start: fst down, fst up")
    return 0


@verb(config_group, "list", "fst config list --json")
def list_values(session: Session) -> int:
    """Every setting, its value and where that comes from."""
    file = find_places(session.env).config_file
    chosen = choose_settings({}, session.env, file)
    settings = [{"key": key, "value": value, "origin": origin, "meaning": KEYS[key].meaning} for key, (value, origin) in chosen.items()]
    session.show({"file": str(file), "settings": settings}, setting_lines(settings, str(file)))
    return 0


@verb(config_group, "edit", "EDITOR=nano fst config edit")
def edit(session: Session) -> int:
    """Open the file in $EDITOR, and check it afterwards."""
    editor = session.env.get("VISUAL") or session.env.get("EDITOR")
    if not editor:
        raise InvalidValue("no editor is set", "Set EDITOR, or use: fst config set KEY VALUE")
    file = find_places(session.env).config_file
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run([*shlex.split(editor), str(file)], check=False)
    if done.returncode:
        raise Refused(f"the editor ended with {done.returncode}", f"The settings are in {file}.")
    session.settings()
    session.show({"file": str(file)}, [f"{file} is fine"])
    return 0


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@fst.group("ignore")
def ignore_group() -> None:
    """What is left out, and by which rule."""


@verb(ignore_group, "explain", "fst ignore explain build/out.o")
@click.argument("path")
def explain(session: Session, path: str) -> int:
    """Whether PATH is ignored, and which line of which file decides."""
    answer = session.client.explain_ignore(session.place(), session.file(path))
    session.show(answer, ignore_lines(answer, path))
    return 0
