"""A section of figures: as a table on the terminal and in docs/PERFORMANCE.md, with its bars held or missed."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.process import REPOSITORY

PAGE = REPOSITORY / "docs" / "PERFORMANCE.md"


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: a figure that must not be above its limit, or below it (`at_least`)."""

    what: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        limit = f"{'at least ' if self.at_least else ''}{self.limit:g} {self.unit}".strip()
        return f"{'held  ' if self.holds else 'MISSED'} {self.what}: {self.value:.4g} {self.unit}".strip() + f" (bar: {limit})"


@dataclass(slots=True)
class Section:
    """What one scenario found."""

    name: str
    title: str
    method: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The section as it stands in the page."""
        lines = [f"## {self.title}", "", self.method, ""]
        lines += [_line(self.columns), "|" + " --- |" * len(self.columns), *(_line(row) for row in self.rows), ""]
        lines += [f"- {'✔' if bar.holds else '✘'} {str(bar)[7:]}" for bar in self.bars]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def text(self) -> str:
        """The section for a terminal."""
        widths = [max(len(row[at]) for row in [self.columns, *self.rows]) for at in range(len(self.columns))]
        lines = ["", f"== {self.title}"]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [self.columns, *self.rows]
        ]
        return "\n".join([*lines, *(str(bar) for bar in self.bars), *(f"note: {note}" for note in self.notes)])


def write_page(sections: Sequence[Section], peers: str, page: Path = PAGE) -> None:
    """Put each section between its markers; what stands elsewhere in the page stays."""
    text = page.read_text("utf-8") if page.exists() else ""
    for section in [Section("machine", "The machine of these figures", machine(), ("peer", "version"), _peer_rows(peers)), *sections]:
        block = f"<!-- {section.name}: begin -->\n{section.markdown()}<!-- {section.name}: end -->"
        marked = re.compile(f"<!-- {section.name}: begin -->.*?<!-- {section.name}: end -->", re.DOTALL)
        met = marked.search(text)
        before, after = (text[: met.start()], text[met.end() :]) if met else (f"{text.rstrip()}\n\n".lstrip(), "\n")
        text = before + block + after
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, "utf-8")


def machine() -> str:
    """The class of machine, as far as it can be told without naming it."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return (
        f"{cores} cores ({processor[1] if processor else platform.machine()}), {int(memory[1]) // 2**20 if memory else '?'} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}."
    )


def _peer_rows(peers: str) -> list[tuple[str, ...]]:
    return [tuple(line.split(": ", 1)) for line in peers.splitlines()]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
