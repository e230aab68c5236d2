"""The real engine on disks that fold names or refuse some: one path waits, told, and nothing else is touched (A2, A3, C5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from store import conflicts, workspaces
from store.atomic import Folder, Written
from store.errors import InvalidReply, Stale, Unwritable
from store.manifest import Draft, edit_manifest, walk_manifest
from store.types import DIR, Digest, File, RelPath, digest_of
from sync import adopt
from sync.core.plan import NAME_COLLISION, NAME_REFUSED
from sync.share import OWED
from tests.alphabet import is_tree
from tests.folding import Apple, Ascii, Fat
from tests.two_replicas import CatchUpAnswer, MemoryCloud, Side, run

Make = Callable[..., Side]


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud()


@pytest.fixture
def make(tmp_path: Path, cloud: MemoryCloud) -> Iterator[Make]:
    with ExitStack() as stack:

        def new(name: str, disk: type[Folder] = Folder) -> Side:
            side = Side(tmp_path / name, cloud, disk=disk)
            stack.callback(side.close)
            run(side.engine.recover())
            return side

        yield new


def held(side: Side) -> dict[str, str]:
    return {path.decode(): row.kind for path, row in workspaces.list_apart(side.db.read(), side.replica.id).items()}


def reasons(side: Side) -> list[str]:
    return [row.reason for row in workspaces.list_apart(side.db.read(), side.replica.id).values()]


def head(cloud: MemoryCloud) -> dict[str, str]:
    """The cloud's files and what is in them."""
    entries = walk_manifest(cloud.root, cloud.nodes_kept)
    return {path.decode(): cloud.blobs[entry.digest].decode() for path, entry in entries if hasattr(entry, "digest")}


def told(side: Side) -> list[tuple[str, str, str]]:
    """The open records: path, ours, theirs."""

    def text(record: object) -> str:
        digest = getattr(record, "hash", None)
        return side.blobs.get(bytes.fromhex(digest)).decode() if digest else ""  # type: ignore[arg-type]

    waiting = conflicts.list_conflicts(side.db.read(), side.replica.row.workspace_id)
    return [(one.path.decode(), text(one.ours), text(one.theirs)) for one in waiting]


def test_of_two_names_that_are_one_here_the_first_is_written_and_the_other_waits(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("Notes", "one\n")
    a.write("notes", "two\n")
    a.write("else", "three\n")
    a.sync()
    b.sync()
    assert b.tree() == {"Notes": "one\n", "else": "three\n"}
    assert held(b) == {"notes": NAME_COLLISION}
    assert reasons(b) == ["notes is not written here: on this disk it would be the same file as Notes."]

    b.write("else", "four\n")
    b.sync()
    a.sync()
    assert a.tree() == head(cloud) == {"Notes": "one\n", "else": "four\n", "notes": "two\n"}

    a.write("notes", "two, again\n")
    a.sync()
    b.sync()
    assert (b.tree()["Notes"], held(b)) == ("one\n", {"notes": NAME_COLLISION})
    (b.root / "Notes").unlink()
    b.sync()
    assert b.tree() == head(cloud) == {"else": "four\n", "notes": "two, again\n"}
    assert not held(b)


def test_what_could_be_taken_at_last_yields_to_an_edit_that_nobody_saw_yet(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("Notes", "one\n")
    a.write("notes", "two\n")
    a.sync()
    b.sync()
    (b.root / "Notes").unlink()
    b.look()
    b.write("notes", "mine\n")
    version = cloud.version
    with pytest.raises(Stale) as caught:
        b.push()
    assert (caught.value.message, caught.value.details["stale"]) == ("notes changed while it was being updated", (b"notes",))
    assert (b.tree(), cloud.version) == ({"notes": "mine\n"}, version)
    b.sync()
    a.sync()
    assert "mine\n" in {*head(cloud).values(), *(ours for _, ours, _ in told(b))}


def test_who_is_here_keeps_the_name(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("x", "x\n")
    a.sync()
    b.sync()
    b.write("read.me", "mine\n")
    a.write("READ.ME", "theirs\n")
    a.sync()
    b.sync()
    a.sync()
    assert b.tree() == {"read.me": "mine\n", "x": "x\n"}
    assert a.tree() == head(cloud) == {"READ.ME": "theirs\n", "read.me": "mine\n", "x": "x\n"}


def test_a_folder_that_is_anothers_in_disguise_gets_nothing_into_the_other(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("src/x", "x\n")
    a.sync()
    b.sync()
    a.write("SRC/x", "other\n")
    a.write("SRC/deep/y", "y\n")
    a.sync()
    b.sync()
    a.write("SRC/later", "z\n")
    a.write("src/more", "more\n")
    a.sync()
    b.sync()
    assert b.tree() == {"src/more": "more\n", "src/x": "x\n"}
    assert set(held(b)) == {"SRC", "SRC/x", "SRC/deep", "SRC/deep/y", "SRC/later"}
    a.sync()
    assert head(cloud) == a.tree() and len(a.tree()) == 5


def test_a_rename_that_only_changes_case_arrives(make: Make) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("readme", "text\n")
    a.write("src/deep/x", "x\n")
    a.sync()
    b.sync()
    (a.root / "readme").rename(a.root / "README")
    (a.root / "src").rename(a.root / "Src")
    a.sync()
    b.sync()
    assert b.tree() == a.tree() == {"README": "text\n", "Src/deep/x": "x\n"}
    assert not held(b)


def test_what_is_made_at_a_name_that_waits_stands_against_what_waits(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("Notes", "one\n")
    a.write("notes", "two\n")
    a.sync()
    b.sync()
    (b.root / "Notes").unlink()
    b.write("notes", "three\n")
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == head(cloud) == {"notes": "two\n"}
    assert told(b) == [("notes", "three\n", "two\n")]


def test_what_is_put_into_a_folder_at_a_name_that_waits_joins_it(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("D", "file\n")
    a.write("d/x", "theirs\n")
    a.write("d/y", "y\n")
    a.sync()
    b.sync()
    assert b.tree() == {"D": "file\n"}
    (b.root / "D").unlink()
    b.write("d/x", "mine\n")
    b.write("d/own", "own\n")
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == head(cloud) == {"d/own": "own\n", "d/x": "theirs\n", "d/y": "y\n"}
    assert told(a) == [("d/x", "mine\n", "theirs\n")]


def test_what_is_made_at_a_name_that_waits_leaves_shared_a_tree(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("D", "file\n")
    a.write("d/x", "x\n")
    a.sync()
    b.sync()
    (b.root / "D").unlink()
    b.write("d", "a file\n")
    b.look()
    run(b.engine.share())
    assert is_tree(dict(walk_manifest(b.replica.row.shared_root, b.blobs)))
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == head(cloud) == {"d/x": "x\n"}
    assert told(a) == [("d", "a file\n", "")]


def test_two_forms_of_a_name_are_one_on_a_disk_that_normalises(make: Make) -> None:
    a, b = make("a"), make("b", Apple)
    a.write("caf\u00e9", "one\n")
    a.write("cafe\u0301", "two\n")
    (a.root.joinpath("x")).write_text("x\n")
    a.sync()
    b.sync()
    assert b.tree() == {"cafe\u0301": "two\n", "x": "x\n"}
    assert held(b) == {"caf\u00e9": NAME_COLLISION}


@pytest.mark.parametrize("name", ["a:b", "what?", "end.", "space ", "CON", "nul.txt", "com1", "a\\b"])
def test_a_name_the_disk_cannot_hold_blocks_only_itself(make: Make, cloud: MemoryCloud, name: str) -> None:
    a, b = make("a"), make("b", Fat)
    a.write(f"{name}", "bad\n")
    a.write(f"d/{name}/below", "bad\n")
    a.write("d/good", "good\n")
    a.sync()
    b.sync()
    assert b.tree() == {"d/good": "good\n"}
    assert held(b) == dict.fromkeys([name, f"d/{name}", f"d/{name}/below"], NAME_REFUSED)
    b.write("d/good", "better\n")
    b.sync()
    a.sync()
    assert a.tree() == head(cloud) == {name: "bad\n", f"d/{name}/below": "bad\n", "d/good": "better\n"}
    (a.root / name).unlink()
    a.sync()
    b.sync()
    assert set(held(b)) == {f"d/{name}", f"d/{name}/below"}


def test_a_folder_that_folds_in_a_root_that_does_not_is_met_by_what_the_disk_says(make: Make, cloud: MemoryCloud) -> None:
    """ext4 and NTFS can have it so: `+F` on one folder."""

    class Below(Ascii):
        @classmethod
        def open_root(cls, path: bytes | Path) -> Folder:
            root = super().open_root(path)
            root.key = lambda name: name  # type: ignore[attr-defined]
            return root

    a, b = make("a"), make("b", Below)
    a.write("d/name", "one\n")
    a.write("d/keep/x", "x\n")
    a.sync()
    b.sync()
    a.write("d/NAME", "one\n")  # the same bytes: not to be taken for a step that was done
    a.write("d/Name", "other\n")
    a.write("d/KEEP/x", "x\n")
    a.write("d/KEEP/y", "y\n")
    a.write("ok", "ok\n")
    a.sync()
    b.sync()
    assert b.tree() == {"d/keep/x": "x\n", "d/name": "one\n", "ok": "ok\n"}
    assert held(b) == dict.fromkeys(["d/NAME", "d/Name", "d/KEEP", "d/KEEP/x", "d/KEEP/y"], NAME_REFUSED)
    b.sync()
    a.sync()
    assert head(cloud) == a.tree() and len(a.tree()) == 7


class Stubborn(Folder):
    """Nothing at `stuck` is replaced or removed while `on`, and nothing can be made there."""

    on: ClassVar[bool] = True

    def write_temp(self, name: bytes, *args: object, **options: object) -> Written:
        self.refuse(name)
        return super().write_temp(name, *args, **options)  # type: ignore[arg-type]

    def take_aside(self, name: bytes) -> object:  # type: ignore[override]
        self.refuse(name)
        return super().take_aside(name)

    def refuse(self, name: bytes) -> None:
        if self.on and name == b"stuck":
            raise Unwritable("refused")


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stubborn]]:
    monkeypatch.setattr(Stubborn, "on", True)
    yield Stubborn


def test_an_edit_of_what_the_folder_could_not_take_does_not_silently_win(make: Make, cloud: MemoryCloud, stubborn: type[Stubborn]) -> None:
    a, b = make("a"), make("b", stubborn)
    a.write("stuck", "1\n2\n3\n4\n5\n")
    a.sync()
    b.sync()
    assert held(b) == {"stuck": OWED}
    stubborn.on = False
    run(b.engine.plan_again())
    assert b.tree() == a.tree()
    stubborn.on = True
    a.write("stuck", "one\n2\n3\n4\n5\n")
    a.sync()
    b.sync()
    b.write("stuck", "1\n2\n3\n4\nfive\n")
    b.look()
    stubborn.on = False
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == head(cloud) == {"stuck": "one\n2\n3\n4\nfive\n"}
    assert not held(b) and not told(a)


def test_an_edit_beside_what_the_folder_still_cannot_take_is_recorded_once(
    make: Make, cloud: MemoryCloud, stubborn: type[Stubborn]
) -> None:
    a, b = make("a"), make("b", stubborn)
    stubborn.on = False
    a.write("stuck", "base\n")
    a.sync()
    b.sync()
    stubborn.on = True
    a.write("stuck", "theirs\n")
    a.sync()
    b.sync()
    b.write("stuck", "mine\n")
    for _ in range(3):
        b.sync()
        run(b.engine.plan_again())
    assert told(b) == [("stuck", "mine\n", "theirs\n")]
    assert (b.tree(), head(cloud)) == ({"stuck": "mine\n"}, {"stuck": "theirs\n"})
    (record,) = conflicts.list_conflicts(b.db.read(), b.replica.row.workspace_id)
    settled = msgspec.structs.replace(record, state="resolved", resolution="theirs")
    b.db.write_now(lambda tx: conflicts.put_conflict(tx, settled, sent=True))
    run(b.engine.plan_again())
    assert not told(b), "what was settled is not asked again"
    stubborn.on = False
    b.sync()
    run(b.engine.plan_again())
    assert b.tree() == head(cloud) == {"stuck": "theirs\n"}


def test_a_try_that_was_killed_is_made_again_without_news(
    make: Make, cloud: MemoryCloud, stubborn: type[Stubborn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun then leads to what is agreed already: no pull would ever end it."""

    class Killed(BaseException):
        """The process is gone."""

    def die(*args: object) -> None:
        raise Killed

    a, b = make("a"), make("b", stubborn)
    a.write("stuck", "theirs\n")
    a.sync()
    b.sync()
    stubborn.on = False
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(adopt, "_carry_out", die)
        run(b.engine.plan_again())
    run(b.engine.recover())
    b.sync()
    run(b.engine.plan_again())
    assert b.tree() == head(cloud) == {"stuck": "theirs\n"} and not held(b)


def test_a_new_file_in_a_folder_that_could_not_go_brings_it_back(make: Make, cloud: MemoryCloud) -> None:
    a, b = make("a"), make("b")
    a.write("d/x", "x\n")
    a.write("else", "else\n")
    a.sync()
    b.sync()
    b.write("d/.gitignore", "junk\n")
    b.sync()
    a.sync()
    b.write("d/junk", "junk\n")
    for name in ("x", ".gitignore"):
        (a.root / "d" / name).unlink()
    (a.root / "d").rmdir()
    a.sync()
    b.sync()
    assert held(b) in ({}, {"d": OWED})
    b.write("d/new", "new\n")
    b.sync()
    a.sync()
    assert head(cloud)["d/new"] == a.tree()["d/new"] == "new\n"


def test_a_folder_removed_while_something_waits_in_it_comes_back_with_it(make: Make, cloud: MemoryCloud, stubborn: type[Stubborn]) -> None:
    a, b = make("a"), make("b", stubborn)
    a.write("d/x", "x\n")
    a.sync()
    b.sync()
    a.write("d/stuck", "s\n")
    a.sync()
    b.sync()
    assert held(b) == {"d/stuck": OWED}
    (b.root / "d" / "x").unlink()
    (b.root / "d").rmdir()
    stubborn.on = False
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == head(cloud) == {"d/stuck": "s\n"}


def test_what_waits_is_known_after_a_restart(make: Make) -> None:
    a, b = make("a"), make("b", Ascii)
    a.write("Notes", "one\n")
    a.write("notes", "two\n")
    a.sync()
    b.sync()
    b.engine = b.new_engine()
    run(b.engine.recover())
    (b.root / "Notes").unlink()
    b.sync()
    assert b.tree() == {"notes": "two\n"}


def test_a_root_on_another_disk_is_asked_anew(make: Make) -> None:
    b = make("b", Ascii)
    assert b.replica.disk().case
    b.replica._folder = Folder
    assert b.replica.disk().case
    (b.root.parent / "other").mkdir()
    with Folder.open_root(b.root.parent / "other") as other:
        dev, ino = other.identity()
    b.replica.row = msgspec.structs.replace(b.replica.row, root=bytes(b.root.parent / "other"), root_dev=dev, root_ino=ino)
    assert not b.replica.disk().case


@pytest.mark.parametrize("name", [".GIT", ".git\u200c", ".fst.", "GIT~1"])
def test_a_spelling_of_our_own_names_is_refused_on_every_disk(make: Make, cloud: MemoryCloud, name: str) -> None:
    """A3: what some file system would take for `.git` is never taken from others, not even where it would be harmless."""
    a = make("a")
    a.write("mine", "mine\n")
    a.sync()
    hook = File(digest_of(b"evil"), 4, True)
    evil = Draft(cloud.nodes_kept)
    cloud.root = edit_manifest(cloud.root, [(RelPath(name.encode()), DIR), (RelPath(f"{name}/hook".encode()), hook)], evil)
    cloud.version += 1
    cloud.blobs[hook.digest] = b"evil"
    for data in evil.new.values():
        cloud.nodes_kept.put(data)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InvalidReply):
        patch.setattr(cloud, "catch_up", only_nodes(cloud))
        a.pull()
    assert sorted(path.name for path in a.root.rglob("*")) == ["mine"]


def only_nodes(cloud: MemoryCloud) -> Callable[..., Any]:
    async def catch_up(workspace_id: str, version: int, root: Digest) -> CatchUpAnswer:
        return CatchUpAnswer(cloud.head(), None, None)

    return catch_up
