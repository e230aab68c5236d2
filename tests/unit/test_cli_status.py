"""`fst status`: the short path, the screen, and the exit code that says the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.quick import parse_words
from daemon.cli.render.status import status_code, status_lines
from daemon.cli.render.text import Ink
from tests.cli import Fst, fastest_home, make_fst
from tests.fake_daemon import Answer, FakeDaemon, status_of, workspace

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("aiohttp", "rich", "click", "msgspec", "apsw", "asyncio", "typing", "pathlib", "dataclasses", "inspect", "http", "store.errors")
CONFLICT = {"id": "01", "path": "notes.txt", "kind": "edit-edit"}
HALT = {"code": "root-lost", "message": "the folder is gone", "hint": "Mount it again."}
BRAKE = {"code": "brake-held", "message": "81 files would go", "hint": "fst approve"}


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon(fastest_home()) as fake:
        yield fake


@pytest.fixture
def fst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fst:
    return make_fst(capfd, monkeypatch)


def lines(document: dict[str, Any]) -> str:
    return "\n".join(status_lines(document, Ink(False)))


# --- the screen and the code ---


def test_a_calm_screen() -> None:
    assert lines(status_of(workspace())).splitlines() == [
        "thing/main  in step",
        "  folder     /work/thing",
        "  files      1,204, 3.4 MB",
        "  version    12, snapshot snap-01JZ",
        "  uploaded   yes",
        "",
        "daemon 0.1.0 (pid 4711), cloud connected",
    ]


@pytest.mark.parametrize(
    ("changed", "cloud", "word", "code"),
    [
        ({}, "connected", "in step", 0),
        ({"settled": False}, "connected", "working", 0),
        ({"uploaded": False, "pending": 3}, "connected", "uploading", 0),
        ({"uploaded": False}, "offline", "safe here, cloud offline", 0),
        ({"uploaded": False}, "signed-out", "safe here", 0),
        ({"state": "paused"}, "connected", "paused", 0),
        ({"conflicts": 2}, "connected", "needs you", 5),
        ({"conflicts": [CONFLICT]}, "connected", "needs you", 5),
        ({"state": "halted", "halt": HALT}, "connected", "needs you", 5),
        ({"problems": [{"path": "big.bin", "code": "no-space", "message": "disk full"}]}, "connected", "needs you", 5),
        ({"problems": [{"path": "pipe", "code": "odd-file", "message": "not a file"}]}, "connected", "in step", 0),
        ({"state": "halted", "halt": BRAKE}, "connected", "held by the brake", 6),
        ({"held_back": [{"path": ".env", "reason": "name"}]}, "connected", "in step", 0),
    ],
)
def test_word_and_code_say_the_same(changed: dict[str, Any], cloud: str, word: str, code: int) -> None:
    document = status_of(workspace(**changed), cloud=cloud)
    assert lines(document).splitlines()[0] == f"thing/main  {word}"
    assert status_code(document) == code


def test_the_worst_of_several_counts() -> None:
    assert status_code(status_of(workspace(), workspace(conflicts=1), workspace())) == 5
    assert status_code(status_of(workspace(conflicts=1), workspace(halt=BRAKE))) == 6
    assert status_code(status_of()) == 0


def test_what_waits_is_named_with_the_next_step() -> None:
    held = [{"path": ".env", "reason": "its name"}, {"path_b64": "a+k=", "reason": "its bytes"}]
    problems = [{"path": "pipe", "message": "not a file"}]
    said = lines(status_of(workspace(conflicts=1, held_back=held, problems=problems, halt=HALT, state="halted")))
    for wanted in (
        "fst conflicts",
        "fst resolve",
        ".env  its name",
        "k\\xe9",
        "pipe: not a file",
        "the folder is gone",
        "next: Mount it again.",
    ):
        assert wanted in said


def test_why_the_cloud_is_away_is_told() -> None:
    document = status_of(workspace(), cloud="signed-out")
    document["daemon"]["message"] = "the keyring does not answer"
    assert lines(document).splitlines()[-1] == "  the keyring does not answer"


@pytest.mark.parametrize(
    ("moving", "line"),
    [
        ({"phase": "sending", "done": 1_000_000, "total": 4_000_000, "unit": "bytes"}, "  now        sending: 1.0 MB of 4.0 MB"),
        ({"phase": "looking", "done": 12_345, "total": None, "unit": "files"}, "  now        looking: 12,345 files"),
        ({"phase": "planning", "done": 0, "total": None, "unit": ""}, "  now        planning ..."),
    ],
)
def test_what_goes_on_now_is_told_with_how_far_it_is(moving: dict[str, Any], line: str) -> None:
    assert line in lines(status_of(workspace(settled=False, progress=moving))).splitlines()
    assert "  now " not in lines(status_of(workspace()))


def test_many_lines_are_summed_up() -> None:
    said = lines(status_of(workspace(problems=[{"path": f"p{at}", "message": "x"} for at in range(25)])))
    assert "p19" in said and "p20" not in said and "and 5 more" in said


def test_a_name_cannot_steer_the_terminal() -> None:
    said = lines(status_of(workspace(name="\x1b[2Jmain\n", problems=[{"path": "\x1b]0;x\x07", "message": "\r"}])))
    assert not set(said) & {"\x1b", "\x07", "\r"}
    assert "\\x1b[2Jmain\\n" in said


def test_colour_is_never_alone() -> None:
    document = status_of(workspace(conflicts=1))
    painted = "\n".join(status_lines(document, Ink(True)))
    assert "\x1b[31m" in painted
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == lines(document)


# --- the short path ---


@pytest.mark.parametrize(
    "line", ["status", "--json status", "status --json", "-C /tmp status -q", "status /work", "--color=never status", "-y -v status"]
)
def test_plain_words_take_the_short_path(line: str) -> None:
    assert parse_words(line.split()) is not None


@pytest.mark.parametrize(
    "line", ["", "up", "status --watch", "status --help", "status a b", "status --color never", "--color=red status", "-- status"]
)
def test_all_else_does_not(line: str) -> None:
    assert parse_words(line.split()) is None


def test_nothing_heavy_is_imported(daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", status_of(workspace()))
    script = "import sys; known = set(sys.modules); from daemon.cli import main; print(main(['status']), *(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0" and "json" in loaded
    assert not set(HEAVY) & set(loaded)


def test_no_verb_pays_for_what_only_one_needs(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.on("GET", "whoami", {"email": "a@example.org", "cloud": "https://x.org", "machine": "m"})
    script = "import sys; known = set(sys.modules); from daemon.cli import main; print(main(['whoami']), *(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0" and "click" in loaded
    assert not {"asyncio", "importlib.metadata", "aiohttp", "ssl"} & set(loaded)


def test_both_paths_give_the_same(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", status_of(workspace(conflicts=1)))
    for short, long in ((("status",), ("--color", "never", "status")), (("status", "--json"), ("--color", "never", "status", "--json"))):
        quick, slow = fst(*short), fst(*long)
        assert (quick.code, quick.out) == (slow.code, slow.out)


# --- which workspaces ---


def test_here_is_chosen_and_elsewhere_all_are_listed(fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "one" / "below").mkdir(parents=True)
    (tmp_path / "one-more").mkdir()
    daemon.on("GET", "status", status_of(workspace(path=str(tmp_path / "one")), workspace(path=str(tmp_path / "two"))))
    for place, number in (("one", 1), ("one/below", 1), ("one-more", 2), (".", 2)):
        assert len(fst("-C", str(tmp_path / place), "status", "--json").document["workspaces"]) == number


def test_a_link_to_the_folder_is_the_folder(fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    daemon.on("GET", "status", status_of(workspace(path=str(tmp_path / "real"))))
    fst("status", str(tmp_path / "link"))
    assert daemon.last.query == {"path": str(tmp_path / "real")}


def test_a_path_outside_ends_with_9(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.refuse("GET", "status", "not-a-workspace", "/tmp is in no workspace", "Make it one with `fst up`.", status=404, exit_code=9)
    said = fst("status", "/tmp")
    assert (said.code, said.out) == (9, "")
    assert said.err == "fst: /tmp is in no workspace\n  next: Make it one with `fst up`.\n"


def test_no_workspace_at_all(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", status_of())
    said = fst("status")
    assert said.code == 0 and "fst up" in said.out


def test_no_daemon_ends_with_3_and_says_how_to_start_it(fst: Fst) -> None:
    said = fst("status")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("fst: no daemon is running\n  next: ") and "fst up" in said.err


def test_json_has_a_schema_also_for_an_error(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", status_of(workspace()))
    assert fst("status", "--json").document["schema"] == 1
    daemon.stop()
    said = fst("status", "--json")
    assert said.document == {
        "schema": 1,
        "error": {"code": "daemon-unreachable", "message": "no daemon is running", "hint": said.document["error"]["hint"], "exit_code": 3},
    }


def test_watch_follows_until_the_daemon_goes(fst: Fst, daemon: FakeDaemon) -> None:
    answers = iter([status_of(workspace(version=1)), status_of(workspace(version=1)), status_of(workspace(version=2))])
    daemon.ask_me("GET", "status", lambda _: Answer(next(answers)))
    events = b"".join(b'id: %d\nevent: status\ndata: {"a": 1}\n\n' % number for number in (1, 2))
    daemon.on("GET", "events", raw=events, kind="text/event-stream")
    said = fst("status", "--watch", "--json")
    assert [json.loads(line)["workspaces"][0]["version"] for line in said.out.splitlines()] == [1, 2]


def test_colour_in_a_pipe_only_when_forced(fst: Fst, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.on("GET", "status", status_of(workspace()))
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b" not in fst("status").out
    assert "\x1b" in fst("status", "--color=always").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in fst("status").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in fst("status").out
    assert os.environ["FORCE_COLOR"] == "1"
