"""Three manifests -> what a merge does by itself, and what a person must decide. Pure: contents come in as answers.

Theory. The planner (sync/core/plan.py) decides; nothing is decided here a second time. A merge of workspaces asks more of people than
replicas of one workspace do: an edit against a deletion is told and asked too (it stays, unless somebody says otherwise). What the plan
needs to read is not at hand while it is drawn, so it is drawn with what is known, says what it lacks, and is drawn again: the same
roots and the same answers always give the same merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from store.errors import BlobMissing, TooLarge
from store.manifest import Draft, NodeSource, diff_manifests, edit_manifest, find_entry
from store.types import Digest, Dir, Entry, File, RelPath
from sync.core.ignore import carried_rules
from sync.core.merge import MAX_TEXT_BYTES, Region
from sync.core.plan import FILE_FOLDER, Action, Clash, Plan, plan

MAX_CHANGES: Final = 250_000
"""On either side, since the base; more is merged on a machine."""
MAX_DECISIONS: Final = 10_000
EDIT_DELETE: Final = "edit-delete"
CROSSWISE: Final = "crosswise"


class Three(msgspec.Struct, frozen=True):
    """The base, the head that is to move, and the one that is merged into it."""

    base: Digest
    ours: Digest
    theirs: Digest
    obeys_rules: bool = True
    """What theirs ignores it has not removed (P3); False where theirs is simply what was here before."""
    others: tuple[Digest, ...] = ()
    """Equally good bases, after a crosswise merge: where they would lead elsewhere, a person decides."""


class Question(NamedTuple):
    """Three contents that may be joined."""

    base: File
    ours: File
    theirs: File

    @property
    def key(self) -> tuple[Digest, Digest, Digest]:
        """What the answer depends on."""
        return self.base.digest, self.ours.digest, self.theirs.digest

    @property
    def size(self) -> int:
        """Bytes to read."""
        return self.base.size + self.ours.size + self.theirs.size


class Answer(msgspec.Struct, frozen=True):
    """The joined bytes, or None and where they do not join (nowhere: they are no text)."""

    data: bytes | None
    digest: Digest | None = None
    regions: tuple[Region, ...] = ()


class Known(msgspec.Struct):
    """What was read so far. `joins_all` is False once no more may be joined: the rest is for people."""

    answers: dict[tuple[Digest, Digest, Digest], Answer] = {}
    rules: dict[Digest, bytes] = {}
    joins_all: bool = True
    is_measured: bool = False


class Side(StrEnum):
    """Whose entry a path takes."""

    OURS = "ours"
    THEIRS = "theirs"


class Decision(msgspec.Struct, frozen=True):
    """A path that a person decides. `regions`: where two texts do not join."""

    path: RelPath
    kind: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    recommended: Side | None
    regions: tuple[Region, ...] = ()

    def entry(self, side: Side) -> Entry | None:
        """What the path has if this side is taken."""
        return self.ours if side is Side.OURS else self.theirs


class Decided(msgspec.Struct, frozen=True):
    """A merge. `root` is what it comes to with every decision as the planner leaves it; `lacks_*`: answer these and draw it again."""

    three: Three
    actions: tuple[Action, ...]
    decisions: tuple[Decision, ...]
    joined: frozenset[RelPath]
    root: Digest
    lacks_joins: tuple[Question, ...] = ()
    lacks_rules: tuple[Digest, ...] = ()


def draw_merge(three: Three, nodes: NodeSource, known: Known) -> Decided:
    """The merge as far as it is known. Raises TooLarge, BlobMissing."""
    if not known.is_measured:
        _measure(three, nodes)
    known.is_measured = True
    asking = _Asking(known)
    untracked = carried_rules(three.theirs, nodes, asking.rule_bytes) if three.obeys_rules else _is_tracked
    bases = three.base, *three.others
    drawn, *others = (plan(base, three.ours, three.theirs, nodes, join=asking.join, untracked=untracked) for base in bases)
    lacks = tuple(asking.lacks_joins.values()), tuple(asking.lacks_rules)
    if any(lacks):
        return Decided(three, (), (), frozenset(), three.ours, *lacks)
    asked = {each.path: each for each in _list_decisions(three, drawn, nodes, known)}
    asked = {each.path: each for other in others for each in _list_crosswise(three, drawn, other, nodes)} | asked
    decisions = tuple(asked[path] for path in sorted(asked))
    if len(decisions) > MAX_DECISIONS:
        raise TooLarge(f"{len(decisions)} paths to decide, at most {MAX_DECISIONS} at once", "Merge them on a machine, with `fst merge`.")
    made = {answer.digest for answer in known.answers.values()} - {None}
    joined = frozenset(step.path for step in drawn.actions if isinstance(step.become, File) and step.become.digest in made)
    changes = sorted((step.path, step.become) for step in drawn.actions)
    root = edit_manifest(three.ours, changes, Draft(nodes))
    return Decided(three, drawn.actions, decisions, joined - {each.path for each in decisions}, root)


def _measure(three: Three, nodes: NodeSource) -> None:
    for base in (three.base, *three.others):
        for side in (three.ours, three.theirs):
            if any(number >= MAX_CHANGES for number, _ in enumerate(diff_manifests(base, side, nodes))):
                raise TooLarge(f"over {MAX_CHANGES} changes since the base", "Merge them on a machine, with `fst merge`.")


class _Asking:
    """What the planner asks, answered from what is known; the rest is noted."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.lacks_joins: dict[tuple[Digest, Digest, Digest], Question] = {}
        self.lacks_rules: dict[Digest, None] = {}

    def join(self, base: File | None, local: File, remote: File) -> File | None:
        if base is None or max(base.size, local.size, remote.size) > MAX_TEXT_BYTES:
            return None
        question = Question(base, local, remote)
        answer = self._known.answers.get(question.key)
        if answer is None:
            if self._known.joins_all:
                self.lacks_joins[question.key] = question
            return None
        return None if answer.data is None or answer.digest is None else File(answer.digest, len(answer.data))

    def rule_bytes(self, digest: Digest) -> bytes:
        if digest not in self._known.rules:
            self.lacks_rules[digest] = None
        return self._known.rules.get(digest, b"")


def _list_decisions(three: Three, drawn: Plan, nodes: NodeSource, known: Known) -> Iterator[Decision]:
    for clash in drawn.clashes:
        recommended = None
        if clash.kind == FILE_FOLDER:
            recommended = Side.OURS if isinstance(clash.ours, Dir) else Side.THEIRS
        yield Decision(clash.path, clash.kind, clash.base, clash.ours, clash.theirs, recommended, _regions(clash, known))
    clashing = {clash.path for clash in drawn.clashes}
    for path in drawn.kept:
        ours = find_entry(three.ours, path, nodes)
        if ours is not None and not isinstance(ours, Dir) and path not in clashing:
            yield Decision(path, EDIT_DELETE, find_entry(three.base, path, nodes), ours, None, Side.OURS)
    for step in drawn.actions:
        if step.expect is None and step.become is not None and not isinstance(step.become, Dir) and step.path not in clashing:
            base = find_entry(three.base, step.path, nodes)
            if base is not None:
                yield Decision(step.path, EDIT_DELETE, base, None, step.become, Side.THEIRS)


def _list_crosswise(three: Three, drawn: Plan, other: Plan, nodes: NodeSource) -> Iterator[Decision]:
    """Where another base would have led elsewhere: what one side removed since that one must not come back unasked."""
    here, there = ({step.path: step.become for step in each.actions} for each in (drawn, other))
    for path in here.keys() | there.keys():
        ours, theirs = (find_entry(side, path, nodes) for side in (three.ours, three.theirs))
        wanted = {here.get(path, ours), there.get(path, ours)}
        if len(wanted) > 1 and ours != theirs and not any(isinstance(entry, Dir) for entry in (ours, theirs, *wanted)):
            yield Decision(path, CROSSWISE, find_entry(three.base, path, nodes), ours, theirs, None)


def _is_tracked(path: RelPath, entry: Entry) -> bool:
    return False


def _regions(clash: Clash, known: Known) -> tuple[Region, ...]:
    if not (isinstance(clash.base, File) and isinstance(clash.ours, File) and isinstance(clash.theirs, File)):
        return ()
    answer = known.answers.get(Question(clash.base, clash.ours, clash.theirs).key)
    return () if answer is None else answer.regions


def contents_of(decided: Decided, known: Known) -> dict[Digest, bytes]:
    """The bytes that joins made and the merge needs. Raises BlobMissing."""
    by_digest = {answer.digest: answer.data for answer in known.answers.values() if answer.digest is not None}
    wanted = {step.become.digest for step in decided.actions if step.path in decided.joined and isinstance(step.become, File)}
    found: dict[Digest, bytes] = {}
    for digest in wanted:
        data = by_digest.get(digest)
        if data is None:
            raise BlobMissing(f"no joined text {digest.hex()}")
        found[digest] = data
    return found
