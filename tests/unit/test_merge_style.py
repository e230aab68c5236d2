"""The decisions of a conflict's style: names, copies and markers, without a disk."""

from __future__ import annotations

from itertools import islice

import pytest

from daemon.config import KEYS
from store.types import DIR, Entry, File, Link, RelPath, digest_of
from sync.core.merge.style import Style, copy_names, cut_name, draw_copies, lost_entry, mark_both, named_after
from sync.core.plan import EDIT_EDIT, FILE_FOLDER, Action, Clash
from tests.two_replicas import rel

TEXT = File(digest_of(b"text"), 4)
OTHER = File(digest_of(b"other"), 5)
TAG = TEXT.digest.hex()[:12]


def clash(path: str, ours: Entry | None, theirs: Entry | None, kind: str = EDIT_EDIT) -> Clash:
    return Clash(rel(path), kind, None, ours, theirs)


def name_of(path: str, lost: File | Link = TEXT, number: int = 1) -> str:
    return list(islice(copy_names(rel(path), lost), number))[-1].decode()


def test_the_setting_knows_the_styles() -> None:
    assert KEYS["conflict.style"].choices == tuple(Style)


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        ("notes.txt", f"notes.conflict-{TAG}.txt"),
        ("deep/in/notes.txt", f"deep/in/notes.conflict-{TAG}.txt"),
        ("Makefile", f"Makefile.conflict-{TAG}"),
        (".bashrc", f".bashrc.conflict-{TAG}"),
        ("a.tar.gz", f"a.tar.conflict-{TAG}.gz"),
        ("ends.", f"ends.conflict-{TAG}."),
        ("a.sixteen-letters0", f"a.conflict-{TAG}.sixteen-letters0"),
        ("a.seventeen-letters", f"a.seventeen-letters.conflict-{TAG}"),
        ("v1.this is no kind of a file", f"v1.this is no kind of a file.conflict-{TAG}"),
        (f"notes.conflict-{TAG}.txt", f"notes.conflict-{TAG}.conflict-{TAG}.txt"),
    ],
)
def test_a_copys_name(path: str, copy: str) -> None:
    assert name_of(path) == copy
    assert name_of(path, number=3).startswith(copy.partition(f"-{TAG}")[0])
    assert named_after(rel(copy)) == named_after(rel(path))


def test_a_copys_name_is_its_contents() -> None:
    assert name_of("notes.txt", OTHER) != name_of("notes.txt") == name_of("notes.txt", File(TEXT.digest, 4, executable=True))
    assert name_of("notes.txt", Link(b"text")) == f"notes.conflict-{TAG}.txt"
    assert name_of("notes.txt", number=2) == f"notes.conflict-{TAG}-2.txt"
    names = list(copy_names(rel("notes.txt"), TEXT))
    assert len(set(names)) == len(names) == 999


def test_a_long_name_is_cut_between_letters() -> None:
    for start in ("", "x", "xy"):
        name = name_of(start + "€" * 80 + ".text")
        assert 252 < len(name.encode()) <= 255 and name.endswith(".text")
    assert [cut_name("aéé".encode(), size) for size in range(6)] == [b"", b"a", b"a", b"a\xc3\xa9", b"a\xc3\xa9", b"a\xc3\xa9\xc3\xa9"]
    raw = next(copy_names(RelPath(b"\xff" * 255), TEXT))
    assert len(raw) == 255
    assert cut_name(b"a@c", 2) == b"a@"
    assert cut_name(b"\x80\x80\x80", 2) == b"", "what has no beginning of a letter has none to keep"


def test_where_no_path_can_be_there_are_no_names() -> None:
    folder = "/".join(["f" * 250] * 16)
    assert list(copy_names(rel(folder + "/" + "n" * 70), TEXT)) == []


@pytest.mark.parametrize(
    ("path", "original"),
    [
        (f"a/prod.conflict-{TAG}.env", "a/prod.env"),
        (f"a/prod.conflict-{TAG}-12.env", "a/prod.env"),
        (f"id_rsa.conflict-{TAG}.ours2", "id_rsa"),
        (f"id_rsa.conflict-{TAG}.conflict-{TAG}", "id_rsa"),
        ("credentials.ours", "credentials"),
        ("credentials.theirs", "credentials"),
        ("credentials.ours.ours3", "credentials"),
        ("ours", "ours"),
        (".ours", ".ours"),
        ("a.ours/b", "a.ours/b"),
        (f"a.conflict-{TAG}/b", f"a.conflict-{TAG}/b"),
        ("a.conflict-12.txt", "a.conflict-12.txt"),
    ],
)
def test_a_copy_is_named_after_its_path(path: str, original: str) -> None:
    assert named_after(rel(path)) == original.encode()


@pytest.mark.parametrize(
    ("ours", "theirs", "lost"),
    [(TEXT, OTHER, TEXT), (TEXT, DIR, TEXT), (DIR, TEXT, TEXT), (Link(b"x"), TEXT, Link(b"x")), (None, TEXT, None), (DIR, DIR, None)],
)
def test_who_loses_its_place(ours: Entry | None, theirs: Entry | None, lost: Entry | None) -> None:
    assert lost_entry(ours, theirs) == lost


def test_copies_take_free_names_only() -> None:
    first, second, third = (rel(name_of("f", number=number)) for number in (1, 2, 3))

    def draw(there: dict[RelPath, Entry], *used: RelPath) -> list[Action]:
        return draw_copies([clash("f", TEXT, OTHER)], there.get, lambda path: path not in used)

    assert draw({}) == [Action(first, None, TEXT)]
    assert draw({first: TEXT}) == [], "it is there"
    assert draw({first: OTHER}) == [Action(second, None, TEXT)]
    assert draw({first: OTHER}, second) == [Action(third, None, TEXT)]
    assert draw({first: DIR, second: TEXT}) == []


def test_clashes_of_one_plan_share_no_name() -> None:
    stem = "n" * 250
    alike = [clash(stem + end, File(TEXT.digest, 4, executable=end == "1"), OTHER) for end in "012"]
    copies = draw_copies(alike, lambda path: None, lambda path: True)
    assert len({step.path for step in copies}) == len(copies) == 2, "one content with two modes; the third is there already"
    folder = draw_copies([clash("thing", DIR, TEXT, FILE_FOLDER), clash("gone", None, TEXT)], lambda path: None, lambda path: True)
    assert folder == [Action(rel(name_of("thing")), None, TEXT)]


@pytest.mark.parametrize("data", [b"a\n", b"", "caf\u00e9 \u4e00\n".encode(), b"\xef\xbb\xbfa\r\n\tb\x0c\x1b[0m\n", b"== a ==\n=======\n"])
def test_surely_text(data: bytes) -> None:
    marked = b"<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n"
    assert mark_both(data, data + b"ours\n", data + b"theirs\n") == data + marked


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bad", [b"caf\xe9\n", b"a\x00\n", b"a\x07\n", b"\x7fELF\n", "a\n".encode("utf-16"), b"\n" * 150_001])
def test_not_surely_text(bad: bytes, at: int) -> None:
    texts = [b"a\n", b"b\n", b"c\n"]
    texts[at] = bad
    assert mark_both(*texts) is None


@pytest.mark.parametrize("line", [b"<<<<<<< ours\n", b">>>>>>> theirs\n", b"<<<<<<<", b"a\r\n>>>>>>>>> quoted\r\n"])
def test_no_markers_among_markers(line: bytes) -> None:
    assert mark_both(b"", line, b"a\n") is mark_both(b"", b"a\n", line) is None
    assert mark_both(line, b"a\n", b"b\n") is not None, "what is gone on both sides confuses nobody"
