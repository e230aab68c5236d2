"""`doctor`, `fsck`, `gc`, `version`, `completion`: is everything well, and is it tidy."""

from __future__ import annotations

import platform
import sys

import click
from click.shell_completion import get_completion_class

from daemon.cli.launch import answers, ensure_daemon, stop_daemon
from daemon.cli.progress import follow, reporter_for
from daemon.cli.render.checks import doctor_lines, fsck_lines, gc_lines, is_clean
from daemon.cli.session import Session
from daemon.cli.tree import fst, verb
from daemon.client.exchange import TYPE_CHECKING
from store.errors import DaemonUnreachable, FastestError, StoreDamaged

if TYPE_CHECKING:
    from daemon.client.exchange import Document


@verb(fst, "doctor", "fst doctor")
def doctor(session: Session) -> int:
    """What could be wrong, with the exact fix.

    Exit code 1 when a check fails, 3 when no daemon runs.
    """
    checks = [_settings_check(session)]
    reached: FastestError | None = None
    try:
        checks += session.client.doctor().get("checks", [])
    except DaemonUnreachable as error:
        reached = error
        checks.append({"name": "daemon", "status": "fail", "message": error.message, "fix": error.hint})
    session.show({"checks": checks}, doctor_lines(checks, session.ink))
    if reached is not None:
        return reached.exit_code
    return 1 if any(check["status"] == "fail" for check in checks) else 0


def _settings_check(session: Session) -> Document:
    try:
        places = session.settings().places
    except FastestError as error:
        return {"name": "settings", "status": "fail", "message": error.message, "fix": error.hint}
    return {"name": "settings", "status": "ok", "message": str(places.config_file), "fix": ""}


@verb(fst, "fsck", "fst fsck --repair")
@click.option("--repair", is_flag=True, help="Bring back what can be: from the folders, the segments and the cloud.")
@click.option("--cloud", is_flag=True, help="Also ask the cloud whether it has what it should, and send what it lost.")
def fsck(session: Session, repair: bool, cloud: bool) -> int:
    """Read everything that is kept again and check it.

    Exit code 1 when something is damaged and not repaired. A damaged database is set aside and built anew; no folder is touched.
    """
    if not answers(session.env):
        _mend_database(session, repair=repair)
    result = follow(ensure_daemon(session).fsck(repair=repair, cloud=cloud), reporter_for(session))
    if repair and result.get("database"):
        stop_daemon(session)
        _mend_database(session, repair=True, known=True)
        result = follow(ensure_daemon(session).fsck(repair=True, cloud=cloud), reporter_for(session))
    session.show(result, fsck_lines(result, session.ink))
    return 0 if is_clean(result) else 1


def _mend_database(session: Session, *, repair: bool, known: bool = False) -> None:
    """While no daemon runs: see whether one could, and build the database anew if not. Raises StoreDamaged unless `repair`."""
    from daemon.mend.rescue import examine_store, rescue

    places = session.settings().places
    try:
        examine_store(places)
    except StoreDamaged as error:
        if not repair:
            raise
        session.say(error.message)
        known = True
    if known:
        for sentence in rescue(places):
            session.say(sentence)


@verb(fst, "gc", "fst gc --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would go.")
def gc(session: Session, dry_run: bool) -> int:
    """Give back the room of content that nothing names.

    What a version, a snapshot or a conflict names stays. There is no undo for this one.
    """
    answer = follow(session.client.gc(dry_run=dry_run), reporter_for(session))
    session.show(answer, gc_lines(answer, dry_run=dry_run))
    return 0


@verb(fst, "version", "fst version --json")
def version(session: Session) -> int:
    """The versions of command, daemon and Python."""
    from importlib import metadata

    try:
        own = metadata.version("fastest")
    except metadata.PackageNotFoundError:
        own = "not installed"
    report = {"version": own, "daemon": _daemon_version(session), "python": platform.python_version(), "platform": sys.platform}
    session.show(report, [f"fst {own} (daemon {report['daemon'] or 'not running'}, Python {report['python']}, {sys.platform})"])
    return 0


def _daemon_version(session: Session) -> str | None:
    try:
        found = session.client.status().get("daemon", {}).get("version")
    except FastestError:
        return None
    return str(found) if found else None


@verb(fst, "completion", "fst completion bash > ~/.local/share/bash-completion/completions/fst")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(session: Session, shell: str) -> int:
    """A script that completes verbs and options in your shell."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    print(kind(fst, {}, "fst", "_FST_COMPLETE").source())
    return 0
