"""Any tree can be made from any other, byte for byte, and a look then finds exactly that."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InvalidValue
from store.manifest import Draft, MemoryNodes, build_manifest
from store.types import DIR, Dir, Entry, Link, RelPath, check_name
from sync.apply import apply_plan
from sync.core.plan import Action, plan
from tests.trees import Replica, file, read_tree, write_tree

ODD_NAMES = [
    b"n" * 255, "é".encode(), "e\u0301".encode(), "🐢".encode() * 63, b"\xff\xfe", b"new\nline", b"tab\t", b"back\\slash", b"trailing.",
    b" ", b"CON", b"a:b", b"-rf", b"\x1b[31m", b"A", b"a", b"...", b"%s", b".hidden",
]  # fmt: skip


def is_legal(name: bytes) -> bool:
    try:
        check_name(name)
    except InvalidValue:
        return False
    return not name.startswith(b".fst-tmp-") and name not in (b".gitignore", b".fstignore") and name.lower() not in LITTER


LITTER = {b".ds_store", b"thumbs.db", b"desktop.ini", b".svn", b".hg", b"cvs", b".bzr", b".jj", b"_darcs"}
names = st.sampled_from(ODD_NAMES) | st.binary(min_size=1, max_size=8).filter(is_legal)
leaves = st.binary(max_size=40) | st.builds(Link, st.binary(min_size=1, max_size=20).filter(lambda target: b"\0" not in target))
Tree = dict[bytes, bytes | Entry]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Folders first: below each, some leaves with names not taken."""
    folders = [b""]
    tree: Tree = {}
    for _ in range(draw(st.integers(0, 12))):
        folder, name = draw(st.sampled_from(folders)), draw(names)
        path = folder + b"/" + name if folder else name
        if path in tree:
            continue
        if draw(st.booleans()) and path.count(b"/") < 3:
            tree[path] = DIR
            folders.append(path)
        else:
            tree[path] = draw(leaves)
    return tree


def entries_of(tree: Tree) -> dict[bytes, Entry]:
    return {path: file(what) if isinstance(what, bytes) else what for path, what in tree.items()}


def steps_between(before: Mapping[bytes, Entry], after: Mapping[bytes, Entry]) -> tuple[Action, ...]:
    draft = Draft(MemoryNodes())
    old, new = (build_manifest(((RelPath(path), tree[path]) for path in sorted(tree)), draft) for tree in (before, after))
    planned = plan(old, old, new, draft, join=lambda *_: None, untracked=lambda *_: False)
    assert (planned.clashes, planned.kept, planned.held) == ((), (), ())
    return planned.actions


@given(before=trees(), after=trees(), few=st.booleans())
def test_any_tree_becomes_any_other(before: Tree, after: Tree, few: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as home:
        patch.setattr("sync.apply.FEW_STEPS", 100 if few else 0)
        replica = Replica(Path(home))
        write_tree(replica.path, dict(sorted(before.items())))
        result = replica.settle()
        assert (result.problems, replica.tree()) == ([], entries_of(before)), "what was written was found"
        for data in after.values():
            if isinstance(data, bytes):
                replica.blobs.put(data)
        steps = steps_between(entries_of(before), entries_of(after))
        applied = apply_plan(steps, replica.root, replica.blobs, replica.index, keep=replica.blobs.put)
        assert (applied.stale, applied.problems, applied.rescued) == ([], {}, [])
        assert sorted(step.path for step in applied.done) == sorted(step.path for step in steps)
        assert read_tree(replica.path) == entries_of(after), "what was planned is there"
        replica.index.remember(applied.seen)
        assert replica.tree() == entries_of(after), "and is known to be"
        assert replica.look().changes == []


@given(before=trees(), after=trees(), data=st.data())
def test_a_dirty_look_finds_what_a_full_one_does(before: Tree, after: Tree, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as home:
        replica = Replica(Path(home))
        write_tree(replica.path, dict(sorted(before.items())))
        replica.settle()
        for path in replica.path.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        write_tree(replica.path, dict(sorted(after.items())))
        # Every folder of either tree is dirty: what a watcher would have told, in any order.
        folders = [b"", *(path for tree in (before, after) for path, what in tree.items() if isinstance(what, Dir))]
        replica.settle(*data.draw(st.permutations(folders)))
        assert replica.tree() == entries_of(after)
        assert replica.look().changes == []
