"""What the cloud says, judged before anything is believed: heads, manifests, sizes, snapshots, conflict records.

Theory. A cloud, or whoever speaks in its name, may say anything. What cannot be is an InvalidReply, whatever part noticed it: so
damage here (Corrupt: stop) is never taken for a lie there (the folder is looked at and kept as ever, and the cloud asked again
later), nor the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import msgspec

from store import snapshots
from store.blobs.frames import decode_frame, is_recipe
from store.conflicts import Conflict
from store.errors import BlobDamaged, EpochChanged, InvalidManifest, InvalidReply, InvalidValue
from store.manifest import Draft, check_manifest, check_tree_after, diff_manifests, edit_manifest
from store.snapshots import Snapshot
from store.types import Digest, Entry, File, parse_digest
from store.workspaces import Replica
from sync.core.wire import Head, WireConflict, WireSnapshot, WireWorkspace, check_conflict
from sync.ports import CatchUp
from sync.replica import LocalReplica


class Received(msgspec.Struct, frozen=True):
    """A head whose manifest is readable through `draft`; `contents` came along and is not kept yet."""

    head: Head
    root: Digest
    draft: Draft
    contents: dict[Digest, bytes]
    snapshots: tuple[Snapshot, ...]
    conflicts: tuple[Conflict, ...]


@contextmanager
def said_by_the_cloud() -> Iterator[None]:
    """Around what judges only bytes of the cloud's."""
    try:
        yield
    except (BlobDamaged, InvalidManifest, InvalidValue) as error:
        raise InvalidReply(f"the cloud sent what cannot be: {error.message}") from error


def check_head(replica: LocalReplica, head: Head | None) -> Head:
    """This workspace's head, which goes on from what is agreed (R8). Raises InvalidReply, EpochChanged."""
    row = replica.row
    if head is None:
        raise InvalidReply("the cloud's answer names no head")
    if head.workspace_id != row.workspace_id:
        raise InvalidReply("the cloud answered with the head of another workspace")
    check_state(row, head)
    return head


def check_state(row: Replica, head: Head | WireWorkspace) -> None:
    """A cloud answered this, and is not behind what is agreed. Raises EpochChanged when it is not in the state it was."""
    is_split = head.version == row.agreed_version > 0 and head.root != row.agreed_root.hex()
    if head.version < row.agreed_version or is_split or (row.epoch and head.epoch != row.epoch):
        raise epoch_changed()


def epoch_changed() -> EpochChanged:
    """What is told where the cloud is another one than was agreed with."""
    return EpochChanged(
        "the cloud is not in the state it was: it may have been restored from a backup",
        "Nothing is pulled or deleted. `fst approve` joins both sides and keeps everything.",
    )


def is_late(replica: LocalReplica, event: CatchUp) -> bool:
    """A message about a head before the agreed one: it was held up on its way, and says nothing of the cloud as it is.

    One with records or snapshots is none: what else it tells has to be asked for.
    """
    row, head = replica.row, event.head
    is_before = head is not None and head.epoch == row.epoch and head.version < row.agreed_version
    return is_before and not (event.snapshots or event.conflicts)


def check_pushed(head: Head, workspace_id: str, epoch: str, version: int, root: Digest) -> None:
    """The answer to a push says what the push made. Raises InvalidReply."""
    if (head.workspace_id, head.epoch, head.version, head.root) != (workspace_id, epoch, version, root.hex()):
        raise InvalidReply("the cloud took a push and answers another head")


def receive(replica: LocalReplica, incoming: CatchUp) -> Received | None:
    """The head's manifest from its delta, checked. None when the delta does not start at what is agreed here: fetch the nodes."""
    if incoming.head is None or incoming.delta is None or incoming.parent_root != replica.row.agreed_root:
        return None
    draft = replica.draft()
    delta = incoming.delta
    if any(former[0] >= later[0] for former, later in pairwise(delta)):
        raise InvalidReply("the cloud sent a delta that is not in order")
    root = edit_manifest(replica.row.agreed_root, delta, draft)
    if root.hex() != incoming.head.root:
        raise InvalidReply("the cloud sent a delta that does not lead to its head")
    with said_by_the_cloud():
        check_tree_after(root, delta, draft)
    return _received(replica, incoming.head, incoming, root, draft)


def receive_nodes(replica: LocalReplica, incoming: CatchUp) -> Received:
    """The same once all nodes of the head's manifest are here: that they are a tree is not known yet."""
    head = check_head(replica, incoming.head)
    root, draft = parse_root(head), replica.draft()
    with said_by_the_cloud():
        check_manifest(root, draft)
    return _received(replica, head, incoming, root, draft)


def parse_root(head: Head) -> Digest:
    """The root that a head names. Raises InvalidReply."""
    with said_by_the_cloud():
        return parse_digest(head.root)


def _received(replica: LocalReplica, head: Head, incoming: CatchUp, root: Digest, draft: Draft) -> Received:
    known, records = learned_of(replica, incoming)
    return Received(head, root, draft, decode_contents(incoming), tuple(known), tuple(records))


def files_in(replica: LocalReplica, received: Received) -> dict[Digest, int]:
    """The contents, with sizes, that lead from what is agreed to a head. Raises InvalidReply."""
    return sizes_of(change.new for change in diff_manifests(replica.row.agreed_root, received.root, received.draft))


def sizes_of(entries: Iterable[Entry | None]) -> dict[Digest, int]:
    """Contents with sizes. Raises InvalidReply when one has two."""
    sizes: dict[Digest, int] = {}
    for entry in entries:
        if isinstance(entry, File) and sizes.setdefault(entry.digest, entry.size) != entry.size:
            raise InvalidReply(f"the cloud says that {entry.digest.hex()} has {sizes[entry.digest]} bytes, and that it has {entry.size}")
    return sizes


def lacking_of(replica: LocalReplica, received: Received, found: dict[Digest, int]) -> dict[Digest, int]:
    """Which of these contents are to be fetched; the others are of the size they are said to have. Raises InvalidReply."""
    lacking = replica.blobs.lacking(digest for digest in found if digest not in received.contents)
    here = replica.blobs.sizes(digest for digest in found if digest not in lacking)
    here |= {digest: len(data) for digest, data in received.contents.items()}
    for digest, size in found.items():
        if digest not in lacking and here.get(digest, size) != size:
            raise InvalidReply(f"the cloud says that {digest.hex()} has {size} bytes, and it has {here[digest]}")
    return {digest: size for digest, size in found.items() if digest in lacking}


def decode_contents(incoming: CatchUp) -> dict[Digest, bytes]:
    """The small blobs that came along, each checked against its digest. Raises InvalidReply."""
    contents: dict[Digest, bytes] = {}
    with said_by_the_cloud():
        for frame in incoming.frames:
            if not is_recipe(frame):
                contents.update(decode_frame(frame))
    return contents


def learned_of(replica: LocalReplica, incoming: CatchUp) -> tuple[list[Snapshot], list[Conflict]]:
    """The snapshots and conflict records of a message that are this workspace's, checked. Raises InvalidReply."""
    ours = replica.row.workspace_id
    with said_by_the_cloud():
        known = [received_snapshot(wire) for wire in incoming.snapshots if wire.workspace_id == ours]
        return known, [_conflict_of(wire) for wire in incoming.conflicts if wire.workspace_id == ours]


def _conflict_of(wire: WireConflict) -> Conflict:
    path, _ = check_conflict(wire)
    return Conflict(
        wire.id, wire.workspace_id, path, wire.kind, wire.base, wire.ours, wire.theirs, wire.state, wire.created_ms, wire.resolution,
        wire.resolved_ms,
    )  # fmt: skip


def received_snapshot(wire: WireSnapshot) -> Snapshot:
    """A snapshot that came. Raises InvalidValue when its id does not verify."""
    snapshot = Snapshot(
        wire.id, wire.project_id, wire.workspace_id, parse_digest(wire.manifest_hash), tuple(wire.parents), wire.source, wire.message,
        wire.author_name, wire.author_email, wire.agent, wire.created_ms, wire.summary,
    )  # fmt: skip
    snapshots.check_snapshot(snapshot)
    return snapshot
