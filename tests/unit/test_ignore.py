"""Ignore rules by hand: the cases people meet, each also put to git, and what is ours alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sync.core.ignore import DEFAULTS, KEPT, PathRules, Rule, RuleFile, Rules, Verdict
from tests.ignoring import ask_git, make_repository
from tests.steps import few_steps

# A path that ends in `/` is a folder.
CASES: list[tuple[bytes, bytes, bool]] = [
    (b"*.log", b"x/y.log", True),
    (b"build/", b"a/build/", True),
    (b"build/", b"a/build", False),
    (b"/build", b"a/build", False),
    (b"/build", b"build", True),
    (b"a/b", b"a/b", True),
    (b"a/b", b"x/a/b", False),
    (b"**/a/b", b"x/a/b", True),
    (b"a/**", b"a/b/c", True),
    (b"a/**", b"a/", False),
    (b"a/**/b", b"a/b", True),
    (b"a/**/b", b"a/x/y/b", True),
    (b"a/**/b", b"a/xb", False),
    (b"a*/b", b"ax/b", True),
    (b"a*/b", b"a/x/b", False),
    (b"ab**/c", b"abc", True),
    (b"ab**/c", b"abx/y/c", True),
    (b"?b**/c", b"abx/y/c", False),
    (b"a/**//", b"a/x/", False),
    (b"*.a\n!keep.a", b"keep.a", False),
    (b"!keep.a\n*.a", b"keep.a", True),
    (b"[0-9]", b"5", True),
    (b"[A-Z]x", b"Mx", True),
    (b"[A-Z]x", b"mx", False),
    (b"dir\n!dir/x", b"dir/x", True),
    (b"dir/*\n!dir/x", b"dir/x", False),
    (b"*\n!*/\n!*.py", b"deep/er/x.py", False),
    (b"*\n!*/\n!*.py", b"deep/er/x.c", True),
    (b"# no\n\\#yes", b"#yes", True),
    (b"\\!yes", b"!yes", True),
    (b" lead", b"lead", False),
    (b" lead", b" lead", True),
    (b"trail   ", b"trail", True),
    (b"INDEX", b"INDEX", True),
    (b"INDEX ", b"INDEX", True),
    (b"t" * 300 + b"\\", b"t" * 300 + b" ", False),
    (b"trail\\ ", b"trail ", True),
    (b"trail\\  ", b"trail ", True),
    (b"slash\\\\ ", b"slash\\", True),
    (b"slash\\\\ ", b"slash\\ ", False),
    (b"tab\t", b"tab", False),
    (b"tail\\", b"tail\\", False),
    (b"crlf\r\n*.o\r\n", b"crlf", True),
    (b"crlf\r\n*.o\r\n", b"x.o", True),
    (b"last\r", b"last", True),
    (b"in\rside", b"in\rside", True),
    (b"\xef\xbb\xbfbom", b"bom", True),
    (b"x\n\xef\xbb\xbfbom", b"bom", False),
    (b"nul\0x", b"nul", True),
    (b"caf\xe9", b"caf\xe9", True),
    (b"caf?", b"caf\xc3\xa9", False),
    (b"caf??", b"caf\xc3\xa9", True),
    (b"new?line", b"new\nline", True),
    (b"new*l*e", b"new\nline", True),
    (b"**/q/z", b"new\nline/q/z", True),
    (b"a/**/q/**/z", b"a/new\nline/q/new\nline/z", True),
    (b"A", b"a", False),
    (b"[a-c]x", b"bx", True),
    (b"[!a-c]x", b"bx", False),
    (b"[^a-c]x", b"dx", True),
    (b"[]x]", b"]", True),
    (b"[!]x]", b"]", False),
    (b"[a-]", b"-", True),
    (b"[\\]]", b"]", True),
    (b"[b-a]", b"b", True),
    (b"[b-a]", b"a", False),
    (b"[[:digit:]x-z]", b"7", True),
    (b"[[:digit:]-z]", b"-", True),
    (b"[[:nope:]]", b"n", False),
    (b"[[:]", b":", True),
    (b"[[:]:]", b"[:]", True),
    (b"[[::]]", b":]", False),
    (b"[a-c-e]", b"-", True),
    (b"[a-c-e]", b"d", False),
    (b"[a-", b"a", False),
    (b"[[:alpha", b"a", False),
    (b"a[/]b", b"a/b", False),
    (b"a[!x]b", b"a/b", False),
    (b"a?b/c", b"a/b/c", False),
    (b"[", b"[", False),
    (b"\\[", b"[", True),
    (b"a\\/b", b"a/b", True),
    (b"a\\/**/b", b"a/b", True),
    (b"a/**\\/b", b"a/b", False),
    (b"a/**\\/b", b"a/x/b", True),
    (b"/", b"a/", False),
    (b"//a", b"a", False),
    (b"!", b"a", False),
    (b"***", b"a", True),
]


def rules_in(*files: tuple[bytes, bytes | None, bytes | None]) -> PathRules:
    known = {folder: (git, fst) for folder, git, fst in files}
    return PathRules(Rules.start(b""), lambda folder: known.get(folder, (None, None)))


def test_without_rules_nothing_is_ignored() -> None:
    for name in (b"x", b"XXXX", b"XX", b".gitignore"):
        assert Rules.start().decide(name, False).rule is Rules.start(b"").decide(name, True).rule is None


@pytest.mark.parametrize(("rules", "path", "ignored"), CASES)
def test_a_case(rules: bytes, path: bytes, ignored: bool) -> None:
    assert rules_in((b"", rules, None)).decide(path.rstrip(b"/"), path.endswith(b"/")).ignored == ignored


def test_the_cases_are_as_git_has_them(tmp_path: Path) -> None:
    places = [b"case%d" % number for number in range(len(CASES))]
    paths = [place + b"/" + path for place, (_, path, _) in zip(places, CASES, strict=True)]
    rule_files = {place: rules for place, (rules, _, _) in zip(places, CASES, strict=True)}
    make_repository(tmp_path, rule_files, [path for path in [*places, *paths] if path.endswith(b"/") or path in places])
    answers = ask_git(tmp_path, [path.rstrip(b"/") for path in paths])
    wrong = [case for case, (_, _, ignored) in zip(CASES, answers, strict=True) if case[2] != ignored]
    assert not wrong


def test_every_class_holds_the_bytes_it_holds_in_git(tmp_path: Path) -> None:
    names = b"alnum alpha blank cntrl digit graph lower print punct space upper xdigit".split()
    rule_files = {name: b"[[:%b:]]" % name for name in names}
    make_repository(tmp_path, rule_files, names)
    ours = PathRules(Rules.start(b""), lambda folder: (rule_files.get(folder), None))
    paths = [name + b"/" + bytes([byte]) for name in names for byte in range(1, 256) if byte not in b"/."]
    assert [(path, ours.decide(path, False).ignored) for path in paths] == [(path, said) for path, _, said in ask_git(tmp_path, paths)]


def test_deeper_rule_files_are_stronger() -> None:
    rules = rules_in((b"", b"*.a\n", None), (b"x", b"!*.a\n", None), (b"x/y", b"keep.a\n", None))
    assert [rules.decide(path, False).ignored for path in (b"1.a", b"x/1.a", b"x/y/1.a", b"x/y/keep.a")] == [True, False, False, True]


def test_fstignore_overrules_every_gitignore() -> None:
    rules = rules_in((b"", b"node_modules/\n.env\n", b"!.env\n*.tmp\n"), (b"x", b".env\n!*.tmp\n", None))
    assert not rules.decide(b".env", False).ignored
    assert not rules.decide(b"x/.env", False).ignored
    assert rules.decide(b"x/1.tmp", False).ignored
    assert rules.decide(b"node_modules/a.js", False).ignored


def test_fstignore_can_bring_a_whole_folder_back() -> None:
    rules = rules_in((b"", b"dist/\n", b"!dist/\n"))
    assert not rules.decide(b"dist/app.js", False).ignored


def test_defaults_are_the_weakest_and_few() -> None:
    rules = Rules.start()
    ignored = [b".git", b".svn", b".hg", b".fst", b".DS_Store", b"Thumbs.db", b"desktop.ini"]
    assert all(rules.decide(name, is_dir=True).ignored for name in ignored)
    assert not any(rules.decide(name, is_dir=True).ignored for name in [b"node_modules", b".venv", b"__pycache__", b"build"])
    assert not rules.enter(b"", b"!Thumbs.db\n").decide(b"Thumbs.db", False).ignored


def test_what_travels_and_what_does_not() -> None:
    rules = Rules.start(DEFAULTS, b"*.swp\n", b"notes\n!ok.swp\n").enter(b"", b"*.o\n", b"*.tmp\n")
    assert rules.decide(b"1.o", False)[:2] == (True, True)
    assert rules.decide(b"1.tmp", False)[:2] == (True, True)
    assert rules.decide(b".DS_Store", False)[:2] == (True, True)
    assert rules.decide(b"1.swp", False)[:2] == (True, False)
    assert rules.decide(b"notes", False)[:2] == (True, False)
    assert rules.decide(b"ok.swp", False) == (False, False, Rule(b".git/info/exclude", 2, b"!ok.swp"))


def test_a_default_travels_though_the_global_excludes_name_it_too() -> None:
    assert Rules.start(DEFAULTS, b".DS_Store\n").decide(b".DS_Store", False)[:2] == (True, True)


def test_what_the_machine_alone_says_is_stronger_than_a_default() -> None:
    assert Rules.start(b"!x\n", b"x\n").decide(b"x", False)[:2] == (True, False)
    assert not Rules.start(b"x\n", b"!x\n").decide(b"x", False).ignored
    assert not Rules.start(b"x\n", b"x\n", b"!x\n").decide(b"x", False).ignored


def test_the_rules_that_no_file_of_the_workspace_has() -> None:
    start = Rules.start(b"/d\nsub/d\n", b"/g\nsub/g\n", b"/i\nsub/i\n")
    sources = {b"d": b"default", b"g": b"core.excludesFile", b"i": b".git/info/exclude"}
    for number, rules in ((1, start), (1, start.enter(b"")), (2, start.enter(b"").enter(b"sub"))):
        for name, source in sources.items():
            rule = rules.decide(name, False).rule
            assert rule is not None
            assert (rule.source, rule.line) == (source, number)


def test_a_global_exclude_yields_to_the_workspace() -> None:
    assert not Rules.start(b"", b"*.swp\n").enter(b"", b"!*.swp\n").decide(b"1.swp", False).ignored


def test_explain_names_file_and_line() -> None:
    rules = rules_in((b"", b"# all\n*.a\n", None), (b"x", None, b"\n!k.a \n"))
    assert rules.explain(b"x/1.a", False).rule == Rule(b".gitignore", 2, b"*.a")
    assert rules.explain(b"x/k.a", False).rule == Rule(b"x/.fstignore", 2, b"!k.a")
    assert rules.explain(b"x/k.b", False) is KEPT
    assert str(rules.explain(b"x/1.a", False).rule) == ".gitignore:2: *.a"


def test_a_changed_rule_file_is_read_again_and_an_equal_one_is_not() -> None:
    start = Rules.start(b"")
    before = start.enter(b"", b"a\n")
    again = start.enter(b"", bytes(bytearray(b"a\n")))
    assert before._names is again._names
    assert start.enter(b"", b"b\n").decide(b"b", False).ignored
    assert not before.decide(b"b", False).ignored


def test_what_no_rule_matches_is_kept_on_every_replica() -> None:
    assert Verdict(ignored=False, travels=True, rule=None) == KEPT


def test_what_a_rule_file_says_of_itself_by_default() -> None:
    assert RuleFile.parse(b"", b"a").tests(())[0].verdict == Verdict(True, True, Rule(b"", 1, b"a"))


def test_a_rule_file_that_changed_in_one_of_two_is_read_again() -> None:
    start = Rules.start(b"")
    assert not start.enter(b"x", b"a\n", None).decide(b"b", False).ignored
    assert start.enter(b"x", b"a\n", b"b\n").decide(b"b", False).ignored
    assert start.enter(b"x", None, b"b\n").decide(b"a", False) is KEPT
    # The same files below another parent are other rules.
    assert start.enter(b"", b"c\n").enter(b"x", None, b"b\n").decide(b"c", False).ignored
    assert start.enter(b"x", None, b"b\n").decide(b"c", False) is KEPT


def test_what_is_remembered_is_bounded() -> None:
    start = Rules.start(b"")
    first = start.enter(b"0", b"a\n")
    for number in range(1, 4096):
        start.enter(b"%d" % number, b"a\n")
    assert start.enter(b"0", b"a\n")._names is first._names
    start.enter(b"one more", b"a\n")
    assert len(start._known) == 1
    assert start.enter(b"0", b"a\n")._names is not first._names

    def rules_alike(places: int) -> int:
        """As many selections of rules as folders: each has one rule of its own."""
        rules = Rules.start(b"").enter(b"", b"".join(b"/%d/x\n" % number for number in range(places)))
        for number in range(places):
            assert rules.enter(b"%d" % number).decide(b"x", False).ignored
        return len(rules._stack._names)

    assert rules_alike(4095) == 4096
    assert rules_alike(4096) == 1


@pytest.mark.parametrize(
    ("rules", "name", "lines"),
    [
        (b"", b"zzz", 1),
        (b"!a\n!*.o\n!*a*\n", b"zzz", 1),
        (b"build\nnode_modules/\n", b"zzz", 1),
        (b"x/y\n**/q/z*\n", b"zzz", 1),
        (b"*.o\ntmp*\n", b"zzz", 2),
        # A fixed start or end of two bytes is as good, and the longer one is asked for.
        (b"ab*c\n", b"zzc", 2),
        (b"a*bc\n", b"azz", 2),
        (b"[ab]*[cd]ef\n", b"azz", 2),
        # One regular expression for a whole file, however many of its rules need one.
        (b"a*b\n", b"zzz", 6),
        (b"a*b\n", b"zzb", 6),
        (b"a*b\n*.o\n[cd]*[ef]\n", b"zzz", 6),
    ],
)
def test_a_name_that_no_rule_ignores_costs_a_few_lines(rules: bytes, name: bytes, lines: int) -> None:
    decide = Rules.start(b"").enter(b"", rules).decide
    with few_steps(100) as steps:
        assert decide(name, False) is KEPT
    assert steps.count == lines


def test_a_folder_costs_little_where_no_rule_asks_about_it() -> None:
    plain, asking = (Rules.start(b"").enter(b"", rules) for rules in (b"a\n*.o\n", b"a\nx/*.o\n"))
    plain.enter(b"d")
    with few_steps(11):
        assert plain.enter(b"d")._names is plain._names
    with few_steps(22):
        assert asking.enter(b"d")._names is asking._names
    assert asking.enter(b"x")._names is not asking._names


def test_each_folder_is_read_once() -> None:
    read: list[bytes] = []

    def rule_files(folder: bytes) -> tuple[bytes | None, None]:
        read.append(folder)
        return (b"no/\n" if folder == b"a" else None), None

    rules = PathRules(Rules.start(b""), rule_files)
    for path in (b"a/b/c", b"a/b/c", b"a/b/d", b"e", b"a/no/x/y", b"a/no/z"):
        rules.decide(path, False)
        rules.explain(path, False)
    assert read == [b"", b"a", b"a/b"]
    assert rules.explain(b"a/no/x/y", False).rule == Rule(b"a/.gitignore", 1, b"no/")
    assert rules.decide(b"a/no/z", False).ignored


def test_a_path_of_two_thousand_folders() -> None:
    path = b"/".join([b"a"] * 2048)
    assert rules_in((b"", b"a/**/z\n", None)).decide(path + b"/z", False).ignored


@pytest.mark.parametrize("pattern", [b"*a" * 60 + b"b", b"**/" + b"*a*/" * 30 + b"b", b"**/a/" * 30 + b"b", b"x/" + b"**/*a" * 30])
def test_no_pattern_is_slow(pattern: bytes) -> None:
    rules = rules_in((b"", pattern, None))
    started = time.process_time()
    for path in (b"a" * 255, b"/".join([b"a"] * 1000), b"x/" + b"/".join([b"a" * 60] * 60)):
        rules.decide(path, False)
    assert time.process_time() - started < 2
