"""What `doctor`, `fsck`, `gc`, `config list` and `ignore explain` say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from daemon.cli.render.text import Ink, count_text, dry_lines, plain, size_text, table


def doctor_lines(checks: Sequence[dict[str, Any]], ink: Ink) -> Iterator[str]:
    """A line a check: ok, warn or fail; and its fix."""
    paint = {"ok": ink.good, "warn": ink.warn, "fail": ink.bad}
    width = max((len(plain(check.get("name", ""))) for check in checks), default=0)
    for check in checks:
        status = str(check.get("status", "?"))
        name, message = plain(check.get("name", "")).ljust(width), plain(check.get("message", ""))
        yield f"{paint.get(status, plain)(status.ljust(4))}  {name}  {message}".rstrip()
        if check.get("fix") and status != "ok":
            yield f"      fix: {plain(check['fix'])}"


def fsck_lines(result: dict[str, Any], ink: Ink) -> Iterator[str]:
    """What was read, and what is wrong with it."""
    yield f"checked {count_text(result.get('blobs') or 0, 'blob')} and every manifest that names them"
    if result.get("repaired"):
        yield f"repaired {count_text(result['repaired'], 'content')}"
    if result.get("sent"):
        yield f"sent {count_text(result['sent'], 'blob')} that the cloud had lost"
    for root in result.get("joined") or []:
        yield f"joined again  {plain(root)}: what it and the cloud agreed on was lost; nothing is deleted on either side"
    problems = result.get("problems") or []
    for problem in problems:
        yield f"{ink.bad('damaged')}  {plain(problem)}"
    if is_clean(result):
        yield ink.good("all is well")
    else:
        yield ink.bad(f"{count_text(len(problems), 'problem')} found")
        yield "  next: fst fsck --repair brings back what a folder, a segment or the cloud still has, and changes no file of yours"


def is_clean(result: dict[str, Any]) -> bool:
    """Nothing is damaged or missing."""
    return bool(result.get("clean", not result.get("problems")))


def gc_lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """How much room came back."""
    yield from dry_lines(dry_run)
    parts = [count_text(answer.get("blobs") or 0, "blob"), count_text(answer.get("nodes") or 0, "node")]
    yield f"{'would give back' if dry_run else 'gave back'} {size_text(answer.get('bytes') or 0)} ({', '.join(parts)})"


def setting_lines(settings: Sequence[dict[str, Any]], file: str) -> Iterator[str]:
    """A line a setting, with where it comes from."""
    rows = [[plain(item["key"]), _value(item["value"]), plain(item["origin"]), plain(item["meaning"])] for item in settings]
    yield from table(rows, ("KEY", "VALUE", "FROM", "MEANS"))
    yield f"file: {plain(file)}"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else plain(value) if value != "" else '""'


def ignore_lines(answer: dict[str, Any], path: str) -> Iterator[str]:
    """Ignored or not, by which rule, and what that means for the other machines."""
    yield f"{plain(path)} is {'ignored' if answer.get('ignored') else 'not ignored'}"
    if answer.get("rule"):
        yield f"rule       {plain(answer['rule'])}"
        if answer.get("ignored") and not answer.get("travels"):
            yield "           the rule stays on this machine: it keeps new files out, and leaves alone what is carried already"
    yield f"carried    {'yes' if answer.get('carried') else 'no'}"
