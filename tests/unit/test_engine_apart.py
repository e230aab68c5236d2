"""What one machine keeps apart from the others, by a rule or as a secret, and others have something of their own at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemon import verbs
from store import conflicts
from store.conflicts import Conflict
from store.manifest import find_entry, record_of
from store.types import File, RelPath, digest_of
from tests.two_replicas import WORKSPACE, MemoryCloud, Side, rel, run


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud()


@pytest.fixture
def pair(tmp_path: Path, cloud: MemoryCloud) -> Iterator[tuple[Side, Side]]:
    a, b = Side(tmp_path / "a", cloud), Side(tmp_path / "b", cloud)
    yield a, b
    a.close()
    b.close()


def settle(*sides: Side) -> None:
    """Until nobody has anything to send; and that comes."""
    for _ in range(4):
        for side in sides:
            side.sync()
    version = sides[0].cloud.version
    for side in sides:
        side.sync()
    assert sides[0].cloud.version == version, "they never rest"


def is_carried(side: Side, path: str) -> bool:
    return find_entry(side.replica.row.full_root, rel(path), side.replica.draft()) is not None


def test_what_a_rule_ignores_and_the_cloud_has_is_a_conflict_and_stops_nobody(pair: tuple[Side, Side]) -> None:
    """The file that is ignored stands where the cloud's is to go; no look found it, so the pull was stale for ever."""
    a, b = pair
    a.write(".gitignore", "notes\n")
    a.write("notes", "by a\n")
    a.look()
    b.write("notes", "by b\n")
    b.sync()
    a.pull()
    a.sync()
    (record,) = conflicts.list_conflicts(a.db.read(), WORKSPACE.id)
    assert (record.path, a.tree()["notes"], a.kept("by a\n")) == (b"notes", "by b\n", True)
    settle(a, b)
    assert not is_carried(a, "notes") and not is_carried(b, "notes")
    assert a.tree()["notes"] == b.tree()["notes"] == "by b\n"


def test_what_comes_and_is_ignored_here_leaves_again_everywhere(pair: tuple[Side, Side]) -> None:
    """The rule was read before the file came, and was not told to its maker yet."""
    a, b = pair
    a.write(".gitignore", "made/\n")
    a.look()
    b.write("made/out", "by b\n")
    b.sync()
    settle(a, b)
    for side in pair:
        assert not is_carried(side, "made") and not is_carried(side, "made/out")
        assert side.tree()["made/out"] == "by b\n"


def hold(side: Side, *held: str) -> None:
    """Texts with this in them are secrets from now on; with nothing, nothing is."""

    def suspect(path: RelPath, entry: File) -> str | None:
        return "a secret" if any(word.encode() in side.blobs.get(entry.digest) for word in held) else None

    side.policy = msgspec.structs.replace(side.policy, suspect=suspect if held else None)


@pytest.mark.parametrize("way", ["let go", "edited", "removed"])
@pytest.mark.parametrize("before", ["", "shared\n"])
def test_a_secret_that_is_let_go_replaces_nothing_of_others(pair: tuple[Side, Side], before: str, way: str) -> None:
    a, b = pair
    hold(a, "token")
    if before:
        a.write("notes", before)
        settle(a, b)
    a.write("notes", "token\n")
    settle(a, b)
    b.write("notes", "by b\n")
    settle(b, a)
    assert a.tree()["notes"] == "token\n", "it stays here"
    if way == "let go":
        hold(a)
    elif way == "edited":
        a.write("notes", "by a\n")
    else:
        (a.root / "notes").unlink()
    settle(a, b)
    assert a.tree() == b.tree() == {"notes": "by b\n"}
    found = [record.path for record in conflicts.list_conflicts(b.db.read(), WORKSPACE.id)]
    assert found == ([] if way == "removed" else [b"notes"])
    if way != "removed":
        assert b.kept("token\n" if way == "let go" else "by a\n")


def test_a_secret_that_nobody_met_is_let_go_without_a_word(pair: tuple[Side, Side]) -> None:
    a, b = pair
    hold(a, "token")
    a.write("notes", "shared\n")
    settle(a, b)
    a.write("notes", "token\n")
    settle(a, b)
    assert b.tree() == {"notes": "shared\n"}
    hold(a)
    settle(a, b)
    assert b.tree() == {"notes": "token\n"} and conflicts.list_conflicts(b.db.read(), WORKSPACE.id) == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_record_that_was_resolved_before_it_was_heard_of_names_nothing_here(pair: tuple[Side, Side], is_known: bool) -> None:
    """Its texts were not brought along: what is named and not here would be damage."""
    a, _ = pair
    ours = record_of(rel("notes"), File(digest_of(b"never here"), 10))
    record = Conflict("0" * 25 + "9", WORKSPACE.id, rel("notes"), "edit-edit", None, ours, None, "open", 1)
    if is_known:
        a.db.write_now(lambda tx: conflicts.learn_conflict(tx, record))
    resolved = msgspec.structs.replace(record, state="resolved", resolution="theirs", resolved_ms=2)
    a.db.write_now(lambda tx: conflicts.learn_conflict(tx, resolved))
    assert conflicts.list_conflicts(a.db.read(), WORKSPACE.id) == []
    assert conflicts.conflict_digests(a.db.read()) == ({digest_of(b"never here")} if is_known else set())


def test_a_cloud_that_lost_snapshots_gets_them_again(pair: tuple[Side, Side], cloud: MemoryCloud) -> None:
    """Else the next one names a parent that the cloud does not have, and nothing is ever sent again."""
    a, _ = pair
    a.write("notes", "one\n")
    a.sync()
    backup = cloud.root, cloud.version
    first = a.snapshot("first")
    a.sync()
    cloud.taken.clear()
    (cloud.root, cloud.version), cloud.snapshot_id = backup, None
    verbs.approve(a.replica, "epoch-changed", None)
    a.write("notes", "two\n")
    second = a.snapshot("second")
    a.sync()
    assert second.parents == (first.id,) and {one.id for one in cloud.taken} >= {first.id, second.id}


def test_the_helper_sees_that_they_never_rest(pair: tuple[Side, Side]) -> None:
    a, b = pair

    def push_again() -> None:
        a.write("notes", f"{a.cloud.version}\n")
        a.look()
        run(a.engine.push(a.cloud))

    a.push = push_again  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="never rest"):
        settle(a, b)
