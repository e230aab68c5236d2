from __future__ import annotations

import random
import time
from itertools import pairwise, takewhile

import pytest

from store.errors import InvalidValue
from sync.core.merge import MAX_TEXT_BYTES, Hunk, Merged, Region, diff_lines, marked, merge_marked, merge_text, split_lines
from sync.core.merge.join import MAX_LINES, is_text
from sync.core.merge.lines import MAX_SLIDES, MAX_STEPS, Budget, _no_accidents, _rough_root

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
        ("ab", "xab", "Ab", None),
        # Of two replacements by one side, neither may have moved a line.
        ("abcxz", "Abzxz", "aBcxz", None),
        ("zxabc", "zxzbC", "zxaBc", None),
        # Nor may any two of three overlap.
        ("abcd", "AbCD", "aXYd", None),
        ("ab", "axb", "ab", "axb"),
        ("ab", "axb", "ayb", None),
        ("ab", "b", "a", None),
        ("abc", "ac", "aBc", None),
        ("", "a", "b", None),
        ("abc", "", "abcd", None),
        # But replacements that touch are joined where nothing else can be meant: line for line, and every line is its own.
        ("ab", "Ab", "aB", "AB"),
        ("abcde", "aBCde", "abcDe", "aBCDe"),
        ("xcab", "xcAb", "qxcaB", "qxcAB"),
        ("abcde", "aBcDe", "abCdE", "aBCDE"),
        ("xab", "xAb", "qxaB", "qxAB"),
        ("xyab", "qxyAb", "xyaB", "qxyAB"),
        ("abmn", "Xbmn", "aBmnX", None),
        ("abmn", "aBmnX", "Xbmn", None),
        ("ab", "xyb", "aB", None),
        ("ab", "b", "aB", None),
        ("ab", "Ab", "a", None),
        ("abc", "Abc", "aBC", "ABC"),
        ("abc", "ABc", "aBC", None),
        ("aab", "Aab", "aAb", None),
        ("ab", "Ab", "aA", None),
        ("abc", "cbc", "aBc", None),
        ("abc", "bac", "abC", None),
        ("abxyz", "Qbxyza", "aBxyz", None),
        ("abxyc", "cbxyc", "aBxy", None),
        ("abX", "Abaa", "aBX", None),
        # The end of the last line is a byte like any other.
        ("abc", "abc.", "Abc", "Abc."),
        ("abc.", "abc", "Abc.", "Abc"),
        ("abc.", "abcd.", "Abc.", "Abcd."),
        ("abc", "abc.", "abcd", None),
        ("ab.", "Ab.", "ab", "Ab"),
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
    [
        b"a\0\n" + b"b\n" * 9,
        b"x" * 80_000 + b"\0",
        b"a".ljust(MAX_TEXT_BYTES + 1),
        b"\n" * (MAX_LINES + 1),
        "a\nb\n".encode("utf-16"),
        "\ufeff\u4e01\u4e0a".encode("utf-16-le"),
        "\ufeff\u4e01\u4e0a".encode("utf-16-be"),
    ],
    ids=["NUL", "late NUL", "large", "lines", "UTF-16", "wide, little end", "wide, big end"],
)
def test_what_is_not_text_does_not_join(bad: bytes, at: int) -> None:
    texts = [b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n"]
    texts[at] = bad
    assert merge_text(*texts) == Merged(None)
    with pytest.raises(InvalidValue, match=r"^binary or too large to be marked$") as caught:
        merge_marked(*texts, ours_label="ours", theirs_label="theirs")
    assert caught.value.hint == "Choose a side with `fst resolve --ours`, `--theirs` or `--both`."


def test_what_is_as_large_as_may_be_is_text() -> None:
    assert (MAX_TEXT_BYTES, MAX_LINES) == (4 * 1024 * 1024, 150_000)
    assert is_text(b"x" * MAX_TEXT_BYTES)
    assert is_text(b"\n" * MAX_LINES)


def test_what_only_one_side_changed_needs_no_lines() -> None:
    assert merge_text(b"\0a", b"\0a", b"\0b") == merge_text(b"\0a", b"\0b", b"\0a") == merge_text(b"\0a", b"\0b", b"\0b") == Merged(b"\0b")


def test_a_nul_far_from_the_start_is_not_joined_over() -> None:
    """A PDF begins with text and goes on in bytes; git looks at 8,000 bytes and may join it, which breaks it."""
    base = b"a\n" + b"x" * 8000 + b"\n\0\nb\n"
    assert merge_text(base, base.replace(b"a\n", b"A\n"), base.replace(b"\nb\n", b"\nB\n")) == Merged(None)


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
        # The marker ends as the line before it does on both sides, and the base's first.
        (b"a\r\nb\n", b"a\nX\n", b"a\r\nY\n", b"<<<<<<< me\na\nX\n=======\na\r\nY\n>>>>>>> them\n"),
        (b"h\r\nk\r\nc\n", b"h\nk\r\nX\n", b"h\r\nk\r\nY\n", b"h\nk\r\n<<<<<<< me\r\nX\n=======\r\nY\n>>>>>>> them\r\n"),
        (b"h\r\nk\r\nc\n", b"h\r\nk\r\nX\n", b"h\nk\r\nY\n", b"h\nk\r\n<<<<<<< me\r\nX\n=======\r\nY\n>>>>>>> them\r\n"),
        (b"c\r\nk\r\n", b"X\r\nk\r\nz\n", b"Y\r\nk\r\n", b"<<<<<<< me\r\nX\r\n=======\r\nY\r\n>>>>>>> them\r\nk\r\nz\n"),
        (b"c\r\nk\r\n", b"X\r\nk\r\n", b"Y\r\nk\r\nz\n", b"<<<<<<< me\r\nX\r\n=======\r\nY\r\n>>>>>>> them\r\nk\r\nz\n"),
        (b"c\nk\r\n", b"X\r\nk\r\n", b"Y\r\nk\r\n", b"<<<<<<< me\nX\r\n=======\nY\r\n>>>>>>> them\nk\r\n"),
        (b"a\r\n", b"X", b"Y\r\n", b"<<<<<<< me\r\nX\r\n=======\r\nY\r\n>>>>>>> them\r\n"),
        (b"a", b"X\r\n", b"Y\r\n", b"<<<<<<< me\nX\r\n=======\nY\r\n>>>>>>> them\n"),
        # Four lines keep two conflicts apart, unless they are nothing but punctuation.
        (
            b"a\n1\n2\n3\n4\nb\n",
            b"A\n1\n2\n3\n4\nB\n",
            b"X\n1\n2\n3\n4\nY\n",
            b"<<<<<<< me\nA\n=======\nX\n>>>>>>> them\n1\n2\n3\n4\n<<<<<<< me\nB\n=======\nY\n>>>>>>> them\n",
        ),
        (
            b"a\n}\n\n)\n}\nb\n",
            b"A\n}\n\n)\n}\nB\n",
            b"X\n}\n\n)\n}\nY\n",
            b"<<<<<<< me\nA\n}\n\n)\n}\nB\n=======\nX\n}\n\n)\n}\nY\n>>>>>>> them\n",
        ),
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


def test_a_line_that_the_other_text_has_very_often_matches_none_of_them() -> None:
    """As git has it."""
    old, new = (split_lines(data) for data in (b"1\n14\n18\n6\n3\n2\n\n6\n}\n10\n9\n", b"\n21\n19\n\n\n\n\n\n"))
    assert diff_lines(old, new) == [Hunk(0, 11, 0, 8)]


def test_a_rough_root() -> None:
    """As `xdl_bogosqrt` of git has it: one bit for every two."""
    assert [_rough_root(number) for number in (0, 1, 2, 3, 4, 15, 16, 63, 64, 255, 256, 1023, 1024)] == [
        *[1, 2, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64],
    ]


@pytest.mark.parametrize("seed", range(40))
def test_which_common_lines_keep_their_partner(seed: int) -> None:
    """As `xdl_clean_mmatch` of git has it, line by line."""
    rng = random.Random(seed)
    lonely = rng.choice([0.2, 0.7, 0.75, 0.8])
    kinds = rng.choices([0, 2, 1], [lonely, 1 - lonely, rng.choice([0.0, 0.002, 0.05])], k=rng.randrange(600))
    assert list(_no_accidents(kinds)) == [at for at, kind in enumerate(kinds) if kind == 2 and not is_accident(kinds, at)]


def is_accident(kinds: list[int], at: int) -> bool:
    """Within a hundred lines, and up to the nearest that stands only sometimes."""
    before = list(takewhile(lambda kind: kind != 1, kinds[max(at - 100, 0) : at][::-1]))
    after = list(takewhile(lambda kind: kind != 1, kinds[at + 1 : at + 101]))
    if 0 not in before or 0 not in after:
        return False
    alone, common = (before + after).count(0), (before + after).count(2) + 2
    return common * 4 < common + alone


def test_the_bounds_of_the_work() -> None:
    assert (MAX_STEPS, MAX_SLIDES) == (1_000_000, 2_000_000)


def test_what_a_comparison_costs() -> None:
    """Written down once: whoever changes the search sees whether it became dearer, and whether it finds fewer hunks."""
    rng = random.Random(5)
    budget, hunks = Budget(), 0
    for _ in range(300):
        letters = [b"%d\n" % number for number in range(rng.choice([2, 3, 5, 20]))]
        old, new = (rng.choices(letters, k=rng.randrange(60)) for _ in range(2))
        hunks += len(diff_lines(old, new, budget))
    assert (MAX_STEPS - budget.steps, MAX_SLIDES - budget.slides, hunks) == (182_058, 48_854, 2366)


@pytest.mark.parametrize(
    ("seed", "letters", "sizes", "kind", "changes"),
    [
        (6, b"abcde", (12, 12), "steps", [73, 80, 100, 108, 114]),
        (3, b"ab", (9, 14), "slides", [6, 8, 36, 40, 42]),
        (4, b"ab", (9, 14), "slides", [7, 9, 18, 39, 44, 46, 48, 50, 52, 54]),
    ],
)
def test_where_a_budget_ends_the_work(seed: int, letters: bytes, sizes: tuple[int, int], kind: str, changes: list[int]) -> None:
    """The budgets with which another answer is found than with one less."""
    rng = random.Random(seed)
    old, new = (rng.choices([b"%c\n" % letter for letter in letters], k=size) for size in sizes)
    found = [diff_lines(old, new, Budget(**{kind: budget})) for budget in range(120)]
    assert [budget for budget, (one, other) in enumerate(pairwise(found), 1) if one != other] == changes


def test_a_spent_budget_is_coarse_and_right() -> None:
    rng = random.Random(1)
    old = [b"%d\n" % number for number in range(400)]
    new = rng.sample(old, len(old))
    for steps in (1, 100, 5000):
        patched, at = [], 0
        for hunk in diff_lines(old, new, Budget(steps)):
            patched += old[at : hunk.old_start] + new[hunk.new_start : hunk.new_end]
            at = hunk.old_end
        assert patched + old[at:] == new
    assert len(diff_lines(old, new, Budget(1))) < len(diff_lines(old, new))


def test_a_budget_of_slides_is_kept_to_and_right() -> None:
    """What cannot slide any further stays where it is, which is a difference like any other."""
    old = [b"a\n", *[b"\n"] * 3000, b"b\n"]
    new = [b"a\n", *[b"\n"] * 2000, b"b\n"]
    assert diff_lines(old, new) == [Hunk(2001, 3001, 2001, 2001)]
    budget = Budget(slides=5000)
    (hunk,) = diff_lines(old, new, budget)
    assert old[: hunk.old_start] + new[hunk.new_start : hunk.new_end] + old[hunk.old_end :] == new
    assert 0 >= budget.slides > -3 * len(old)


WORST = ["identical", "shuffled", "blank", "two letters", "period", "every second", "long runs", "messy start", "one line"]


def worst_texts(kind: str, count: int) -> list[list[bytes]]:
    """Base, ours and theirs that drive a line diff to its limits."""
    rng = random.Random(2)
    blank, unlike = [b"\n"], [b"line %06d\n" % number for number in range(count)]
    letters = [[rng.choice([b"a\n", b"b\n"]) for _ in range(count)] for _ in range(3)]
    period = [b"a\n", b"b\n", b"b\n"] * (count // 3)
    runs = [[one] * 500 + [other] * 500 for one, other in ((b"a\n", b"b\n"), (b"b\n", b"a\n"), (b"b\n", b"c\n"))]
    ends = ([b"e\n", b"f\n"], [b"f\n", b"e\n"], [b"f\n", b"f\n"])
    kinds: dict[str, list[list[bytes]]] = {
        "identical": [blank * count, blank * (count // 2), blank * (count // 3)],
        "shuffled": [unlike, rng.sample(unlike, count), unlike[::-1]],
        "blank": [blank * count, [*blank * (count - 9), b"x\n"], [b"y\n", *blank * (count - 4000)]],
        "two letters": letters,
        "period": [period, [line for at, line in enumerate(period) if at % 7], [b"b\n", *period[5:], b"c\n"]],
        "every second": [unlike, unlike[::2], unlike[1::2]],
        "long runs": [run * (count // 1000) for run in runs],
        "messy start": [text[:2000] + blank * (count - 4000) + end for text, end in zip(letters, ends, strict=True)],
        "one line": [[letter * 1_000_000] for letter in (b"a", b"b", b"c")],
    }
    return kinds[kind]


@pytest.mark.parametrize("kind", WORST)
def test_the_work_is_bounded(kind: str) -> None:
    """Counted in steps: never more than the budget, and one run of equal lines."""
    base, *sides = worst_texts(kind, MANY_LINES)
    for side in sides:
        budget = Budget()
        patched, at = [], 0
        for hunk in diff_lines(base, side, budget):
            patched += base[at : hunk.old_start] + side[hunk.new_start : hunk.new_end]
            at = hunk.old_end
        assert patched + base[at:] == side
        assert budget.steps >= -len(base)
        assert budget.steps <= 0 or kind != "shuffled"
        assert budget.slides >= -4 * (len(base) + len(side))


@pytest.mark.parametrize("kind", WORST)
def test_the_worst_texts_end(kind: str) -> None:
    """A second or two, where a search without a budget would take hours."""
    texts = [b"".join(lines) for lines in worst_texts(kind, MANY_LINES)]
    began = time.process_time()
    merge_text(*texts)
    merge_marked(*texts, ours_label="ours", theirs_label="theirs")
    assert time.process_time() - began < SLOW_SECONDS


def test_many_conflicts_are_marked_with_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each conflict's sides are compared with each other; together they may cost no more than one comparison."""
    spent: list[Budget] = []

    def counted(old: list[bytes], new: list[bytes], budget: Budget) -> list[Hunk]:
        found = diff_lines(old, new, budget)
        spent.append(budget)
        return found

    monkeypatch.setattr(marked, "diff_lines", counted)
    rng = random.Random(3)
    sides = [[line for at in range(40) for line in (b"key %d\n" % at, *(b"%d\n" % rng.randrange(9) for _ in range(500)))] for _ in range(2)]
    base = b"".join(b"key %d\nbase\n" % at for at in range(40))
    merge_marked(base, *map(b"".join, sides), ours_label="ours", theirs_label="theirs")
    assert len(spent) > 5 and len({id(budget) for budget in spent}) == 1
    assert spent[0].steps >= -1000


def test_what_one_side_alone_changed_is_its_own_even_if_it_is_no_text() -> None:
    for base, mine in ((b"a\0b", b"c\0d"), (bytes(MAX_TEXT_BYTES + 1), b"small")):
        same = bytes(bytearray(base))
        assert merge_text(base, mine, same) == merge_text(base, same, mine) == Merged(mine)
        assert merge_text(base, mine, bytes(bytearray(mine))) == Merged(mine)


@pytest.mark.parametrize("swapped", [True, False])
def test_what_was_joined_in_turn_is_there_beside_what_is_marked(swapped: bool) -> None:
    base, mine, yours = text("ab1234z"), text("Ab1234Y"), text("aB1234Z")
    if swapped:
        mine, yours = yours, mine
    marked = merge_marked(base, mine, yours, ours_label="o", theirs_label="t")
    assert marked.startswith(text("AB1234") + b"<<<<<<< o\n")


def test_far_down_a_text_joins_as_at_its_beginning() -> None:
    above = b"".join(b"%d\n" % number for number in range(1000))
    for base, mine, yours, joined in (("ab", "Ab", "aB", "AB"), ("abc", "Abc", "abC", "AbC"), ("ab", "xab", "abx", "xabx")):
        texts = [above + text(letters) for letters in (base, mine, yours)]
        assert merge_text(*texts) == Merged(above + text(joined))
        assert merge_marked(*texts, ours_label="", theirs_label="") == above + text(joined)


@pytest.mark.parametrize(("between", "conflicts"), [("ABCDE", 2), ("bcdef", 2), ("12345", 2), ("{}();", 1), ("ABC", 1)])
def test_conflicts_with_words_between_them_stay_apart(between: str, conflicts: int) -> None:
    marked = merge_marked(*(text(f"{ends[0]}{between}{ends[1]}") for ends in ("xy", "XY", "vw")), ours_label="o", theirs_label="t")
    assert marked.count(b"<<<<<<<") == conflicts
