"""A push that took effect while its answer was lost: found again by the version it made.

Theory. Until its answer a push moves nothing here, so after a cut (or a kill) agreed stands before it, and the cloud behind it. To plan
from there would be to see one's own push as somebody else's: what was removed or moved since would come back, what was edited since
would be a clash. The version behind agreed tells who made it and of which state. If that was this replica, and the state is one that
it settled (or was about to send) after what it agreed on last, then that version is what the folder comes from, and becomes agreed.
Of a machine that was restored from an image the log knows no such state, and nothing is taken for granted.
"""

from __future__ import annotations

import msgspec

from store import history, journal, workspaces
from store.database import Tx
from store.types import Digest, parse_digest
from sync.adopt import forget_placed
from sync.core.wire import WireVersion
from sync.replica import LocalReplica


def note_attempt(tx: Tx, replica: LocalReplica, root: Digest) -> None:
    """Before a push that would not be known again: a state with something held back, half of a large one, a version with what was."""
    history.note_shared(tx, replica.id, replica.row.sequence, root)


def would_recall(replica: LocalReplica, root: Digest) -> bool:
    """A push of this root would be found again: it is the state that the log ends with, and that is no version yet."""
    row = replica.row
    return root == row.full_root and not history.is_version(replica.db.read(), replica.id, row.sequence)


def recall_push(replica: LocalReplica, made: WireVersion | None) -> bool:
    """Let agreed move to the version behind it, if this replica's own push made that. Raises InvalidValue."""
    row = replica.row
    if made is None or made.version != row.agreed_version + 1 or made.replica_id != row.id:
        return False
    root = parse_digest(made.root)
    sequence = history.find_unshared(replica.db.read(), row.id, root)
    if sequence is None:
        return False

    def work(tx: Tx) -> None:
        workspaces.set_agreed(tx, row.id, made.version, root, row.epoch)
        workspaces.set_agreed_snapshot(tx, row.id, made.snapshot_id)
        history.mark_version(tx, row.id, sequence, made.version)
        journal.finish(tx, row.id)

    replica.db.write_now(work)
    forget_placed(replica)
    replica.row = msgspec.structs.replace(row, agreed_version=made.version, agreed_root=root, agreed_snapshot=made.snapshot_id or "")
    return True
