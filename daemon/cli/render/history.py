"""What `snapshot`, `log`, `show`, `history`, `diff`, `restore` and `undo` say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.cli.render.text import Ink, count_text, dry_lines, path_text, plain, size_text, time_text, undo_lines

LETTERS = {"added": "A", "modified": "M", "removed": "D", "type": "T"}
_WORDS = (("added", "+"), ("modified", "~"), ("removed", "-"))


def snapshot_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """The new point, or that there is none to make."""
    yield from dry_lines(dry_run)
    name = plain(answer.get("snapshot") or "")
    if answer.get("created"):
        yield f"{'would keep a snapshot' if dry_run else f'snapshot {name}'}{_files(answer)}"
        yield from undo_lines(answer)
    else:
        yield f"nothing new since {name or 'the last snapshot'}"


def _files(answer: dict[str, Any]) -> str:
    return f": {count_text(answer['files'], 'file')}" if isinstance(answer.get("files"), int) else ""


def log_lines(answer: dict[str, Any], ink: Ink) -> Iterator[str]:
    """Two lines a snapshot: when, what, how much; and its id."""
    found = answer.get("snapshots", [])
    if not found:
        yield "no snapshots yet: `fst snapshot -m TEXT` takes one"
    for item in found:
        yield log_line(item, ink)


def log_line(item: dict[str, Any], ink: Ink) -> str:
    """One snapshot on one line, id first: `cut -d' ' -f1` gives it."""
    here = ink.good("  (here)") if item.get("current") else ""
    author = plain(item.get("author_name") or "")
    said = plain(item.get("message") or "")
    numbers = " ".join(f"{sign}{item[key]}" for key, sign in _WORDS if item.get(key))
    parts = [time_text(item.get("time_ms")), plain(item.get("source") or ""), author, numbers, said]
    return f"{ink.strong(plain(item.get('id', '?')))}  {'  '.join(filter(None, parts))}{here}"


def show_lines(answer: dict[str, Any], ink: Ink) -> Iterator[str]:
    """A snapshot's head and its changes."""
    told = answer.get("snapshot") or {}
    yield f"snapshot   {ink.strong(plain(told.get('id', '?')))}"
    for parent in told.get("parents") or []:
        yield f"parent     {plain(parent)}"
    author = " ".join(filter(None, (plain(told.get("author_name") or ""), _mail(told))))
    if author:
        yield f"author     {author}"
    if told.get("agent"):
        yield f"agent      {plain(told['agent'])}"
    yield f"time       {time_text(told.get('time_ms'))}  ({plain(told.get('source') or '?')})"
    yield f"manifest   {plain(told.get('manifest', '?'))}{_files(told)}"
    if told.get("message"):
        yield ""
        for line in str(told["message"]).splitlines():
            yield f"    {plain(line)}"
    yield ""
    yield from change_lines(answer.get("changes") or [], ink)


def _mail(answer: dict[str, Any]) -> str:
    return f"<{plain(answer['author_email'])}>" if answer.get("author_email") else ""


def change_lines(changes: list[dict[str, Any]], ink: Ink) -> Iterator[str]:
    """A letter and a path each: Added, Modified, Deleted, Type changed. All of them, also in a pipe."""
    paint = {"added": ink.good, "modified": ink.warn, "removed": ink.bad, "type": ink.warn}
    for item in changes:
        kind = str(item.get("kind", "?"))
        yield f"{paint.get(kind, plain)(LETTERS.get(kind, '?'))}  {path_text(item)}"


def history_lines(answer: dict[str, Any], ink: Ink) -> Iterator[str]:
    """A line a content: digest first, for `fst cat`."""
    found = answer.get("history", [])
    if not found:
        yield "nothing is kept of it"
    for item in found:
        digest, size = item.get("digest"), item.get("size")
        what = plain(digest) if digest else "removed".ljust(64)
        version = f"version {item['version']}" if item.get("version") is not None else f"here, step {item.get('sequence', '?')}"
        parts = [time_text(item.get("time_ms")), size_text(size) if size is not None else "-", version]
        parts += [plain(part) for part in (item.get("snapshot"), item.get("actor")) if part]
        yield f"{ink.strong(what)}  {'  '.join(parts)}"


def diff_lines(answer: dict[str, Any], ink: Ink, *, names_only: bool) -> Iterator[str]:
    """Unified texts, and a line for what has none."""
    changes = answer.get("changes") or []
    if names_only:
        yield from change_lines(changes, ink)
        return
    for item in changes:
        text = item.get("text")
        if text:
            yield from (_diff_line(line, ink) for line in str(text).splitlines())
        else:
            yield from change_lines([item], ink)


def _diff_line(line: str, ink: Ink) -> str:
    # Tabs are part of the text; all else that steers a terminal is shown, not obeyed.
    shown = "\t".join(plain(part) for part in line.split("\t"))
    if line.startswith(("+++", "---")):
        return ink.strong(shown)
    if line.startswith("@@"):
        return ink.busy(shown)
    return ink.good(shown) if line.startswith("+") else ink.bad(shown) if line.startswith("-") else shown


def restore_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """How much came back."""
    yield from dry_lines(dry_run)
    source = plain(answer.get("from") or "the last snapshot")
    if answer.get("changed"):
        yield f"{'would restore' if dry_run else 'restored'} {count_text(answer['changed'], 'path')} from {source}"
        yield from undo_lines(answer)
    else:
        yield f"nothing to restore: it is as it was in {source}"


def undone_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """Which act was taken back."""
    yield from dry_lines(dry_run)
    verb = plain(answer.get("verb") or "the last act")
    yield f"{'would undo' if dry_run else 'undone'}: {verb}, {count_text(answer.get('changed') or 0, 'path')}"
    yield from undo_lines(answer)
