"""How numbers, times and names are said, and what is coloured. Imports next to nothing: `fst status` waits for it."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from daemon.client.exchange import Document

GAP = "  "
LIST_LINES = 20
"""Of a list inside a screen; `--json` has them all."""


class Ink:
    """Colour, or none: a meaning is always said in words too."""

    __slots__ = ("_on",)

    def __init__(self, on: bool) -> None:
        self._on = on

    def good(self, text: str) -> str:
        """Done, safe."""
        return self._wrap("32", text)

    def busy(self, text: str) -> str:
        """Under way."""
        return self._wrap("36", text)

    def warn(self, text: str) -> str:
        """Look at this."""
        return self._wrap("33", text)

    def bad(self, text: str) -> str:
        """Needs a person."""
        return self._wrap("31", text)

    def faint(self, text: str) -> str:
        """Beside the point."""
        return self._wrap("2", text)

    def strong(self, text: str) -> str:
        """What it is about."""
        return self._wrap("1", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on and text else text


def wants_colour(choice: str, env: Mapping[str, str], on_terminal: bool) -> bool:
    """`--color`, else NO_COLOR (no-color.org), FORCE_COLOR, TERM=dumb, else whether it is a terminal."""
    if choice in ("always", "never"):
        return choice == "always"
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return env["FORCE_COLOR"] != "0"
    return on_terminal and env.get("TERM") != "dumb"


def plain(text: object) -> str:
    """Text from outside on one line: what could steer a terminal comes out escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text))


def json_text(document: object) -> str:
    """A document on one line, as people like to read it; what could steer a terminal is escaped here too, and means the same."""
    import json

    text = json.dumps(document, ensure_ascii=False)
    # Outside of its texts JSON is printable, so what is not stands in one.
    return text if text.isprintable() else "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def path_bytes(item: Document) -> bytes:
    """A document's `path` or `path_b64`."""
    if item.get("path") is None and item.get("path_b64"):
        import binascii

        return binascii.a2b_base64(item["path_b64"])
    return str(item.get("path") or "").encode("utf-8", "surrogateescape")


def path_text(item: Document) -> str:
    """The same for people."""
    return plain(path_bytes(item).decode("utf-8", "backslashreplace"))


def count_text(number: int, what: str) -> str:
    """`1 file`, `1,204 files`."""
    ends_in_y = what.endswith("y") and what[-2] not in "aeo"
    return f"{number:,} {what if number == 1 else what[:-1] + 'ies' if ends_in_y else what + 's'}"


def size_text(size_bytes: int) -> str:
    """`812 B`, `3.4 MB`: powers of ten, as disks are sold."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.95 or unit == "TB":
            break
    return f"{size:.1f} {unit}"


def amount_text(done: int, total: int | None, unit: str) -> str:
    """`1,200 of 4,000 files`, `3.4 MB of 12.0 MB`, `1,200 files`; nothing where nothing is counted."""
    if not unit or not (done or total):
        return ""
    if unit == "bytes":
        return size_text(done) + (f" of {size_text(total)}" if total else "")
    return f"{done:,}" + (f" of {total:,}" if total else "") + f" {unit.removesuffix('s') if (total or done) == 1 else unit}"


def phase_text(phase: str, done: int, total: int | None, unit: str) -> str:
    """`sending: 1.2 MB of 4.0 MB`, `planning ...`."""
    amount = amount_text(done, total, unit)
    return f"{plain(phase)}: {amount}" if amount else f"{plain(phase)} ..."


def time_text(time_ms: int | None) -> str:
    """A moment in local time: `2026-03-01 14:05:09`."""
    return "-" if time_ms is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))


def age_text(now_ms: int, then_ms: int | None) -> str:
    """`just now`, `3 min ago`, `5 h ago`, `12 days ago`."""
    if then_ms is None:
        return "never"
    seconds = max(0, now_ms - then_ms) // 1000
    if seconds < 60:
        return "just now"
    for size, name in ((86_400, "day"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            number = seconds // size
            return f"{count_text(number, name) if name == 'day' else f'{number} {name}'} ago"
    return "just now"


def length_of(value: object) -> int:
    """How many: a number itself, or a list's length."""
    return len(value) if isinstance(value, list) else int(value) if isinstance(value, int) else 0


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> Iterator[str]:
    """Columns as wide as their widest cell; never cut, whatever the terminal's width. Cells carry no colour."""
    cells = [list(head), *map(list, rows)] if head else list(map(list, rows))
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))] if cells else []
    for row in cells:
        yield GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def listed(lines: Sequence[str], indent: str = "    ") -> Iterator[str]:
    """At most LIST_LINES of them, and how many more there are."""
    for line in lines[:LIST_LINES]:
        yield indent + line
    if len(lines) > LIST_LINES:
        yield f"{indent}... and {len(lines) - LIST_LINES:,} more (--json lists all)"


def undo_lines(answer: Document) -> Iterator[str]:
    """How to take an act back, as the daemon told: a command line, or a snapshot's id."""
    undo = plain(answer.get("undo") or "")
    if undo:
        yield f"undo       {undo if undo.startswith('fst ') else f'fst restore --from {undo}' if undo.startswith('snap-') else undo}"


def dry_lines(dry_run: bool) -> Iterator[str]:
    """What stands above the report of a `--dry-run`."""
    if dry_run:
        yield "dry run: nothing was changed"
