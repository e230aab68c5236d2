from __future__ import annotations

import random

import pytest

from store.errors import BlobMissing
from sync.core.history import Undone, ancestors, is_ancestor, merge_base, merge_bases, reachable


def dag(text: str) -> dict[str, list[str]]:
    """`c<ab` : c has the parents a and b."""
    return {word[0]: list(word[2:]) for word in text.split()}


LINE = dag("a b<a c<b d<c")


@pytest.mark.parametrize(
    ("text", "one", "other", "bases"),
    [
        ("a", "a", "a", "a"),
        ("a b<a c<b", "a", "c", "a"),
        ("a b<a c<b", "c", "c", "c"),
        ("a b<a c<a", "b", "c", "a"),
        ("a b", "a", "b", ""),
        ("a b<a c<a d<bc e<d f<c", "e", "f", "c"),
        # Merged once: the base is the merged-in tip, not the fork.
        ("a b<a c<a d<bc e<c", "d", "e", "c"),
        # By the second parent only.
        ("a b c<ba d<a", "c", "d", "a"),
        # Criss-cross: both are best and equally near: the newest first.
        ("a b<a c<a d<bc e<cb", "d", "e", "cb"),
        # Among many, too.
        ("a b<a c<a d<a e<a f<a g<a h<a i<a x<bdfhcegi y<bcdefghi", "x", "y", "ihgfedcb"),
        # Criss-cross, one is nearer.
        ("a b<a c<a d<bc e<c f<eb", "d", "f", "bc"),
        # The steps from both sides are added: three are nearer than four.
        ("b p c<b e<p d<e x<pc y<bd", "x", "y", "bp"),
        # `a` is one step from both, yet behind `d`, which is two from both: `d` is the base.
        ("a d<a x<d y<d m<ax n<ay", "m", "n", "d"),
        # Roots of their own that met on one side only.
        ("a b c<ab d<b", "c", "d", "b"),
    ],
)
def test_bases(text: str, one: str, other: str, bases: str) -> None:
    parents = dag(text)
    assert merge_bases(one, other, parents) == list(bases)
    assert merge_bases(other, one, parents) == list(bases)
    assert merge_base(one, other, parents) == (bases[:1] or None)


def test_what_is_behind() -> None:
    assert ancestors("c", LINE) == {"c": 0, "b": 1, "a": 2}
    assert ancestors("m", dag("a d<a x<d m<ax")) == {"m": 0, "a": 1, "x": 1, "d": 2}
    assert reachable(["b", "c"], dag("a b<a c d")) == {"a", "b", "c"}
    assert reachable([], LINE) == set()
    assert is_ancestor("a", "d", LINE)
    assert is_ancestor("d", "d", LINE)
    assert not is_ancestor("d", "a", LINE)


@pytest.mark.parametrize("parents", [{"b": ["a"], "c": ["b"]}, {}])
def test_a_gap_is_no_beginning(parents: dict[str, list[str]]) -> None:
    with pytest.raises(BlobMissing, match=r"^no snapshot [abc]$") as caught:
        merge_base("c", "b", parents)
    assert caught.value.hint == "Fetch the history again, or run `fst fsck`."
    with pytest.raises(BlobMissing):
        reachable(["c"], parents)


def test_the_order_of_the_mapping_does_not_matter() -> None:
    rng = random.Random(4)
    for _ in range(100):
        ids = [f"{number:03}" for number in range(30)]
        parents = {each: rng.sample(ids[:at], min(at, rng.choice([0, 1, 1, 2, 3]))) for at, each in enumerate(ids)}
        shuffled = {each: rng.sample(parents[each], len(parents[each])) for each in rng.sample(ids, 30)}
        one, other = rng.sample(ids, 2)
        bases = merge_bases(one, other, parents)
        assert bases == merge_bases(other, one, shuffled)
        common = reachable([one], parents) & reachable([other], parents)
        best = {each for each in common if not any(each != later and is_ancestor(each, later, parents) for later in common)}
        assert set(bases) == best


def test_a_long_history_needs_no_deep_stack() -> None:
    parents: dict[str, list[str]] = {str(number): [str(number - 1)] if number else [] for number in range(50_000)}
    assert merge_base("49999", "25000", parents) == "25000"


def test_an_undone_merge_brought_nothing_in() -> None:
    """`w` and `n` fork from `a`; `x` merges main's `n` into `w`, `y` undoes that."""
    parents = dag("a n<a w<a x<wn y<x")
    undone = [Undone("x", "y", ("w",))]
    assert merge_bases("y", "n", parents) == ["n"]
    assert merge_bases("y", "n", parents, undone) == merge_bases("n", "y", parents, undone) == ["a"]
    # Who has the merge and not the undo has merged.
    assert merge_bases("x", "n", parents, undone) == ["n"]
    # A fork of the merge, against the undo: the merge is what they share.
    parents |= dag("f<x")
    assert merge_bases("y", "f", parents, undone) == ["x"]
    # Merged once more.
    parents |= dag("z<yn")
    assert merge_bases("z", "n", parents, undone) == ["n"]


def test_an_undo_that_only_an_undone_merge_brought_along_undoes_nothing() -> None:
    """Main merged `v` in `m` and took it back in `n`; `w` came from `m`, merged `n` in `x` and took that back in `y`."""
    parents = dag("a v<a c<a m<cv n<m w<m x<wn y<x")
    undone = [Undone("m", "n", ("c",)), Undone("x", "y", ("w",))]
    assert merge_bases("n", "v", parents, undone) == ["a"]
    assert merge_bases("y", "v", parents, undone) == ["v"]
    assert merge_bases("y", "n", parents, undone) == ["m"]
