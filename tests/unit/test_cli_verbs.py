"""Every verb: what it asks, what it says, its document, its exit code. One row a case."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli import Fst, fastest_home, make_fst
from tests.fake_daemon import Answer, Asked, FakeDaemon, workspace

DIGEST = "ab" * 32
SNAPSHOT = {
    "id": "snap-02", "time_ms": 0, "source": "cli", "message": "second\nline", "author_name": "Ann", "author_email": "ann@example.org",
    "agent": "helper", "parents": ["snap-01"], "manifest": DIGEST, "files": 3, "added": 1, "modified": 2, "removed": 0, "current": True,
}  # fmt: skip
MADE = {
    "workspace": "main", "project": "thing", "replica": "r1", "created": True, "files": 3, "bytes": 4200, "snapshot": "snap-01",
    "ignored": 7, "held_back": [{"path": ".env", "reason": "its name"}],
    "large": [{"path": "node_modules", "files": 23000, "line": "node_modules/"}],
    "undo": "fst restore --from snap-01", "cloud": "signed-out",
}  # fmt: skip
CONFLICT = {
    "id": "c1", "path": "notes.txt", "kind": "edit-edit", "base": None, "ours": {"type": "file", "hash": DIGEST, "size": 9},
    "theirs": {"type": "link", "target": "x"}, "created_ms": 0, "state": "open",
}  # fmt: skip
CHANGES = [
    {
        "path": "new.txt",
        "kind": "added",
        "old": None,
        "new": {"type": "file"},
        "text": "--- a/new.txt\n+++ b/new.txt\n@@ -0,0 +1 @@\n+\tone\x1b\n",
    },
    {"path_b64": "a+k=", "kind": "removed", "old": {"type": "file"}, "new": None, "text": None},
]


class Case(NamedTuple):
    """`here` in words and bodies is the folder the test stands in."""

    line: str
    method: str
    route: str
    answer: Any
    sent: dict[str, Any]
    said: tuple[str, ...]
    code: int = 0


CASES = [
    Case(
        "up",
        "POST",
        "up",
        [MADE],
        {"path": "here", "project": None, "name": None, "dry_run": False},
        (
            "thing/main is kept safe now: 3 files, 4.2 kB",
            "snapshot   snap-01",
            "ignored    7 paths",
            "held back  1 file",
            ".env  its name",
            "node_modules: 23,000 files",
            "echo 'node_modules/' >> .fstignore",
            "not signed in",
            "undo       fst restore --from snap-01",
        ),
    ),
    Case(
        "up --project p --name n --dry-run",
        "POST",
        "up",
        [{"project": "p", "workspace": "n", "created": False, "dry_run": True}],
        {"project": "p", "name": "n", "dry_run": True},
        ("dry run: nothing was changed", "p/n would be kept safe"),
    ),
    Case(
        "clone thing/other here/new --mirror",
        "POST",
        "clone",
        [MADE],
        {"project": "thing", "workspace": "other", "path": "here/new", "mirror": True},
        ("thing/main is kept safe now", "folder     here/new"),
    ),
    Case("clone thing here/new --dry-run", "POST", "clone", [MADE], {"workspace": None, "mirror": False, "dry_run": True}, ("dry run",)),
    Case(
        "wait",
        "POST",
        "wait",
        [{"waited_for": "settled"}],
        {"path": "here", "for": "settled", "machine": None, "timeout_s": None},
        ("settled",),
    ),
    Case("wait --uploaded --timeout 1m", "POST", "wait", [{}], {"for": "uploaded", "timeout_s": 60.0}, ("uploaded",)),
    Case("wait --on ben --timeout 2s", "POST", "wait", [{}], {"for": "on", "machine": "ben", "timeout_s": 2.0}, ("on ben",)),
    Case(
        "workspaces",
        "GET",
        "workspaces",
        {"workspaces": [workspace(path="/w"), {"name": "far", "project": "thing", "path": None, "main": True}]},
        {},
        ("PROJECT  WORKSPACE  VERSION  HERE", "thing    main       12       /w", "thing    far        -        -     main workspace"),
    ),
    Case("workspaces", "GET", "workspaces", {"workspaces": []}, {}, ("no workspaces yet",)),
    Case(
        "machines",
        "GET",
        "machines",
        {"machines": [{"name": "ada", "platform": "linux", "online": True, "this": True}, {"name": "ben"}]},
        {},
        ("ada      linux   now    this machine", "ben      -       never"),
    ),
    Case(
        "sync --rescan",
        "POST",
        "sync",
        [{"version": 3, "settled": True, "uploaded": False}],
        {"path": "here", "rescan": True},
        ("settled, not uploaded yet, version 3",),
    ),
    Case(
        "pause --for 1h",
        "POST",
        "pause",
        {"workspaces": ["w"], "undo": "fst resume"},
        {"path": "here", "for_s": 3600.0, "dry_run": False},
        ("paused 1 workspace for 1 h", "undo       fst resume"),
    ),
    Case(
        "pause --all --dry-run",
        "POST",
        "pause",
        {"workspaces": ["v", "w"]},
        {"for_s": None, "dry_run": True},
        ("would pause 2 workspaces until `fst resume`",),
    ),
    Case(
        "resume",
        "POST",
        "resume",
        {"workspaces": ["w"], "undo": "fst pause"},
        {"path": "here"},
        ("resumed 1 workspace", "undo       fst pause"),
    ),
    Case(
        "approve",
        "POST",
        "approve",
        [{"approved": "brake-held", "message": "81 files go", "undo": "fst undo"}],
        {"path": "here", "dry_run": False},
        ("let through: 81 files go", "undo       fst undo"),
    ),
    Case("approve --dry-run", "POST", "approve", [{"message": "81 files go"}], {"dry_run": True}, ("waiting: 81 files go",)),
    Case(
        "snapshot -m hello --author=Ann<a@b.c> --agent bot",
        "POST",
        "snapshot",
        {"snapshot": "snap-03", "created": True, "undo": "snap-02"},
        {"path": "here", "message": "hello", "author_name": "Ann", "author_email": "a@b.c", "agent": "bot", "dry_run": False},
        ("snapshot snap-03", "undo       fst restore --from snap-02"),
    ),
    Case(
        "snapshot", "POST", "snapshot", {"snapshot": "snap-02", "created": False}, {"author_name": "A Test"}, ("nothing new since snap-02",)
    ),
    Case(
        "log -n 5",
        "GET",
        "log",
        {"snapshots": [SNAPSHOT]},
        {"path": "here", "limit": "5"},
        ("snap-02  ", "cli  Ann  +1 ~2  second\\nline  (here)"),
    ),
    Case("log --graph", "GET", "log", {"snapshots": [SNAPSHOT]}, {"limit": "50"}, ("*  snap-02",)),
    Case("log", "GET", "log", {"snapshots": []}, {}, ("no snapshots yet",)),
    Case(
        "show snap-02",
        "GET",
        "show",
        {"snapshot": SNAPSHOT, "changes": CHANGES},
        {"path": "here", "id": "snap-02"},
        (
            "snapshot   snap-02",
            "parent     snap-01",
            "author     Ann <ann@example.org>",
            "agent      helper",
            f"manifest   {DIGEST}: 3 files",
            "    second",
            "    line",
            "A  new.txt",
            "D  k\\xe9",
        ),
    ),
    Case(
        "history here/new.txt",
        "GET",
        "history",
        {
            "history": [
                {"time_ms": 0, "snapshot": "snap-02", "version": 4, "sequence": 9, "digest": DIGEST, "size": 9, "actor": "cli"},
                {"time_ms": 0, "snapshot": None, "version": None, "sequence": 8, "digest": None, "size": None, "actor": ""},
            ]
        },
        {"path": "here", "file": "here/new.txt"},
        (f"{DIGEST}  ", "9 B  version 4  snap-02  cli", "removed ", "here, step 8"),
    ),
    Case("diff", "GET", "diff", {"changes": CHANGES}, {"path": "here"}, ("+++ b/new.txt", "+\tone\\x1b", "D  k\\xe9")),
    Case("diff a b --names", "GET", "diff", {"changes": CHANGES}, {"a": "a", "b": "b"}, ("A  new.txt", "D  k\\xe9")),
    Case("diff --exit-code", "GET", "diff", {"changes": CHANGES}, {}, ("+\tone",), 10),
    Case("diff --exit-code", "GET", "diff", {"changes": []}, {}, (), 0),
    Case(
        "restore",
        "POST",
        "restore",
        {"changed": 2, "from": "snap-02", "undo": "fst undo"},
        {"path": "here", "from": None, "paths": [], "dry_run": False},
        ("restored 2 paths from snap-02", "undo       fst undo"),
    ),
    Case(
        "restore --from snap-01 here/a here/b --dry-run",
        "POST",
        "restore",
        {"changed": 1, "from": "snap-01"},
        {"from": "snap-01", "paths": ["here/a", "here/b"], "dry_run": True},
        ("dry run", "would restore 1 path from snap-01"),
    ),
    Case("restore", "POST", "restore", {"changed": 0, "from": "snap-02"}, {}, ("nothing to restore",)),
    Case(
        "undo",
        "POST",
        "undo",
        {"changed": 2, "verb": "restore", "undo": "fst undo"},
        {"path": "here", "dry_run": False},
        ("undone: restore, 2 paths", "undo       fst undo"),
    ),
    Case(
        "conflicts",
        "GET",
        "conflicts",
        {"conflicts": [CONFLICT]},
        {"path": "here"},
        (
            "notes.txt  edited on both sides",
            f"ours    {DIGEST}  9 B",
            "theirs  a link to x",
            "1 conflict; nothing is lost",
            "next: fst resolve",
        ),
    ),
    Case("conflicts", "GET", "conflicts", {"conflicts": []}, {}, ("no conflicts",)),
    *(
        Case(
            f"resolve here/notes.txt --{how}",
            "POST",
            "resolve",
            {"resolved": [CONFLICT], "undo": "fst undo"},
            {"path": "here", "paths": ["here/notes.txt"], "how": how, "text": None, "dry_run": False},
            (f"settled notes.txt: {said}", "undo       fst undo"),
        )
        for how, said in (("ours", "took ours"), ("theirs", "kept theirs"), ("both", "kept both"))
    ),
    Case(
        "ignore explain here/x.o",
        "GET",
        "ignore",
        {"ignored": True, "rule": "*.o", "travels": False, "carried": True},
        {"path": "here", "file": "here/x.o"},
        ("here/x.o is ignored", "rule       *.o", "stays on this machine", "carried    yes"),
    ),
    Case(
        "ignore explain here/x.c",
        "GET",
        "ignore",
        {"ignored": False, "rule": None, "travels": False, "carried": True},
        {},
        ("here/x.c is not ignored",),
    ),
    Case(
        "fsck",
        "POST",
        "fsck",
        [{"clean": True, "blobs": 4, "repaired": 0, "problems": []}],
        {"repair": False, "cloud": False},
        ("checked 4 blobs", "all is well"),
    ),
    Case(
        "fsck --repair --cloud",
        "POST",
        "fsck",
        [{"clean": False, "blobs": 4, "repaired": 1, "problems": ["blob ab is damaged"]}],
        {"repair": True, "cloud": True},
        ("repaired 1 content", "damaged  blob ab is damaged", "1 problem found", "next:"),
        1,
    ),
    Case(
        "gc --dry-run",
        "POST",
        "gc",
        [{"blobs": 3, "nodes": 1, "bytes": 5_000_000}],
        {"dry_run": True},
        ("would give back 5.0 MB (3 blobs, 1 node)",),
    ),
    Case("gc", "POST", "gc", [{"blobs": 0, "nodes": 0, "bytes": 0}], {"dry_run": False}, ("gave back 0 B",)),
    Case(
        "doctor",
        "GET",
        "doctor",
        {"checks": [{"name": "disk", "status": "ok", "message": "9 MB free", "fix": ""}]},
        {},
        ("ok    settings", "ok    disk      9 MB free"),
    ),
    Case(
        "doctor",
        "GET",
        "doctor",
        {"checks": [{"name": "clock", "status": "fail", "message": "an hour off", "fix": "set it"}]},
        {},
        ("fail  clock", "fix: set it"),
        1,
    ),
    Case(
        "whoami",
        "GET",
        "whoami",
        {"user": {"email": "a@b.c"}, "cloud": "https://x", "machine": "ada"},
        {},
        ("account    a@b.c", "cloud      https://x", "machine    ada"),
    ),
    Case("logout", "POST", "logout", {"revoked": True}, {}, ("signed out; files and local history stay", "undo       fst login")),
    Case("logout --dry-run", "GET", "whoami", {"user": {"email": "a@b.c"}}, {}, ("dry run: nothing was changed", "account    a@b.c")),
]


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon(fastest_home()) as fake:
        yield fake


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "thing"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fst:
    return make_fst(capfd, monkeypatch)


def placed(value: Any, here: Path) -> Any:
    """`here` of a case as the folder it is."""
    if isinstance(value, str):
        return str(here) + value[4:] if value == "here" or value.startswith("here/") else value.replace(" here", f" {here}")
    if isinstance(value, list):
        return [placed(item, here) for item in value]
    return value


def prepare(daemon: FakeDaemon, case: Case) -> None:
    if isinstance(case.answer, list):
        lines = [{"progress": {"phase": "scan", "done": 0, "total": 0}}, *({"result": item} for item in case.answer)]
        daemon.on(case.method, case.route, lines=lines, kind="application/x-ndjson")
    else:
        daemon.on(case.method, case.route, case.answer)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.line}-{case.code}")
def test_a_verb_asks_and_says(case: Case, fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    prepare(daemon, case)
    words = [placed(word, here) for word in case.line.split()]
    said = fst(*words)
    assert said.code == case.code, said.err
    asked = daemon.last
    sent = asked.query if case.method == "GET" else asked.body
    assert (asked.method, asked.route) == (case.method, case.route)
    assert {key: sent.get(key) for key in case.sent} == {key: placed(value, here) for key, value in case.sent.items()}
    for wanted in case.said:
        assert placed(wanted, here) in said.out
    assert said.err == ""
    assert "\x1b" not in said.out

    document = fst(*words, "--json")
    assert document.code == case.code and document.document["schema"] == 1
    if case.route != "doctor":
        answer = case.answer[-1] if isinstance(case.answer, list) else case.answer
        assert answer.items() <= document.document.items()


def test_every_verb_has_a_case_or_a_test_of_its_own() -> None:
    from daemon.cli.tree import fst as tree
    from daemon.cli.tree import join_verbs

    join_verbs()
    elsewhere = {"status", "login", "down", "cat", "config", "version", "completion", "demo", "tryout", "cloud", "daemon"}
    assert set(tree.commands) - {case.line.split()[0] for case in CASES} == elsewhere


# --- errors ---


@pytest.mark.parametrize(
    ("line", "code", "exit_code"),
    [
        ("wait --timeout 1", "timed-out", 7),
        ("sync", "version-moved", 8),
        ("snapshot", "not-a-workspace", 9),
        ("whoami", "not-signed-in", 4),
        ("restore", "brake-held", 6),
        ("undo", "root-lost", 5),
        ("show x", "not-found", 1),
        ("resolve a --ours", "invalid-value", 2),
    ],
)
def test_the_daemons_word_is_passed_on(line: str, code: str, exit_code: int, fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    verb = line.split()[0]
    method = "GET" if verb in ("whoami", "show") else "POST"
    daemon.refuse(method, verb, code, f"{verb} did not work", "try the other thing")
    said = fst(*line.split())
    assert (said.code, said.out, said.err) == (exit_code, "", f"fst: {verb} did not work\n  next: try the other thing\n")
    error = fst(*line.split(), "--json").document["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code)


def test_an_error_in_a_stream_is_an_error(fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    daemon.on("POST", "up", lines=[{"error": {"code": "root-refused", "message": "too much", "hint": "less"}}])
    said = fst("up")
    assert (said.code, said.err) == (2, "fst: too much\n  next: less\n")


def test_verbose_names_the_code(fst: Fst, here: Path) -> None:
    assert "code: daemon-unreachable" in fst("log", "-v").err


@pytest.mark.parametrize(
    "line",
    [
        "no-such-verb",
        "status --no-such-flag",
        "cat zz",
        f"cat {DIGEST.upper()}",
        "resolve x",
        "resolve --ours",
        "wait --timeout soon",
        "up /no/such/folder",
        "clone /x y",
        "pause --all .",
        "-C /no/such/folder log",
        "log -n 0",
        "config get no.key",
        "config set no.key 1",
        "config set brake.files many",
        "daemon run --set nonsense",
        "daemon run --set no.key=1",
        "snapshot --author <<<",
        "completion cmd",
        "login --cloud http://cloud.example.org --token-stdin",
        "login",
        "login --cloud https://x --token-stdin",
        "ignore explain",
        "--color red log",
    ],
)
def test_wrong_usage_ends_with_2_and_a_next_step(line: str, fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    said = fst(*line.split())
    assert said.code == 2, said
    first, *rest = said.err.splitlines()
    assert first.startswith("fst: ") and len(said.err.split()) >= 5
    assert rest and rest[0].startswith("  next: ")


@pytest.mark.parametrize(("wrong", "near"), [("statsu", "status"), ("snapshoot", "snapshot"), ("resovle", "resolve")])
def test_a_wrong_word_names_the_near_one(wrong: str, near: str, fst: Fst) -> None:
    assert f"did you mean '{near}'?" in fst(wrong).err


def test_no_words_show_the_help(fst: Fst) -> None:
    said = fst()
    assert said.code == 2 and "Commands:" in said.err and said.out == ""


def test_an_interrupt_ends_with_130(fst: Fst, daemon: FakeDaemon, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("daemon.client.Client.log", interrupted)
    assert fst("log").code == 130


def test_no_daemon_ends_with_3(fst: Fst, here: Path) -> None:
    for line in ("log", "wait", "sync", "conflicts", "gc", "doctor", "whoami"):
        assert fst(*line.split()).code == 3


# --- verbs with a life of their own ---


def test_help_of_every_verb_has_an_example(fst: Fst) -> None:
    from daemon.cli.tree import Verb, Verbs, join_verbs
    from daemon.cli.tree import fst as tree

    join_verbs()
    groups = [((), tree), *(((name,), group) for name, group in tree.commands.items() if isinstance(group, Verbs))]
    for above, group in groups:
        for name, command in group.commands.items():
            if isinstance(command, Verb):
                said = fst(*above, name, "--help")
                assert said.code == 0 and f"Example:\n  {command.example.split()[0]}" in said.out
                assert " ".join(("fst", *above, name)) in command.example


def test_options_stand_before_or_after_the_verb(fst: Fst, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    daemon.on("GET", "log", {"snapshots": []})
    for words in (("-C", str(tmp_path / "w"), "--json", "log"), ("log", "--json", "-C", str(tmp_path / "w"))):
        assert fst(*words).document == {"schema": 1, "snapshots": []}
        assert daemon.last.query["path"] == str(tmp_path / "w")
    daemon.on("POST", "snapshot", {"created": False})
    fst("snapshot", "-m", "--json")
    assert daemon.last.body["message"] == "--json", "an option's value is no option"


def test_cat_gives_the_very_bytes(daemon: FakeDaemon, here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from daemon.cli import main

    data = bytes(range(256)) * 3000
    daemon.on("GET", "cat", raw=data)
    capfdbinary.readouterr()
    assert main(["cat", "snap-01:src/main.py"]) == 0
    assert daemon.last.query["what"] == "snap-01:src/main.py"
    assert capfdbinary.readouterr().out == data


def test_cat_of_nothing_kept_ends_with_1(fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    daemon.refuse("GET", "cat", "not-found", "no kept content", status=404)
    assert fst("cat", DIGEST).code == 1


def test_login_reads_the_token_and_says_where_it_is(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("POST", "login", {"user": {"email": "a@b.c"}, "cloud": "https://x.org", "kept_in": "file"})
    said = fst("login", "--cloud", "https://x.org/", "--token-stdin", given="secret\n")
    assert said.code == 0 and "secret" not in said.out + said.err
    assert daemon.last.body == {"url": "https://x.org", "token": "secret"}
    assert "signed in to https://x.org as a@b.c" in said.out and "account.json" in said.out and "undo       fst logout" in said.out
    daemon.on("POST", "login", {"user": {"email": "a@b.c"}, "cloud": "https://x.org", "kept_in": "keyring"})
    assert "in the system's keyring" in fst("login", "--cloud", "https://x.org", "--token-stdin", given="secret").out


def test_login_dry_run_asks_nobody(fst: Fst, daemon: FakeDaemon) -> None:
    assert fst("login", "--cloud", "https://x.org", "--dry-run").code == 0
    assert [asked.route for asked in daemon.asked if asked.route == "login"] == []


def test_down_waits_until_the_daemon_has_left(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", {"daemon": {"pid": 999_999_999}})

    def stop(_: Asked) -> Answer:
        daemon.places.socket.unlink()
        return Answer({"stopping": True})

    daemon.ask_me("POST", "down", stop)
    assert "daemon stopped" in fst("down").out
    assert fst("down", "--json").document == {"schema": 1, "stopped": False, "undo": None}


def test_down_dry_run_leaves_it_running(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", {"daemon": {"pid": 4711}})
    assert "pid 4711" in fst("down", "--dry-run").out
    assert "down" not in [asked.route for asked in daemon.asked]


def test_config_is_set_listed_and_read(fst: Fst) -> None:
    said = fst("config", "set", "secrets.hold", "no")
    assert said.code == 0 and "set secrets.hold = false" in said.out and "undo       fst config set secrets.hold true" in said.out
    assert fst("config", "get", "secrets.hold").out == "false\n"
    listed = fst("config", "list")
    assert "config.toml:2" in listed.out and "default" in listed.out
    values = {item["key"]: item["value"] for item in fst("config", "list", "--json").document["settings"]}
    assert values["secrets.hold"] is False and values["brake.files"] == 50
    assert "dry run" in fst("config", "set", "brake.files", "7", "--dry-run").out
    assert fst("config", "get", "brake.files").out == "50\n"


def test_config_edit_opens_the_editor_and_checks(fst: Fst, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert fst("config", "edit").code == 2
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'brake.files = 9' > \"$1\"\n")
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDITOR", str(editor))
    assert fst("config", "edit").code == 0
    assert fst("config", "get", "brake.files").out == "9\n"
    editor.write_text("#!/bin/sh\necho 'nonsense = 9' > \"$1\"\n")
    said = fst("config", "edit")
    assert said.code == 2 and "config.toml:1: unknown setting 'nonsense'" in said.err


def test_a_bad_file_stops_up_with_its_line(fst: Fst, here: Path) -> None:
    file = fastest_home() / "config" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("\nhold = 1\n")
    said = fst("up")
    assert said.code == 2 and f"{file}:2: unknown setting 'hold'" in said.err


def test_resolve_by_editing(fst: Fst, daemon: FakeDaemon, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {hashlib.sha256(text).hexdigest(): text for text in (b"by a\n", b"by b")}
    sides = [{"type": "file", "hash": digest, "size": 5} for digest in texts]
    daemon.on("GET", "conflicts", {"conflicts": [{**CONFLICT, "ours": sides[0], "theirs": sides[1]}]})
    daemon.ask_me("GET", "cat", lambda asked: Answer(raw=texts[asked.query["what"]]))
    daemon.on("POST", "resolve", {"resolved": [CONFLICT], "undo": "fst undo"})
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncp "$1" seen; grep -v "^[<=>]" "$1" > tmp; mv tmp "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = fst("resolve", "notes.txt", "--edit")
    assert said.code == 0 and "kept your edit" in said.out
    assert (here / "seen").read_bytes() == b"<<<<<<< ours\nby a\n=======\nby b\n>>>>>>> theirs\n"
    assert daemon.last.body["text"] == "YnkgYQpieSBiCg=="
    assert fst("resolve", "other.txt", "--edit").code == 1
    monkeypatch.setenv("EDITOR", "true")
    assert "markers are still in the text" in fst("resolve", "notes.txt", "--edit").err
    monkeypatch.setenv("EDITOR", "false")
    assert "ended with 1" in fst("resolve", "notes.txt", "--edit").err
    monkeypatch.delenv("EDITOR")
    assert fst("resolve", "notes.txt", "--edit").code == 2
    assert not list(tmp_path.glob("fst-edit-*")), "nobody's work was in any of these"
    assert [asked.route for asked in daemon.asked].count("resolve") == 1


@pytest.mark.parametrize("fails", ["the daemon", "the editor", "markers"])
def test_what_was_edited_is_kept_when_it_could_not_be_settled(
    fst: Fst, daemon: FakeDaemon, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str
) -> None:
    text = b"theirs and ours\n"
    side = {"type": "file", "hash": hashlib.sha256(text).hexdigest(), "size": len(text)}
    daemon.on("GET", "conflicts", {"conflicts": [{**CONFLICT, "ours": side, "theirs": side}]})
    daemon.ask_me("GET", "cat", lambda asked: Answer(raw=text))
    moved = {"error": {"code": "CONFLICT", "message": "it moved", "hint": "Look again."}}
    daemon.ask_me("POST", "resolve", lambda asked: Answer(moved, 409))
    editor = tmp_path / "editor"
    edits = {"the daemon": 'echo "an hour of work" > "$1"', "the editor": 'echo "an hour of work" > "$1"; exit 3'}
    editor.write_text("#!/bin/sh\n" + edits.get(fails, 'echo "an hour of work" >> "$1"') + "\n")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = fst("resolve", "notes.txt", "--edit")
    (kept,) = tmp_path.glob("fst-edit-*/notes.txt")
    assert said.code != 0 and f"Your text is kept in {kept}." in " ".join(said.err.split())
    assert kept.read_text().endswith("an hour of work\n")


def test_a_path_below_a_link_is_named_where_it_really_is(fst: Fst, daemon: FakeDaemon, here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    (here / "real" / "leaf").symlink_to("nowhere")
    daemon.on("POST", "restore", {"changed": 0})
    fst("restore", "link/leaf", "gone.txt", os.fsdecode(b"\xff"))
    assert daemon.last.body["paths"] == [f"{here}/real/leaf", f"{here}/gone.txt"], "the entry itself is never followed"
    assert len(daemon.last.body["paths_b64"]) == 1


def test_doctor_without_a_daemon_still_looks(fst: Fst) -> None:
    said = fst("doctor")
    assert said.code == 3 and "ok    settings" in said.out and "fail  daemon" in said.out and "fst up" in said.out


def test_version_names_the_daemon_if_there_is_one(fst: Fst, daemon: FakeDaemon) -> None:
    daemon.on("GET", "status", {"daemon": {"version": "9.9"}})
    assert "daemon 9.9" in fst("version").out
    daemon.stop()
    assert fst("version", "--json").document["daemon"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_fst(shell: str, fst: Fst) -> None:
    assert "_FST_COMPLETE" in fst("completion", shell).out


def test_talk_can_be_silenced(fst: Fst, daemon: FakeDaemon) -> None:
    assert "next start" in fst("config", "set", "brake.files", "7").err
    assert fst("config", "set", "brake.files", "8", "-q").err == ""
