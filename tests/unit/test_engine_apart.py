"""What one machine keeps apart from the others, by a rule or as a secret, and others have something of their own at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemon import verbs
from store import conflicts
from store.conflicts import Conflict
from store.errors import Conflicting, InvalidManifest
from store.manifest import EMPTY_ROOT, check_manifest, edit_manifest, find_entry, record_of
from store.types import File, RelPath, digest_of
from store.workspaces import Apart
from sync.core.merge import MAX_TEXT_BYTES
from sync.core.merge.style import Style
from sync.share import OWED, SECRET, derive_shared
from tests.two_replicas import WORKSPACE, MemoryCloud, NoGit, Side, rel, run


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


def is_tree(side: Side) -> bool:
    """Every root that is kept of this folder can be read."""
    row = side.replica.row
    for root in (row.full_root, row.shared_root, row.agreed_root):
        check_manifest(root, side.blobs)
    return True


def held_in(side: Side) -> dict[str, str]:
    return {path.decode(): row.kind for path, row in side.engine.apart.items()}


def become_folder(side: Side, path: str, text: str) -> None:
    (side.root / path).unlink()
    side.write(f"{path}/in", text)


def become_file(side: Side, path: str, text: str) -> None:
    shutil.rmtree(side.root / path)
    side.write(path, text)


def test_a_folder_takes_the_place_of_a_secret_that_others_have_something_at(pair: tuple[Side, Side]) -> None:
    """S33: what came into the folder was shared before the folder was, so the root was no tree, and could never be sent."""
    a, b = pair
    hold(a, "token")
    a.write("notes", "token\n")
    settle(a, b)
    b.write("notes", "by b\n")
    settle(b, a)
    become_folder(a, "notes", "by a\n")
    a.look()
    run(a.engine.share())
    assert is_tree(a)
    settle(a, b)
    assert a.tree() == b.tree() == {"notes/in": "by a\n"} and is_tree(a)
    assert [record.kind for record in conflicts.list_conflicts(b.db.read(), WORKSPACE.id)] == ["file-folder"] and b.kept("by b\n")


def test_a_root_that_is_no_tree_is_not_shared(pair: tuple[Side, Side]) -> None:
    """Nothing leads there, as far as is known: the rows are made up. To halt is better than to keep, and send, what nobody can read."""
    a, _ = pair
    a.write("d/x", "by a\n")
    a.look()
    draft = a.replica.draft()
    shared = edit_manifest(EMPTY_ROOT, [(rel("d"), File(digest_of(b""), 0))], draft)
    a.replica.row = msgspec.structs.replace(a.replica.row, shared_root=shared, shared_full=a.replica.row.full_root)
    kept = Apart(rel("d/x"), SECRET, "a secret", record_of(rel("d/x"), None))
    with pytest.raises(InvalidManifest, match="d/x is in no folder"):
        derive_shared(a.replica, {rel("d/x"): kept}, draft, None, lambda path: None)


@pytest.mark.parametrize("theirs", ["removed", "a file"])
@pytest.mark.parametrize("then", ["let go", "edited", "removed"])
def test_a_folder_that_others_took_away_stays_for_the_secret_in_it(pair: tuple[Side, Side], theirs: str, then: str) -> None:
    """S34: it was stale, for ever: nothing else came or went any more."""
    a, b = pair
    hold(a, "token")
    a.write("d/e/x", "shared\n")
    a.write("d/e/key", "token\n")
    settle(a, b)
    if theirs == "removed":
        shutil.rmtree(b.root / "d")
    else:
        become_file(b, "d", "by b\n")
    b.write("later", "by b\n")
    settle(b, a)
    assert a.tree() == {"d/e/key": "token\n", "later": "by b\n"} and is_tree(a)
    assert held_in(a) == {"d": OWED, "d/e": OWED, "d/e/key": SECRET}
    settle(b, a)
    assert digest_of(b"token\n") not in a.cloud.blobs
    if then == "let go":
        hold(a)
    elif then == "edited":
        a.write("d/e/key", "no more\n")
    else:
        (a.root / "d/e/key").unlink()
    settle(a, b)
    assert a.tree() == b.tree() and held_in(a) == {} and is_tree(a)
    stays = {"let go": {"d/e/key": "token\n"}, "edited": {"d/e/key": "no more\n"}}.get(then, {} if theirs == "removed" else {"d": "by b\n"})
    assert a.tree() == {"later": "by b\n"} | stays
    assert theirs == "removed" or then == "removed" or b.kept("by b\n")


@pytest.mark.parametrize("then", ["let go", "edited", "removed", "a folder"])
@pytest.mark.parametrize("before", ["", "shared\n"])
def test_a_folder_that_others_made_where_a_secret_is_waits_for_it(pair: tuple[Side, Side], before: str, then: str) -> None:
    """S35: what is in it was stale, for ever."""
    a, b = pair
    hold(a, "token")
    if before:
        a.write("y", before)
        settle(a, b)
    a.write("y", "token\n")
    settle(a, b)
    (b.root / "y").unlink(missing_ok=True)
    b.write("y/in", "by b\n")
    b.write("y/e/x", "by b, too\n")
    b.write("later", "by b\n")
    settle(b, a)
    assert a.tree() == {"y": "token\n", "later": "by b\n"} and is_tree(a)
    assert held_in(a) == {"y": SECRET, "y/e": OWED, "y/e/x": OWED, "y/in": OWED}
    assert b.tree() == {"y/in": "by b\n", "y/e/x": "by b, too\n", "later": "by b\n"}, "nothing of it was taken away"
    if then == "let go":
        hold(a)
    elif then == "edited":
        a.write("y", "no more\n")
    elif then == "removed":
        (a.root / "y").unlink()
    else:
        become_folder(a, "y", "by a\n")
    settle(a, b)
    assert a.tree() == b.tree() and held_in(a) == {} and is_tree(a)
    assert a.tree() == {"y/in": "by b\n", "y/e/x": "by b, too\n", "later": "by b\n"}
    kept = {"let go": "token\n", "edited": "no more\n", "a folder": "by a\n"}.get(then)
    assert kept is None or b.kept(kept)


@pytest.mark.parametrize("rule", ["key\n", "d/\n"])
@pytest.mark.parametrize("when", ["before both", "between", "after both"])
def test_a_secret_that_a_rule_ignores_and_others_have_something_at_leaves_alone(pair: tuple[Side, Side], rule: str, when: str) -> None:
    """S41: theirs was to come where the file still is, which no look takes: it was stale, for ever, and the rule was told to nobody."""
    a, b = pair
    hold(a, "token")
    a.write("keep", "by a\n")
    a.write("d/other", "by a\n")
    settle(a, b)
    if when == "before both":
        a.write(".fstignore", rule)
        a.look()
    a.write("d/e/key", "token\n")
    if when == "between":
        settle(a, b)
    b.write("d/e/key", "by b\n")
    if when == "after both":
        settle(b, a)
    else:
        b.sync()
    if when != "before both":
        a.write(".fstignore", rule)
    for _ in range(3):  # what is stale is looked at again
        a.look()
        a.pull()
    settle(a, b)
    assert is_carried(a, ".fstignore") and is_carried(b, ".fstignore") and held_in(a) == {}
    assert not is_carried(a, "d/e/key") and not is_carried(b, "d/e/key")
    assert (a.tree()["d/e/key"], b.tree()["d/e/key"]) == ("token\n", "by b\n")
    assert is_tree(a) and digest_of(b"token\n") not in a.cloud.blobs


@pytest.mark.parametrize("place", ["d/e", "d"])
def test_a_file_in_the_place_of_a_folder_that_a_rule_ignores_stops_nobody(pair: tuple[Side, Side], place: str) -> None:
    """S51: the folder stands there still, so theirs was to come for ever, as if somebody here had removed it."""
    a, b = pair
    a.write("d/e/x", "by a\n")
    a.write("keep", "by a\n")
    settle(a, b)
    become_file(b, place, "by b\n")
    b.sync()
    a.write(".fstignore", "d/\n")
    for _ in range(3):  # what is stale is looked at again
        a.look()
        a.pull()
        run(a.engine.plan_again())
    settle(a, b)
    assert is_carried(a, ".fstignore") and is_carried(b, ".fstignore") and held_in(a) == {} and is_tree(a)
    assert not is_carried(a, "d") and not is_carried(b, "d") and a.tree()["d/e/x"] == "by a\n"
    told = [record.path for record in conflicts.list_conflicts(b.db.read(), WORKSPACE.id)]
    if place == "d/e":  # the rule is about theirs, too
        assert b.tree()["d/e"] == "by b\n" and told == []
    else:
        assert told == [b"d"] and a.kept("by b\n")


def test_a_removal_below_a_rule_that_does_not_travel_is_one(pair: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else reads such a rule, so nothing leaves because of it, and theirs outlives the removal."""
    a, b = pair
    a.write(".gitignore", "junk\n")
    a.write("d/e/x", "by a\n")
    settle(a, b)
    a.write("d/e/junk", "by a\n")
    become_file(b, "d/e", "by b\n")
    settle(b, a)
    assert held_in(a) == {"d/e": OWED}
    monkeypatch.setattr(NoGit, "excludes", lambda self: (b"", b"d/\n"))
    a.look()
    shutil.rmtree(a.root / "d/e")
    settle(a, b)
    assert a.tree() == b.tree() == {".gitignore": "junk\n", "d/e": "by b\n"} and held_in(a) == {}


@pytest.mark.parametrize("then", ["removed", "edited", "ignored"])
@pytest.mark.parametrize("before", ["a folder", ""])
def test_what_waits_below_a_secret_and_what_becomes_of_that(pair: tuple[Side, Side], before: str, then: str) -> None:
    """S42: the secret went, and what was to come below it was left in no folder."""
    a, b = pair
    hold(a, "token")
    a.write("keep", "by a\n")
    if before:
        a.write("y/old", "shared\n")
    settle(a, b)
    if before:
        become_file(a, "y", "token\n")
    else:
        a.write("y", "token\n")
    settle(a, b)
    b.write("y/in", "by b\n")
    settle(b, a)
    assert held_in(a) == {"y": SECRET, "y/in": OWED}
    if then == "removed":
        (a.root / "y").unlink()
    elif then == "edited":
        a.write("y", "no more\n")
    else:
        a.write(".fstignore", "y\n")
    settle(a, b)
    assert held_in(a) == {} and is_tree(a)
    if then == "ignored":
        assert not is_carried(a, "y") and not is_carried(b, "y")
        assert (a.tree()["y"], b.tree()["y/in"]) == ("token\n", "by b\n")
    else:
        assert a.tree() == b.tree() == {"keep": "by a\n", "y/in": "by b\n"}
        assert then == "removed" or b.kept("no more\n")


@pytest.mark.parametrize("how", ["ours", "edit"])
@pytest.mark.parametrize("why", ["removed", "ignored"])
def test_a_conflict_in_a_folder_that_is_gone_is_resolved_into_a_tree(pair: tuple[Side, Side], how: str, why: str) -> None:
    """S32: the text came back without its folder: a state that nobody could read."""
    a, b = pair
    a.write("keep", "by a\n")
    a.write("f/x", "by a\n")
    b.write("f/x", "by b\n")
    settle(a, b)
    (record,) = conflicts.list_conflicts(b.db.read(), WORKSPACE.id)
    if why == "removed":
        shutil.rmtree(b.root / "f")
    else:
        b.write(".gitignore", "f/\n")
        settle(b, a)
        (b.root / "f/x").unlink()
    settle(b, a)
    assert not is_carried(b, "f")
    run(b.engine.verb(verbs.resolve, [record], how, b"edited\n"))
    assert is_tree(b)
    settle(b, a)
    assert b.tree()["f/x"] == ("by b\n" if how == "ours" else "edited\n")
    assert is_carried(a, "f/x") == is_carried(b, "f/x") == (why == "removed")


def test_a_text_is_not_resolved_into_what_is_no_folder_any_more(pair: tuple[Side, Side]) -> None:
    """What has the folder's name now is somebody's work."""
    a, b = pair
    a.write("f/x", "by a\n")
    b.write("f/x", "by b\n")
    settle(a, b)
    (record,) = conflicts.list_conflicts(b.db.read(), WORKSPACE.id)
    become_file(b, "f", "later\n")
    b.look()
    with pytest.raises(Conflicting, match="f is no folder any more"):
        run(b.engine.verb(verbs.resolve, [record], "ours", None))
    assert b.tree() == {"f": "later\n"} and is_tree(b)


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_carried_file_that_becomes_an_ignored_folder_leaves(pair: tuple[Side, Side], where: str) -> None:
    """S43: the rule is about folders alone, and was not asked again; what was in the folder was carried by nobody."""
    a, b = pair
    a.write("d", "a file\n")
    a.write("keep", "by a\n")
    settle(a, b)
    a.write(".fstignore", "d/\n")
    if where == "here":
        settle(a, b)
        assert is_carried(a, "d")
        become_folder(a, "d", "ignored\n")
    else:
        a.look()
        become_folder(b, "d", "ignored\n")
        b.sync()
    settle(a, b)
    assert not is_carried(a, "d") and not is_carried(b, "d")
    assert (a if where == "here" else b).tree()["d/in"] == "ignored\n"


def test_a_carried_folder_that_becomes_a_file_when_a_rule_comes_is_taken(pair: tuple[Side, Side]) -> None:
    """The rule is about folders alone: the look that read it let the name go."""
    a, b = pair
    a.write("d/in", "by a\n")
    a.write("keep", "by a\n")
    settle(a, b)
    become_file(a, "d", "a file\n")
    a.write(".fstignore", "d/\n")
    result = run(a.engine.look(None))
    assert not is_carried(a, "d") and (b"", b"d") in result.deferred, "to be looked at again"
    a.look()
    assert is_carried(a, "d") and is_tree(a)


def test_what_comes_into_an_ignored_folder_leaves_again_for_two_reasons(pair: tuple[Side, Side]) -> None:
    """S36: the folder by one rule and the file by another: it left twice in one look, which was refused."""
    a, b = pair
    a.write(".gitignore", "x\n")
    a.write(".fstignore", "d/\n")
    a.look()
    b.write("d/e/x", "by b\n")
    b.sync()
    settle(a, b)
    for side in pair:
        assert not is_carried(side, "d") and side.tree()["d/e/x"] == "by b\n"


def test_a_secret_that_the_cloud_has_goes_and_comes_back_like_anything_else(pair: tuple[Side, Side]) -> None:
    """S45: it was held back when it came back, and was a conflict with what others made of it meanwhile, though nobody had met there."""
    a, b = pair
    hold(b, "token")
    a.write("notes", "token\n")
    a.write("keep", "by a\n")
    settle(a, b)
    (b.root / "notes").unlink()
    b.look()
    run(b.engine.share())
    b.write("notes", "token\n")
    b.look()
    run(b.engine.share())
    assert held_in(b) == {} and b.replica.row.shared_root == b.replica.row.agreed_root
    a.write("notes", "token 2\n")
    settle(a, b)
    hold(b)
    settle(b, a)
    assert b.tree() == a.tree() == {"keep": "by a\n", "notes": "token 2\n"}
    assert conflicts.list_conflicts(b.db.read(), WORKSPACE.id) == []


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


@pytest.mark.parametrize("style", [Style.RECORD, Style.MARKERS])
@pytest.mark.parametrize("base", ["shared\n", ""])
def test_texts_that_are_too_large_together_are_a_conflict(pair: tuple[Side, Side], base: str, style: Style) -> None:
    """S38: the store takes no text of that size in one piece, so the pull was refused, again and again."""
    a, b = pair
    b.replica.style = style
    count = MAX_TEXT_BYTES // 2000 + 1
    if base:
        a.write("notes", base)
        settle(a, b)
    ours, theirs = ("x" * 1000 + "\n") * count + base, base + ("y" * 1000 + "\n") * count
    a.write("notes", ours)
    a.sync()
    b.write("notes", theirs)
    settle(b, a)
    (record,) = conflicts.list_conflicts(a.db.read(), WORKSPACE.id)
    assert record.path == b"notes" and a.tree() == b.tree() == {"notes": ours} and a.kept(theirs)


def test_the_helper_sees_that_they_never_rest(pair: tuple[Side, Side]) -> None:
    a, b = pair

    def push_again() -> None:
        a.write("notes", f"{a.cloud.version}\n")
        a.look()
        run(a.engine.push(a.cloud))

    a.push = push_again  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="never rest"):
        settle(a, b)
