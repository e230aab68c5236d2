"""A merge of workspaces is the daemon's plan, and decisions change what they decide and nothing else (cloud/merges)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud.merges.decide import EDIT_DELETE, Answer, Decided, Known, Side, contents_of, draw_merge
from cloud.merges.decide import Three as Roots
from cloud.merges.drift import draw_comparison
from cloud.merges.resolve import BOTH, Choice, chosen_entry, resolve
from store.errors import InvalidValue
from store.manifest import Draft
from store.types import DIR, Dir, Entry, File, RelPath, digest_of, parent_of
from sync.core.plan import Plan
from tests.alphabet import Tree, is_tree, manifest, new_draft, tree_at
from tests.planning import carry_out, plan_trees, wanted
from tests.property.test_plan_laws import LAWS, Three, three_trees

OWN = File(digest_of(b"own"), 3)
CHOICES = [Choice(Side.OURS), Choice(Side.THEIRS), BOTH, Choice(own=OWN)]


def planned_by_a_daemon(three: Three) -> Plan:
    """Its joins need a base."""

    def join(base: File | None, local: File, remote: File) -> File | None:
        return None if base is None else three.contents.join(base, local, remote)

    return plan_trees(three.base, three.local, three.remote, join=join)


class Drawn:
    """The merge of three trees, its contents answered as the planner's own tests answer them."""

    def __init__(self, three: Three) -> None:
        self.draft = new_draft()
        self.roots = Roots(*(manifest(entries, self.draft) for entries in three[:3]))  # type: ignore[arg-type]
        self.known = Known()
        self.decided = draw_merge(self.roots, self.draft, self.known)
        while self.decided.lacks_joins:
            for question in self.decided.lacks_joins:
                joined = three.contents.join(*question)
                answer = Answer(None) if joined is None else Answer(three.contents.kept[joined.digest], joined.digest)
                self.known.answers[question.key] = answer
            self.decided = draw_merge(self.roots, self.draft, self.known)

    def choose(self, numbers: list[int]) -> dict[RelPath, Choice]:
        choices = {}
        for number, decision in zip(numbers * 40, self.decided.decisions, strict=False):
            offered = [each for each in CHOICES if not (each is BOTH and decision.kind == EDIT_DELETE)]
            choices[decision.path] = offered[number % len(offered)]
        return choices

    def after(self, choices: dict[RelPath, Choice]) -> Tree:
        resolved = resolve(self.decided, choices, self.draft)
        draft = Draft(self.draft)
        draft.new.update(resolved.nodes)
        return tree_at(resolved.root, draft)


NUMBERS = st.lists(st.integers(0, 11), min_size=8, max_size=8)


@LAWS
@given(three_trees())
def test_a_merge_is_the_daemons_plan(three: Three) -> None:
    drawn, planned = Drawn(three), planned_by_a_daemon(three)
    assert drawn.decided.actions == planned.actions
    assert {each.path for each in planned.clashes} <= {each.path for each in drawn.decided.decisions}
    assert tree_at(drawn.decided.root, applied(drawn)) == wanted(planned, three.local)
    made = contents_of(drawn.decided, drawn.known)
    for path in drawn.decided.joined:
        entry = wanted(planned, three.local)[path]
        assert isinstance(entry, File) and made[entry.digest] == three.contents.kept[entry.digest]


def applied(drawn: Drawn) -> Draft:
    """The draft that has the merge's own nodes."""
    draft = Draft(drawn.draft)
    manifest(carry_out(drawn.decided.actions, tree_at(drawn.roots.ours, drawn.draft)), draft)
    return draft


@LAWS
@given(three_trees())
def test_every_edit_that_would_go_unseen_is_asked_about(three: Three) -> None:
    """Nothing but a join and what one side alone changed comes without a question; and an edit against a deletion stays till then."""
    base, local, remote, _ = three
    drawn = Drawn(three)
    asked = {each.path: each for each in drawn.decided.decisions}
    after = wanted(planned_by_a_daemon(three), local)
    for place in three.places():
        was, ours, theirs = base.get(place), local.get(place), remote.get(place)
        if place in asked or ours == theirs or was in (ours, theirs):
            continue
        assert isinstance(after[place], Dir) or (isinstance(ours, File) and isinstance(theirs, File)), place
    for path, decision in asked.items():
        assert (decision.base, decision.ours, decision.theirs) == (base.get(path), local.get(path), remote.get(path))
        if decision.kind == EDIT_DELETE:
            assert None in (decision.ours, decision.theirs) and after[path] == (decision.ours or decision.theirs)
            assert decision.recommended is not None and decision.entry(decision.recommended) is not None


@LAWS
@given(three_trees(), NUMBERS)
def test_a_decision_changes_what_it_decides_and_nothing_else(three: Three, numbers: list[int]) -> None:
    drawn = Drawn(three)
    choices = drawn.choose(numbers)
    plain = wanted(planned_by_a_daemon(three), three.local)
    try:
        after = drawn.after(choices)
    except InvalidValue:
        assert files_over_folders(drawn.decided, choices)
        return
    assert is_tree(after)
    over = files_over_folders(drawn.decided, choices)
    for decision in drawn.decided.decisions:
        choice = choices[decision.path]
        if choice is BOTH:
            assert after[decision.path] == plain[decision.path]
            lost = decision.theirs if isinstance(decision.ours, Dir) else decision.ours
            assert any(parent_of(path) == parent_of(decision.path) and entry == lost for path, entry in after.items())
        elif not is_below(decision.path, over):
            assert after.get(decision.path) == chosen_entry(decision, choice)
    for path in plain.keys() - choices.keys() - after.keys():
        assert is_below(path, over) or (plain[path] == DIR and dropped(path, drawn.decided, choices, three))
    for path in after.keys() - plain.keys() - choices.keys():
        assert path.count(b".conflict-")
    assert all(after[path] == plain[path] for path in plain.keys() & after.keys() - choices.keys())


def files_over_folders(decided: Decided, choices: dict[RelPath, Choice]) -> set[RelPath]:
    """Decisions by which a folder goes."""
    gone = set()
    for each in decided.decisions:
        sides = each.ours, each.theirs
        if DIR in sides and choices[each.path] is not BOTH and not isinstance(chosen_entry(each, choices[each.path]), Dir):
            gone.add(each.path)
    return gone


def is_below(path: RelPath, folders: set[RelPath]) -> bool:
    return any(path.startswith(folder + b"/") for folder in folders)


def dropped(folder: RelPath, decided: Decided, choices: dict[RelPath, Choice], three: Three) -> bool:
    """The side that a removal below it followed has no such folder."""
    sides: dict[Side, Tree] = {Side.OURS: three.local, Side.THEIRS: three.remote}
    followed = [choices[each.path].side for each in decided.decisions if each.path.startswith(folder + b"/")]
    return any(side is not None and folder not in sides[side] for side in followed)


@LAWS
@given(three_trees())
def test_drift_is_what_differs(three: Three) -> None:
    drawn = Drawn(three)
    found = draw_comparison(drawn.decided, drawn.draft)
    sets: dict[str, set[RelPath]] = {"source": set(), "workspace": set(), "different": set(), "same": set()}
    for place in three.places():
        ours, theirs = three.local.get(place), three.remote.get(place)
        if is_content(ours) or is_content(theirs):
            name = "same" if ours == theirs else "source" if ours is None else "workspace" if theirs is None else "different"
            sets[name].add(place)
    assert list(map(set, (found.source_only, found.workspace_only, found.both_different))) == [
        sets["source"], sets["workspace"], sets["different"],
    ]  # fmt: skip
    assert set(found.both_same) == sets["same"]
    assert all(paths == sorted(paths) for paths in (found.source_only, found.workspace_only, found.both_different, found.both_same))
    told = {each.path: each.kind for each in found.overlaps}
    assert {each.path: each.kind for each in drawn.decided.decisions}.items() <= told.items()


def is_content(entry: Entry | None) -> bool:
    return entry is not None and not isinstance(entry, Dir)
