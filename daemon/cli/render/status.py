"""`fst status`: one calm screen, and the exit code that says the same. Imported by the short path: nothing heavy."""

from __future__ import annotations

from daemon.cli.render.text import Ink, count_text, length_of, listed, path_text, phase_text, plain, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.client.exchange import Document

CLEAN, NEEDS_PERSON, BRAKE_HOLDS = 0, 5, 6
WANTS_PERSON = ("no-space", "unwritable", "root-lost")
"""Problems that stay until somebody makes room or grants a right; the others (a pipe, a socket) only tell what is left out."""


def status_code(document: Document) -> int:
    """6 when a brake holds somewhere, 5 when anything else waits for a person, else 0."""
    codes = [workspace_code(workspace) for workspace in document.get("workspaces", [])]
    return max(codes, default=CLEAN)


def workspace_code(workspace: Document) -> int:
    """The exit code that one workspace asks for."""
    halt = workspace.get("halt") or {}
    if halt.get("code") == "brake-held" or workspace.get("brake"):
        return BRAKE_HOLDS
    if halt or length_of(workspace.get("conflicts")):
        return NEEDS_PERSON
    problems = workspace.get("problems")
    stuck = isinstance(problems, list) and any(isinstance(item, dict) and item.get("code") in WANTS_PERSON for item in problems)
    return NEEDS_PERSON if stuck else CLEAN


def state_word(workspace: Document, cloud: str, ink: Ink) -> str:
    """One workspace in one word or a few."""
    if workspace_code(workspace) == BRAKE_HOLDS:
        return ink.bad("held by the brake")
    if workspace_code(workspace) == NEEDS_PERSON:
        return ink.bad("needs you")
    if workspace.get("state") == "paused":
        return ink.warn("paused")
    if not workspace.get("settled"):
        return ink.busy("working")
    if cloud == "signed-out":
        return ink.good("safe here")
    if workspace.get("uploaded"):
        return ink.good("in step")
    return ink.warn("safe here, cloud offline") if cloud == "offline" else ink.busy("uploading")


def status_lines(document: Document, ink: Ink) -> Iterator[str]:
    """All of it."""
    daemon = document.get("daemon", {})
    cloud = str(daemon.get("cloud", ""))
    workspaces = document.get("workspaces", [])
    for workspace in workspaces:
        yield from workspace_lines(workspace, cloud, ink)
        yield ""
    if not workspaces:
        yield "no workspaces yet: `fst up` in a folder makes it one"
        yield ""
    yield ink.faint(f"daemon {plain(daemon.get('version', '?'))} (pid {daemon.get('pid', '?')}), cloud {_cloud_text(cloud)}")
    if daemon.get("message"):
        yield f"  {ink.warn(plain(daemon['message']))}"


def _cloud_text(cloud: str) -> str:
    if cloud == "signed-out":
        return "not signed in: history is kept here; `fst login` adds other machines"
    return "offline: everything local goes on" if cloud == "offline" else plain(cloud)


def workspace_lines(workspace: Document, cloud: str, ink: Ink) -> Iterator[str]:
    """One workspace: the word, where, how much, how far, and what waits for whom."""
    name = ink.strong(f"{plain(workspace.get('project', '?'))}/{plain(workspace.get('name', '?'))}")
    yield f"{name}  {state_word(workspace, cloud, ink)}"
    if now := workspace.get("progress"):
        yield f"  now        {phase_text(str(now.get('phase')), now.get('done') or 0, now.get('total'), str(now.get('unit') or ''))}"
    yield f"  folder     {path_text(workspace)}"
    yield f"  files      {workspace.get('files', 0):,}, {size_text(workspace.get('bytes', 0))}"
    snapshot = workspace.get("snapshot")
    yield f"  version    {_version_text(workspace)}{f', snapshot {plain(snapshot)}' if snapshot else ''}"
    yield f"  uploaded   {_uploaded_text(workspace, cloud)}"
    yield from _halt_lines(workspace, ink)
    if number := length_of(workspace.get("conflicts")):
        yield f"  conflicts  {ink.bad(f'{number:,} waiting')}: nothing is lost"
        yield "    next: fst conflicts, then fst resolve PATH --ours|--theirs|--both|--edit"
    yield from _held_lines(workspace.get("held_back") or [], ink)
    yield from _problem_lines(workspace.get("problems") or [], ink)


def _version_text(workspace: Document) -> str:
    version = workspace.get("version")
    return "-" if version in (None, 0) else f"{version:,}" if isinstance(version, int) else plain(version)


def _uploaded_text(workspace: Document, cloud: str) -> str:
    if workspace.get("uploaded"):
        return "yes"
    if cloud == "signed-out":
        return "no: not signed in"
    pending = length_of(workspace.get("pending"))
    return f"not yet: {count_text(pending, 'change')} pending" if pending else "not yet"


def _halt_lines(workspace: Document, ink: Ink) -> Iterator[str]:
    halt = workspace.get("halt")
    if halt:
        yield f"  halted     {ink.bad(plain(halt.get('message', '')))}"
        if halt.get("hint"):
            yield f"    next: {plain(halt['hint'])}"


def _held_lines(held: list[Document] | int, ink: Ink) -> Iterator[str]:
    number = length_of(held)
    if number:
        yield f"  held back  {ink.warn(count_text(number, 'file'))}, kept here and not sent"
        if isinstance(held, list):
            yield from listed([f"{path_text(item)}  {ink.faint(plain(item.get('reason', '')))}".rstrip() for item in held])


def _problem_lines(problems: list[Document] | int, ink: Ink) -> Iterator[str]:
    number = length_of(problems)
    if number:
        yield f"  problems   {ink.warn(f'{number:,}')}"
        if isinstance(problems, list):
            yield from listed([_problem_text(item) for item in problems])


def _problem_text(item: Document) -> str:
    where = path_text(item)
    return f"{f'{where}: ' if where else ''}{plain(item.get('message', item.get('code', '')))}"
