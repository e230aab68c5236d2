"""Names as a disk has them: what folds to one key, and what is refused with which words. The tables are written out by hand."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.core.disk import PLAIN, Disk

ASCII = Disk(case=True)
NTFS = Disk(case=True, letters=True, marks=True, tails=True)
APFS = Disk(case=True, letters=True, wide=True, forms=True, text=True)
FORMS = Disk(forms=True)
DISKS = {"plain": PLAIN, "ascii": ASCII, "ntfs": NTFS, "apfs": APFS, "forms": FORMS}

# two names -> the disks to which they are one
PAIRS = [
    ("a", "a", "plain ascii ntfs apfs forms"),
    ("a", "b", ""),
    ("a", "A", "ascii ntfs apfs"),
    ("README.md", "ReadMe.MD", "ascii ntfs apfs"),
    ("é", "É", "ntfs apfs"),
    ("\u00e9", "e\u0301", "apfs forms"),
    ("\u00c9", "e\u0301", "apfs"),
    ("straße", "STRASSE", "apfs"),
    ("straße", "STRAßE", "ascii ntfs apfs"),
    ("\u03c3", "\u03c2", "ntfs apfs"),
    ("\u0131", "i", "ntfs"),  # broader than it must be: the dotless i has a capital that is plain
    ("\u212b", "\u00e5", "ntfs apfs"),  # the sign of Angstrom
    ("\u212b", "\u00c5", "ntfs apfs forms"),
    ("q\u0323\u0307", "q\u0307\u0323", "apfs forms"),
    ("ﬁ", "fi", "apfs"),
    ("\u1f80", "\u1f88", "ntfs apfs"),  # their capital is two letters
    ("\u0130", "i\u0307", "apfs"),  # the small one is two code points
    ("\udcff", "\udcfe", ""),
    ("\udcff", "\udcff", "plain ascii ntfs apfs forms"),
    ("a\udcff", "A\udcff", "ascii ntfs apfs"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "disks"), PAIRS)
def test_two_names_are_one_to_these_disks(one: str, other: str, disks: str) -> None:
    pair = [name.encode(errors="surrogateescape") for name in (one, other)]
    assert " ".join(disk for disk, names in DISKS.items() if names.fold(pair[0]) == names.fold(pair[1])) == disks


@given(st.binary(max_size=12))
def test_a_plain_disk_keeps_every_name_apart(name: bytes) -> None:
    assert PLAIN.fold(name) == name and PLAIN.refusal(name) is None and PLAIN.bits


@given(st.text(max_size=8), st.sampled_from([ASCII, NTFS, APFS, FORMS]))
def test_a_key_is_its_own_key(text: str, names: Disk) -> None:
    key = names.fold(text.encode(errors="surrogatepass"))
    assert names.fold(key) == key


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_no_spelling_escapes_a_key(text: str) -> None:
    """Truth from the other end: every respelling that such a disk ignores has the same key."""
    for form in ("NFC", "NFD"):
        assert APFS.fold(unicodedata.normalize(form, text).encode()) == APFS.fold(text.encode())
        assert FORMS.fold(unicodedata.normalize(form, text).encode()) == FORMS.fold(text.encode())
    assert APFS.fold(text.casefold().encode()) == APFS.fold(text.encode())
    for letter in text:
        for other in (letter.upper(), letter.lower()):
            if len(other) == 1:
                assert NTFS.fold(other.encode()) == NTFS.fold(letter.encode())


# name -> what each of `NTFS` and `APFS` says of it
REFUSED = [
    ("a", None, None),
    ("a:b", "names here have no :", None),
    ("a\x07b", "names here have no control characters", None),
    ("a\x01", "names here have no control characters", None),
    ("a\x1f", "names here have no control characters", None),
    ("a:\x07", "names here have no control characters", None),
    ("a<b:c", "names here have no :", None),
    ("what?", "names here have no ?", None),
    ("a\\b", "names here have no \\", None),
    ("end.", "names here do not end with a dot or a space", None),
    ("end ", "names here do not end with a dot or a space", None),
    (" .start", None, None),
    ("CON", "it is the name of a device here", None),
    ("nul.tar.gz", "it is the name of a device here", None),
    ("aux .c", "it is the name of a device here", None),
    ("prn", "it is the name of a device here", None),
    ("Com1", "it is the name of a device here", None),
    ("LPT\u00b2.x", "it is the name of a device here", None),
    ("COM0", None, None),
    ("COM10", None, None),
    ("CONSOLE", None, None),
    ("x.CON", None, None),
    ("CONX", None, None),
    ("COMX", None, None),
    ("X", None, None),
    ("x\udcff", None, "names here are UTF-8"),
    ("x\udc80", None, "names here are UTF-8"),
]


@pytest.mark.parametrize(("name", "ntfs", "apfs"), REFUSED)
def test_a_name_that_cannot_be_is_told_why(name: str, ntfs: str | None, apfs: str | None) -> None:
    raw = name.encode(errors="surrogateescape")
    assert (NTFS.refusal(raw), APFS.refusal(raw)) == (ntfs, apfs)


def test_a_name_may_be_as_long_as_the_disk_has_it() -> None:
    short = Disk(longest=143)
    assert short.refusal(b"x" * 143) is None
    assert short.refusal("é".encode() * 72) == "names here have at most 143 bytes"
    assert short.refuses and not short.folds and not PLAIN.refuses and not PLAIN.folds
    assert not Disk(longest=300).refuses, "no name of ours is that long"


@pytest.mark.parametrize("trait", ["case", "letters", "wide", "forms"])
def test_any_folding_is_folding(trait: str) -> None:
    names = Disk(**{trait: True})
    assert names.folds and not names.refuses


def test_a_name_that_would_come_back_otherwise_is_refused() -> None:
    lowers, decomposes = Disk(lowers=True), Disk(decomposes=True)
    assert lowers.refusal(b"readme") is None and lowers.refusal(b"ReadMe") == "names here lose their capitals"
    assert lowers.refusal("\u0178".encode()) == "names here lose their capitals"  # whose small letter comes before it
    assert decomposes.refusal("e\u0301".encode()) is None and decomposes.refusal("\u00e9".encode()) == "names here lose their form"
    assert decomposes.refusal("q\u0323\u0334".encode()) == "names here lose their form"  # the marks would change places


@pytest.mark.parametrize("trait", ["marks", "tails", "text", "lowers", "decomposes"])
def test_any_refusal_is_a_refusal(trait: str) -> None:
    names = Disk(**{trait: True})
    assert names.refuses and not names.folds
