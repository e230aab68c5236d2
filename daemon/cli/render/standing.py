"""What `wait`, `sync`, `pause`, `resume` and `approve` say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.cli.render.text import Ink, count_text, dry_lines, plain, undo_lines


def wait_lines(until: str, machine: str | None, ink: Ink) -> Iterator[str]:
    """What has come true."""
    yield ink.good(f"on {plain(machine)}" if until == "on" else plain(until))


def sync_lines(answer: dict[str, Any], ink: Ink) -> Iterator[str]:
    """How far it came."""
    settled = ink.good("settled") if answer.get("settled") else ink.busy("not settled yet")
    uploaded = ink.good("uploaded") if answer.get("uploaded") else ink.busy("not uploaded yet")
    yield f"{settled}, {uploaded}, version {plain(answer.get('version', '-'))}"


def pause_lines(answer: dict[str, Any], for_s: float | None, *, dry_run: bool) -> Iterator[str]:
    """How many workspaces rest, and for how long."""
    yield from dry_lines(dry_run)
    until = "until `fst resume`" if for_s is None else f"for {duration_text(for_s)}"
    yield f"{'would pause' if dry_run else 'paused'} {_workspaces(answer)} {until}; history goes on being kept here"
    yield from undo_lines(answer)


def resume_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """How many workspaces go on."""
    yield from dry_lines(dry_run)
    yield f"{'would resume' if dry_run else 'resumed'} {_workspaces(answer)}"
    yield from undo_lines(answer)


def _workspaces(answer: dict[str, Any]) -> str:
    return count_text(len(answer.get("workspaces") or []), "workspace")


def duration_text(seconds: float) -> str:
    """`45 s`, `5 min`, `1 h`, `1 h 30 min`."""
    if seconds < 60:
        return f"{seconds:g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join(filter(None, (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "")))


def approve_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """What was let through."""
    yield from dry_lines(dry_run)
    yield f"{'waiting' if dry_run else 'let through'}: {plain(answer.get('message') or answer.get('approved') or '?')}"
    yield from undo_lines(answer)
