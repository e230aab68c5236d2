"""The planner's table of cases, spelled out: one path in every combination of six entries, then whole trees, a case a line."""

from __future__ import annotations

import itertools

import pytest

from store.manifest import Node, NodeSource, node_digests
from store.types import DIR, Digest, Entry, File, RelPath
from sync.core.disk import Disk
from sync.core.plan import ADD_ADD, EDIT_EDIT, FILE_FOLDER, NAME_COLLISION, NAME_REFUSED, Action, Clash, Fold, plan
from tests.alphabet import FILES, N, Tree, entry, manifest, new_draft, path, show_tree, tree
from tests.planning import all_tracked, no_join, plan_trees, wanted

SIX = ("N", "F1", "F2", "F1X", "L1", "D")

# What is wanted at a path, for each base: a row is what local has, a column what remote has, both in the order of SIX.
# `k` the local edit outlives the remote's removal; `!` it clashes; `J!` the two join, or clash when they do not (`JX!`: executable).
TABLE = {
    "N": """
        N   F1  F2  F1X L1  D
        F1  F1  J!  F1X L1! D!
        F2  J!  F2  JX! L1! D!
        F1X F1X JX! F1X L1! D!
        L1  F1! F2! F1X! L1 D!
        D   D!  D!  D!  D!  D
    """,
    "F1": """
        N   N   F2  F1X L1  D
        N   F1  F2  F1X L1  D
        F2k F2  F2  F2X L1! D!
        F1Xk F1X F2X F1X L1! D!
        L1k L1  F2! F1X! L1 D!
        Dk  D   D!  D!  D!  D
    """,
    "F2": """
        N   F1  N   F1X L1  D
        F1k F1  F1  F1X L1! D!
        N   F1  F2  F1X L1  D
        F1Xk F1X F1X F1X L1! D!
        L1k F1! L1  F1X! L1 D!
        Dk  D!  D   D!  D!  D
    """,
    "F1X": """
        N   F1  F2  N   L1  D
        F1k F1  F2  F1  L1! D!
        F2k F2  F2  F2  L1! D!
        N   F1  F2  F1X L1  D
        L1k F1! F2! L1  L1  D!
        Dk  D!  D!  D   D!  D
    """,
    "L1": """
        N   F1  F2  F1X N   D
        F1k F1  J!  F1X F1  D!
        F2k J!  F2  JX! F2  D!
        F1Xk F1X JX! F1X F1X D!
        N   F1  F2  F1X L1  D
        Dk  D!  D!  D!  D   D
    """,
    "D": """
        N   F1  F2  F1X L1  N
        F1k F1  J!  F1X L1! F1
        F2k J!  F2  JX! L1! F2
        F1Xk F1X JX! F1X L1! F1X
        L1k F1! F2! F1X! L1 L1
        N   F1  F2  F1X L1  D
    """,
}
CASES = [
    (base, local, remote, cell)
    for base, table in TABLE.items()
    for (local, remote), cell in zip(itertools.product(SIX, SIX), table.split(), strict=True)
]
JOINED = FILES[9]


def join_always(base: File | None, local: File, remote: File) -> File | None:
    return JOINED


def alone(found: Entry | None) -> dict[RelPath, Entry]:
    return {} if found is None else {path("p"): found}


@pytest.mark.parametrize("joins", [True, False], ids=["joins", "clashes"])
@pytest.mark.parametrize(("base", "local", "remote", "cell"), CASES, ids=lambda value: str(value))
def test_one_path_in_every_combination(base: str, local: str, remote: str, cell: str, joins: bool) -> None:
    before, ours, theirs = entry(base), entry(local), entry(remote)
    made = plan_trees(alone(before), alone(ours), alone(theirs), join=join_always if joins else no_join)

    clashes = cell.endswith("!") and not (cell.startswith("J") and joins)
    expected = theirs
    if not cell.startswith("J"):
        expected = entry(cell.rstrip("!k"))
    elif joins:
        expected = File(JOINED.digest, JOINED.size, cell.startswith("JX"))

    kind = FILE_FOLDER if "D" in (local, remote) else ADD_ADD if base == "N" else EDIT_EDIT
    assert made.actions == (() if expected == ours else (Action(path("p"), ours, expected),))
    assert made.clashes == ((Clash(path("p"), kind, before, ours, theirs),) if clashes else ())
    assert made.kept == ((path("p"),) if cell.endswith("k") else ())
    assert made.held == ()


def test_the_table_is_whole() -> None:
    assert len(CASES) == 6**3
    assert set(TABLE) == set(SIX)


# --- a folder and what is in it, in every combination -------------------------------------------------------------------------

PAIRS = ("-", "d=F1", "d=F2", "d=L1", "d=D", "d/x=F1", "d/x=F2", "d/x=F1X", "d/x=L1", "d/x=D")
"""Everything that `d` and `d/x` may be together."""


def table_cell(base: Entry | None, local: Entry | None, remote: Entry | None) -> str:
    """What TABLE says of one path by itself; nothing here asks the planner."""
    letters = {None if word == "N" else entry(word): word for word in SIX}
    row, column = SIX.index(letters[local]), SIX.index(letters[remote])
    return TABLE[letters[base]].split()[row * len(SIX) + column]


def expect_pair(base: Tree, local: Tree, remote: Tree) -> tuple[Tree, list[tuple[bytes, str]], list[bytes]]:
    """The truth about `d` and `d/x`: each by the table, and a folder that is needed stays one."""
    after: Tree = {}
    clashes: list[tuple[bytes, str]] = []
    kept: list[bytes] = []
    for name in (path("d/x"), path("d")):
        before, ours, theirs = base.get(name), local.get(name), remote.get(name)
        cell = table_cell(before, ours, theirs)
        found = theirs if cell.startswith("J") else entry(cell.rstrip("!k"))
        if cell.endswith("!"):
            clashes.append((name, FILE_FOLDER if DIR in (ours, theirs) else ADD_ADD if before is None else EDIT_EDIT))
        if cell.endswith("k"):
            kept.append(name)
        if name == b"d" and path("d/x") in after and found != DIR:
            found = DIR
            if theirs is None:
                kept.append(name)
            elif ours is not None:
                clashes.append((name, FILE_FOLDER))
        if found is not None:
            after[name] = found
    return after, sorted(clashes), sorted(kept)


@pytest.mark.parametrize("base", PAIRS)
def test_a_folder_and_what_is_in_it_in_every_combination(base: str) -> None:
    for local, remote in itertools.product(PAIRS, PAIRS):
        made = plan_trees(base, local, remote)
        told = f"{base} | {local} | {remote}"
        after, clashes, kept = expect_pair(tree(base), tree(local), tree(remote))
        assert show_tree(wanted(made, local)) == show_tree(after), told
        assert [(clash.path, clash.kind) for clash in made.clashes] == clashes, told
        assert list(made.kept) == kept, told
        sides = [(tree(base).get(one.path), tree(local).get(one.path), tree(remote).get(one.path)) for one in made.clashes]
        assert [(clash.base, clash.ours, clash.theirs) for clash in made.clashes] == sides, told


# base, local, remote -> wanted ; clashes `path:kind`; kept
TREES = [
    # nothing to do
    ("-", "-", "-", "-", "", ""),
    ("a=F1 d/b=L1", "a=F1 d/b=L1", "a=F1 d/b=L1", "a=F1 d/b=L1", "", ""),
    ("a=F1", "a=F2 c=D", "a=F2 c=D", "a=F2 c=D", "", ""),
    # one side only
    ("-", "-", "a/b/c=F1 e=D", "a/b/c=F1 e=D", "", ""),
    ("a/b/c=F1 a/e=F2", "a/b/c=F1 a/e=F2", "-", "-", "", ""),
    ("a=F1", "a=F1 b=F2", "a=F1", "a=F1 b=F2", "", ""),
    ("a=F1 b=F2", "a=F1", "a=F1 b=F2", "a=F1", "", ""),
    ("a=F1 b=F2", "a=F1", "b=F2", "-", "", ""),
    ("d/a=F1", "d/a=F1", "d/a=F1 d/b=F2", "d/a=F1 d/b=F2", "", ""),
    ("a=F1", "a=F1", "z=F1", "z=F1", "", ""),
    # edits of the same file
    ("a=F1", "a=F2", "a=F3", "a=F3", "a:edit-edit", ""),
    ("a=F1", "a=F2X", "a=F3", "a=F3", "a:edit-edit", ""),
    ("a=F1", "a=F1X", "a=F3", "a=F3X", "", ""),
    ("a=F1X", "a=F1", "a=F3X", "a=F3", "", ""),
    ("-", "a=F1", "a=F1X", "a=F1X", "", ""),
    ("-", "a=L1", "a=L2", "a=L2", "a:add-add", ""),
    ("a=L3", "a=L1", "a=L2", "a=L2", "a:edit-edit", ""),
    # an edit outlives a deletion, and so does the folder it needs
    ("d/a=F1 d/b=F2", "d/a=F3 d/b=F2", "-", "d/a=F3", "", "d d/a"),
    ("d/a=F1 d/b=F2", "-", "d/a=F3 d/b=F2", "d/a=F3", "", ""),
    ("x/a=F1 x/b=F2", "-", "x/a=F3 x/b=F2", "x/a=F3", "", ""),
    ("a=F1 z=F1", "a=F2 z=F1", "z=F2", "a=F2 z=F2", "", "a"),
    ("d/e/a=F1 d/b=F2", "d/e/a=F1 d/b=F2 d/e/n=F3", "-", "d/e/n=F3", "", "d d/e"),
    ("d/e/a=F1 d/b=F2", "-", "d/e/a=F1 d/b=F2 d/e/n=F3", "d/e/n=F3", "", ""),
    ("d/e=D d/f=D", "d/e/n=D d/f=D", "-", "d/e/n=D", "", "d d/e"),
    ("d/a=F1", "d/a=F1X", "-", "d/a=F1X", "", "d d/a"),
    ("a=F1 b=F1 c=F1 d=F1 e=F1 f=F1", "a=F2 b=F2 c=F2 d=F2 e=F2 f=F2", "-", "a=F2 b=F2 c=F2 d=F2 e=F2 f=F2", "", "a b c d e f"),
    # each removed its own half
    ("d/a=F1 d/b=F2", "d/a=F1", "d/b=F2", "d=D", "", ""),
    ("d/a=F1", "d=D", "-", "-", "", ""),
    ("d/a=F1", "-", "d=D", "-", "", ""),
    # the folder keeps the name
    ("-", "a=F1", "a/x=F2", "a/x=F2", "a:file-folder", ""),
    ("-", "a/x=F2", "a=F1", "a/x=F2", "a:file-folder", ""),
    ("a=F1", "a=F2", "a/x=F3", "a/x=F3", "a:file-folder", ""),
    ("a=F1", "a/x=F3", "a=F2", "a/x=F3", "a:file-folder", ""),
    ("a=F1", "a/x=F3", "a=F1", "a/x=F3", "", ""),
    ("a=F1", "a=F1", "a/x=F3", "a/x=F3", "", ""),
    ("a=F1", "-", "a/x=F3", "a/x=F3", "", ""),
    ("a=F1", "a/x=F3", "-", "a/x=F3", "", "a"),
    ("a/x=F1", "a=F2", "a/x=F1", "a=F2", "", ""),
    ("a/x=F1", "a/x=F1", "a=F2", "a=F2", "", ""),
    ("a/x=F1", "a=F2", "a/x=F3", "a/x=F3", "a:file-folder", ""),
    ("a/x=F1", "a/x=F3", "a=F2", "a/x=F3", "a:file-folder", "a/x"),
    ("a/x=F1 a/y=F1", "a=F2", "a/x=F1 a/y=F1 a/b/n=F3", "a/b/n=F3", "a:file-folder", ""),
    ("a/x=F1 a/y=F1", "a/x=F1 a/y=F1 a/b/n=F3", "a=F2", "a/b/n=F3", "a:file-folder", ""),
    ("a/x=F1", "a=L1", "a/x=F3", "a/x=F3", "a:file-folder", ""),
    ("a/x=F1 b=F1", "a=F2 b=F2", "a/x=F3 b=F3", "a/x=F3 b=F3", "a:file-folder b:edit-edit", ""),
    ("a/x=F1", "a/x=F3", "a=L1", "a/x=F3", "a:file-folder", "a/x"),
    ("a/x=F1", "a/n=F1", "a=F1", "a/n=F1", "a:file-folder", ""),
    ("a/b/x=F1", "a/b=F2", "a=F3", "a/b=F2", "a:file-folder", "a/b"),
    ("a/b/x=F1", "a=F3", "a/b=F2", "a/b=F2", "a:file-folder", ""),
    ("a/b/x=F1", "a/b/x=F2", "a=F3", "a/b/x=F2", "a:file-folder", "a/b a/b/x"),
    # both sides made a tree out of one name
    ("-", "a/x=F1", "a/y=F2", "a/x=F1 a/y=F2", "", ""),
    ("a=F1", "a/x=F2", "a/x=F3", "a/x=F3", "a/x:add-add", ""),
    # names that sort between a folder and what it holds
    ("a/x=F1", "a/x=F1 a!=F2", "a-=F3 a=F3", "a=F3 a-=F3 a!=F2", "", ""),
    ("a/x=F1 a.b=F1", "a/x=F2 a.b=F1", "-", "a/x=F2", "", "a a/x"),
    # moves: both halves apply, an edit of what moved away stays where it was
    ("a=F1", "a=F2", "b=F1", "a=F2 b=F1", "", "a"),
    ("a=F1", "b=F1", "c=F1", "b=F1 c=F1", "", ""),
    ("a/x=F1 b=D", "b/a/x=F1", "a/b=D a/x=F1", "a/b=D b/a/x=F1", "", "b"),
    # one folder moved to two places: it is at both; to one place by both: it is there
    ("a/x=F1 a/y=F2", "b/x=F1 b/y=F2", "c/x=F1 c/y=F2", "b/x=F1 b/y=F2 c/x=F1 c/y=F2", "", ""),
    ("a/x=F1 a/y=F2", "b/x=F1 b/y=F2", "b/x=F1 b/y=F2", "b/x=F1 b/y=F2", "", ""),
    # a into b here, b into a there: no cycle, both are there
    ("a/x=F1 b/y=F2", "b/a/x=F1 b/y=F2", "a/b/y=F2 a/x=F1", "a/b/y=F2 b/a/x=F1", "", "b"),
    # names swapped on one side, with and without an edit on the other; swapped on both; rotated against swapped
    ("a=F1 b=F2", "a=F2 b=F1", "a=F1 b=F2", "a=F2 b=F1", "", ""),
    ("a=F1 b=F2", "a=F1 b=F2", "a=F2 b=F1", "a=F2 b=F1", "", ""),
    ("a=F1 b=F2", "a=F2 b=F1", "a=F2 b=F1", "a=F2 b=F1", "", ""),
    ("a=F1 b=F2", "a=F2 b=F1", "a=F3 b=F2", "a=F3 b=F1", "a:edit-edit", ""),
    ("a=F1 b=F2 c=F3", "a=F2 b=F1 c=F3", "a=F2 b=F3 c=F1", "a=F2 b=F3 c=F1", "b:edit-edit", ""),
    ("a/x=F1 b/y=F2", "a/y=F2 b/x=F1", "a/x=F1 b/y=F2", "a/y=F2 b/x=F1", "", ""),
    ("a/x=F1 b/x=F2", "a/x=F2 b/x=F1", "a/x=F3 b/x=F2", "a/x=F3 b/x=F1", "a/x:edit-edit", ""),
    ("f=F1 d/x=F2", "d=F1 f/x=F2", "f=F1 d/x=F2", "d=F1 f/x=F2", "", ""),
    ("f=F1 d/x=F2", "f=F1 d/x=F2", "d=F1 f/x=F2", "d=F1 f/x=F2", "", ""),
    ("f=F1 d/x=F2", "d=F1 f/x=F2", "f=F1 d/x=F3", "d/x=F3 f/x=F2", "d:file-folder", ""),
    # a move onto a file that the other side edited, removed, or moved away
    ("a=F1 b=F2", "b=F1", "a=F1 b=F3", "b=F3", "b:edit-edit", ""),
    ("a=F1 b=F2", "a=F1 b=F3", "b=F1", "b=F1", "b:edit-edit", ""),
    ("a=F1 b=F2", "b=F1", "a=F1", "b=F1", "", "b"),
    ("a=F1 b=F2", "b=F1", "a=F1 c=F2", "b=F1 c=F2", "", "b"),
    ("a=F1 b=F2", "a=F1 c=F2", "b=F1", "b=F1 c=F2", "", ""),
    ("a=F1", "b=F1", "a=F1 b=F3", "b=F3", "b:add-add", ""),
    # a folder moved, and an edit, a new file, a removal or a move in it on the other side
    ("a/x=F1 a/y=F2", "b/x=F1 b/y=F2", "a/x=F3 a/y=F2", "a/x=F3 b/x=F1 b/y=F2", "", ""),
    ("a/x=F1 a/y=F2", "a/x=F3 a/y=F2", "b/x=F1 b/y=F2", "a/x=F3 b/x=F1 b/y=F2", "", "a a/x"),
    ("a/x=F1", "b/x=F1", "a/n=F3 a/x=F1", "a/n=F3 b/x=F1", "", ""),
    ("a/x=F1", "a/n=F3 a/x=F1", "b/x=F1", "a/n=F3 b/x=F1", "", "a"),
    ("a/x=F1 a/y=F2", "b/x=F1 b/y=F2", "a/x=F1", "b/x=F1 b/y=F2", "", ""),
    ("a/x=F1", "b/x=F1", "a/z=F1", "a/z=F1 b/x=F1", "", ""),
    ("a/d/x=F1", "a/e/x=F1", "b/d/x=F1", "a/e/x=F1 b/d/x=F1", "", "a"),
    # a folder that goes, and one that takes its name
    ("a/x=F1", "b/x=F1 a/new=F2", "-", "a/new=F2 b/x=F1", "", "a"),
    ("a/x=F1", "-", "b/x=F1 a/new=F2", "a/new=F2 b/x=F1", "", ""),
    ("a/x=F1", "a=F2 b/x=F1", "a/x=F3", "a/x=F3 b/x=F1", "a:file-folder", ""),
    ("a/x=F1", "a/x=F3", "a=F2 b/x=F1", "a/x=F3 b/x=F1", "a:file-folder", "a/x"),
    ("a/x=F1", "a=L1 b/x=F1", "a/x=F1 a/y=F2", "a/y=F2 b/x=F1", "a:file-folder", ""),
]  # fmt: skip


@pytest.mark.parametrize(("base", "local", "remote", "result", "clashes", "kept"), TREES, ids=lambda value: str(value) or ".")
def test_a_tree(base: str, local: str, remote: str, result: str, clashes: str, kept: str) -> None:
    made = plan_trees(base, local, remote)
    assert show_tree(wanted(made, local)) == show_tree(tree(result))
    assert " ".join(f"{clash.path.decode()}:{clash.kind}" for clash in made.clashes) == clashes
    assert " ".join(kept_path.decode() for kept_path in made.kept) == kept
    assert made.held == ()


def test_the_words_that_records_keep() -> None:
    assert (EDIT_EDIT, ADD_ADD, FILE_FOLDER) == ("edit-edit", "add-add", "file-folder")
    assert (NAME_COLLISION, NAME_REFUSED) == ("name-collision", "name-refused")


def test_a_clash_over_a_lost_folder_records_what_took_its_name() -> None:
    made = plan_trees("a/x=F1", "a=F2", "a/x=F3")
    assert made.clashes == (Clash(path("a"), FILE_FOLDER, entry("D"), entry("F2"), entry("D")),)
    made = plan_trees("a/x=F1", "a/x=F3", "a=F2")
    assert made.clashes == (Clash(path("a"), FILE_FOLDER, entry("D"), entry("D"), entry("F2")),)


def test_the_order_is_safe() -> None:
    made = plan_trees("a/b/x=F1 f=F1 r=F1", "a/b/x=F1 f=F1 r=F1", "a=F2 f/g/y=F1 s=F1")
    assert [step.path for step in made.actions] == [b"r", b"a/b/x", b"a/b", b"a", b"f", b"f/g", b"f/g/y", b"s"]
    assert [step.become is None for step in made.actions] == [True] * 3 + [False] * 5


def test_files_are_joined_once_each_in_order() -> None:
    asked: list[tuple[Entry | None, Entry, Entry]] = []

    def join(base: File | None, local: File, remote: File) -> File | None:
        asked.append((base, local, remote))
        return JOINED

    plan_trees("b=F1 l=L1 x=F1", "a=F1 b=F2 l=F2 x=F1X", "a=F2 b=F3 l=F3 x=F2", join=join)
    assert asked == [(N, FILES[1], FILES[2]), (FILES[1], FILES[2], FILES[3]), (N, FILES[2], FILES[3])]


def test_a_join_that_is_what_we_have_needs_no_step() -> None:
    assert plan_trees("a=F1", "a=F2", "a=F3", join=lambda base, local, remote: local).actions == ()


# --- what the remote's own rules ignore -------------------------------------------------------------------------------------


def ignore_build(name: RelPath, found: Entry) -> bool:
    return b"build" in name.split(b"/")


UNTRACKED = [
    ("build/a=F1 b=F1", "build/a=F1 b=F1", "b=F1", "build/a=F1 b=F1", ""),
    ("build/a=F1 b=F1", "build/a=F2 b=F1", "b=F1", "build/a=F2 b=F1", ""),
    ("build/a=F1 b=F1", "build/a=F1 b=F1", "-", "build/a=F1", ""),
    ("build/a=F1 z=F1", "build/a=F1 z=F1", "z=F2", "build/a=F1 z=F2", ""),
    ("build/a=F1", "-", "-", "-", ""),
    ("build/a=F1", "build/a=F1", "build/a=F2", "build/a=F2", ""),
    ("d/build/a=F1 d/b=F1", "d/build/a=F1 d/b=F1", "-", "d/build/a=F1", "d"),
]


@pytest.mark.parametrize(("base", "local", "remote", "result", "kept"), UNTRACKED)
def test_what_the_remote_ignores_is_not_removed(base: str, local: str, remote: str, result: str, kept: str) -> None:
    made = plan_trees(base, local, remote, untracked=ignore_build)
    assert wanted(made, local) == tree(result)
    assert " ".join(kept_path.decode() for kept_path in made.kept) == kept
    assert made.clashes == ()


@pytest.mark.parametrize(("there", "stays"), [("D", True), ("F1", False)])
def test_what_the_remote_ignores_may_depend_on_what_is_here(there: str, stays: bool) -> None:
    """`build/` is a rule for folders only."""
    made = plan_trees(f"build={there}", f"build={there}", "-", untracked=lambda _, found: found == DIR)
    assert (made.actions == ()) is stays


# --- a disk that folds names ------------------------------------------------------------------------------------------------

# base, local, remote -> wanted; held
FOLDED = [
    ("-", "-", "A=F1 a=F2", "A=F1", "a"),
    ("-", "a=F2", "A=F1", "a=F2", "A"),
    ("a=F2", "a=F2", "A=F1 a=F2", "a=F2", "A"),
    ("a=F2", "a=F2", "A=F2", "A=F2", ""),
    ("a=F1", "a=F2", "A=F1", "a=F2", "A"),
    ("d/x=F1", "d/x=F1", "D/y=F1 d/x=F1", "d/x=F1", "D D/y"),
    ("d/x=F1", "d/x=F1", "D/x=F1", "D/x=F1", ""),
    ("d/x=F1", "d/x=F2", "D/x=F1", "d/x=F2", "D D/x"),
    ("d/x=F1 e=F1", "D=F2 e=F1", "d/x=F2 e=F1", "D=F2 e=F1", "d d/x"),
    ("d/x=F1", "d/x=F1 d/y=F1", "d/x=F1 d/X=F2 d/Y=F2 d/z=F2", "d/x=F1 d/y=F1 d/z=F2", "d/X d/Y"),
    ("a=F1", "a=F1", "a/b=F1 a/B=F2", "a/B=F2", "a/b"),
    ("-", "-", "d/a/b=F1 d/A/b/c=F1", "d/A/b/c=F1", "d/a d/a/b"),
    ("-", "b=F1", "B=D B.x=F1 B/y=F1", "b=F1 B.x=F1", "B B/y"),
]


@pytest.mark.parametrize(("base", "local", "remote", "result", "held"), FOLDED)
def test_a_name_that_is_anothers_in_disguise_is_held(base: str, local: str, remote: str, result: str, held: str) -> None:
    made = plan_trees(base, local, remote, fold=bytes.lower)
    assert wanted(made, local, fold=bytes.lower) == tree(result)
    assert " ".join(problem.path.decode() for problem in made.held) == held
    assert {problem.code for problem in made.held} <= {NAME_COLLISION}


def test_a_held_path_says_whose_name_it_has() -> None:
    made = plan_trees("-", "Notes=F1", "notes/a=F2", fold=bytes.lower)
    assert [problem.message for problem in made.held] == [
        "notes is not written here: on this disk it would be the same file as Notes.",
        "notes/a is not written here: its folder is not.",
    ]


# --- a disk that cannot hold some names -----------------------------------------------------------------------------------


def no_capitals(name: bytes) -> str | None:
    return "names here have no capitals" if name != name.lower() else None


# base, local, remote -> wanted; held
REFUSED = [
    ("-", "-", "A=F1 a=F2", "a=F2", "A"),
    ("-", "-", "A/x=F1 A/y/z=F1 b=F2", "b=F2", "A A/x A/y A/y/z"),
    ("d/x=F1", "d/x=F1", "d/X=F1 d/x=F2", "d/x=F2", "d/X"),
    ("a=F1", "a=F1", "A=F1", "-", "A"),
    ("A=F1", "-", "A=F2", "-", "A"),
    ("a=F1", "a=F1", "a/B=F1 a/c=F2", "a/c=F2", "a/B"),
]


@pytest.mark.parametrize(("base", "local", "remote", "result", "held"), REFUSED)
def test_a_name_this_disk_cannot_hold_blocks_only_itself(base: str, local: str, remote: str, result: str, held: str) -> None:
    made = plan_trees(base, local, remote, refuse=no_capitals)
    assert wanted(made, local) == tree(result)
    assert " ".join(problem.path.decode() for problem in made.held) == held
    assert {problem.code for problem in made.held} == {NAME_REFUSED}


def test_a_refused_name_is_told_with_its_reason() -> None:
    made = plan_trees("-", "-", "A/x=F1", refuse=no_capitals)
    assert [problem.message for problem in made.held] == [
        "A is not written here: names here have no capitals.",
        "A/x is not written here: its folder is not.",
    ]


def test_a_refused_name_takes_nobodys_place() -> None:
    made = plan_trees("-", "-", "A=F1 a=F2", fold=bytes.lower, refuse=no_capitals)
    assert (wanted(made, "-"), [problem.path for problem in made.held]) == (tree("a=F2"), [b"A"])


def test_a_disk_is_asked_for_a_name_and_not_for_a_path() -> None:
    assert plan_trees("dd/x=F1", "dd/x=F1", "dd/x=F1 dd/y=F2", refuse=Disk(longest=3).refusal).held == ()


def test_what_is_here_already_is_not_refused() -> None:
    made = plan_trees("A/b=F1 C=F1", "A/b=F1 C=F1", "A/b=F2", refuse=no_capitals)
    assert (wanted(made, "A/b=F1 C=F1"), made.held) == (tree("A/b=F2"), ())


def test_what_is_held_is_told_in_order() -> None:
    made = plan_trees("-", "-", "A=F1 a=F2 z!=F1", fold=bytes.lower, refuse=lambda name: "no" if b"!" in name else None)
    assert [problem.path for problem in made.held] == [b"a", b"z!"]


def test_where_names_are_kept_apart_nothing_is_held() -> None:
    made = plan_trees("-", "a=F1", "A=F1")
    assert (wanted(made, "a=F1"), made.held) == (tree("a=F1 A=F1"), ())


# --- what it costs ----------------------------------------------------------------------------------------------------------


class CountedNodes:
    """A node source that counts what is read."""

    def __init__(self, below: NodeSource) -> None:
        self.below = below
        self.reads = 0

    def get_node(self, digest: Digest) -> bytes:
        self.reads += 1
        return self.below.get_node(digest)

    def read_node(self, digest: Digest) -> Node:
        self.reads += 1
        return self.below.read_node(digest)


@pytest.mark.parametrize("fold", [None, bytes.lower])
def test_a_few_changes_in_a_large_tree_read_a_few_nodes(fold: Fold | None) -> None:
    draft = new_draft()
    large = tree(" ".join(f"d{number % 50:02}/f{number}=F1" for number in range(5000)))
    base = manifest(large, draft)
    local = manifest({**large, path("d07/f7"): FILES[2]}, draft)
    remote = manifest({**large, path("d31/f31"): FILES[2], path("d31/new"): FILES[3]}, draft)
    whole = sum(1 for _ in node_digests(base, draft, set()))

    nodes = CountedNodes(draft)
    made = plan(base, local, remote, nodes, join=no_join, untracked=all_tracked, fold=fold)
    assert [step.path for step in made.actions] == [b"d31/f31", b"d31/new"]
    assert nodes.reads < 30 < whole
