"""A push that took effect while its answer was lost: what was done since is done to what it made, not to what was agreed before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from store import workspaces
from store.errors import Offline
from store.snapshots import newest_unshared
from store.types import File, RelPath
from sync.outgoing.steps import Bounds
from sync.share import SECRET
from tests.two_replicas import WORKSPACE, MemoryCloud, Side


def looks_secret(path: RelPath, entry: File) -> str | None:
    return "by its name" if path == b"secret" else None


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud()


@pytest.fixture
def pair(tmp_path: Path, cloud: MemoryCloud) -> Iterator[tuple[Side, Side]]:
    sides = Side(tmp_path / "a", cloud, looks_secret), Side(tmp_path / "b", cloud, looks_secret)
    for side in sides:
        side.write("kept", "by both\n")
        side.sync()
    yield sides
    for side in sides:
        side.close()


def push_unanswered(side: Side, cloud: MemoryCloud) -> None:
    side.look()
    cloud.lose_answers = 1
    with pytest.raises(Offline):
        side.push()


def agree(*sides: Side) -> dict[str, str]:
    """Everything back and forth; what all have."""
    for _ in range(2):
        for side in sides:
            side.sync()
    assert all(side.tree() == sides[0].tree() for side in sides)
    return sides[0].tree()


def restarted(side: Side) -> None:
    """As after a kill: the engine knows only what is kept."""
    side.engine = side.new_engine()


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("held", [False, True], ids=["all shared", "with a secret held back"])
def test_what_is_moved_and_removed_meanwhile_does_not_come_back(
    pair: tuple[Side, Side], cloud: MemoryCloud, is_killed: bool, held: bool
) -> None:
    a, b = pair
    if held:
        a.write("secret", "of a\n")
    a.write("folder/one", "1\n")
    a.write("gone", "soon\n")
    push_unanswered(a, cloud)
    (a.root / "folder").rename(a.root / "moved")
    (a.root / "gone").unlink()
    if is_killed:
        restarted(a)
    a.sync()
    b.sync()
    assert b.tree() == {"kept": "by both\n", "moved/one": "1\n"}
    assert a.tree() == b.tree() | ({"secret": "of a\n"} if held else {})
    assert not held or {row.kind for row in workspaces.list_apart(a.db.read(), a.replica.id).values()} == {SECRET}


def test_what_is_edited_meanwhile_is_no_clash(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    a, b = pair
    a.write("note", "first\n")
    push_unanswered(a, cloud)
    a.write("note", "second\n")
    assert agree(a, b) == {"kept": "by both\n", "note": "second\n"}
    assert not cloud.records


def test_what_others_built_on_it_is_followed(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    a, b = pair
    a.write("folder/one", "1\n")
    a.write("folder/two", "2\n")
    push_unanswered(a, cloud)
    b.sync()
    b.write("folder/two", "2, by b\n")
    b.sync()
    (a.root / "folder" / "one").unlink()
    assert agree(a, b) == {"kept": "by both\n", "folder/two": "2, by b\n"}


def test_a_snapshot_that_went_along_is_sent_once(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    a, b = pair
    a.write("note", "first\n")
    taken = a.snapshot("named")
    push_unanswered(a, cloud)
    a.write("note", "second\n")
    a.look()
    a.pull()
    assert newest_unshared(a.db.read(), WORKSPACE.id) is None
    agree(a, b)
    assert [one.id for one in cloud.taken] == [taken.id]
    assert a.merges() == [] and cloud.snapshot_id == taken.id


def test_the_version_of_another_machine_is_not_taken_for_ones_own(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    """The very same state, made by b: what a does not have any more it never had from there."""
    a, b = pair
    a.write("note", "same\n")
    a.look()
    b.write("note", "same\n")
    b.sync()
    (a.root / "note").unlink()
    restarted(a)
    assert agree(a, b) == {"kept": "by both\n", "note": "same\n"}


def test_a_state_from_before_what_is_agreed_is_not_taken_for_the_push(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    """A machine restored from an image: its name is on a version whose state it once had, and that is not what it comes from."""
    a, _ = pair
    for text in ("one\n", "two\n"):
        a.write("note", text)
        a.sync()
    row = a.replica.row
    a.write("note", "one\n")
    push_unanswered(a, cloud)
    a.write("note", "two\n")
    a.look()
    assert a.replica.row.full_root == row.full_root
    a.db.write_now(lambda tx: list(tx.execute("DELETE FROM log WHERE sequence > $1", (row.sequence,))))
    a.db.write_now(lambda tx: workspaces.set_full(tx, row.id, row.full_root, row.sequence))
    a.replica.reload()
    restarted(a)
    a.sync()
    assert a.tree()["note"] == "one\n", "the cloud's newer state, and not an edit of what the image had"


def test_a_part_of_a_large_push_is_known_again(tmp_path: Path, cloud: MemoryCloud) -> None:
    a, b = (Side(tmp_path / name, cloud, bounds=Bounds(changes=2, steps=1)) for name in "ab")
    for number in range(7):
        a.write(f"f{number}", f"{number}\n")
    push_unanswered(a, cloud)
    for number in range(3):
        (a.root / f"f{number}").unlink()
    assert agree(a, b) == {f"f{number}": f"{number}\n" for number in range(3, 7)}
    a.close()
    b.close()


def test_a_secret_that_is_let_go_and_removed_meanwhile_does_not_come_back(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    """S52: the state that it is in was a version before, without it."""
    a, b = pair
    a.write("secret", "of a\n")
    a.write("note", "of a\n")
    agree_but_for_secrets = {"kept": "by both\n", "note": "of a\n"}
    a.sync()
    b.sync()
    assert b.tree() == agree_but_for_secrets
    for side in pair:
        side.policy = msgspec.structs.replace(side.policy, suspect=None)
    push_unanswered(a, cloud)
    (a.root / "secret").unlink()
    assert agree(a, b) == agree_but_for_secrets


def test_the_last_part_of_a_large_push_is_known_again_beside_a_secret(tmp_path: Path, cloud: MemoryCloud) -> None:
    """It leads to no state's whole root, and the parts before it were noted in its place."""
    a, b = (Side(tmp_path / name, cloud, looks_secret, bounds=Bounds(changes=2, steps=1)) for name in "ab")
    a.write("secret", "of a\n")
    for number in range(4):
        a.write(f"f{number}", f"{number}\n")
    cloud.answers = 1
    push_unanswered(a, cloud)
    assert cloud.version == 3
    (a.root / "f3").unlink()
    a.sync()
    b.sync()
    assert b.tree() == {f"f{number}": f"{number}\n" for number in range(3)}
    a.close()
    b.close()
