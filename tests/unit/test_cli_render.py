"""The words for numbers and times, tables, the graph, and progress."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from daemon.cli.progress import BAR_WIDTH, LINE_SECONDS, Bars, Lines, follow
from daemon.cli.render.graph import graph_lines
from daemon.cli.render.history import log_line
from daemon.cli.render.standing import duration_text
from daemon.cli.render.text import (
    Ink,
    age_text,
    amount_text,
    count_text,
    length_of,
    path_text,
    phase_text,
    plain,
    size_text,
    table,
    time_text,
    wants_colour,
)
from daemon.cli.verbs.standing import Duration

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_400_000, "3.4 MB"),
        (999_960, "1.0 MB"),
        (2 * 10**12, "2.0 TB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [
        (-5, "just now"),
        (59_999, "just now"),
        (60_000, "1 min ago"),
        (3_600_000, "1 h ago"),
        (DAY_MS, "1 day ago"),
        (12 * DAY_MS, "12 days ago"),
    ],
)
def test_ages(age_ms: int, text: str) -> None:
    assert age_text(10**12, 10**12 - age_ms) == text


def test_counts_and_lengths() -> None:
    assert [count_text(number, "file") for number in (0, 1, 1204)] == ["0 files", "1 file", "1,204 files"]
    assert count_text(2, "entry") == "2 entries"
    assert [length_of(value) for value in (3, [1], None, "x", True)] == [3, 1, 0, 0, 1]


def test_no_time_and_no_age() -> None:
    assert time_text(None) == "-" and age_text(0, None) == "never"


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (300, "5 min"), (3600, "1 h"), (5400, "1 h 30 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("0.5", 0.5), ("5m", 300), ("2 min", 120), ("1h", 3600), ("2d", 172_800)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_names_from_outside_are_made_harmless() -> None:
    assert plain("a\x1b[31m\r\n\u202eb") == "a\\x1b[31m\\r\\n\\u202eb"
    assert plain("Grüße, 世界") == "Grüße, 世界"
    assert path_text({"path_b64": "a+k="}) == "k\\xe9"


def test_a_table_is_never_cut() -> None:
    rows = list(table([["a", "x" * 300], ["bbb", ""]], ("ONE", "TWO")))
    assert rows == ["ONE  TWO", "a    " + "x" * 300, "bbb"]
    assert list(table([])) == []


@pytest.mark.parametrize(
    ("choice", "env", "terminal", "wanted"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_chosen(choice: str, env: dict[str, str], terminal: bool, wanted: bool) -> None:
    assert wants_colour(choice, env, terminal) is wanted


# --- the graph ---


def graph(*snapshots: str) -> list[str]:
    """`a:b,c` is snapshot a with parents b and c; lines without what stands behind the id."""
    items = [{"id": text.partition(":")[0], "parents": list(filter(None, text.partition(":")[2].split(",")))} for text in snapshots]
    return [line.replace("  -", "") for line in graph_lines({"snapshots": items}, Ink(False))]


def test_a_straight_line() -> None:
    assert graph("c:b", "b:a", "a:") == ["*  c", "*  b", "*  a"]


def test_a_merge_parts_and_meets() -> None:
    assert graph("d:b,c", "c:a", "b:a", "a:") == [
        "*  d",
        "|-\\",
        "| *  c",
        "* |  b",
        "|-/",
        "*  a",
    ]


def test_a_second_parent_that_is_waited_for_already() -> None:
    assert graph("d:b,a", "c:a", "b:a", "a:") == [
        "*  d",
        "|-\\",
        "| | *  c",
        "* | |  b",
        "|-/-/",
        "*  a",
    ]


def test_two_beginnings_stay_apart() -> None:
    assert graph("b:", "a:") == ["*  b", "*  a"]


def test_a_line_between_two_that_meet_is_crossed() -> None:
    assert graph("f:c", "e:b", "d:c", "c:a", "b:a", "a:") == [
        "*  f",
        "| *  e",
        "| | *  d",
        "|-+-/",
        "* |  c",
        "| *  b",
        "|-/",
        "*  a",
    ]


def test_the_message_stands_on_one_line() -> None:
    assert log_line({"id": "snap", "message": "one\ntwo"}, Ink(False)) == "snap  -  one\\ntwo"


# --- progress ---


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [
        (0, None, "files", ""),
        (0, None, "", ""),
        (5, 7, "", ""),
        (0, 4000, "files", "0 of 4,000 files"),
        (1, None, "files", "1 file"),
        (1, 1, "files", "1 of 1 file"),
        (1200, None, "changes", "1,200 changes"),
        (0, 12_000_000, "bytes", "0 B of 12.0 MB"),
        (3_400_000, None, "bytes", "3.4 MB"),
    ],
)
def test_amounts(done: int, total: int | None, unit: str, text: str) -> None:
    assert amount_text(done, total, unit) == text
    assert phase_text("so\nfar", done, total, unit) == (f"so\\nfar: {text}" if text else "so\\nfar ...")


class Watch:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_each_ten_seconds() -> None:
    out, watch = io.StringIO(), Watch()
    lines = Lines(out, watch)
    for done in range(25):
        watch.seconds += 1
        lines.update("sending", done * 100_000, 4_000_000 if done < 15 else None, "bytes")
    assert LINE_SECONDS == 10
    assert out.getvalue() == "sending: 900.0 kB of 4.0 MB\nsending: 1.9 MB\n"


class Terminal(io.StringIO):
    """A screen."""

    def isatty(self) -> bool:
        return True


def test_short_work_draws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, watch = Terminal(), Watch()
    bars = Bars(out, watch)
    bars.update("scan", 1, 2, "files")
    assert out.getvalue() == ""
    watch.seconds += 1
    bars.update("scan", 1, 2, "files")
    bars.update("scan", 2, 2, "files")
    bars.close()
    assert "scan" in out.getvalue()


def drawn(out: Terminal) -> list[str]:
    """Every line that was ever drawn, the newest last, without colour."""
    plainly = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    return [line.strip() for line in re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]+", plainly) if line.strip()]


def test_a_phase_that_comes_again_moves_down_and_the_others_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    out, watch = Terminal(), Watch()
    bars = Bars(out, watch)
    watch.seconds += 1
    for phase, done in (("looking", 3), ("fetching", 0), ("looking", 1), ("looking", 2)):
        bars.update(phase, done, 4, "files")
    bars.close()
    last = [line.split(maxsplit=3) for line in drawn(out)[-4:]]
    assert [line[0] for line in last] == ["fetching", "looking"] * 2, "two lines, drawn twice"
    assert last[2][1] == "━" * BAR_WIDTH, "it is over, so its bar is full"
    assert last[3][3] == "2 of 4 files"
    assert max(len(line) for line in drawn(out)) <= 80


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        self.heard.append((phase, done, total, unit))

    def close(self) -> None:
        self.heard.append("closed")


def test_the_result_is_returned_and_the_bars_closed() -> None:
    heard = Heard()
    told: Iterator[dict[str, Any]] = iter(
        [{"progress": {"phase": "a", "done": 1, "total": 0, "unit": "files"}}, {"progress": {"phase": "b"}}, {"result": {"files": 2}}]
    )
    assert follow(told, heard) == {"files": 2}
    assert heard.heard == [("a", 1, None, "files"), ("b", 0, None, ""), "closed"]


def test_bars_are_closed_when_the_work_fails() -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield {"progress": {"phase": "a"}}
        raise ValueError("no")

    heard = Heard()
    with pytest.raises(ValueError, match="no"):
        follow(failing(), heard)
    assert heard.heard[-1] == "closed"
