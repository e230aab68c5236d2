"""Every state that is kept on this machine: its manifest root, what a person would call it, and what it names."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

import msgspec

from store import conflicts, history, journal, snapshots, workspaces
from store.errors import FastestError
from store.manifest import EMPTY_ROOT, check_manifest, node_digests, walk_manifest
from store.types import Digest, File, parse_digest, show_path

if TYPE_CHECKING:
    from daemon.app import Daemon
    from store.database import Reader
    from sync.progress import Progress


class Trace(msgspec.Struct):
    """What all kept states name: contents with their sizes, and the states that cannot be read, each with the reason."""

    wanted: dict[Digest, int]
    broken: dict[Digest, str]


def kept_roots(daemon: Daemon) -> set[Digest]:
    """Every manifest root that something on this machine names and has: replicas, log, acts, snapshots, journal."""
    reader = daemon.db.read()
    roots = history.log_roots(reader)
    for row in workspaces.list_replicas(reader):
        roots |= {row.full_root, row.shared_root, row.shared_full, row.agreed_root}
        left = journal.pending(reader, row.id)
        if left is not None:
            roots |= {left.from_root, left.to_root}
    learned = snapshots.snapshot_roots(reader) - roots
    # A snapshot the cloud told of names a manifest that may never have been needed here.
    return roots | (learned - daemon.blobs.lacking_nodes(learned))


def file_sizes(daemon: Daemon, root: Digest, seen: set[Digest]) -> dict[Digest, int]:
    """The content of every file under this root with its size, without the nodes in `seen` (which grows)."""
    found: dict[Digest, int] = {}
    for digest in node_digests(root, daemon.blobs, seen):
        for record in daemon.blobs.read_node(digest).entries:
            if record.hash is not None:
                found[parse_digest(record.hash)] = record.size or 0
    return found


def trace(daemon: Daemon, roots: Set[Digest], progress: Progress) -> Trace:
    """Walk every state, and the conflict records."""
    found = Trace(dict.fromkeys(conflicts.conflict_digests(daemon.db.read()), 0), {})
    seen: set[Digest] = set()
    for root in sorted(roots):
        try:
            check_manifest(root, daemon.blobs)
            found.wanted |= file_sizes(daemon, root, seen)
        except FastestError as error:
            found.broken[root] = error.message
        progress.add()
    return found


def root_names(reader: Reader) -> dict[Digest, str]:
    """What a person calls each root: a snapshot's id before a state of the log, what is there now before both."""
    names: dict[Digest, str] = {}
    rows = workspaces.list_replicas(reader)
    for row in rows:
        for entry in history.list_log(reader, row.id, newest=1_000_000):
            names[entry.full_root] = f"state {entry.sequence} of {show_path(row.root)}"
    for row in rows:
        for snapshot, full_root in snapshots.list_snapshots(reader, row.workspace_id, newest=1_000_000):
            names[full_root] = names[snapshot.manifest_hash] = snapshot.id
    for row in rows:
        names |= dict.fromkeys((row.agreed_root, row.shared_full, row.shared_root), f"what {show_path(row.root)} shares")
        names[row.full_root] = f"the present state of {show_path(row.root)}"
    names.pop(EMPTY_ROOT, None)
    return names


def where_named(daemon: Daemon, lacking: set[Digest]) -> Iterator[tuple[Digest, str]]:
    """Each of these contents once, with a path and a state that name it, or the conflict that does."""
    left = set(lacking)
    for root, name in reversed(root_names(daemon.db.read()).items()):
        try:
            for path, entry in walk_manifest(root, daemon.blobs) if left else ():
                if isinstance(entry, File) and entry.digest in left:
                    left.discard(entry.digest)
                    yield entry.digest, f"{show_path(path)} in {name}"
        except FastestError:
            continue  # the state itself was named as one that cannot be read
    for digest in sorted(left):
        yield digest, "a conflict record, or a state that was named above"
