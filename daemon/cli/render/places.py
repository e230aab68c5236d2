"""What `up`, `clone`, `workspaces`, `machines`, `login` and `whoami` say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.cli.render.text import Ink, count_text, dry_lines, length_of, listed, path_text, plain, size_text, table, undo_lines


def made_lines(result: dict[str, Any], place: str, ink: Ink, *, dry_run: bool) -> Iterator[str]:
    """A workspace was made (or was there): what is kept, what is not, and how to undo."""
    yield from dry_lines(dry_run)
    name = ink.strong(f"{plain(result.get('project', '?'))}/{plain(result.get('workspace', '?'))}")
    word = "would be kept safe" if dry_run else "is kept safe now" if result.get("created", True) else "is kept safe already"
    yield f"{name} {word}{_amount(result)}"
    yield f"folder     {plain(place)}"
    if result.get("snapshot"):
        yield f"snapshot   {plain(result['snapshot'])}"
    if ignored := length_of(result.get("ignored")):
        yield f"ignored    {count_text(ignored, 'path')}; fst ignore explain PATH tells by which rule"
    yield from _held_lines(result.get("held_back") or [], ink)
    for item in result.get("large") or []:
        yield f"large      {ink.warn(path_text(item))}: {count_text(item.get('files', 0), 'file')} that are usually rebuilt, not kept"
        yield f"    leave it out: echo '{plain(item.get('line', ''))}' >> .fstignore"
    if result.get("cloud") == "signed-out":
        yield "cloud      not signed in: history is kept on this machine; fst login adds your other machines"
    yield from undo_lines(result)


def _amount(result: dict[str, Any]) -> str:
    if not isinstance(result.get("files"), int):
        return ""
    return f": {count_text(result['files'], 'file')}, {size_text(result.get('bytes') or 0)}"


def _held_lines(held: list[dict[str, Any]], ink: Ink) -> Iterator[str]:
    if held:
        yield f"held back  {ink.warn(count_text(len(held), 'file'))}: kept here, not sent to the cloud"
        yield from listed([f"{path_text(item)}  {ink.faint(plain(item.get('reason', '')))}".rstrip() for item in held])


def workspace_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A line each, local ones with their folder."""
    found = answer.get("workspaces", [])
    if not found:
        yield "no workspaces yet: `fst up` in a folder makes it one"
        return
    yield from table((_workspace_row(item) for item in found), ("PROJECT", "WORKSPACE", "VERSION", "HERE", ""))


def _workspace_row(item: dict[str, Any]) -> list[str]:
    here = path_text(item) if item.get("path") or item.get("path_b64") else "-"
    version = item.get("version")
    told = ["-" if version is None else plain(version), here, "main workspace" if item.get("main") else ""]
    return [plain(item.get("project", "-")), plain(item.get("name", "-")), *told]


def main_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Which one it is now."""
    yield f"{plain(answer.get('workspace') or '?')} is the main workspace of {plain(answer.get('project') or '?')} now"


def machine_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A line each; this one is marked."""
    yield from table((_machine_row(item) for item in answer.get("machines", [])), ("MACHINE", "SYSTEM", "SEEN", ""))


def _machine_row(item: dict[str, Any]) -> list[str]:
    seen = "now" if item.get("online") else plain(item.get("last_seen_at") or "never")
    return [plain(item.get("name", "?")), plain(item.get("platform") or "-"), seen, "this machine" if item.get("this") else ""]


def login_lines(answer: dict[str, Any], token_file: str) -> Iterator[str]:
    """Who is signed in, and aloud where the token is."""
    yield f"signed in to {plain(answer.get('cloud') or '?')} as {_email(answer)}"
    if answer.get("kept_in") == "keyring":
        yield "token      in the system's keyring"
    else:
        yield f"token      in a file that only you may read, as no keyring is used: {plain(token_file)}"
    yield "undo       fst logout"


def whoami_lines(answer: dict[str, Any]) -> Iterator[str]:
    """The account, the cloud and this machine."""
    yield f"account    {_email(answer)}"
    yield f"cloud      {plain(answer.get('cloud') or '?')}"
    if answer.get("machine"):
        yield f"machine    {plain(answer['machine'])}"


def _email(answer: dict[str, Any]) -> str:
    return plain((answer.get("user") or {}).get("email") or "?")
