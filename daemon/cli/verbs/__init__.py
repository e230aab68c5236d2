"""What each verb does: ask the daemon, show the answer, end with the right code."""

from __future__ import annotations


def join() -> None:
    """Put every verb on the tree, which importing its module does; once is enough."""
    from daemon.cli.verbs import account, conflicts, history, making, settings, standing, trials, upkeep  # noqa: F401
