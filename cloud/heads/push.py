"""One push: everything is checked outside the transaction, then one compare-and-swap makes it true.

Theory. What a push builds on (the head's version and root) cannot change without the version moving, so all of the expensive work,
the deltas, the tree, the blobs, may be done before the transaction, by many threads at once: if the head moved meanwhile the swap
fails and nothing was written. A push that fails leaves no row behind. A push whose answer was lost is recognised by the version it
made: same replica, same parent, same root, and every snapshot known.
"""

from __future__ import annotations

import msgspec

from cloud import content
from cloud.context import Cloud
from cloud.database import Reader, Tx
from cloud.heads import checks
from cloud.heads.body import Push
from cloud.heads.events import draw_deltas, fitting, small_frames
from cloud.hub import Telling, pack_message
from cloud.records import blobs
from cloud.records.people.accounts import Account
from cloud.records.work import activity, projects, replicas, snapshots, workspaces
from cloud.records.work.workspaces import HeadMove
from store.errors import EpochChanged, NotFound, VersionMoved
from store.manifest import Draft, NodeSource
from store.types import Digest, parse_digest
from sync.core.wire import (
    BeatReplica,
    EventHeader,
    Head,
    PushHeader,
    WireSnapshot,
)

BRIEF_BYTES = 16 * 1024
"""A push of so few bytes is judged at once, without a thread."""


class Read(msgspec.Struct, frozen=True):
    """What a push holds, once its steps lead where they say: its blobs, those its files need with their sizes, and the new nodes."""

    contents: dict[Digest, bytes]
    wanted: dict[Digest, int]
    nodes: dict[Digest, bytes]
    carried: list[bytes] | None
    """Deltas small enough for an event."""


class Prepared(msgspec.Struct, frozen=True):
    """A push that is right if the head has not moved. `message_for` leaves the blobs out for the machine that sent them."""

    move: HeadMove
    project_id: str
    snapshots: list[WireSnapshot]
    nodes: dict[Digest, bytes]
    contents: dict[Digest, bytes]
    named: set[Digest]
    """Blobs that did not come along."""
    head: Head
    full_message: bytes
    lean_message: bytes


class Place(msgspec.Struct, frozen=True):
    """Where a push goes on from; `made` when it needs not, for this very push made that head already."""

    head: Head
    project_id: str
    made: Head | None = None


async def check_header(reader: Reader, account: Account, workspace_id: str, header: PushHeader) -> Place:
    """Where this push goes on from, or that it was made already. Raises NotFound, EpochChanged, VersionMoved."""
    head, project_id, is_replica = await workspaces.get_place(reader, account.user_id, workspace_id, header.replica_id)
    if not is_replica:
        raise NotFound("no such replica of this workspace", "Register it under /v1/workspaces/{id}/replicas.")
    if header.epoch != head.epoch:
        raise EpochChanged("the cloud has begun a new epoch", "It may have been restored from a backup.", head=head)
    if header.expected_version == head.version and header.parent_root == head.root:
        return Place(head, project_id)
    made = await find_retry(reader, workspace_id, header, head.epoch)
    if made is None:
        raise VersionMoved("the head is not the one that was expected", head=head)
    return Place(head, project_id, made)


async def find_retry(reader: Reader, workspace_id: str, header: PushHeader, epoch: str) -> Head | None:
    """The head that this push made when it came before, or None when it did not."""
    parent = await workspaces.get_version(reader, workspace_id, header.expected_version)
    made = await workspaces.get_version(reader, workspace_id, header.expected_version + 1)
    if parent is None or made is None or made.replica_id != header.replica_id:
        return None
    if parent.root != header.parent_root or made.root != header.steps[-1].root:
        return None
    sent = [step.snapshot for step in header.steps if step.snapshot is not None]
    for snapshot in sent:
        if not await snapshots.is_known(reader, snapshot):
            return None
    return Head(workspace_id, epoch, made.version, made.root, made.snapshot_id)


async def prepare(cloud: Cloud, account: Account, place: Place, push: Push) -> Prepared:
    """Check everything but the version. Raises InvalidValue, HashMismatch, BlobsMissing, TooLarge."""
    header, reader, workspace_id = push.header, cloud.read(), place.head.workspace_id
    is_brief = sum(map(len, push.deltas)) + sum(map(len, push.frames)) <= BRIEF_BYTES
    read = await cloud.objects.over_nodes(lambda nodes: _read(push, nodes), brief=is_brief)
    if is_brief:
        await checks.check_blobs(reader, account.user_id, read.wanted, read.contents)
    else:
        await cloud.reading(lambda reader: checks.check_blobs(reader, account.user_id, read.wanted, read.contents))
    await cloud.objects.ready(read.contents)
    sent = [step.snapshot for step in header.steps if step.snapshot is not None]
    await checks.check_snapshots(reader, place.project_id, workspace_id, header.steps)
    newest = await checks.newest_snapshot(reader, place.head.snapshot_id, sent)
    root = header.steps[-1].root
    move = HeadMove(workspace_id, header.expected_version, root, newest, header.replica_id, header.actor)
    head = Head(workspace_id, cloud.epoch, header.expected_version + 1, root, newest)
    full, lean = _messages(head, push, sent, read)
    named = read.wanted.keys() - read.contents.keys()
    return Prepared(move, place.project_id, sent, read.nodes, read.contents, named, head, full, lean)


def _read(push: Push, nodes: NodeSource) -> Read:
    contents = checks.open_frames(push.frames)
    draft = Draft(nodes)
    wanted: dict[Digest, int] = {}
    before = parent = parse_digest(push.header.parent_root)
    deltas = iter(push.deltas)
    for step in push.header.steps:
        before = checks.follow(before, step, deltas, draft, wanted)
    return Read(contents, wanted, draft.new, _carried_deltas(parent, before, push, draft))


async def keep(cloud: Cloud, account: Account, prepared: Prepared, header: PushHeader) -> Head:
    """Make it true in one transaction, then tell. Raises VersionMoved; a push that came twice at once gets the same answer twice."""
    settled = await cloud.write(lambda tx: _settle(tx, cloud, account, prepared, header))
    if isinstance(settled, VersionMoved):
        raise settled
    if settled is prepared.head:
        places = await replicas.places_of(cloud.read(), settled.workspace_id)
        sender = places.get(header.replica_id, "")
        await cloud.hub.tell(account.user_id, Telling(prepared.full_message, frozenset(places.values()), sender, prepared.lean_message))
    return settled


async def _settle(tx: Tx, cloud: Cloud, account: Account, prepared: Prepared, header: PushHeader) -> Head | VersionMoved:
    """A lost race is returned, not raised: the winner's head may have been made by this very transaction, and is told only after it."""
    try:
        place = await check_header(tx, account, prepared.head.workspace_id, header)
    except VersionMoved as error:
        return error
    if place.made is not None:
        return place.made
    await _write(tx, cloud, account, prepared)
    return prepared.head


async def _write(tx: Tx, cloud: Cloud, account: Account, prepared: Prepared) -> None:
    now_ms, at, move = cloud.now_ms(), cloud.now(), prepared.move
    version = prepared.head.version
    new = [snapshot for snapshot in prepared.snapshots if await snapshots.add_snapshot(tx, snapshot, version)]
    await workspaces.advance_head(tx, account.user_id, move, at)
    if prepared.named:
        await content.hold(tx, cloud, account.user_id, prepared.named)
    await cloud.objects.put(tx, prepared.contents, prepared.nodes)
    await blobs.add_owned(tx, account.user_id, {digest: len(data) for digest, data in prepared.contents.items()}, at)
    await blobs.add_nodes(tx, account.user_id, prepared.nodes)
    if move.replica_id is not None:
        await replicas.set_agreed(tx, account.user_id, BeatReplica(move.replica_id, version, move.root), at)
    if new:
        await projects.touch_project(tx, prepared.project_id, new[-1].id, at)
    else:
        await projects.note_push(tx, prepared.project_id, at)
    for snapshot in new:
        await activity.add_activity(
            tx, now_ms, prepared.project_id, "snapshot.pushed", move.actor,
            workspace_id=move.workspace_id, snapshot_id=snapshot.id, message=snapshot.message or None,
        )  # fmt: skip


def _carried_deltas(parent: Digest, root: Digest, push: Push, draft: Draft) -> list[bytes] | None:
    """What leads from the parent to the new root, small enough for an event; None when it is not."""
    return fitting(push.deltas) if len(push.header.steps) == 1 else draw_deltas(parent, root, draft)


def _messages(head: Head, push: Push, sent: list[WireSnapshot], read: Read) -> tuple[bytes, bytes]:
    parent_root = None if read.carried is None else push.header.parent_root
    carried = read.carried or []
    header = EventHeader("version", head, parent_root, len(carried), push.header.replica_id, sent)
    frames = small_frames(read.contents, push.frames)
    lean = pack_message(header, carried, [])
    return pack_message(header, carried, frames) if frames else lean, lean
