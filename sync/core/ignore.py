"""Does this name belong to the workspace? Git's rules, then `.fstignore`, in git's semantics (gitignore(5)).

Theory. Rules are a stack of rule files, each weaker than the next: the defaults, the global excludes, `.git/info/exclude`, every
`.gitignore` from the root down, every `.fstignore` from the root down. Within a file a later line is stronger. The strongest rule
that matches decides. What lies in an ignored folder is ignored with it: no rule below can bring it back, so nobody looks there.

How to ask, and why it is fast: `enter` makes the `Rules` of one folder from those of its parent, settling once which rules can
match there at all; `decide` then looks only at a name. It is a closure made for what is asked: nearly every name leaves it after
a set look-up, an `endswith` and a `startswith`; a name that some rule may ignore is taken through the rules one by one.

    rules = Rules.start(global_excludes=..., info_exclude=...)      # keep it: what it has parsed serves the next scan too
    root = rules.enter(b"", gitignore, fstignore)                   # the bytes of the rule files there, None where there is none
    verdict = root.decide(b"build", is_dir=True)                    # a name in that folder
    below = root.enter(b"src", None, None)                          # the whole path of a folder in it

A rule file that is a symbolic link is no rule file (git follows none either): the caller passes None. A link to a folder is not a
folder: `is_dir` is False for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Final, NamedTuple, Protocol

from store.manifest import NodeSource, find_entry
from store.types import Digest, Dir, Entry, File, RelPath, show_path
from sync.core.glob import Tail, parse_glob

DEFAULTS = b"""\
.git
.svn/
.hg/
.bzr/
.jj/
_darcs/
CVS/
.fst
.DS_Store
Thumbs.db
desktop.ini
"""
"""Version-control folders, our own, and what operating systems strew. Nothing else: no build output, no dependencies."""

RULE_FILES: Final = (b".gitignore", b".fstignore")
MAX_RULE_BYTES: Final = 1024 * 1024
"""A larger rule file is read as if it were not there."""

_KEEP = 4096
"""Bound of what one `Rules.start` remembers: parsed rule files by folder, and selections of rules by stack."""

_TELLING = 2
"""From this many bytes on, a regular expression's fixed start or end alone keeps most names away from it."""

RuleFilesOf = Callable[[bytes], tuple[bytes | None, bytes | None]]
"""A folder's path -> the bytes of its `.gitignore` and its `.fstignore`."""


class Rule(NamedTuple):
    """One line of a rule file, for people: `source` is that file's path, or says what it is where it is none of the workspace's."""

    source: bytes
    line: int
    text: bytes

    def __str__(self) -> str:
        return f"{show_path(self.source)}:{self.line}: {show_path(self.text)}"


class Verdict(NamedTuple):
    """What was decided, and by which rule (None: none matched).

    `travels`: the rule is a default or reached this machine inside the workspace, so that every replica reads it alike.
    """

    ignored: bool
    travels: bool
    rule: Rule | None


KEPT = Verdict(ignored=False, travels=True, rule=None)


class _Test(NamedTuple):
    """What one rule claims of the names in one folder."""

    tail: Tail
    matches: Callable[[bytes], object]
    dirs_only: bool
    verdict: Verdict


class RuleFile:
    """The rules of one file in the order of its lines, and which of them can match in which folder."""

    def __init__(self, folder: bytes, rules: Iterable[tuple[bytes, Verdict]]) -> None:
        self._skip = len(folder) + 1 if folder else 0
        self._tests: list[_Test] = []
        self._always: list[int] = []
        self._exact: dict[bytes, list[int]] = {}
        self._some: list[tuple[int, re.Pattern[bytes]]] = []
        for pattern, verdict in rules:
            self._add(pattern, verdict)
        self.is_plain = not (self._exact or self._some)

    @classmethod
    def parse(cls, folder: bytes, data: bytes, *, source: bytes = b"", travels: bool = True) -> RuleFile:
        """The bytes of a rule file that stands in `folder`; what git would skip or could never match is left out."""
        rules = []
        for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            text = _trim(line.removesuffix(b"\r").partition(b"\0")[0])
            if not text.startswith(b"#"):
                ignored = not text.startswith(b"!")
                rules.append((text if ignored else text[1:], Verdict(ignored, travels, Rule(source, number, text))))
        return cls(folder, rules)

    def _add(self, pattern: bytes, verdict: Verdict) -> None:
        for way in parse_glob(pattern.removesuffix(b"/")):
            place = len(self._tests)
            self._tests.append(_Test(way.tail, _matcher(way.tail), pattern.endswith(b"/"), verdict))
            if way.folder is not None:
                self._exact.setdefault(way.folder, []).append(place)
            elif way.folder_regex is not None:
                self._some.append((place, re.compile(way.folder_regex, re.DOTALL)))
            else:
                self._always.append(place)

    def live_in(self, folder: bytes) -> tuple[int, ...]:
        """Which of the rules that ask about the folder match in this one (the file's own, or one below it)."""
        below = folder[self._skip :]
        if below:
            below += b"/"
        exact = self._exact.get(below, ())
        return (*exact, *(place for place, regex in self._some if regex.fullmatch(below)))

    def tests(self, live: tuple[int, ...]) -> list[_Test]:
        """The rules for names where `live` match; the strongest last."""
        return [self._tests[place] for place in sorted([*self._always, *live])]


class Decide(Protocol):
    """A name in one folder, and whether it is a folder itself -> the verdict."""

    def __call__(self, name: bytes, is_dir: bool) -> Verdict:
        """Pure, and never raises."""
        ...


class _Names:
    """The rules for the names in one folder, or in all folders where the same ones match."""

    def __init__(self, files: Sequence[Sequence[_Test]]) -> None:
        self._strongest_first = [test for tests in files for test in tests][::-1]
        self.decide = _sieve(files, self.search)

    def search(self, name: bytes, is_dir: bool) -> Verdict:
        """The strongest rule that matches; but where it ignores and does not travel, one that ignores and travels is preferred."""
        local: Verdict | None = None
        for _, matches, dirs_only, verdict in self._strongest_first:
            if (is_dir or not dirs_only) and matches(name):
                if verdict.travels:
                    return local if local and not verdict.ignored else verdict
                if not local and not verdict.ignored:
                    return verdict
                local = local or verdict
        return local or KEPT


def _sieve(files: Sequence[Sequence[_Test]], search: Decide) -> Decide:
    """`search` for the names that an ignoring rule may match, KEPT at once for all others. One closure a need: this is the hot path."""
    asked = [[test.tail for test in tests if test.verdict.ignored] for tests in files]
    literals = frozenset(tail.start for tails in asked for tail in tails if tail.kind == "literal")
    suffixes, prefixes = _affixes(tail for tails in asked for tail in tails if not _is_hard(tail))
    hard = [[tail.regex for tail in tails if _is_hard(tail)] for tails in asked]
    # One a file: that of the root is compiled once (re caches by source) though many folders add files of their own.
    regexes = [re.compile(b"|".join(b"(?:%b)" % source for source in some)).fullmatch for some in hard if some]

    def by_literal(name: bytes, is_dir: bool) -> Verdict:
        return search(name, is_dir) if name in literals else KEPT

    def by_affix(name: bytes, is_dir: bool) -> Verdict:
        if name in literals or name.endswith(suffixes) or name.startswith(prefixes):
            return search(name, is_dir)
        return KEPT

    def by_regex(name: bytes, is_dir: bool) -> Verdict:
        for fullmatch in regexes:
            if fullmatch(name):
                return search(name, is_dir)
        return by_affix(name, is_dir)

    return by_regex if regexes else by_affix if suffixes or prefixes else by_literal


class _Stack:
    """The rule files in force, weakest first, and what was made of them so far."""

    def __init__(self, git: tuple[RuleFile, ...], fst: tuple[RuleFile, ...]) -> None:
        self.git, self.fst = git, fst
        self._files = git + fst
        self._is_plain = all(file.is_plain for file in self._files)
        self._names: dict[tuple[tuple[int, ...], ...], _Names] = {}

    def names_in(self, folder: bytes) -> _Names:
        """The rules for names in this folder."""
        live = () if self._is_plain else tuple([() if file.is_plain else file.live_in(folder) for file in self._files])
        names = self._names.get(live)
        if names is None:
            if len(self._names) >= _KEEP:
                self._names.clear()
            each = live or ((),) * len(self._files)
            names = self._names[live] = _Names([file.tests(one) for file, one in zip(self._files, each, strict=True)])
        return names


class _Known(NamedTuple):
    parent: _Stack
    gitignore: bytes | None
    fstignore: bytes | None
    stack: _Stack


class Rules:
    """The rules in one folder. Immutable; made by `start` for a workspace and by `enter` for each folder on the way down."""

    __slots__ = ("_known", "_names", "_stack", "decide")

    def __init__(self, stack: _Stack, folder: bytes, known: dict[bytes, _Known]) -> None:
        self._stack = stack
        self._known = known
        self._names = stack.names_in(folder)
        self.decide: Decide = self._names.decide
        """One name in this folder. A name that no rule ignores gets KEPT, also where a `!` matches it: `explain` tells."""

    @classmethod
    def start(cls, defaults: bytes = DEFAULTS, global_excludes: bytes = b"", info_exclude: bytes = b"") -> Rules:
        """The rules before any file of the workspace is read. Pass only `defaults` to ask what every replica would say."""
        weakest = RuleFile.parse(b"", defaults, source=b"default")
        excludes = RuleFile.parse(b"", global_excludes, source=b"core.excludesFile", travels=False)
        info = RuleFile.parse(b"", info_exclude, source=b".git/info/exclude", travels=False)
        return cls(_Stack((weakest, excludes, info), ()), b"", {})

    def enter(self, folder: bytes, gitignore: bytes | None = None, fstignore: bytes | None = None) -> Rules:
        """The rules in a folder directly below (or in the root, from `start`): its whole path, and the bytes of its rule files."""
        if gitignore is None and fstignore is None:
            return Rules(self._stack, folder, self._known)
        known = self._known.get(folder)
        if known is None or known[:3] != (self._stack, gitignore, fstignore):
            if len(self._known) >= _KEEP:
                self._known.clear()
            known = self._known[folder] = _Known(self._stack, gitignore, fstignore, self._deeper(folder, gitignore, fstignore))
        return Rules(known.stack, folder, self._known)

    def _deeper(self, folder: bytes, gitignore: bytes | None, fstignore: bytes | None) -> _Stack:
        place = folder + b"/" if folder else b""
        git, fst = self._stack.git, self._stack.fst
        if gitignore is not None:
            git = (*git, RuleFile.parse(folder, gitignore, source=place + b".gitignore"))
        if fstignore is not None:
            fst = (*fst, RuleFile.parse(folder, fstignore, source=place + b".fstignore"))
        return _Stack(git, fst)

    def explain(self, name: bytes, is_dir: bool) -> Verdict:
        """As `decide`, naming the `!` rule too that would keep a name which nothing else ignores; slower."""
        return self._names.search(name, is_dir)


class PathRules:
    """Whole paths, for those who do not walk: reads the rule files on the way down, each folder's once."""

    def __init__(self, start: Rules, rule_files: RuleFilesOf) -> None:
        self._start = start
        self._rule_files = rule_files
        self._seen: dict[bytes, Rules | Verdict] = {}

    def decide(self, path: bytes, is_dir: bool) -> Verdict:
        """The verdict on this path, or on the first folder above it that is ignored."""
        folder, _, name = path.rpartition(b"/")
        inside = self._inside(folder)
        return inside.decide(name, is_dir) if isinstance(inside, Rules) else inside

    def explain(self, path: bytes, is_dir: bool) -> Verdict:
        """As `decide`, naming the `!` rule too that would keep a path which nothing ignores."""
        folder, _, name = path.rpartition(b"/")
        inside = self._inside(folder)
        return inside.explain(name, is_dir) if isinstance(inside, Rules) else inside

    def _inside(self, folder: bytes) -> Rules | Verdict:
        """The rules in a folder, or why it is ignored."""
        unseen = []
        while folder and folder not in self._seen:
            unseen.append(folder)
            folder = folder.rpartition(b"/")[0]
        found = self._seen.get(folder) or self._start.enter(b"", *self._rule_files(b""))
        self._seen[folder] = found
        for folder in reversed(unseen):
            if isinstance(found, Rules):
                verdict = found.decide(folder.rpartition(b"/")[2], is_dir=True)
                found = verdict if verdict.ignored else found.enter(folder, *self._rule_files(folder))
            self._seen[folder] = found
        return found


def carried_rules(root: Digest, nodes: NodeSource, read: Callable[[Digest], bytes]) -> Callable[[RelPath, Entry], bool]:
    """What a manifest's own rule files (and the defaults) say of a path: True when its absence there is no deletion.

    `read` gives a rule file's bytes; what it raises goes through.
    """

    def rule_file(path: bytes) -> bytes | None:
        entry = find_entry(root, RelPath(path), nodes)
        return read(entry.digest) if isinstance(entry, File) and entry.size <= MAX_RULE_BYTES else None

    def rule_files(folder: bytes) -> tuple[bytes | None, bytes | None]:
        prefix = folder + b"/" if folder else b""
        return rule_file(prefix + RULE_FILES[0]), rule_file(prefix + RULE_FILES[1])

    made: list[PathRules] = []

    def is_untracked(path: RelPath, entry: Entry) -> bool:
        # Most plans remove nothing and never ask.
        if not made:
            made.append(PathRules(Rules.start(), rule_files))
        return made[0].decide(path, isinstance(entry, Dir)).ignored

    return is_untracked


def _trim(text: bytes) -> bytes:
    """Without the spaces at its end; one behind a backslash stays (dir.c, trim_trailing_spaces)."""
    bare = text.rstrip(b" ")
    escapes = len(bare) - len(bare.rstrip(b"\\"))
    return bare + b" " if escapes % 2 and len(bare) < len(text) else bare


def _matcher(tail: Tail) -> Callable[[bytes], object]:
    match tail.kind:
        case "literal":
            return tail.start.__eq__
        case "suffix":
            return methodcaller("endswith", tail.end)
        case "prefix":
            return methodcaller("startswith", tail.start)
        case "regex":
            return re.compile(tail.regex).fullmatch


def _is_hard(tail: Tail) -> bool:
    return tail.kind == "regex" and max(len(tail.start), len(tail.end)) < _TELLING


def _affixes(tails: Iterable[Tail]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What names must end in, or else begin with, for any of these to match."""
    suffixes, prefixes = set(), set()
    for tail in tails:
        if tail.kind == "suffix" or (tail.kind == "regex" and len(tail.end) >= len(tail.start)):
            suffixes.add(tail.end)
        elif tail.kind != "literal":
            prefixes.add(tail.start)
    return tuple(suffixes), tuple(prefixes)
