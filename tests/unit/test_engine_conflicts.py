"""Conflicts among real engines: what is left in the folder by each style, and that no text is lost, doubled or told to the wrong people."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from daemon import verbs
from store import conflicts, history
from store.conflicts import Conflict
from store.errors import InvalidValue
from store.manifest import entry_of
from store.types import Digest, Entry, File, Link, RelPath, digest_of
from sync import adopt
from sync.apply.run import Run
from sync.core.merge.style import Style, copy_names, lost_entry
from sync.core.plan import Action
from tests.two_replicas import WORKSPACE, MemoryCloud, Side, rel

Make = Callable[..., Side]


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud()


@pytest.fixture
def make(tmp_path: Path, cloud: MemoryCloud) -> Iterator[Make]:
    sides: list[Side] = []

    def one(name: str, **options: object) -> Side:
        sides.append(Side(tmp_path / name, cloud, **options))  # type: ignore[arg-type]
        return sides[-1]

    yield one
    for side in sides:
        side.close()


def by_name_or_token(path: RelPath, entry: File) -> str | None:
    """What these tests take for a secret."""
    return "a token" if path.endswith(b".env") else None


def test_the_record_of_a_secret_stays_here(make: Make) -> None:
    """An undo can clash with a later edit of a file that is held back; its record may not carry it into the cloud."""
    a = make("a", suspect=by_name_or_token)
    a.write("app.env", "one\n")
    a.sync()
    first = str(a.replica.row.sequence)
    a.write("app.env", "two\n")
    a.sync()
    verbs.restore(a.replica, first, [], dry_run=False)
    a.write("app.env", "three\n")
    a.sync()
    verbs.undo(a.replica, dry_run=False)
    a.sync()
    assert a.tree() == {"app.env": "two\n"}
    (record,) = conflicts.list_conflicts(a.db.read(), WORKSPACE.id)
    assert a.kept("three\n")
    assert a.cloud.blobs == {} and a.cloud.records == {}
    verbs.resolve(a.replica, [record], "both", None)
    a.sync()
    assert a.tree() == {"app.env": "two\n", "app.env.ours": "three\n"}
    assert a.cloud.blobs == {} and a.cloud.records == {}
    a.policy = type(a.policy)(a.policy.limits, None, "boot")
    a.sync()
    assert set(a.cloud.blobs.values()) >= {b"two\n", b"three\n"}
    assert [one.state for one in a.cloud.records.values()] == ["resolved"]


class Several:
    """Three machines or four that have one state in common, by one style each or one for all."""

    def __init__(self, make: Make, styles: str) -> None:
        self.sides = [make(f"m{number}") for number in range(len(styles.split()))]
        for side, style in zip(self.sides, styles.split(), strict=True):
            side.replica.style = Style(style)

    def begin(self, files: dict[str, str]) -> None:
        for path, text in files.items():
            self.sides[0].write(path, text)
        self.settle()

    def settle(self, *, restart: bool = False) -> None:
        """Rounds until nothing moves any more, and all folders are one."""
        for _ in range(8):
            cloud = self.sides[0].cloud
            before = cloud.version, dict(cloud.records)
            for side in self.sides:
                if restart:
                    side.restart()
                side.sync()
            if (cloud.version, cloud.records) == before and len({repr(side.tree()) for side in self.sides}) == 1:
                return
        raise AssertionError(f"no rest: {[side.tree() for side in self.sides]}")

    @property
    def tree(self) -> dict[str, str]:
        return self.sides[0].tree()

    def records(self) -> list[Conflict]:
        """The open ones, which every machine has."""
        told = [conflicts.list_conflicts(side.db.read(), WORKSPACE.id) for side in self.sides]
        assert all([one.id for one in records] == [one.id for one in told[0]] for records in told)
        return told[0]

    def losers(self) -> list[str]:
        """The texts of the records' losing sides."""
        blobs = self.sides[0].blobs
        return [blobs.get(entry.digest).decode() for one in self.records() if isinstance(entry := lost_in(one), File)]


def lost_in(record: Conflict) -> Entry | None:
    ours, theirs = (None if side is None else entry_of(side)[1] for side in (record.ours, record.theirs))
    return lost_entry(ours, theirs)


def copies_in(tree: dict[str, str]) -> dict[str, str]:
    return {path: text for path, text in tree.items() if ".conflict-" in path}


ALL = "record record record", "copy copy copy", "markers markers markers", "record copy markers", "copy copy copy copy"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("styles", ALL)
def test_all_changed_one_file_at_once(make: Make, styles: str, restart: bool) -> None:
    """C1: one text has the place; each other is in a record of its own and, by style, in a copy or between markers."""
    several = Several(make, styles)
    several.begin({"notes.txt": "base\n", "other.txt": "other\n"})
    texts = [f"by {number}\n" for number in range(len(several.sides))]
    for side, text in zip(several.sides, texts, strict=True):
        side.write("notes.txt", text)
        side.look()
    several.settle(restart=restart)
    tree = several.tree
    assert sorted(several.losers()) == texts[1:]
    if "markers" not in styles:
        assert tree["notes.txt"] == texts[0]
    wanted = [text for side, text in zip(several.sides, texts, strict=True) if side.replica.style is Style.COPY and text != texts[0]]
    assert sorted(copies_in(tree).values()) == wanted
    if styles == "markers markers markers":
        assert tree["notes.txt"] == "<<<<<<< ours\nby 1\n=======\nby 0\n>>>>>>> theirs\n", "no markers within markers"
    for side in several.sides:
        assert all(side.kept(text) for text in texts), "every text is on every machine"


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
@pytest.mark.parametrize("how", ["ours", "theirs", "both"])
def test_resolved_and_undone(make: Make, style: str, how: str) -> None:
    several = Several(make, f"{style} {style} {style}")
    several.begin({"notes.txt": "head\nbase\n"})
    for number, side in enumerate(several.sides):
        side.write("notes.txt", f"head\nby {number}\n")
        side.look()
    several.settle()
    before, records = several.tree, several.records()
    record = next(one for one in records if one.theirs and digest_of(b"head\nby 0\n").hex() in repr(one.theirs))
    ours = several.sides[0].blobs.get(bytes_of(record.ours)).decode()
    several.sides[2].sync()
    verbs.resolve(several.sides[2].replica, [record], how, None)
    several.settle()
    after = several.tree
    assert [one.id for one in several.records()] == [one.id for one in records if one.id != record.id]
    assert after["notes.txt"] == (ours if how == "ours" else "head\nby 0\n"), "no markers are left"
    beside = {path: text for path, text in after.items() if path != "notes.txt"}
    assert (ours in beside.values()) is (how == "both" or style == "copy")
    assert len(beside) == len(set(beside.values())), "no text twice"
    act = history.last_act(several.sides[2].db.read(), several.sides[2].replica.id)
    assert act is not None
    verbs.undo(several.sides[2].replica, dry_run=False)
    several.settle()
    assert several.tree == before
    assert all(side.kept(f"head\nby {number}\n") for number in range(3) for side in several.sides)


def bytes_of(record: object) -> Digest:
    entry = entry_of(record)[1]  # type: ignore[arg-type]
    assert isinstance(entry, File)
    return entry.digest


def test_a_copy_is_an_ordinary_file(make: Make) -> None:
    """C2: edited on two machines it is joined, or clashes as any file does, and its copy has a name of its own."""
    several = Several(make, "copy copy copy")
    several.begin({"notes.txt": "base\n"})
    for number, side in enumerate(several.sides):
        side.write("notes.txt", f"by {number}\n")
        side.look()
    several.settle()
    name = min(copies_in(several.tree))
    for number, side in enumerate(several.sides):
        side.write(name, f"copy by {number}\n")
        side.look()
    several.settle()
    found = copies_in(several.tree)
    assert len(found) == 4 and len(several.records()) == 4
    assert found[name] == "copy by 0\n"
    assert {"copy by 1\n", "copy by 2\n"} <= set(found.values())
    (several.sides[0].root / name).unlink()
    several.settle()
    assert name not in several.tree, "removed, it is gone everywhere"


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
def test_an_edit_outlives_a_deletion_without_a_conflict(make: Make, style: str) -> None:
    """C3: an edit within a folder that two others remove stays, in place; what nobody edited goes."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"folder/kept.txt": "base\n", "folder/gone.txt": "base\n", "deep/in/it.txt": "base\n"})
    a, b, c = several.sides
    for side in (a, c):
        shutil.rmtree(side.root / "folder")
        side.look()
    b.write("folder/kept.txt", "edited\n")
    several.settle()
    assert several.tree == {"folder/kept.txt": "edited\n", "deep/in/it.txt": "base\n"}
    assert several.records() == []


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
@pytest.mark.parametrize("folder_first", [True, False])
def test_file_folder_and_link_at_one_name(make: Make, style: str, folder_first: bool) -> None:
    """C4: the folder keeps the name; file and link are in records, and by style `copy` beside it."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"other": "other\n"})
    a, b, c = several.sides if folder_first else reversed(several.sides)
    a.write("thing/inside", "in a folder\n")
    b.write("thing", "a file\n")
    (c.root / "thing").symlink_to("other")
    for side in several.sides:
        side.look()
    several.settle()
    assert several.tree["thing/inside"] == "in a folder\n"
    assert {type(lost_in(one)) for one in several.records()} == {File, Link}
    names = [path.name for path in (a.root).iterdir() if ".conflict-" in path.name]
    assert len(names) == (2 if style == "copy" else 0)
    if style == "copy":
        assert {(a.root / name).is_symlink() for name in names} == {True, False}
        assert "a file\n" in copies_in(several.tree).values()
    record = next(one for one in several.records() if isinstance(lost_in(one), File))
    verbs.resolve(b.replica, [record], "both", None)
    several.settle()
    assert list(several.tree.values()).count("a file\n") == 1, "beside it, once"
    assert several.tree["thing/inside"] == "in a folder\n"
    with pytest.raises(InvalidValue):
        verbs.resolve(b.replica, several.records(), "edit", b"text")


def test_markers_that_were_settled_by_hand_stay_settled(make: Make) -> None:
    """Theirs is what the folder has: an edit on top of the markers is not taken back."""
    several = Several(make, "markers markers")
    several.begin({"notes.txt": "base\n"})
    for number, side in enumerate(several.sides):
        side.write("notes.txt", f"by {number}\n")
        side.look()
    several.settle()
    assert "<<<<<<<" in several.tree["notes.txt"]
    several.sides[0].write("notes.txt", "by 0 and 1\n")
    several.settle()
    verbs.resolve(several.sides[0].replica, several.records(), "theirs", None)
    several.settle()
    assert several.tree == {"notes.txt": "by 0 and 1\n"} and several.records() == []


@pytest.mark.parametrize("folder_first", [True, False])
@pytest.mark.parametrize("how", ["ours", "theirs"])
def test_a_folder_keeps_its_name_when_resolved(make: Make, how: str, folder_first: bool) -> None:
    """Ours may be the folder: to keep it is to do nothing. The file comes back beside it when it is the one that is chosen."""
    several = Several(make, "record record")
    several.begin({"other": "other\n"})
    a, b = several.sides if folder_first else reversed(several.sides)
    a.write("thing/inside", "in a folder\n")
    b.write("thing", "a file\n")
    b.look()
    several.settle()
    (record,) = several.records()
    file_is = "ours" if folder_first else "theirs"
    verbs.resolve(b.replica, [record], how, None)
    several.settle()
    beside = {f"thing.{file_is}": "a file\n"} if how == file_is else {}
    assert several.tree == {"other": "other\n", "thing/inside": "in a folder\n", **beside}
    assert not list(a.root.glob("thing.ours/")) and several.records() == []


def test_an_undo_leaves_a_filled_folder_its_name(make: Make) -> None:
    """S61: the file that it would bring back there is told of, and can be had."""
    several = Several(make, "record record")
    several.begin({"d/old": "old\n"})
    a = several.sides[0]
    first = str(a.replica.row.sequence)
    shutil.rmtree(a.root / "d")
    a.write("d", "a file\n")
    several.settle()
    verbs.restore(a.replica, first, [], dry_run=False)
    a.write("d/new", "since\n")
    a.look()
    verbs.undo(a.replica, dry_run=False)
    several.settle()
    assert several.tree == {"d/new": "since\n"} and several.losers() == ["a file\n"]
    verbs.resolve(a.replica, several.records(), "theirs", None)
    several.settle()
    assert several.tree == {"d/new": "since\n", "d.theirs": "a file\n"}


def test_a_file_that_took_a_folders_name_gives_way_to_what_an_undo_brings_back(make: Make) -> None:
    """S61b: it was made since, so it is told of."""
    several = Several(make, "record record")
    several.begin({"d/old": "old\n"})
    a = several.sides[0]
    first = str(a.replica.row.sequence)
    a.write("d/more", "more\n")
    several.settle()
    verbs.restore(a.replica, first, [], dry_run=False)
    shutil.rmtree(a.root / "d")
    a.write("d", "a file\n")
    a.look()
    verbs.undo(a.replica, dry_run=False)
    several.settle()
    assert several.tree == {"d/more": "more\n"} and several.losers() == ["a file\n"]


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
def test_the_same_made_by_all_is_no_conflict(make: Make, style: str) -> None:
    """C6: the same bytes; the executable bit is joined apart."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"other": "other\n"})
    for side in several.sides:
        side.write("new.sh", "same\n")
        side.look()
    (several.sides[1].root / "new.sh").chmod(0o755)
    several.settle()
    assert several.records() == []
    assert several.tree == {"new.sh": "same\n", "other": "other\n"}
    assert {(side.root / "new.sh").stat().st_mode & 0o111 != 0 for side in several.sides} == {True}


@pytest.mark.parametrize("style", ["copy", "markers"])
def test_two_that_lose_the_same_text_leave_one_thing(make: Make, style: str) -> None:
    """Two machines decide the same clash by themselves: same name, same bytes, no clash about it."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"notes.txt": "base\n"})
    a, b, c = several.sides
    a.write("notes.txt", "by a\n")
    for side in (b, c):
        side.write("notes.txt", "by both\n")
        side.look()
    a.sync()
    for side in (b, c):
        side.pull()
    assert b.tree() == c.tree()
    several.settle()
    assert len(several.tree) == (2 if style == "copy" else 1)
    assert {lost_in(one) for one in several.records()} == {File(digest_of(b"by both\n"), 8)}


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
def test_a_state_is_restored_while_others_edit(make: Make, style: str) -> None:
    """C12: a restore is one more edit; where others changed the same it clashes like one."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"notes.txt": "old\n", "other.txt": "old\n"})
    a, b, c = several.sides
    first = str(a.replica.row.sequence)
    a.write("notes.txt", "new\n")
    a.write("other.txt", "new\n")
    several.settle()
    b.write("notes.txt", "by b\n")
    b.look()
    c.write("other.txt", "by c\n")
    c.look()
    verbs.restore(a.replica, first, [], dry_run=False)
    several.settle()
    assert sorted(several.losers()) == ["by b\n", "by c\n"]
    texts = "".join(several.tree.values())
    assert texts.count("old\n") == 2
    assert all(text in texts for text in ("by b\n", "by c\n")) is (style != "record")
    assert all(side.kept("new\n") for side in several.sides)
    verbs.undo(a.replica, dry_run=False)
    several.settle()
    assert several.tree["notes.txt"] == "new\n" or several.losers()


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
@pytest.mark.parametrize("after", ["carry out", "nothing"])
def test_a_plan_that_was_cut_short_leaves_the_same(make: Make, monkeypatch: pytest.MonkeyPatch, style: str, after: str) -> None:
    """A crash before or after the folder was changed: one record, one copy, the same markers."""
    several = Several(make, f"{style} {style}")
    several.begin({"notes.txt": "base\n", "more.txt": "base\n"})
    a, b = several.sides
    a.write("notes.txt", "by a\n")
    a.sync()
    b.write("notes.txt", "by b\n")
    b.look()
    with monkeypatch.context() as patch:
        patch.setattr(adopt, "_finish" if after == "carry out" else "_carry_out", fail)
        with pytest.raises(Crash):
            b.pull()
    b.restart()
    several.settle()
    (record,) = several.records()
    assert lost_in(record) == File(digest_of(b"by b\n"), 5)
    notes = several.tree["notes.txt"]
    assert notes == ("<<<<<<< ours\nby b\n=======\nby a\n>>>>>>> theirs\n" if style == "markers" else "by a\n")
    assert list(copies_in(several.tree).values()) == (["by b\n"] if style == "copy" else [])


@pytest.mark.parametrize("left", range(1, 3))
def test_a_copy_goes_in_before_its_text_loses_its_place(make: Make, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """A crash between two steps, at each: the copy is there whenever the path has the other text."""
    several = Several(make, "copy copy")
    several.begin({"notes.txt": "base\n"})
    a, b = several.sides
    a.write("notes.txt", "by a\n")
    a.sync()
    b.write("notes.txt", "by b\n")
    b.look()
    steps: list[object] = []
    real = Run.carry_out

    def crash_before(run: Run, step: Action) -> None:
        steps.append(step)
        if len(steps) == left:
            raise Crash
        real(run, step)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "carry_out", crash_before)
        with pytest.raises(Crash):
            b.pull()
    assert "by b\n" in b.tree().values()
    b.restart()
    several.settle()
    assert sorted(several.tree.values()) == ["by a\n", "by b\n"] and len(several.records()) == 1


@pytest.mark.parametrize("style", ["record", "copy", "markers"])
def test_the_executable_bit_is_the_heads(make: Make, style: str) -> None:
    """A script that clashes still runs, and its copy is as it was."""
    several = Several(make, f"{style} {style}")
    several.begin({"run.sh": "base\n"})
    a, b = several.sides
    a.write("run.sh", "by a\n")
    (a.root / "run.sh").chmod(0o755)
    a.sync()
    b.write("run.sh", "by b\n")
    b.look()
    several.settle()
    for side in several.sides:
        runs = {file.name: bool(file.stat().st_mode & 0o100) for file in side.root.iterdir()}
        assert runs.pop("run.sh") is True
        assert set(runs.values()) <= {False}


def test_a_copy_never_takes_a_name_that_is_in_use(make: Make) -> None:
    """Not of a file that is carried, nor of one that a rule ignores and no manifest knows."""
    several = Several(make, "copy copy")
    several.begin({"notes.txt": "base\n", ".gitignore": "*-2.txt\n"})
    a, b = several.sides
    first, second, third = islice(copy_names(rel("notes.txt"), File(digest_of(b"by b\n"), 5)), 3)
    a.write("notes.txt", "by a\n")
    a.sync()
    b.write("notes.txt", "by b\n")
    b.write(first.decode(), "carried\n")
    b.write(second.decode(), "ignored\n")
    b.look()
    for side in (b, a, b):
        side.sync()
    tree = b.tree()
    assert (tree[first.decode()], tree[second.decode()], tree[third.decode()]) == ("carried\n", "ignored\n", "by b\n")


def test_a_long_name_has_a_copy(make: Make) -> None:
    several = Several(make, "copy copy copy")
    name = "x" + "é" * 124 + ".text"
    several.begin({name: "base\n"})
    for number, side in enumerate(several.sides):
        side.write(name, f"by {number}\n")
        side.look()
    several.settle()
    assert sorted(several.tree.values()) == ["by 0\n", "by 1\n", "by 2\n"]
    assert all(path.endswith(".text") and len(path.encode()) <= 255 for path in several.tree)


@pytest.mark.parametrize("style", ["copy", "markers"])
@pytest.mark.parametrize("data", [b"\0by @", b"caf\xe9 by @\n", "\ufeffby @\n".encode("utf-16-le"), b"a\x01 @\n", b"<<<<<<< @\n"])
def test_what_is_not_surely_text_has_no_markers(make: Make, style: str, data: bytes) -> None:
    """C11: both are kept as they are."""
    several = Several(make, f"{style} {style} {style}")
    several.begin({"thing": "base\n"})
    texts = [data.replace(b"@", b"%d" % number) for number in range(3)]
    for side, text in zip(several.sides, texts, strict=True):
        (side.root / "thing").write_bytes(text)
        side.look()
    for _ in range(3):
        for side in several.sides:
            side.sync()
    for side in several.sides:
        assert (side.root / "thing").read_bytes() == texts[0]
        found = sorted(file.read_bytes() for file in side.root.iterdir())
        assert found == sorted(texts if style == "copy" else texts[:1])
    assert {lost_in(one) for one in several.records()} == {File(digest_of(text), len(text)) for text in texts[1:]}


def test_the_copy_of_a_secret_is_one_too(make: Make) -> None:
    """Its name has another end, and it is held back all the same."""
    a = make("a", suspect=by_name_or_token)
    a.replica.style = Style.COPY
    a.write("prod.env", "one\n")
    a.sync()
    first = str(a.replica.row.sequence)
    a.write("prod.env", "two\n")
    a.sync()
    verbs.restore(a.replica, first, [], dry_run=False)
    a.write("prod.env", "three\n")
    a.sync()
    verbs.undo(a.replica, dry_run=False)
    a.sync()
    assert sorted(a.tree().values()) == ["three\n", "two\n"]
    assert a.cloud.blobs == {} and a.cloud.records == {}


class Crash(Exception):
    """What these tests raise where a machine would go down."""


def fail(*args: object) -> None:
    raise Crash
