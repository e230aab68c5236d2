"""What a start does first: finish or forget what a crash left of an adoption, and in the folder."""

from __future__ import annotations

from store import journal
from store.atomic import TEMP_PREFIX, sync_file_system
from store.manifest import diff_manifests
from store.types import RelPath
from sync import adopt
from sync.replica import LocalReplica
from sync.scan import Scanner


def recover(replica: LocalReplica, scanner: Scanner, boot_id: str) -> None:
    """Temporaries are kept by digest and swept; of a pull that did not end, what may be torn is read again. Raises RootLost."""
    left, sites = journal.pending(replica.db.read(), replica.id), journal.list_sites(replica.db.read(), replica.id)
    with replica.open_root() as root:
        if left is not None:
            sync_file_system(root.fd)  # what was done was perhaps not synced; it is taken for done from here on
        # Where nothing was done yet but the disk asked what it holds, that was in the root.
        below = replica.row.sequence > 0 or left is not None
        kept, resisting = scanner.sweep_temps(root, lambda data: adopt.keep_bytes(replica, data), below=below, sites=sites)
        if sites:  # no later sweep looks there
            sync_file_system(root.fd)
    adopt.pin_rescued(replica, [(RelPath(TEMP_PREFIX), digest) for digest in kept])
    if sites and not resisting:
        replica.db.write_now(lambda tx: journal.forget_sites(tx, replica.id))
    if left is None:
        return
    if left.boot_id == boot_id:
        replica.placed = replica.placed or replica.trail.resume(left)
        return
    # The power may have gone: what was placed may be torn, or not be there without anybody's doing.
    scanner.doubt([change.path for change in diff_manifests(left.from_root, left.to_root, replica.draft())])
    adopt.forget_placed(replica)
