"""Bring back what is damaged or missing: manifests out of the index of a folder, contents out of the folders, the rest from the cloud.

What comes back is checked against its digest like everything else, so a repair can only be right or not happen. A state that nobody has
any more stays named. Where it is one that folder and cloud are compared by, the comparison begins anew (D4: no deletions).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from store import journal, workspaces
from store.blobs import CHUNKED_MIN, INLINE_MAX
from store.database import Tx
from store.errors import BlobDamaged, BlobMissing, FastestError, HashMismatch, InvalidManifest, StoreDamaged
from store.index import entry_of, make_record
from store.manifest import build_manifest, find_entry, walk_manifest
from store.types import Digest, File, RelPath
from sync.adopt import forget_placed
from sync.replica import LocalReplica
from sync.scan.contents import read_still
from sync.share import SECRET
from sync.transfer import fetch_blobs, fetch_manifest

if TYPE_CHECKING:
    from daemon.app import Daemon
    from daemon.mend.kept import Trace
    from daemon.supervisor import Supervisor
    from sync.progress import Progress


MENDED: Final = frozenset(kind.code for kind in (BlobDamaged, BlobMissing, HashMismatch, InvalidManifest, StoreDamaged))
"""What halted a workspace and may be over after a repair. Not a crash loop: that is a person's to end."""


async def repair_manifests(daemon: Daemon, broken: Iterable[Digest], progress: Progress) -> None:
    """Nodes of states that cannot be read, as far as an index or the cloud has them."""
    for supervisor in list(daemon.supervisors.values()):
        async with supervisor.turn() as engine:
            await engine.verb(rebuild_manifest)
    remote = daemon.link.remote
    for workspace_id in {supervisor.workspace_id for supervisor in daemon.supervisors.values()} if remote else ():
        for root in broken:
            try:
                assert remote is not None
                await fetch_manifest(remote, daemon.blobs, workspace_id, root, progress)
            except FastestError:
                continue  # not of this workspace, or never shared; what stays broken is told


def rebuild_manifest(replica: LocalReplica) -> None:
    """I1: the records of the index are the full root, path for path. So the nodes can be made of them again."""
    entries = sorted((path, entry_of(record)) for path, record in replica.index.below(b""))
    draft = replica.draft()
    if build_manifest(entries, draft) == replica.row.full_root:
        replica.db.write_now(lambda tx: replica.blobs.put_nodes(tx, draft.new))


def check_index(replica: LocalReplica, *, repair: bool) -> bool:
    """I1 again, from the other side: False where the index is not the full root. To repair it, all of the folder is read anew."""
    draft = replica.draft()
    entries = dict(walk_manifest(replica.row.full_root, draft))
    known = dict(replica.index.below(b""))
    if {path: entry_of(record) for path, record in known.items()} == entries:
        return True
    if repair:
        seen: dict[RelPath, bytes | None] = dict.fromkeys(known)
        seen |= {path: make_record(entry, None) for path, entry in entries.items()}
        replica.commit(changes=(), seen=seen, contents=(), actor="fsck")
    return False


async def renew_bases(daemon: Daemon, broken: Iterable[Digest]) -> list[bytes]:
    """The folders whose base is lost: each is looked at anew and joined with the cloud."""
    lost = set(broken)
    renewed = []
    for supervisor in list(daemon.supervisors.values()):
        row = supervisor.engine.replica.row
        if lost & {row.full_root, row.shared_root, row.shared_full, row.agreed_root}:
            async with supervisor.turn(alone=True) as engine:
                await engine.verb(forget_base)
            renewed.append(row.root)
    return renewed


def forget_base(replica: LocalReplica) -> None:
    """Begin anew in this folder, without anything believed to be known."""
    gone: dict[RelPath, bytes | None] = {path: None for path, _ in replica.index.below(b"")}

    def work(tx: Tx) -> None:
        workspaces.forget_base(tx, replica.id)
        journal.finish(tx, replica.id)
        replica.index.forget(tx, replica.id)

    replica.db.write_now(work)
    forget_placed(replica)
    replica.index.remember(dict(sorted(gone.items(), reverse=True)))
    replica.reload()


async def repair_contents(daemon: Daemon, found: Trace, lacking: set[Digest], progress: Progress) -> set[Digest]:
    """Contents that are not here, from the folders and then from the cloud. What is still lacking. Raises what the cloud raises."""
    left = set(lacking)
    for supervisor in list(daemon.supervisors.values()) if left else ():
        async with supervisor.turn() as engine:
            await engine.verb(take_from_folder, left)
        left = await asyncio.to_thread(daemon.blobs.lacking, left)
    if left and daemon.link.remote is not None:
        here = left - await daemon.link.remote.missing(sorted(left))
        await fetch_blobs(daemon.link.remote, daemon.blobs, {digest: found.wanted[digest] for digest in sorted(here)}, progress)
        left = await asyncio.to_thread(daemon.blobs.lacking, left)
    return left


def take_from_folder(replica: LocalReplica, lacking: set[Digest]) -> None:
    """Contents that a file of the folder still has, kept again."""
    for path, record in replica.index.below(b""):
        entry = entry_of(record)
        if isinstance(entry, File) and entry.digest in lacking:
            try:
                _take_file(replica, path, entry)
            except (FastestError, OSError):
                continue  # the file is gone or cannot be read: then it is no source


def _take_file(replica: LocalReplica, path: RelPath, entry: File) -> None:
    above, _, name = path.rpartition(b"/")
    with replica.open_root() as root, root.open(above) as folder:
        fd = folder.open_file(name)
        try:
            status = os.fstat(fd)
            if status.st_size != entry.size:
                return
            digest, data, _ = read_still(fd, status, replica.blobs)
        finally:
            os.close(fd)
    if digest != entry.digest or data is None:
        return
    if len(data) <= INLINE_MAX:
        replica.db.write_now(lambda tx: replica.blobs.put_inline(tx, [(digest, data)]))
    elif len(data) < CHUNKED_MIN:
        with replica.blobs.bulk() as bulk:
            bulk.add(digest, data)


def owes_what_is_damaged(replica: LocalReplica, owed: list[RelPath]) -> bool:
    """Whether the folder could not take one of these because its content cannot be read here."""
    draft = replica.draft()
    for path in owed:
        try:
            entry = find_entry(replica.row.shared_root, path, draft)
            for _ in replica.blobs.stream(entry.digest) if isinstance(entry, File) else ():
                pass
        except (BlobDamaged, BlobMissing):
            return True
    return False


def owed_paths(supervisor: Supervisor) -> list[RelPath]:
    """What came from the cloud and could not be placed yet."""
    return [path for path, row in supervisor.engine.apart.items() if row.kind != SECRET]


def wake(daemon: Daemon) -> None:
    """Whatever damage halted or held up may be gone."""
    for supervisor in daemon.supervisors.values():
        if (supervisor.halt is not None and supervisor.halt.code in MENDED) or (supervisor.halt is None and owed_paths(supervisor)):
            supervisor.poke(rescan=True)
