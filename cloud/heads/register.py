"""A snapshot of what is here already: registered once all of it is, and made the head by compare-and-swap, if that is asked."""

from __future__ import annotations

import msgspec

from cloud import manifests
from cloud.context import Cloud
from cloud.database import Tx
from cloud.heads import checks
from cloud.hub import Telling, pack_message
from cloud.manifests import Whole
from cloud.records.people.accounts import Account
from cloud.records.work import activity, projects, replicas, snapshots, workspaces
from cloud.records.work.workspaces import HeadMove
from store.errors import Conflicting, InvalidValue, VersionMoved
from store.snapshots import make_snapshot, time_after
from store.types import parse_digest
from sync.core.wire import Actor, EventHeader, Hash, Head, Millis, Number, WireSnapshot


class NewSnapshot(msgspec.Struct, frozen=True):
    """The body. With `snapshot_id` all that the id covers must be given; with `expected_version` the workspace's head moves."""

    manifest_hash: Hash
    snapshot_id: str | None = None
    parent_snapshot_ids: list[str] = []
    workspace_id: str | None = None
    source: str = "cli"
    message: str = ""
    author_name: str | None = None
    author_email: str | None = None
    agent: str = ""
    summary: str = ""
    created_ms: Millis | None = None
    expected_version: Number | None = None
    actor: Actor = "cli"


class Registered(msgspec.Struct, frozen=True):
    """What is there now; `head` when a workspace was named, `has_moved` when it moved."""

    snapshot: WireSnapshot
    created: bool
    head: Head | None = None
    has_moved: bool = False


async def register(cloud: Cloud, account: Account, project_id: str, asked: NewSnapshot) -> Registered:
    """Raises NotFound, InvalidValue, ManifestNotFound, BlobsMissing, Conflicting, VersionMoved, Archived."""
    await projects.get_open_project(cloud.read(), account.user_id, project_id)
    if asked.expected_version is not None and not asked.workspace_id:
        raise InvalidValue("a version is expected of a workspace: name it")
    root = parse_digest(asked.manifest_hash)
    wire = _draw(cloud, account, project_id, asked)
    checks.check_texts(wire)
    whole = await manifests.check_whole(cloud, account.user_id, project_id, root)
    settled = await cloud.write(lambda tx: _settle(tx, cloud, account, wire, asked, whole))
    if isinstance(settled, VersionMoved):
        raise settled
    if settled.has_moved and settled.head is not None:
        message = pack_message(EventHeader("version", settled.head, snapshots=[wire]))
        machines = await replicas.machines_of(cloud.read(), settled.head.workspace_id)
        await cloud.hub.tell(account.user_id, Telling(message, machines))
    return settled


def _draw(cloud: Cloud, account: Account, project_id: str, asked: NewSnapshot) -> WireSnapshot:
    parents = tuple(sorted(set(asked.parent_snapshot_ids)))
    made = make_snapshot(
        project_id=project_id, workspace_id=asked.workspace_id or "", manifest_hash=parse_digest(asked.manifest_hash), parents=parents,
        source=asked.source, message=asked.message, agent=asked.agent, summary=asked.summary,
        author_name=(account.name or "") if asked.author_name is None else asked.author_name,
        author_email=account.email if asked.author_email is None else asked.author_email,
        created_ms=time_after(cloud.now_ms(), parents) if asked.created_ms is None else asked.created_ms,
    )  # fmt: skip
    if asked.snapshot_id not in (None, made.id):
        raise InvalidValue("the id is not that of this snapshot", "It covers project, manifest, parents, author, message and time.")
    return WireSnapshot(
        made.id, made.project_id, made.workspace_id, asked.manifest_hash, list(parents), made.source, made.message, made.author_name,
        made.author_email, made.agent, made.created_ms, made.summary,
    )  # fmt: skip


async def _settle(
    tx: Tx, cloud: Cloud, account: Account, wire: WireSnapshot, asked: NewSnapshot, whole: Whole
) -> Registered | VersionMoved:
    """A lost race is returned: it is told only once the winner is durable (heads/push.py)."""
    await projects.get_open_project(tx, account.user_id, wire.project_id)
    await manifests.hold_whole(tx, cloud, account.user_id, parse_digest(wire.manifest_hash), whole)
    for parent in wire.parents:
        if not await snapshots.in_project(tx, wire.project_id, parent):
            raise InvalidValue(f"the parent {parent[:40]} is not in the project")
    head = await _head_of(tx, account, wire.project_id, wire.workspace_id) if wire.workspace_id else None
    is_known = await snapshots.is_known(tx, wire)
    if head is None or asked.expected_version is None or (is_known and head.snapshot_id == wire.id):
        return await _note(tx, cloud, wire, asked.actor, head)
    if head.version != asked.expected_version:
        return VersionMoved("the head is not the one that was expected", head=head)
    if await checks.newest_snapshot(tx, head.snapshot_id, [wire]) != wire.id:
        raise Conflicting("the snapshot does not continue the head", f"The head is at {head.snapshot_id}.")
    move = HeadMove(head.workspace_id, head.version, wire.manifest_hash, wire.id, None, asked.actor)
    moved = Head(head.workspace_id, head.epoch, head.version + 1, wire.manifest_hash, wire.id)
    noted = await _note(tx, cloud, wire, asked.actor, moved)
    await workspaces.advance_head(tx, account.user_id, move, cloud.now())
    return msgspec.structs.replace(noted, has_moved=True)


async def _head_of(tx: Tx, account: Account, project_id: str, workspace_id: str) -> Head:
    if (await workspaces.get_workspace(tx, account.user_id, workspace_id)).project_id != project_id:
        raise InvalidValue("the workspace is not in the project")
    return await workspaces.get_head(tx, account.user_id, workspace_id)


async def _note(tx: Tx, cloud: Cloud, wire: WireSnapshot, actor: str, head: Head | None) -> Registered:
    created = await snapshots.add_snapshot(tx, wire, 0 if head is None else head.version)
    if created:
        await projects.touch_project(tx, wire.project_id, wire.id, cloud.now())
        await activity.add_activity(
            tx, cloud.now_ms(), wire.project_id, "snapshot.pushed", actor,
            workspace_id=wire.workspace_id or None, snapshot_id=wire.id, message=wire.message or None,
        )  # fmt: skip
    return Registered(wire, created, head)
