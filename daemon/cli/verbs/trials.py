"""`cloud` and `demo`: programs of their own that `fst` starts. The command line knows nothing of what is inside them."""

from __future__ import annotations

import os
import sys

import click

from daemon.cli.launch import module_command
from daemon.cli.session import Session
from daemon.cli.tree import fst, session_of, verb


@fst.command(
    "cloud",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def cloud(context: click.Context, args: tuple[str, ...]) -> None:
    """Run the other side: serve, token, fsck and more.

    `fst cloud --help` lists its verbs.
    """
    session = session_of(context)
    command, env = module_command("cloud", args or ("--help",), session.env)
    sys.stdout.flush()
    os.chdir(session.folder)
    os.execve(command[0], command, env)


@verb(fst, "demo", "fst demo --keep")
@click.option("--keep", is_flag=True, help="Leave the scratch folder, and say where it is.")
def demo(session: Session, keep: bool) -> int:
    """See a save cross between two machines, live.

    A cloud and two machines in a scratch folder; takes a few seconds and touches nothing of yours.
    """
    from daemon.cli.demo import run_demo

    return run_demo(session, keep=keep)


@verb(fst, "tryout", "fst tryout ~/code/thing", hidden=True)
@click.argument("path", required=False)
@click.option("--kept-in", metavar="DIR", default=".run", help="Where cloud, daemon and history live.")
@click.option("--once", is_flag=True, help="Stop after saying how things stand.")
def tryout(session: Session, path: str | None, kept_in: str, once: bool) -> int:
    """A cloud on loopback, a daemon and PATH (or a sample), live until Ctrl-C: what `make run` starts."""
    from daemon.cli.tryout import run_tryout

    return run_tryout(session, path, kept_in=kept_in, once=once)
