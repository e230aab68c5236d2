"""`fst log --graph`: which snapshot came from which, in plain ASCII columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.cli.render.history import log_line
from daemon.cli.render.text import Ink


def graph_lines(answer: dict[str, Any], ink: Ink) -> Iterator[str]:
    """One line a snapshot, newest first, with a line between where columns part or meet.

    A column waits for one snapshot; the snapshot stands in the first column that waits for it, the others that did end there.
    """
    columns: list[str] = []
    found = answer.get("snapshots", [])
    for item in found:
        name = str(item.get("id"))
        if name not in columns:
            columns.append(name)
        at = columns.index(name)
        ends = [column for column, waits in enumerate(columns) if waits == name and column != at]
        if ends:
            yield _joins(len(columns), at, ends)
            columns = [waits for column, waits in enumerate(columns) if column not in ends]
        yield f"{_row(len(columns), at)}  {log_line(item, ink)}"
        parents = [str(parent) for parent in item.get("parents") or []]
        before = len(columns)
        columns[at : at + 1] = parents[:1]
        if parents[1:]:
            columns += parents[1:]
            yield _parts(before, at, len(parents) - 1)
        elif not parents and at < len(columns):
            yield " ".join("|" if column < at else "/" for column in range(len(columns)))


def _row(width: int, at: int) -> str:
    return " ".join("*" if column == at else "|" for column in range(width))


def _joins(width: int, at: int, ends: list[int]) -> str:
    marks = ["/" if column in ends else "|" for column in range(width)]
    for column in range(at + 1, max(ends)):
        marks[column] = "+" if marks[column] == "|" else marks[column]
    return "-".join(marks[at : max(ends) + 1]).join(("| " * at, " |" * (width - 1 - max(ends))))


def _parts(before: int, at: int, fresh: int) -> str:
    middle = ["|", *["+" for _ in range(at + 1, before)], *["\\" for _ in range(fresh)]]
    return "| " * at + "-".join(middle)
