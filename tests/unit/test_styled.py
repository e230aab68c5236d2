"""Which clashes can be one file with markers, and what it has."""

from __future__ import annotations

import pytest

from store.types import DIR, Entry, Link
from sync.apply.styled import marked_file
from tests.trees import MemoryBlobs, file

BLOBS = MemoryBlobs()
BASE, OURS, THEIRS = (BLOBS.put(text) for text in (b"1\n2\n3\n", b"one\n2\n3\n", b"eins\n2\nthree\n"))
FILES = [file(BLOBS.kept[digest]) for digest in (BASE, OURS, THEIRS)]


def test_only_what_does_not_join_is_marked() -> None:
    made = marked_file(BLOBS.kept.__getitem__, *FILES)
    assert made is not None
    assert made[1] == b"<<<<<<< ours\none\n=======\neins\n>>>>>>> theirs\n2\nthree\n"
    assert made[0] == file(made[1])


@pytest.mark.parametrize("base", [None, DIR, Link(b"t")], ids=str)
def test_without_a_base_all_of_it_is_in_dispute(base: Entry | None) -> None:
    made = marked_file(BLOBS.kept.__getitem__, base, *FILES[1:])
    assert made is not None and made[1].count(b"three") == 1 and b"3\n" in made[1]


@pytest.mark.parametrize("other", [None, DIR, Link(b"t")], ids=str)
def test_what_is_no_file_is_never_marked(other: Entry | None) -> None:
    assert marked_file(BLOBS.kept.__getitem__, FILES[0], other, FILES[2]) is None
    assert marked_file(BLOBS.kept.__getitem__, FILES[0], FILES[1], other) is None
