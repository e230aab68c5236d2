"""What `git check-ignore` says, and rule files to ask it about."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMES = [
    b"a",
    b"b",
    b"ab",
    b"abc",
    b"foo",
    b"foo.c",
    b".x",
    b"a b",
    b"x ",
    b"#h",
    b"!n",
    b"a*b",
    b"[a]",
    b"a\\b",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"a\nb",
    b"A",
    b"a\x0bb",
]
ATOMS = [
    *[b"a", b"b", b"ab", b"foo", b"foo.c", b".c", b"c", b"x", b"\xff", b"\xc3", b"\xa9", b"A", b"h", b"n", b"c "],
    *[b"*", b"*", b"*", b"**", b"**", b"***", b"?", b"/", b"/", b"/", b"**/", b"/**", b"/**/"],
    *[b"[ab]", b"[!a]", b"[^b]", b"[a-c]", b"[]a]", b"[!]]", b"[[:alpha:]]", b"[[:punct:]x]", b"[a\\]]", b"[--/]", b"[a-]", b"[", b"]"],
    *[
        b"\\",
        b"\\\\",
        b"\\*",
        b"\\/",
        b"\\a",
        b" ",
        b"\\ ",
        b"!",
        b"#",
        b"-",
        b"\t",
        b"[[:space:]]",
        b"[[:x:]]",
        b"\\\\ ",
        b"[[:",
        b"[:a]",
        b"[a/]",
    ],
]
PLAIN = [
    b"*.c",
    b"/a",
    b"a/",
    b"!a",
    b"!foo",
    b"!*/",
    b"*",
    b"/*",
    b"**/b",
    b"a/**",
    b"a/**/b",
    b"foo/*",
    b"!foo/a",
    b"",
    b"# no",
    b"\\#h",
    b"\\!n",
]


@dataclass
class Sample:
    """Rule files by folder, folders that exist, and every path to ask about."""

    rule_files: dict[bytes, bytes] = field(default_factory=dict)
    folders: list[bytes] = field(default_factory=list)
    paths: list[bytes] = field(default_factory=list)


def make_sample(chance: random.Random, top: bytes) -> Sample:
    """A small tree below `top` (b"" is the root) with one to three rule files."""
    sample = Sample(folders=[top])
    for _ in range(chance.randrange(2, 7)):
        folder = join(chance.choice(sample.folders), chance.choice(NAMES))
        if folder not in sample.folders and folder.count(b"/") < 6:
            sample.folders.append(folder)
    sample.paths = [folder for folder in sample.folders if folder != top]
    for folder in sample.folders:
        names = [join(folder, name) for name in chance.sample(NAMES, 5)]
        sample.paths += [path for path in names if path not in sample.folders]
    for folder in [top, *chance.sample(sample.folders, chance.randrange(2))]:
        sample.rule_files[folder] = make_rules(chance)
    return sample


def make_rules(chance: random.Random) -> bytes:
    """A rule file of one to six lines, as people and as fuzzers write them."""
    start = b"\xef\xbb\xbf" if chance.random() < 0.05 else b""
    end = b"\r\n" if chance.random() < 0.1 else b"\n"
    text = start + end.join(make_pattern(chance) for _ in range(chance.randrange(1, 7)))
    return text + (end if chance.random() < 0.8 else b"")


def make_pattern(chance: random.Random) -> bytes:
    """One line."""
    if chance.random() < 0.2:
        return chance.choice(PLAIN)
    pattern = b"".join(chance.choice(ATOMS) for _ in range(chance.randrange(1, 6)))
    pattern = b"!" + pattern if chance.random() < 0.2 else pattern
    pattern += b"/" if chance.random() < 0.15 else b""
    return pattern + b" " * (chance.random() < 0.1)


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def make_repository(
    root: Path, rule_files: Mapping[bytes, bytes], folders: Iterable[bytes], *, info: bytes = b"", excludes: bytes = b""
) -> None:
    """A git repository that holds nothing but folders and rule files: `check-ignore` asks the disk only what is a folder."""
    subprocess.run(["git", "init", "-q", "--template=", str(root)], check=True)
    (root / ".git/info").mkdir()
    (root / ".git/info/exclude").write_bytes(info)
    (root / ".git/excludes").write_bytes(excludes)
    for folder in folders:
        below(root, folder).mkdir(parents=True, exist_ok=True)
    for folder, data in rule_files.items():
        below(root, join(folder, b".gitignore")).write_bytes(data)


def below(root: Path, path: bytes) -> Path:
    return root / os.fsdecode(path)


Answer = tuple[bytes, int] | None
"""The deciding rule: source and line."""


def ask_git(root: Path, paths: Sequence[bytes]) -> Iterator[tuple[bytes, Answer, bool]]:
    """Each path, git's deciding rule, and whether it ignores."""
    command = ["git", "-c", f"core.excludesFile={root}/.git/excludes", "check-ignore", "-v", "-n", "-z", "--no-index", "--stdin"]
    done = subprocess.run(command, cwd=root, input=b"\0".join(paths) + b"\0", capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    fields = done.stdout.split(b"\0")[:-1]
    assert len(fields) == 4 * len(paths)
    for at in range(0, len(fields), 4):
        source, line, pattern, path = fields[at : at + 4]
        if source:
            yield path, (source.rsplit(b"/.git/", 1)[-1].removeprefix(b".git/"), int(line)), not pattern.startswith(b"!")
        else:
            yield path, None, False
