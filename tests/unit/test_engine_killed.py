"""Killed in mid apply, and a person goes on before the daemon is back: what they removed stays removed (J2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from store.types import File, RelPath
from sync import adopt
from sync.apply.run import Run
from sync.core.merge.style import Style
from sync.core.plan import Action
from sync.replica import LocalReplica
from tests.two_replicas import MemoryCloud, Side, rel, run


class Killed(BaseException):
    """The process is gone at this very point."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    cloud = MemoryCloud()
    a, b = Side(tmp_path / "a", cloud), Side(tmp_path / "b", cloud)
    a.write("kept", "on both\n")
    a.write("joined", "one\ntwo\nthree\n")
    a.sync()
    b.sync()
    yield a, b
    a.close()
    b.close()


def pull_killed(side: Side, monkeypatch: pytest.MonkeyPatch, before: RelPath | None = None) -> None:
    """It dies before this path is written; None: when all are, before that is known."""
    carry_out = Run.carry_out

    def step_or_die(self: Run, step: Action) -> None:
        if step.path == before:
            self.leave()
            raise Killed
        carry_out(self, step)

    def die(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if before is None:
            patch.setattr(adopt, "_finish", die)
        else:
            patch.setattr(Run, "carry_out", step_or_die)
        side.pull()


def restart(side: Side, boot_id: str = "boot") -> None:
    """As after a kill: all that is known is what is kept."""
    side.policy = msgspec.structs.replace(side.policy, boot_id=boot_id)
    side.replica = LocalReplica(side.db, side.blobs, side.clock, side.replica.id)
    side.engine = side.new_engine()
    run(side.engine.recover())


def agree(a: Side, b: Side) -> dict[str, str]:
    for side in (a, b, a, b):
        side.sync()
    assert a.tree() == b.tree()
    return a.tree()


def many(side: Side) -> None:
    for name in "123":
        side.write(f"folder/{name}", f"{name}\n")


@pytest.mark.parametrize("restarts", [1, 2])
def test_what_a_person_removed_after_a_kill_stays_removed(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch, restarts: int) -> None:
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    (b.root / "folder/2").unlink()
    for _ in range(restarts):
        restart(b)
    b.sync()
    assert not (b.root / "folder/2").exists(), "not even for a moment"
    assert sorted(agree(a, b)) == ["folder/1", "folder/3", "joined", "kept"]


def test_what_had_not_come_before_the_kill_still_comes(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent because it was never written, and absent because it was removed, are two things."""
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch, rel("folder/3"))
    assert sorted(b.tree()) == ["folder/1", "folder/2", "joined", "kept"]
    (b.root / "folder/1").unlink()
    restart(b)
    assert sorted(agree(a, b)) == ["folder/2", "folder/3", "joined", "kept"]


def test_what_a_person_edited_after_a_kill_is_no_clash(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    b.write("folder/1", "edited on b\n")
    restart(b)
    assert agree(a, b)["folder/1"] == "edited on b\n"
    assert not b.cloud.records


def hold(side: Side, *held: str) -> None:
    """Texts with this in them are secrets from now on; with nothing, nothing is."""

    def suspect(path: RelPath, entry: File) -> str | None:
        return "a secret" if any(word.encode() in side.blobs.get(entry.digest) for word in held) else None

    side.policy = msgspec.structs.replace(side.policy, suspect=suspect if held else None)


@pytest.mark.parametrize("boot_id", ["boot", "the next"])
def test_a_secret_that_a_killed_pull_brought_is_the_clouds(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch, boot_id: str) -> None:
    """Held back as this one's own, with a base that has it, it was taken for removed here: the next push removed it everywhere."""
    a, b = pair
    hold(b, "token")
    a.write("notes", "token of a\n")
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    restart(b, boot_id)
    b.look()
    run(b.engine.share())
    assert not b.engine.apart
    assert agree(a, b)["notes"] == "token of a\n"
    a.write("notes", "token of a, again\n")
    assert agree(a, b)["notes"] == "token of a, again\n"
    assert not b.cloud.records


@pytest.mark.parametrize("then", ["let go", "edited", "removed"])
@pytest.mark.parametrize("theirs", ["token of a\n", "by a\n"])
@pytest.mark.parametrize("before", ["", "at first\n"])
@pytest.mark.parametrize("moves", [False, True])
def test_a_secret_made_of_what_a_killed_pull_brought_is_held_back_from_there(
    pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch, before: str, theirs: str, then: str, moves: bool
) -> None:
    a, b = pair
    hold(b, "token")
    if before:
        a.write("d/notes", before)
        agree(a, b)
    a.write("d/notes", theirs)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    b.write("d/notes", "token of b\n")
    restart(b)
    if moves:
        a.write("other", "by a\n")
        a.sync()
    for side in (b, a, b, a):
        side.sync()
    assert (a.tree()["d/notes"], b.tree()["d/notes"]) == (theirs, "token of b\n")
    if then == "let go":
        hold(b)
    elif then == "edited":
        b.write("d/notes", "by b\n")
    else:
        (b.root / "d/notes").unlink()
    b.sync()
    assert agree(a, b).get("d/notes") == {"let go": "token of b\n", "edited": "by b\n", "removed": None}[then]
    assert not b.cloud.records


def test_killed_twice_in_two_pulls_both_are_remembered(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    (b.root / "folder/1").unlink()
    restart(b)
    a.write("later", "later\n")
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    (b.root / "later").unlink()
    restart(b)
    assert sorted(agree(a, b)) == ["folder/2", "folder/3", "joined", "kept"]


def test_a_join_is_made_again_and_never_taken_for_the_clouds(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    a.write("joined", "one of a\ntwo\nthree\n")
    a.sync()
    b.write("joined", "one\ntwo\nthree of b\n")
    b.look()
    pull_killed(b, monkeypatch)
    restart(b)
    assert agree(a, b)["joined"] == "one of a\ntwo\nthree of b\n"


def test_after_a_power_cut_nothing_is_taken_for_removed(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may have lost what was written: in doubt it comes again (R8)."""
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    (b.root / "folder/2").unlink()
    restart(b, "another boot")
    assert "folder/2" in agree(a, b)


def test_what_was_remembered_is_forgotten_once_it_is_agreed(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is removed and made again elsewhere would be taken for removed here."""
    a, b = pair
    for _ in range(2):
        many(a)
        a.sync()
        b.look()
        pull_killed(b, monkeypatch)
        restart(b)
        assert "folder/2" in agree(a, b)
        for name in "123":
            (a.root / "folder" / name).unlink()
        (a.root / "folder").rmdir()
        assert sorted(agree(a, b)) == ["joined", "kept"]
    many(a)
    restart(b)
    assert sorted(agree(a, b)) == ["folder/1", "folder/2", "folder/3", "joined", "kept"]
    (trail,) = b.root.parent.glob("applying-*")
    assert trail.read_bytes().endswith(b"\n-\n")


def test_a_torn_or_foreign_trail_is_read_as_far_as_it_goes(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    (trail,) = b.root.parent.glob("applying-*")
    whole = trail.read_bytes()
    cuts: list[Callable[[bytes], bytes]] = [lambda data: data[:-5], lambda data: b"", lambda data: data[7:], lambda data: b"\xff" * 40]
    for cut in cuts:
        trail.write_bytes(cut(whole))
        restart(b)
    assert sorted(agree(a, b)) == ["folder/1", "folder/2", "folder/3", "joined", "kept"]


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_went_again_and_came_again_comes(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch, by_hand: bool) -> None:
    """Placed by one killed pull, gone with the next: whether that or a person removed it, the third brings what is new."""
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    if by_hand:
        (b.root / "folder/2").unlink()
    restart(b)
    (a.root / "folder/2").unlink()
    a.write("later", "later\n")
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    restart(b)
    a.write("folder/2", "2\n")
    a.sync()
    assert sorted(agree(a, b)) == ["folder/1", "folder/2", "folder/3", "joined", "kept", "later"]


def test_a_copy_of_what_clashed_is_ours_and_stays(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    b.replica.style = Style.COPY
    a.write("kept", "of a\n")
    a.sync()
    b.write("kept", "of b\n")
    b.look()
    pull_killed(b, monkeypatch)
    assert sorted(b.tree().values()) == sorted(["of a\n", "of b\n", "one\ntwo\nthree\n"])
    restart(b)
    b.replica.style = Style.COPY
    assert sorted(agree(a, b).values()) == sorted(["of a\n", "of b\n", "one\ntwo\nthree\n"])
    assert len(b.cloud.records) == 1


def test_where_a_killed_pull_began_is_what_a_look_saw_and_what_was_placed(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's start moves on with each look; the trail is of the same apply all the same."""
    a, b = pair
    many(a)
    a.sync()
    b.look()
    pull_killed(b, monkeypatch)
    restart(b)
    b.look()
    (b.root / "folder/2").unlink()
    restart(b)
    a.write("later", "later\n")
    a.sync()
    assert sorted(agree(a, b)) == ["folder/1", "folder/3", "joined", "kept", "later"]
