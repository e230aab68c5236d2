"""The rules of a manifest, and of a folder whose parents are not open."""

from __future__ import annotations

from pathlib import Path

from store.atomic import Folder
from store.manifest import Draft, MemoryNodes, build_manifest
from store.types import DIR, Digest, Entry, Link, RelPath, Spot
from sync.core.ignore import MAX_RULE_BYTES, carried_rules
from sync.rules import IgnoreSource
from tests.trees import MemoryBlobs, file, write_tree


def build(tree: dict[bytes, bytes | Entry]) -> tuple[Digest, Draft, MemoryBlobs]:
    draft, blobs = Draft(MemoryNodes()), MemoryBlobs()
    entries: list[tuple[RelPath, Entry]] = []
    for path, what in sorted(tree.items()):
        if isinstance(what, bytes):
            blobs.put(what)
        entries.append((RelPath(path), file(what) if isinstance(what, bytes) else what))
    return build_manifest(entries, draft), draft, blobs


def test_a_manifests_own_rules_say_what_it_does_not_look_at() -> None:
    root, nodes, blobs = build(
        {b".gitignore": b"*.log\nout/\n", b"d": DIR, b"d/.fstignore": b"!keep.log\nsecret\np/q\n", b"link": DIR, b"x": b""}
    )
    ignores = carried_rules(root, nodes, lambda digest: blobs.kept[digest])
    asked: dict[bytes, Entry] = {
        b"a.log": file(b""), b"d/b.log": file(b""), b"d/keep.log": file(b""), b"out": DIR, b"out/x": file(b""), b"d/secret": DIR,
        b"d/secret/x": file(b""), b"x": file(b""), b"d": DIR, b".DS_Store": file(b""), b"elsewhere/out": file(b""),
        b"out.txt": file(b""), b"d/p/q": file(b""), b"p/q": file(b""), b"x/p/q": file(b""),
    }  # fmt: skip
    ignored = {path for path, entry in asked.items() if ignores(RelPath(path), entry)}
    assert ignored == {b"a.log", b"d/b.log", b"out", b"out/x", b"d/secret", b"d/secret/x", b"d/p/q", b".DS_Store"}
    assert not ignores(RelPath(b"out"), file(b"")), "the rule is for folders"


def test_a_manifests_rule_files_are_read_when_one_is_asked_for_and_once() -> None:
    root, nodes, blobs = build({b".gitignore": b"*.log\n", b"d": DIR, b"d/.fstignore": b"x\n"})
    read: list[Digest] = []

    def content(digest: Digest) -> bytes:
        read.append(digest)
        return blobs.kept[digest]

    ignores = carried_rules(root, nodes, content)
    assert not read
    assert [ignores(RelPath(path), file(b"")) for path in (b"d/x", b"d/y", b"x", b"d/e/x", b"a.log")] == [True, False, False, True, True]
    assert len(read) == 2


def test_what_is_no_file_is_no_rule_file_of_a_manifest() -> None:
    root, nodes, blobs = build({b".gitignore": Link(b"rules"), b".fstignore": DIR, b"rules": b"*.log\n"})
    assert not carried_rules(root, nodes, lambda digest: blobs.kept[digest])(RelPath(b"a.log"), file(b""))


def test_a_giant_rule_file_is_not_read() -> None:
    assert MAX_RULE_BYTES == 1 << 20
    root, nodes, blobs = build({b".gitignore": b"*.log\n".ljust(MAX_RULE_BYTES, b"#")})
    assert carried_rules(root, nodes, lambda digest: blobs.kept[digest])(RelPath(b"a.log"), file(b""))
    root, nodes, blobs = build({b".gitignore": b"*.log\n".ljust(MAX_RULE_BYTES + 1, b"#")})
    blobs.kept.clear()
    assert not carried_rules(root, nodes, lambda digest: blobs.kept[digest])(RelPath(b"a.log"), file(b""))


def test_a_folder_far_down_knows_all_rules_above(tmp_path: Path) -> None:
    write_tree(tmp_path, {b".gitignore": b"*.a\n", b"one/.gitignore": b"*.b\n", b"one/two/three/.fstignore": b"!x.a\n", b"one/off/y": b""})
    source = IgnoreSource(info_exclude=b"off/\n")
    with Folder.open_root(tmp_path) as root:
        rules = source.rules_in(root, b"one/two/three")
        admitted = [name for name in (b"x.a", b"y.a", b"y.b", b"y.c") if rules.admit(name, False)]
        assert admitted == [b"x.a", b"y.c"]
        assert source.rules_in(root, b"one/two").admit(b"x.a", False) is False
        assert source.rules_in(root, b"one/off/deeper").barred is True
        assert source.rules_in(root, b"").expel(b"off", True) is False, "a rule that does not travel expels nothing"
        write_tree(tmp_path, {b"one/.gitignore": b"*.c\n"})
        source.forget(b"one")
        assert source.rules_in(root, b"one/two/three").admit(b"y.c", False) is False


def test_rules_that_we_wrote_ourselves_are_read_anew_after_the_plan(tmp_path: Path) -> None:
    write_tree(tmp_path, {b"d/.fstignore": b"x\n", b"d/e": DIR})
    source = IgnoreSource()
    with Folder.open_root(tmp_path) as root:
        assert not source.rules_in(root, b"d/e").admit(b"x", is_dir=False)
        (tmp_path / "d" / ".fstignore").unlink()
        source.note_written(RelPath(b"d/.fstignore"), is_gone=True)
        assert not source.rules_in(root, b"d/e").admit(b"x", is_dir=False), "the plan goes by what was there"
        assert source.take_written() == {Spot(b"d", b".fstignore")}
        assert source.rules_in(root, b"d/e").admit(b"x", is_dir=False)
