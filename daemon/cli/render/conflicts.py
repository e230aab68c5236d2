"""What `conflicts` and `resolve` say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.cli.render.text import Ink, age_text, count_text, dry_lines, path_text, plain, size_text, undo_lines

_KINDS = {
    "edit-edit": "edited on both sides",
    "add-add": "made on both sides",
    "file-folder": "a file here, a folder there",
    "mode": "made executable on one side, not on the other",
}
_DONE = {"ours": "took ours", "theirs": "kept theirs", "both": "kept both", "edit": "kept your edit"}


def conflict_lines(answer: dict[str, Any], now_ms: int, ink: Ink) -> Iterator[str]:
    """Each with both texts' digests, and the next step."""
    found = [item for item in answer.get("conflicts", []) if item.get("state", "open") != "resolved"]
    if not found:
        yield "no conflicts"
        return
    for item in found:
        kind = plain(item.get("kind", ""))
        yield f"{ink.bad(path_text(item))}  {_KINDS.get(kind, kind)}, {age_text(now_ms, item.get('created_ms'))}"
        yield f"    ours    {_content(item.get('ours'))}"
        yield f"    theirs  {_content(item.get('theirs'))}  {ink.faint('(in the folder now)')}"
    yield f"{count_text(len(found), 'conflict')}; nothing is lost, both texts are kept"
    yield "  next: fst resolve PATH --ours|--theirs|--both|--edit   (fst cat DIGEST shows a text)"


def _content(side: object) -> str:
    if not isinstance(side, dict):
        return "nothing (removed)"
    if side.get("hash"):
        return f"{plain(side['hash'])}  {size_text(side.get('size') or 0)}"
    return f"a link to {plain(side.get('target', '?'))}" if side.get("type") == "link" else "a folder"


def resolve_lines(answer: dict[str, Any], how: str, *, dry_run: bool) -> Iterator[str]:
    """Which were settled."""
    yield from dry_lines(dry_run)
    found = answer.get("resolved") or []
    for item in found:
        yield f"{'would settle' if dry_run else 'settled'} {path_text(item)}: {_DONE.get(how, plain(how))}"
    if not found:
        yield "no conflict there"
    yield from undo_lines(answer)
