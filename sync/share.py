"""The full root -> the shared root: what of a folder the cloud may see, and where the next plan starts.

A path kept apart keeps the shared entry it had: holding back is never a deletion (details.md, Full and shared). What the folder could
not take was never agreed on here: it is planned again from what the folder had (`ground`), beside whatever a person made of it since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from store import conflicts
from store.conflicts import Conflict
from store.manifest import Draft, check_tree_after, edit_manifest, entry_of, find_entry, record_of, walk_manifest
from store.types import DIR, Change, Digest, Dir, Entry, File, RelPath, folders_above, parent_of, spot_of
from store.workspaces import Apart
from sync.core.merge.style import named_after
from sync.core.plan import Action
from sync.replica import LocalReplica

SECRET: Final = "secret"
OWED: Final = "owed"
CONTENT_BYTES: Final = 1024 * 1024

Suspect = Callable[[RelPath, File], str | None]
"""Why a file looks like a secret, or None."""
Came = Callable[[RelPath], Entry | None]
"""What is agreed at a path, or was brought there by a pull that did not end: the cloud has it."""


class Shared(msgspec.Struct, frozen=True):
    """A shared root, and how the rows of paths kept apart change with it."""

    root: Digest
    put: dict[RelPath, Apart]
    drop: list[RelPath]


class Ground(NamedTuple):
    """A plan's base and local."""

    base: Digest
    local: Digest


def derive_shared(
    replica: LocalReplica, apart: Mapping[RelPath, Apart], draft: Draft, suspect: Suspect | None, came: Came
) -> Shared:  # fmt: skip
    """From what changed since `shared_full`. `suspect` is None when nothing is held back: then earlier held files go along.

    Raises InvalidManifest rather than name a root that is no tree: whatever led to it, nothing of it is kept, or sent.
    """
    row, are_equal = replica.row, replica.row.shared_root == replica.row.shared_full
    if are_equal and suspect is None and not apart:
        return Shared(row.full_root, {}, [])
    sharing = _Sharing(row.shared_root, apart, draft, lambda path, is_dir: _is_ignored(replica, path, is_dir))
    if suspect is None:
        for path, kept in apart.items():
            if kept.kind == SECRET:
                sharing.release(path, find_entry(row.full_root, path, draft))
    for change in replica.changes_between(row.shared_full, row.full_root, draft):
        reason = None
        if suspect is not None and isinstance(change.new, File):
            reason = suspect(named_after(change.path), change.new)
            replica.progress.add()
        if reason is not None and (theirs := came(change.path)) != change.new:  # what the cloud has there it may see
            if change.path not in apart and theirs != find_entry(row.agreed_root, change.path, draft):
                sharing.take(msgspec.structs.replace(change, new=theirs))  # a pull that did not end brought what it was made of
            sharing.hold(change.path, reason)
        elif change.path in sharing.released:
            continue
        elif change.path in apart and apart[change.path].kind == SECRET:
            sharing.release(change.path, change.new)
        else:
            sharing.take(change)
    return sharing.end(row.full_root if are_equal else None)


class _Sharing:
    """One derivation. Changes come in the order of paths: a folder's own before those below it."""

    def __init__(
        self, shared_root: Digest, apart: Mapping[RelPath, Apart], draft: Draft, is_ignored: Callable[[RelPath, bool], bool]
    ) -> None:  # fmt: skip
        self.released: set[RelPath] = set()
        self._is_ignored = is_ignored
        self._shared_root = shared_root
        self._apart = apart
        self._draft = draft
        self._edits: dict[RelPath, Entry | None] = {}
        self._put: dict[RelPath, Apart] = {}
        self._drop: list[RelPath] = []
        self._untaken = list_untaken(apart)
        self._waits = False

    def hold(self, path: RelPath, reason: str) -> None:
        """It stays here, and what is shared at its path is what was."""
        was = self._apart.get(path)
        shared = self._edits[path] if path in self._edits else find_entry(self._shared_root, path, self._draft)
        had = record_of(path, shared) if was is None else was.had
        self._put[path] = Apart(path, SECRET, reason, had)

    def release(self, path: RelPath, entry: Entry | None) -> None:
        """What was held back goes where it was held back from; where others were meanwhile, a plan decides between it and theirs.

        If it left because a rule ignores it now it is there still, and theirs, which the rule is about as well, does not come.
        """
        self.released.add(path)
        kept, shared = self._apart[path], find_entry(self._shared_root, path, self._draft)
        had = None if kept.had is None else entry_of(kept.had)[1]
        below = self._find_untaken_below(path)
        if (below or shared not in (had, entry)) and entry is None and self._is_ignored(path, isinstance(shared, Dir)):
            self._drop_at(path)
        elif shared not in (had, entry):
            self._owe(path, had)
            return
        self._drop.append(path)
        if _is_at_or_below(parent_of(path), self._untaken):
            self._waits = True
            return
        if not isinstance(entry, Dir):
            self._edits.update((other, None) for other in below)  # what was to come below it goes with it, and the plan brings both back
        self._edits[path] = entry
        above = [] if entry is None else folders_above(path)[1:]
        self._edits |= {one: DIR for one in above if one not in self._edits and find_entry(self._shared_root, one, self._draft) is None}

    def _owe(self, path: RelPath, had: Entry | None) -> None:
        row = Apart(path, OWED, "It was held back, and the cloud has another one.", record_of(path, had))
        self._put[path] = self._untaken[path] = row
        if any(above in self._edits and not isinstance(self._edits[above], Dir) for above in folders_above(path)[1:]):
            self._edits[path] = None  # it goes with its folder, and the plan brings both back

    def _find_untaken_below(self, path: RelPath) -> list[RelPath]:
        return [below for below in self._untaken if below.startswith(path + b"/")]

    def take(self, change: Change) -> None:
        """An ordinary change goes along, but for what only a plan can tell of: what a person made of what could not be taken."""
        path = change.path
        is_theirs = path in self._untaken or self._find_untaken_below(path)
        if change.new is None and is_theirs and self._is_ignored(path, isinstance(change.old, Dir)):
            self._let_leave(path)
        if self._untaken and isinstance(change.old, Dir) and not isinstance(change.new, Dir):
            # What was to come into a folder goes with it; the plan, which comes before any push, brings both back.
            self._edits.update((below, None) for below in self._find_untaken_below(path))
        if self._untaken and _is_at_or_below(path, self._untaken):
            self._waits = True
        else:
            self._edits[path] = change.new

    def _let_leave(self, path: RelPath) -> None:
        """A rule ignores it now: nobody removed it, and to a plan that finds it removed here, theirs would be to come for ever.

        What was to come there leaves with it, if the rule is about that, too. Else there is nothing any more that both sides had, and a
        plan decides between what stands there and theirs.
        """
        theirs = find_entry(self._shared_root, path, self._draft)
        if path not in self._untaken or theirs is None or self._is_ignored(path, isinstance(theirs, Dir)):
            self._drop_at(path)
        else:
            self._put[path] = self._untaken[path] = msgspec.structs.replace(self._untaken[path], had=record_of(path, None))

    def _drop_at(self, path: RelPath) -> None:
        """Nothing is shared at this path or below it any more, nor to come there."""
        gone = {other for other in self._untaken if other == path or other.startswith(path + b"/")}
        self._drop += gone
        self._untaken = {other: row for other, row in self._untaken.items() if other not in gone}
        self._edits.update((other, None) for other, _ in walk_manifest(self._shared_root, self._draft, path))

    def end(self, full_root: Digest | None) -> Shared:
        """`full_root`: the answer where nothing turned out to be kept apart. Raises InvalidManifest."""
        if full_root is not None and not (self._put or self._waits):
            return Shared(full_root, self._put, self._drop)
        edits = sorted(self._edits.items())
        root = edit_manifest(self._shared_root, edits, self._draft)
        check_tree_after(root, edits, self._draft)
        return Shared(root, self._put, self._drop)


def _is_ignored(replica: LocalReplica, path: RelPath, is_dir: bool) -> bool:
    """By a rule that travels, or with a folder above it. Raises RootLost."""
    return bool(_expelling(replica, {path: is_dir}))


def _expelling(replica: LocalReplica, asked: Mapping[RelPath, bool]) -> set[bytes]:
    """Folders whose rules expel one of these paths, or a folder above one; True: it is a folder itself. Raises RootLost."""
    asked = {above: True for path in asked for above in folders_above(path)[1:]} | dict(asked)
    with replica.open_root() as root:
        spots = ((*spot_of(path), is_dir) for path, is_dir in asked.items())
        return {folder for folder, name, is_dir in spots if replica.ignore.rules_in(root, folder).expel(name, is_dir)}


def is_new_kind(old: Entry | None, new: Entry | None) -> bool:
    """Something where nothing was, or a folder where none was, or the other way round: rules are asked about it anew."""
    return new is not None and (old is None or isinstance(old, Dir) is not isinstance(new, Dir))


def find_barred(
    replica: LocalReplica, head: Digest, made: Iterable[Action], wanted: Iterable[RelPath], apart: Mapping[RelPath, Apart]
) -> set[bytes]:  # fmt: skip
    """Folders with something carried that a rule ignores: it was `made` or `wanted`, or the head let go of it, after the rule was read."""
    beyond = replica.changes_between(head, replica.row.full_root, replica.draft())
    added = [(change.path, change.new) for change in beyond if is_new_kind(change.old, change.new)]
    added += [(step.path, step.become) for step in made]
    found = ((path, find_entry(replica.row.full_root, path, replica.blobs)) for path in wanted)
    added += [(path, entry) for path, entry in found if entry is not None]
    kept = {path for path, entry in added if path in apart and _keeps_others_out(replica, apart[path], entry)}
    asked = {path: isinstance(entry, Dir) for path, entry in added if path not in kept}
    # What a plan made in two goes is told only of the second: a folder of the first may be what must leave.
    return _expelling(replica, asked) if asked else set()


def _keeps_others_out(replica: LocalReplica, kept: Apart, entry: Entry | None) -> bool:
    """A secret where something of another kind is to come: let go of, it would be met there, taken up and held back again, for ever."""
    theirs = find_entry(replica.row.shared_root, kept.path, replica.blobs)
    return kept.kind == SECRET and theirs is not None and is_new_kind(theirs, entry)


def list_tellable(replica: LocalReplica, suspect: Suspect | None) -> list[Conflict]:
    """Conflict records that the cloud was not told yet, but for those with a text that looks like a secret."""
    unsent = conflicts.unsent_conflicts(replica.db.read(), replica.row.workspace_id)
    return [record for record in unsent if suspect is None or not _has_secret(replica, record, suspect)]


def _has_secret(replica: LocalReplica, record: Conflict, suspect: Suspect) -> bool:
    sides = [entry_of(side)[1] for side in (record.base, record.ours, record.theirs) if side is not None]
    files = [entry for entry in sides if isinstance(entry, File) and replica.blobs.has(entry.digest)]
    return any(suspect(named_after(record.path), file) is not None for file in files)


def list_untaken(apart: Mapping[RelPath, Apart]) -> dict[RelPath, Apart]:
    """The paths where the folder could not take what came."""
    return {path: row for path, row in apart.items() if row.kind != SECRET}


def ground(replica: LocalReplica, base: Digest, apart: Mapping[RelPath, Apart], draft: Draft) -> Ground:
    """Where a plan starts: `base` and shared, but at what was not taken what the folder had, and what is there now."""
    row, untaken = replica.row, list_untaken(apart)
    had = {path: find_entry(row.full_root, path, draft) if one.had is None else entry_of(one.had)[1] for path, one in untaken.items()}
    here: dict[RelPath, Entry | None] = {}
    for top in _tops(untaken):
        here.update((path, None) for path, _ in walk_manifest(row.shared_root, draft, top) if path in untaken or path not in apart)
        here.update((path, entry) for path, entry in walk_manifest(row.full_root, draft, top) if path in untaken or path not in apart)
    return Ground(edit_manifest(base, sorted(had.items()), draft), edit_manifest(row.shared_root, sorted(here.items()), draft))


def _tops(paths: Mapping[RelPath, Apart]) -> Iterator[RelPath]:
    return (path for path in paths if not _is_at_or_below(parent_of(path), paths))


def _is_at_or_below(path: RelPath, paths: Mapping[RelPath, Apart]) -> bool:
    while path and path not in paths:
        path = parent_of(path)
    return bool(path)
