"""What a plan that did not end has done: the next one starts from there, as what it placed is nobody's doing here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from store import journal
from store.manifest import Draft, edit_manifest, find_entry
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath, parent_of
from sync.replica import LocalReplica


def begun_from(replica: LocalReplica) -> Digest:
    """Agreed, or what a pull that did not end has made of it so far."""
    left = journal.pending(replica.db.read(), replica.id)
    return replica.row.agreed_root if left is None else left.from_root


def begun_at(replica: LocalReplica) -> Callable[[RelPath], Entry | None]:
    """What the next plan takes for agreed at a path; found out when it is first asked for."""
    draft = replica.draft()
    base = cache(lambda: base_of(replica, begun_from(replica), draft))
    return lambda path: find_entry(base(), path, draft)


def base_of(replica: LocalReplica, root: Digest, draft: Draft) -> Digest:
    """`root`, and beyond it what a plan that did not end placed: what differs from that is the person's doing."""
    edits: dict[RelPath, Entry | None] = {}
    for path, entry in replica.placed.items():
        above: list[RelPath] = []
        while (folder := parent_of(above[-1] if above else path)) and folder not in edits:
            above.append(folder)
        found = [find_entry(root, folder, draft) for folder in above]
        was = find_entry(root, path, draft)
        if isinstance(was, Dir) or any(isinstance(one, File | Link) for one in found):
            continue  # a folder came or went here, too: the root alone says what was there
        if entry is None:
            edits |= {} if was is None else {path: None}
            continue
        edits |= {folder: DIR for folder, one in zip(above, found, strict=True) if one is None}
        edits[path] = entry
    return edit_manifest(root, sorted(edits.items()), draft) if edits else root
