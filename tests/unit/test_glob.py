"""What becomes of one pattern: how cheap a way it gets. That its ways match as git does is asked in test_ignore and test_ignore_git."""

from __future__ import annotations

import pytest

from sync.core.glob import Tail, Way, parse_glob


def literal(name: bytes) -> Tail:
    return Tail("literal", name, b"", b"")


def ends(end: bytes) -> Tail:
    return Tail("suffix", b"", end, b"")


def begins(start: bytes) -> Tail:
    return Tail("prefix", start, b"", b"")


ANY = ends(b"")

WAYS: list[tuple[bytes, list[Way]]] = [
    (b"a", [Way(literal(b"a"))]),
    (b"*.log", [Way(ends(b".log"))]),
    (b"***a", [Way(ends(b"a"))]),
    (b"tmp*", [Way(begins(b"tmp"))]),
    (b"ab**", [Way(begins(b"ab"))]),
    (b"*", [Way(ANY)]),
    (b"**", [Way(ANY)]),
    (b"a*b", [Way(Tail("regex", b"a", b"b", rb"a[^/]*b"))]),
    (b"*a*", [Way(Tail("regex", b"", b"", rb"(?>[^/]*?a)[^/]*"))]),
    (b"a*b*cd*e", [Way(Tail("regex", b"a", b"e", rb"a(?>[^/]*?b)(?>[^/]*?cd)[^/]*e"))]),
    (b"a***b**c", [Way(Tail("regex", b"a", b"c", rb"a(?>[^/]*?b)[^/]*c"))]),
    (b"a?", [Way(Tail("regex", b"a", b"", rb"a[^/]"))]),
    (b"?.b", [Way(Tail("regex", b"", b".b", rb"[^/]\.b"))]),
    (b"\\*x", [Way(literal(b"*x"))]),
    # Small sets are spelled out, sixteen names in all.
    (b"*.py[cod]", [Way(ends(b".pyc")), Way(ends(b".pyd")), Way(ends(b".pyo"))]),
    (b"[a]", [Way(literal(b"a"))]),
    (b"[ab][xy]*", [Way(begins(each)) for each in (b"ax", b"ay", b"bx", b"by")]),
    (b"[a-p]", [Way(literal(bytes([byte]))) for byte in b"abcdefghijklmnop"]),
    (b"[a-q]x", [Way(Tail("regex", b"", b"x", b"[" + b"".join(b"\\x%x" % byte for byte in range(0x61, 0x72)) + b"]x"))]),
    (b"[a-d][a-e]", [Way(Tail("regex", b"", b"", rb"[\x61\x62\x63\x64][\x61\x62\x63\x64\x65]"))]),
    # A folder that is known by its bytes is asked for by them.
    (b"/a", [Way(literal(b"a"), folder=b"")]),
    (b"a/b", [Way(literal(b"b"), folder=b"a/")]),
    (b"a\\/b", [Way(literal(b"b"), folder=b"a/")]),
    (b"a/b/*.c", [Way(ends(b".c"), folder=b"a/b/")]),
    # Any folder will do.
    (b"**/a", [Way(literal(b"a"))]),
    (b"**/**/a", [Way(literal(b"a"))]),
    # The rest asks for it with a regular expression.
    (b"**/a/b", [Way(literal(b"b"), folder_regex=rb"(?:.*/)?a/")]),
    (b"a/**", [Way(ANY, folder_regex=rb"a/(?:.*/)?")]),
    (b"a/**/b", [Way(literal(b"b"), folder_regex=rb"a/(?:.*/)?")]),
    (b"a/**/**/b", [Way(literal(b"b"), folder_regex=rb"a/(?:.*/)?")]),
    (b"a/**\\/b", [Way(literal(b"b"), folder_regex=rb"a/[^/]*/(?:.*/)?")]),
    (b"a*/b", [Way(literal(b"b"), folder_regex=rb"a[^/]*/")]),
    (b"a?b/c", [Way(literal(b"c"), folder_regex=rb"a[^/]b/")]),
    (b"x/**y/z", [Way(literal(b"z"), folder_regex=rb"x/[^/]*y/")]),
    (b"**/a/**/b/**/c", [Way(literal(b"c"), folder_regex=rb"(?>(?:.*?/)??a/)(?>(?:.*?/)??b/)(?:.*/)?")]),
    (b"a*b*/**/c/*d*/e", [Way(literal(b"e"), folder_regex=rb"a(?>[^/]*?b)[^/]*/(?:.*/)?c/(?>[^/]*?d)[^/]*/")]),
    (b"[ab]/c", [Way(literal(b"c"), folder_regex=rb"[\x61\x62]/")]),
    # What stands before the first wildcard is compared by itself: then `**` may follow a name.
    (b"ab**/c", [Way(literal(b"abc"), folder=b""), Way(literal(b"c"), folder_regex=rb"ab[^/]*/(?:.*/)?")]),
    (b"x/ab**/c", [Way(literal(b"abc"), folder=b"x/"), Way(literal(b"c"), folder_regex=rb"x/ab[^/]*/(?:.*/)?")]),
    (b"aX**/c", [Way(literal(b"aXc"), folder=b""), Way(literal(b"c"), folder_regex=rb"aX[^/]*/(?:.*/)?")]),
    (b"?b**/c", [Way(literal(b"c"), folder_regex=rb"[^/]b[^/]*/")]),
    (b"a/b**", [Way(begins(b"b"), folder=b"a/"), Way(ANY, folder_regex=rb"a/b[^/]*/(?:.*/)?")]),
    # Nothing has these names.
    *[
        (pattern, [])
        for pattern in (b"[", b"a[b", b"[a-", b"[]", b"\\", b"a\\", b"//a", b"a//b", b"a/", b"[[:nope:]]", b"[[:alpha", b"[a\\")
    ],
    *[(pattern, []) for pattern in (b"[a\\", b"[/]", b"a[/]b", b"[/]/a", b"a/[/]", b"a*[/]*b")],
]


@pytest.mark.parametrize(("pattern", "ways"), WAYS)
def test_ways(pattern: bytes, ways: list[Way]) -> None:
    assert parse_glob(pattern) == ways


def test_a_negated_set_holds_every_other_byte_but_the_slash() -> None:
    (way,) = parse_glob(b"[!a]")
    assert way.tail.regex == b"[" + b"".join(b"\\x%02x" % byte for byte in range(256) if byte not in b"a/") + b"]"
