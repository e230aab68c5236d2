from __future__ import annotations

import random
import time

import pytest

from store.errors import InvalidValue
from sync.core.merge import MAX_TEXT_BYTES, Hunk, Merged, Region, diff_lines, merge_marked, merge_text, split_lines
from sync.core.merge.join import MAX_LINES

SLOW_SECONDS = 15
MANY_LINES = 50_000


def text(letters: str) -> bytes:
    """`abc` -> three lines; a `.` at the end: the last one has no end."""
    return "\n".join(letters.rstrip(".")).encode() + (b"" if letters.endswith(".") or not letters else b"\n")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        ("abc", "abc", "abc", "abc"),
        ("abc", "abc", "xyz", "xyz"),
        ("abc", "xyz", "abc", "xyz"),
        ("abc", "xyz", "xyz", "xyz"),
        ("abc", "", "abc", ""),
        ("", "abc", "abc", "abc"),
        ("abcde", "Abcde", "abcdE", "AbcdE"),
        ("abcde", "xabcde", "abcdex", "xabcdex"),
        ("abcde", "bcde", "abcd", "bcd"),
        ("abcde", "aXcde", "aXcdY", "aXcdY"),
        ("abcde", "acde", "acdE", "acdE"),
        ("abcdefg", "abXYZdefg", "abcdeg", "abXYZdeg"),
        # One line between two edits keeps them apart, none does not.
        ("abc", "Abc", "abC", "AbC"),
        ("ab", "Ab", "aB", None),
        ("ab", "xab", "Ab", None),
        ("ab", "axb", "ab", "axb"),
        ("ab", "axb", "ayb", None),
        ("ab", "b", "a", None),
        ("abc", "ac", "aBc", None),
        ("", "a", "b", None),
        ("abc", "", "abcd", None),
        # The end of the last line is a byte like any other.
        ("abc", "abc.", "Abc", "Abc."),
        ("abc.", "abc", "Abc.", "Abc"),
        ("abc.", "abcd.", "Abc.", "Abcd."),
        ("abc", "abc.", "abcd", None),
    ],
)
def test_cases(base: str, ours: str, theirs: str, result: str | None) -> None:
    for left, right in ((ours, theirs), (theirs, ours)):
        merged = merge_text(text(base), text(left), text(right))
        assert merged.data == (None if result is None else text(result))
        assert bool(merged.conflicts) is (result is None)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (b"a\r\nb\r\nc\r\n", b"A\r\nb\r\nc\r\n", b"a\r\nb\r\nC\r\n", b"A\r\nb\r\nC\r\n"),
        # Mixed ends stay mixed; a CR alone ends nothing.
        (b"a\r\nb\nc\r\n", b"A\r\nb\nc\r\n", b"a\r\nb\nC\n", b"A\r\nb\nC\n"),
        (b"a\rb\nc\nd\n", b"a\rB\nc\nd\n", b"a\rb\nc\nD\n", b"a\rB\nc\nD\n"),
        (b"\xef\xbb\xbfa\nb\nc\n", b"\xef\xbb\xbfA\nb\nc\n", b"\xef\xbb\xbfa\nb\nC\n", b"\xef\xbb\xbfA\nb\nC\n"),
        (b"caf\xe9\nb\n\xff\xfe\n", b"CAF\xc9\nb\n\xff\xfe\n", b"caf\xe9\nb\n\xfe\xff", b"CAF\xc9\nb\n\xfe\xff"),
        (b"<<<<<<< x\nb\n>>>>>>> y\n", b"<<<<<<< X\nb\n>>>>>>> y\n", b"<<<<<<< x\nb\n>>>>>>> Y\n", b"<<<<<<< X\nb\n>>>>>>> Y\n"),
        (b"a\x0c\x0b\x1c\nb\n\x85\n", b"a\x0c\x0b\x1cA\nb\n\x85\n", b"a\x0c\x0b\x1c\nb\n\x85B\n", b"a\x0c\x0b\x1cA\nb\n\x85B\n"),
    ],
)
def test_bytes_are_kept(base: bytes, ours: bytes, theirs: bytes, result: bytes) -> None:
    assert merge_text(base, ours, theirs) == Merged(result)


def test_one_side_changed_every_line_end() -> None:
    merged = merge_text(b"a\nb\nc\n", b"a\r\nb\r\nc\r\n", b"a\nb\nC\n")
    assert merged.data is None


def test_regions_name_the_lines() -> None:
    merged = merge_text(text("abcdefgh"), text("xabCdefGh"), text("abKKdefghij"))
    assert merged.conflicts == (Region(2, 3, 3, 4, 2, 4),)
    base, ours, theirs = (split_lines(text(letters)) for letters in ("abcdefgh", "XbcdefgY", "ZbcdefgW"))
    regions = merge_text(b"".join(base), b"".join(ours), b"".join(theirs)).conflicts
    assert [(base[r.base_start : r.base_end], ours[r.ours_start : r.ours_end], theirs[r.theirs_start : r.theirs_end]) for r in regions] == [
        ([b"a\n"], [b"X\n"], [b"Z\n"]),
        ([b"h\n"], [b"Y\n"], [b"W\n"]),
    ]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(
    "bad",
    [b"a\0\n" + b"b\n" * 9, b"x" * 7999 + b"\0", b"a".ljust(MAX_TEXT_BYTES + 1), b"\n" * (MAX_LINES + 1), "a\nb\n".encode("utf-16")],
    ids=["NUL", "late NUL", "large", "lines", "UTF-16"],
)
def test_what_is_not_text_does_not_join(bad: bytes, at: int) -> None:
    texts = [b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n"]
    texts[at] = bad
    assert merge_text(*texts) == Merged(None)
    with pytest.raises(InvalidValue):
        merge_marked(*texts, ours_label="ours", theirs_label="theirs")


def test_what_only_one_side_changed_needs_no_lines() -> None:
    assert merge_text(b"\0a", b"\0a", b"\0b") == merge_text(b"\0a", b"\0b", b"\0a") == merge_text(b"\0a", b"\0b", b"\0b") == Merged(b"\0b")


def test_a_nul_beyond_the_look_is_text() -> None:
    base = b"a\n" + b"x" * 8000 + b"\n\0\nb\n"
    assert merge_text(base, base.replace(b"a\n", b"A\n"), base.replace(b"\nb\n", b"\nB\n")).data is not None


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (b"a\nb\nc\n", b"a\nX\nc\n", b"a\nY\nc\n", b"a\n<<<<<<< me\nX\n=======\nY\n>>>>>>> them\nc\n"),
        (b"a", b"X", b"Y", b"<<<<<<< me\nX\n=======\nY\n>>>>>>> them\n"),
        (b"a\r\nb\r\n", b"a\r\nX\r\n", b"a\r\nY\r\n", b"a\r\n<<<<<<< me\r\nX\r\n=======\r\nY\r\n>>>>>>> them\r\n"),
        (b"a\r\nb", b"a\r\nX", b"a\r\nY", b"a\r\n<<<<<<< me\r\nX\r\n=======\r\nY\r\n>>>>>>> them\r\n"),
        (b"a\r\nb\n", b"a\r\nX\n", b"a\nY\n", b"<<<<<<< me\na\r\nX\n=======\na\nY\n>>>>>>> them\n"),
        (b"", b"X\n", b"Y\n", b"<<<<<<< me\nX\n=======\nY\n>>>>>>> them\n"),
        (b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n", b"A\nb\nC\n"),
        (b"a\nb\n", b"a\n", b"a\nB\n", b"a\n<<<<<<< me\n=======\nB\n>>>>>>> them\n"),
    ],
)
def test_markers(base: bytes, ours: bytes, theirs: bytes, result: bytes) -> None:
    assert merge_marked(base, ours, theirs, ours_label="me", theirs_label="them") == result


def test_hunks() -> None:
    assert diff_lines([], []) == []
    assert diff_lines(split_lines(text("abc")), split_lines(text("abc"))) == []
    assert diff_lines([], split_lines(text("ab"))) == [Hunk(0, 0, 0, 2)]
    assert diff_lines(split_lines(text("abcde")), split_lines(text("aXcd"))) == [Hunk(1, 2, 1, 2), Hunk(4, 5, 4, 4)]
    # A hunk goes as far down as it can.
    assert diff_lines(split_lines(text("abb")), split_lines(text("abbb"))) == [Hunk(3, 3, 3, 4)]
    assert diff_lines(split_lines(text("abxbx")), split_lines(text("abxbxbx"))) == [Hunk(5, 5, 5, 7)]


def test_a_common_line_needs_company() -> None:
    """A blank line keeps its partner at the edge of new text, and loses it in the midst of it."""
    new = [b"x\n", *[b"\n"] * 8, b"kept\n", b"y\n"]
    alone = [b"%d\n" % number for number in range(10)]
    assert diff_lines([*alone, b"\n", b"kept\n", b"z\n"], new) == [Hunk(0, 10, 0, 8), Hunk(12, 13, 10, 11)]
    assert diff_lines([*alone, b"\n", *alone, b"kept\n", b"z\n"], new) == [Hunk(0, 21, 0, 9), Hunk(22, 23, 10, 11)]


def test_a_spent_budget_is_coarse_and_right() -> None:
    rng = random.Random(1)
    old = [b"%d\n" % number for number in range(400)]
    new = rng.sample(old, len(old))
    for budget in (1, 100, 5000):
        patched, at = [], 0
        for hunk in diff_lines(old, new, budget):
            patched += old[at : hunk.old_start] + new[hunk.new_start : hunk.new_end]
            at = hunk.old_end
        assert patched + old[at:] == new
    assert len(diff_lines(old, new, 1)) < len(diff_lines(old, new))


@pytest.mark.parametrize("kind", ["shuffled", "blank", "two letters", "period"])
def test_the_worst_texts_end(kind: str) -> None:
    """A second or two, where a search without a budget would take hours."""
    rng = random.Random(2)
    if kind == "shuffled":
        lines = [b"line number %06d with some more text\n" % number for number in range(MANY_LINES)]
        base, ours, theirs = lines, rng.sample(lines, len(lines)), lines[::-1]
    elif kind == "blank":
        base = [b"\n"] * MANY_LINES
        ours, theirs = [*base[9:], b"x\n"], [b"y\n", *base[4_000:]]
    elif kind == "two letters":
        base, ours, theirs = ([rng.choice([b"a\n", b"b\n"]) for _ in range(MANY_LINES)] for _ in range(3))
    else:
        base = [b"a\n", b"b\n", b"b\n"] * (MANY_LINES // 3)
        ours, theirs = [line for at, line in enumerate(base) if at % 7], [b"b\n", *base[5:], b"c\n"]
    began = time.process_time()
    merge_text(b"".join(base), b"".join(ours), b"".join(theirs))
    assert time.process_time() - began < SLOW_SECONDS
