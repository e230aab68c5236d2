"""One pattern of an ignore file -> the ways in which a path can match it, exactly as git's `dir.c` and `wildmatch.c` read it.

Theory. A path is a folder and a name. Only `**` crosses a `/`, so a pattern comes apart at its last slash into a *head*, which is
about the folder and is asked once for each, and a *tail*, which is about the name and mostly needs no regular expression. One
pattern may be several ways: git compares what stands before the first wildcard by itself, so in `ab**/c` the `**` counts as
leading, and `abc` and `abx/y/c` match.

No pattern makes the matcher slow: a `*` with fixed text behind it takes the leftmost place and tries no other (atomic groups),
which is exact, because from a place further right only less can be reached.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import product, takewhile
from math import prod
from typing import Literal, NamedTuple

_CLASSES = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, [*range(32), 127])),
    b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))),
    b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))),
    b"punct": string.punctuation,
    b"space": " \t\n\r",
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}
_SPELL_OUT = 16
_EVERY_BYTE = frozenset(range(256)) - frozenset(b"/")


class Mark(Enum):
    """What is not a byte or a set of bytes."""

    STAR = "*"
    STARS = "**"
    SLASH = "/"
    ESCAPED_SLASH = "\\/"
    FOLDERS = "**/"
    """Any number of folders, with their slashes."""


class _Unmatchable(Exception):
    """A broken set or escape: wildmatch.c gives up when it gets there, and every match has to get there."""


STAR, STARS, SLASH, ESCAPED_SLASH, FOLDERS = Mark
Token = int | frozenset[int] | Mark
Segment = list[Token]


class Tail(NamedTuple):
    """What the name must be: `start` itself, or end in `end`, or begin with `start`.

    Or match `regex` as a whole, the source of a regular expression; it then has this `start` and this `end` besides.
    """

    kind: Literal["literal", "suffix", "prefix", "regex"]
    start: bytes = b""
    end: bytes = b""
    regex: bytes = b""


class Way(NamedTuple):
    """One way to match: a folder below the rule file's own, with its final slash, and a name in it.

    `folder` is exact, `folder_regex` the source of one that matches the whole; with neither, any folder will do.
    """

    tail: Tail
    folder: bytes | None = None
    folder_regex: bytes | None = None


def parse_glob(pattern: bytes) -> list[Way]:
    """A pattern without its `!` and its final `/` -> ways; none where git reads a pattern that nothing can match."""
    try:
        if b"/" not in pattern:
            return [Way(tail) for tail in _tails([STAR if token is STARS else token for token in _tokens(pattern)])]
        anchored = pattern.removeprefix(b"/")
        fixed = next((at for at, byte in enumerate(anchored) if byte in b"*?[\\"), len(anchored))
        ways = [way for spelling in _spellings(list(_tokens(anchored)), fixed) for way in _ways(spelling)]
    except _Unmatchable:
        return []
    return list(dict.fromkeys(ways))


def _tokens(pattern: bytes) -> Iterator[Token]:
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            end = at
            while pattern[end : end + 1] == b"*":
                end += 1
            yield STAR if end - at == 1 else STARS
            at = end
            continue
        if byte == b"[":
            members, at = _parse_set(pattern, at + 1)
            yield members
        elif byte == b"?":
            yield _EVERY_BYTE
        elif byte == b"\\":
            at += 1
            if at == len(pattern):
                raise _Unmatchable
            yield ESCAPED_SLASH if pattern[at] == ord("/") else pattern[at]
        else:
            yield SLASH if byte == b"/" else pattern[at]
        at += 1


def _parse_set(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """What stands after a `[` -> its members and the place of its `]` (wildmatch.c, `case '['`)."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    before: int | None = None
    first = at
    while at == first or pattern[at : at + 1] != b"]":
        byte = pattern[at : at + 1]
        if byte == b"-" and before is not None and pattern[at + 1 : at + 2] != b"]":
            last, at = _member(pattern, at + 1)
            members.update(range(before, last + 1))
            before = None
        elif pattern[at : at + 2] == b"[:" and (end := pattern.find(b"]", at + 2)) > at + 2 and pattern[end - 1] == ord(":"):
            members.update(_class_members(pattern[at + 2 : end - 1]))
            before, at = None, end
        else:
            before, at = _member(pattern, at)
            members.add(before)
        at += 1
    return frozenset((_EVERY_BYTE - members) if negated else (members & _EVERY_BYTE)), at


def _member(pattern: bytes, at: int) -> tuple[int, int]:
    """One byte of a set, perhaps behind a backslash, and its place."""
    at += pattern[at : at + 1] == b"\\"
    if at >= len(pattern):
        raise _Unmatchable
    return pattern[at], at


def _class_members(name: bytes) -> Iterable[int]:
    try:
        return _CLASSES[name].encode()
    except KeyError:
        raise _Unmatchable from None


def _spellings(tokens: list[Token], fixed: int) -> list[Segment]:
    """The same pattern in tokens among which FOLDERS stands only at the start of a segment, and STARS nowhere.

    `fixed`: how many tokens stand before the first byte that is special to git.
    """
    found: list[Segment] = [[]]
    at = 0
    while at < len(tokens):
        token, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else None
        opens = at == fixed or tokens[at - 1] in (SLASH, ESCAPED_SLASH)
        if token is not STARS:
            found = [[*one, SLASH if token is ESCAPED_SLASH else token] for one in found]
        elif not opens or after not in (None, SLASH, ESCAPED_SLASH):
            found = [[*one, STAR] for one in found]
        elif after is ESCAPED_SLASH:
            found = [[*one, STAR, SLASH, FOLDERS] for one in found]
        else:
            found = [crossed for one in found for crossed in _cross(one)]
            if after is None:
                found = [[*one, STAR] for one in found]
        # A crossing has eaten its slash.
        at += 2 if found[-1][-1:] == [FOLDERS] else 1
    return found


def _cross(one: Segment) -> list[Segment]:
    """Any folders from here on: from within a name, either none, or the rest of that name and its slash first."""
    if one[-1:] == [FOLDERS]:
        return [one]
    if not one or one[-1] is SLASH:
        return [[*one, FOLDERS]]
    return [one, [*one, STAR, SLASH, FOLDERS]]


def _ways(tokens: Segment) -> list[Way]:
    """None where a name would have to be empty."""
    segments: list[Segment] = [[]]
    for token in tokens:
        if token is SLASH:
            segments.append([])
        elif token is FOLDERS:
            segments[-1:] = [[FOLDERS], []]
        else:
            segments[-1].append(token)
    if [] in segments:
        return []
    *head, last = segments
    tails = _tails(last)
    if head == [[FOLDERS]]:
        return [Way(tail) for tail in tails]
    if all(isinstance(token, int) for segment in head for token in segment):
        folder = b"".join(_plain(segment) + b"/" for segment in head)
        return [Way(tail, folder=folder) for tail in tails]
    folder_regex = _folder_regex(head)
    return [Way(tail, folder_regex=folder_regex) for tail in tails]


def _tails(tokens: Segment) -> list[Tail]:
    """One, or a few where small sets are spelled out: `*.py[cod]` is three suffixes, and a suffix needs no regular expression."""
    if prod(len(token) for token in tokens if isinstance(token, frozenset)) > _SPELL_OUT:
        return [_tail(tokens)]
    choices = [sorted(token) if isinstance(token, frozenset) else [token] for token in tokens]
    return [_tail(choice) for choice in product(*choices)]


def _tail(tokens: Sequence[Token]) -> Tail:
    start = _plain(takewhile(lambda token: isinstance(token, int), tokens))
    end = _plain(takewhile(lambda token: isinstance(token, int), reversed(tokens)))[::-1]
    if len(start) == len(tokens):
        return Tail("literal", start=start)
    if len(end) == len(tokens) - 1 and tokens[0] is STAR:
        return Tail("suffix", end=end)
    if len(start) == len(tokens) - 1 and tokens[-1] is STAR:
        return Tail("prefix", start=start)
    return Tail("regex", start, end, _segment_regex(tokens))


def _plain(tokens: Iterable[Token]) -> bytes:
    return bytes(token for token in tokens if isinstance(token, int))


def _folder_regex(head: list[Segment]) -> bytes:
    """Each run of segments behind a FOLDERS takes its first place, except the last run, which must reach the end."""
    runs: list[bytes] = [b""]
    for segment in head:
        if segment == [FOLDERS]:
            runs.append(b"")
        else:
            runs[-1] += _segment_regex(segment) + b"/"
    if len(runs) == 1:
        return runs[0]
    inner = b"".join(b"(?>(?:.*?/)??" + run + b")" for run in runs[1:-1])
    return runs[0] + inner + b"(?:.*/)?" + runs[-1]


def _segment_regex(segment: Sequence[Token]) -> bytes:
    """Each fixed text behind a star takes its first place, except the last, which must reach the segment's end."""
    texts: list[bytes] = [b""]
    for token in segment:
        if token is STAR:
            texts.append(b"")
        elif isinstance(token, int):
            texts[-1] += re.escape(bytes([token]))
        elif isinstance(token, frozenset):
            texts[-1] += _set_regex(token)
    if len(texts) == 1:
        return texts[0]
    inner = b"".join(b"(?>[^/]*?" + text + b")" for text in texts[1:-1])
    return texts[0] + inner + b"[^/]*" + texts[-1]


def _set_regex(members: frozenset[int]) -> bytes:
    if members == _EVERY_BYTE:
        return b"[^/]"
    if not members:
        raise _Unmatchable
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(members)) + b"]"
