"""The engine's verbs over real folders and stores, with a cloud in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from daemon import verbs
from daemon.verbs import Author
from store import conflicts, history, journal, workspaces
from store.errors import BrakeHeld, RootLost, VersionMoved
from store.journal import Pending
from store.manifest import diff_manifests, find_entry
from store.snapshots import get_snapshot
from store.types import File, RelPath, Spot
from sync import adopt, replica
from sync.core.brake import Limits
from sync.share import SECRET
from tests.two_replicas import WORKSPACE, MemoryCloud, Side, rel, run

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


def pair(make: Make, **options: object) -> tuple[Side, Side]:
    return make("a", **options), make("b", **options)


@pytest.mark.parametrize("known", [2, 3, 4])
def test_what_differs_is_the_same_whether_it_is_remembered_or_read(make: Make, monkeypatch: pytest.MonkeyPatch, known: int) -> None:
    monkeypatch.setattr(replica, "KNOWN_CHANGES", known)
    a = make("a")
    roots = [a.replica.row.full_root]
    for names in (("x", "y", "z"), ("y",), ("x", "new")):
        for name in names:
            a.write(name, f"{name} in {len(roots)}")
        a.look()
        roots.append(a.replica.row.full_root)
    draft = a.replica.draft()
    for old, new in [*product(roots, roots)] * 2:
        assert list(a.replica.changes_between(old, new, draft)) == list(diff_manifests(old, new, draft))


def test_what_a_pull_wrote_needs_no_look_and_what_a_person_did_there_does(make: Make) -> None:
    a, b = pair(make)
    a.write("d/x", "from a")
    a.write("d/.gitignore", "nothing")
    a.sync()
    b.sync()
    x, new, folder, rules = (Spot(b"d", b"x"), Spot(b"d", b"new"), Spot(b"", b"d"), Spot(b"d", b".gitignore"))
    assert b.replica.is_as_recorded([x])
    assert not any(b.replica.is_as_recorded([x, other]) for other in (new, folder, rules)), "these are looked at whatever they are"
    assert not b.replica.is_as_recorded([x] * (replica.FEW_SPOTS + 1)), "a folder's listing is the cheaper one"
    b.write("d/x", "from b")
    assert not b.replica.is_as_recorded([x])
    b.look()
    b.replica.index.doubt([b"d/x"])
    assert not b.replica.is_as_recorded([x]), "read once more"
    (b.root / "d/x").unlink()
    assert not b.replica.is_as_recorded([x])


def test_a_save_crosses_and_comes_back(make: Make) -> None:
    a, b = pair(make)
    a.write("notes/one.txt", "from a\n")
    a.sync()
    b.sync()
    assert b.tree() == {"notes/one.txt": "from a\n"}
    b.write("notes/one.txt", "from b\n")
    b.sync()
    a.sync()
    assert a.tree() == {"notes/one.txt": "from b\n"}
    assert a.kept("from a\n"), "what a pull replaced stays in the history"


def test_a_push_over_a_moved_head_changes_nothing_and_is_made_again(make: Make) -> None:
    a, b = pair(make)
    a.write("a.txt", "a")
    b.write("b.txt", "b")
    a.look()
    b.look()
    a.push()
    with pytest.raises(VersionMoved):
        b.push()
    b.pull()
    b.push()
    a.sync()
    assert a.tree() == b.tree() == {"a.txt": "a", "b.txt": "b"}


def test_lines_apart_are_joined_and_the_join_reaches_both(make: Make) -> None:
    a, b = pair(make)
    a.write("f", "1\n2\n3\n4\n5\n")
    a.sync()
    b.sync()
    a.write("f", "one\n2\n3\n4\n5\n")
    b.write("f", "1\n2\n3\n4\nfive\n")
    a.sync()
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == {"f": "one\n2\n3\n4\nfive\n"}
    assert conflicts.list_conflicts(a.db.read(), WORKSPACE.id) == []


@pytest.mark.parametrize(
    ("how", "wanted"), [("ours", {"f": "by b\n"}), ("theirs", {"f": "by a\n"}), ("both", {"f": "by a\n", "f.ours": "by b\n"})]
)
def test_an_overlap_becomes_one_record_that_both_see_and_one_settles(make: Make, how: str, wanted: dict[str, str]) -> None:
    a, b = pair(make)
    a.write("f", "base\n")
    a.sync()
    b.sync()
    a.write("f", "by a\n")
    b.write("f", "by b\n")
    a.sync()
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == {"f": "by a\n"}, "the path keeps what the head has"
    for side in (a, b):
        (record,) = conflicts.list_conflicts(side.db.read(), WORKSPACE.id)
        assert record.path == b"f"
        assert side.kept("by a\n") and side.kept("by b\n")
    (record,) = conflicts.list_conflicts(b.db.read(), WORKSPACE.id)
    verbs.resolve(b.replica, [record], how, None)
    b.sync()
    a.sync()
    assert a.tree() == b.tree() == wanted
    assert conflicts.list_conflicts(a.db.read(), WORKSPACE.id) == []


def test_a_rule_that_came_from_elsewhere_is_obeyed_at_once_and_nothing_comes_back(make: Make, cloud: MemoryCloud) -> None:
    a, b = pair(make)
    a.write("made/out.bin", "made")
    a.write("d/.gitignore", "old\n")
    a.write("d/old", "old")
    a.sync()
    b.sync()
    a.write(".gitignore", "made/\n")
    (a.root / "d/.gitignore").unlink()
    a.sync()
    version = cloud.version
    b.sync()
    a.sync()
    assert b.tree()["made/out.bin"] == a.tree()["made/out.bin"] == "made", "it stays on both disks"
    assert cloud.version == version, "nobody pushes back what is ignored now"
    for side in (a, b):
        assert find_entry(side.replica.row.full_root, rel("made/out.bin"), side.replica.draft()) is None
    # Each has its own from now on.
    (a.root / "made/out.bin").unlink()
    b.write("made/out.bin", "of b")
    b.write("made/new.bin", "of b")
    for side in (a, b, a):
        side.sync()
    assert "made/out.bin" not in a.tree() and cloud.version == version
    # A rule that went lets in what it kept out, on all sides.
    b.write("d/old", "of b")
    (a.root / ".gitignore").unlink()
    for side in (a, b, a):
        side.sync()
    assert a.tree() == b.tree() and a.tree()["made/new.bin"] == a.tree()["d/old"] == "of b"


def test_a_secret_stays_in_the_history_and_never_reaches_the_cloud(make: Make) -> None:
    def suspect(path: RelPath, entry: File) -> str | None:
        return "by its name" if path.endswith(b".env") else None

    a, b = pair(make, suspect=suspect)
    a.write("app.env", "TOKEN\n")
    a.write("code.py", "pass\n")
    a.sync()
    b.sync()
    assert b.tree() == {"code.py": "pass\n"}
    assert b"TOKEN\n" not in a.cloud.blobs.values()
    assert a.kept("TOKEN\n")
    assert workspaces.list_apart(a.db.read(), a.replica.id)[rel("app.env")].kind == SECRET
    a.policy = type(a.policy)(a.policy.limits, None, "boot")
    a.sync()
    b.sync()
    assert b.tree() == {"app.env": "TOKEN\n", "code.py": "pass\n"}, "once allowed it goes along"


def test_a_shared_file_that_turns_secret_is_held_and_not_deleted_elsewhere(make: Make) -> None:
    def suspect(path: RelPath, entry: File) -> str | None:
        return "too long" if entry.size > 10 else None

    a, b = pair(make, suspect=suspect)
    a.write("config", "plain\n")
    a.sync()
    b.sync()
    a.write("config", "password = 12345\n")
    a.sync()
    b.sync()
    assert b.tree() == {"config": "plain\n"}


def test_a_mass_deletion_waits_in_either_direction(make: Make) -> None:
    a, b = pair(make, limits=Limits(3, 0.25))
    for number in range(20):
        a.write(f"f{number}", f"{number}\n")
    a.sync()
    b.sync()
    for number in range(10):
        (a.root / f"f{number}").unlink()
    a.look()
    with pytest.raises(BrakeHeld):
        a.push()
    verbs.approve(a.replica, BrakeHeld.code, None)
    a.push()
    with pytest.raises(BrakeHeld):
        b.pull()
    assert len(b.tree()) == 20
    verbs.approve(b.replica, BrakeHeld.code, b.engine.newest_root)
    b.pull()
    assert len(b.tree()) == 10


def test_one_text_over_many_files_waits_in_either_direction(make: Make) -> None:
    """A script gone wild; a formatter that touches as many is no reason to wait."""
    a, b = pair(make, limits=Limits(files=3, share=0.1))
    for number in range(8):
        a.write(f"file-{number}", f"{number}\n")
    a.sync()
    b.sync()
    for number in range(8):
        a.write(f"file-{number}", f"{number}, formatted\n")
    a.sync()
    b.sync()
    for number in range(8):
        a.write(f"file-{number}", "oops\n")
    a.look()
    with pytest.raises(BrakeHeld, match="make alike 7 of 8"):
        a.push()
    run(a.engine.verb(verbs.approve, "brake-held", None))
    a.push()
    before = b.tree()
    with pytest.raises(BrakeHeld):
        b.pull()
    assert b.tree() == before
    run(b.engine.verb(verbs.approve, "brake-held", b.engine.newest_root))
    b.pull()
    assert b.tree() == a.tree()


def test_an_edit_the_look_has_not_seen_is_never_overwritten(make: Make) -> None:
    a, b = pair(make)
    a.write("f", "base\n")
    a.sync()
    b.sync()
    a.write("f", "by a\n")
    a.sync()
    b.write("f", "by b, not looked at yet\n")
    adopted = b.pull()
    assert adopted.stale == (b"f",)
    assert b.tree() == {"f": "by b, not looked at yet\n"}
    assert b.replica.row.agreed_root != b.cloud.root, "agreed waits until every step is on disk (J2)"
    b.sync()
    assert b.kept("by b, not looked at yet\n") and b.kept("by a\n")


def test_a_root_that_is_another_folder_is_refused_and_nothing_is_deleted(make: Make) -> None:
    a, _ = pair(make)
    a.write("f", "kept\n")
    a.sync()
    a.root.rename(a.root.with_name("elsewhere"))
    a.root.mkdir()
    with pytest.raises(RootLost):
        a.look()
    assert a.cloud.version == 2
    verbs.approve(a.replica, RootLost.code, None)
    a.look()
    assert a.kept("kept\n")


def test_a_restore_is_undone_and_what_was_edited_since_stays(make: Make) -> None:
    a = make("a")
    a.write("f", "one\n")
    a.look()
    run(a.engine.share())
    first = verbs.take_snapshot(a.replica, "first", Author())
    assert first is not None
    a.write("f", "two\n")
    a.look()
    count, act = verbs.restore(a.replica, first.id, [], dry_run=False)
    assert count == 1 and act is not None and a.tree() == {"f": "one\n"}
    a.write("g", "later\n")
    a.look()
    verbs.undo(a.replica, dry_run=False)
    assert a.tree() == {"f": "two\n", "g": "later\n"}
    assert history.last_act(a.db.read(), a.replica.id) is not None


def test_a_snapshot_travels_with_its_id_and_is_taken_once(make: Make) -> None:
    a, b = pair(make)
    a.write("f", "one\n")
    a.look()
    run(a.engine.share())
    taken = verbs.take_snapshot(a.replica, "first", Author("Ada", "ada@example.org"))
    assert taken is not None
    assert verbs.take_snapshot(a.replica, "again", Author()) is None
    a.push()
    b.sync()
    assert [wire.id for wire in a.cloud.taken] == [taken.id]
    assert get_snapshot(b.db.read(), taken.id)[0] == taken


def test_after_an_unclean_boot_what_a_plan_touched_is_read_again(make: Make) -> None:
    a, b = pair(make)
    a.write("f", "old\n")
    a.sync()
    b.sync()
    before = b.replica.row.agreed_root
    a.write("f", "new\n")
    a.sync()
    b.sync()
    left = Pending(before, b.replica.row.agreed_root, "another boot", 1)
    b.db.write_now(lambda tx: journal.begin(tx, b.replica.id, left))
    run(b.engine.recover())
    assert journal.pending(b.db.read(), b.replica.id) is not None
    b.look()
    assert b.tree() == {"f": "new\n"}
    b.write("g", "next\n")
    b.sync()
    assert journal.pending(b.db.read(), b.replica.id) is None


def test_temporaries_of_a_crash_are_swept_and_what_they_held_is_kept(make: Make) -> None:
    a = make("a")
    a.write("f", "x\n")
    a.look()
    (a.root / ".fst-tmp-0123").write_text("displaced by a crash\n")
    run(a.engine.recover())
    assert a.tree() == {"f": "x\n"}
    assert a.kept("displaced by a crash\n")
    assert any(a.blobs.get(digest) == b"displaced by a crash\n" for digest in conflicts.conflict_digests(a.db.read()))


def test_a_path_the_folder_refuses_blocks_only_itself(make: Make) -> None:
    a, b = pair(make)
    a.write("f", "one\n")
    a.sync()
    b.sync()
    a.write("stuck", "remote\n")
    a.write("f", "two\n")
    a.sync()
    (b.root / "stuck").mkdir()
    (b.root / "stuck" / "mine").write_text("mine\n")
    b.pull()
    assert b.tree()["f"] == "two\n" and b.tree()["stuck/mine"] == "mine\n"


class PowerCut(Exception):
    """The process is gone at this very point."""


def test_a_conflict_is_recorded_before_the_path_loses_our_text(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair(make)
    a.write("f", "base\n")
    a.sync()
    b.sync()
    a.write("f", "by a\n")
    a.sync()
    b.write("f", "by b\n")
    b.look()
    carry_out = adopt._carry_out

    def cut(*args: Any) -> Any:
        carry_out(*args)
        raise PowerCut

    monkeypatch.setattr(adopt, "_carry_out", cut)
    with pytest.raises(PowerCut):
        b.pull()
    monkeypatch.undo()
    assert b.tree() == {"f": "by a\n"}
    run(b.engine.recover())
    b.sync()
    (record,) = conflicts.list_conflicts(b.db.read(), WORKSPACE.id)
    assert record.ours is not None and b.kept("by b\n")
