"""A plan, and what its undecided paths leave in the folder by the replica's style (`sync.core.merge.style`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container
from functools import cache
from typing import Final

import msgspec

from store import conflicts
from store.atomic import Folder
from store.conflicts import Conflict
from store.errors import FastestError
from store.manifest import Draft, entry_of, find_entry
from store.types import Digest, Entry, File, RelPath, digest_of
from sync.core.merge import MAX_TEXT_BYTES
from sync.core.merge.style import Style, draw_copies, mark_both
from sync.core.plan import FILE_FOLDER, Clash, Plan
from sync.replica import LocalReplica

Read = Callable[[Digest], bytes]
_EMPTY: Final = File(digest_of(b""), 0)


def in_style(
    replica: LocalReplica, root: Digest, draft: Draft, decided: Plan, skipped: Container[RelPath], read: Read, made: dict[Digest, bytes]
) -> Plan:
    """The plan for a folder that holds `root`; texts with markers are added to `made`. Paths that are `skipped` are not written."""
    clashes = [clash for clash in decided.clashes if clash.path not in skipped]
    if not clashes or replica.style is Style.RECORD:
        return decided
    if replica.style is Style.MARKERS:
        return _with_markers(decided, clashes, read, made)
    coming = {step.path: step.become for step in decided.actions}
    held = {problem.path for problem in decided.held}

    def entry_at(path: RelPath) -> Entry | None:
        return coming[path] if path in coming else find_entry(root, path, draft)

    with replica.open_root() as folder:
        copies = draw_copies(clashes, entry_at, lambda path: path not in held and _is_free(folder, path))
    return msgspec.structs.replace(decided, actions=(*copies, *decided.actions))


def marked_file(read: Read, base: Entry | None, ours: Entry | None, theirs: Entry | None) -> tuple[File, bytes] | None:
    """Both sides of a clash as one file with markers, and its bytes; None where that cannot be."""
    if not isinstance(ours, File) or not isinstance(theirs, File):
        return None
    before = base if isinstance(base, File) else _EMPTY
    if max(before.size, ours.size, theirs.size) > MAX_TEXT_BYTES:
        return None
    text = mark_both(b"" if before is _EMPTY else read(before.digest), read(ours.digest), read(theirs.digest))
    return None if text is None or len(text) > MAX_TEXT_BYTES else (File(digest_of(text), len(text), theirs.executable), text)


def marked_of(record: Conflict, read: Read) -> File | None:
    """What the style `markers` made of a recorded clash."""
    sides = [None if side is None else entry_of(side)[1] for side in (record.base, record.ours, record.theirs)]
    found = marked_file(read, *sides)
    return None if found is None else found[0]


def find_marked(replica: LocalReplica, read: Read) -> Callable[[File, File], bool]:
    """(local, remote) -> True when local is what was made of a clash with that very remote: a plan that was cut short goes on.

    Without it the text with the markers would be an edit of its own, and clash with what is in it.
    """

    @cache
    def by_theirs() -> dict[Digest, list[Conflict]]:
        found: dict[Digest, list[Conflict]] = defaultdict(list)
        for record in conflicts.list_conflicts(replica.db.read(), replica.row.workspace_id):
            theirs = None if record.theirs is None else entry_of(record.theirs)[1]
            if isinstance(theirs, File):
                found[theirs.digest].append(record)
        return found

    def is_marked(local: File, remote: File) -> bool:
        marked = (marked_of(record, read) for record in by_theirs().get(remote.digest, ()))
        return any(made is not None and made.digest == local.digest for made in marked)

    return is_marked


def _with_markers(decided: Plan, clashes: list[Clash], read: Read, made: dict[Digest, bytes]) -> Plan:
    marked: dict[RelPath, File] = {}
    for clash in clashes:
        found = None if clash.kind == FILE_FOLDER else marked_file(read, clash.base, clash.ours, clash.theirs)
        if found is not None:
            marked[clash.path], made[found[0].digest] = found
    steps = [msgspec.structs.replace(step, become=marked.get(step.path, step.become)) for step in decided.actions]
    return msgspec.structs.replace(decided, actions=tuple(steps))


def _is_free(root: Folder, path: RelPath) -> bool:
    folder, _, name = path.rpartition(b"/")
    try:
        with root.open(RelPath(folder)) as inside:
            return inside.stat(name) is None
    except FastestError:
        return True  # the step will meet it, and tell
