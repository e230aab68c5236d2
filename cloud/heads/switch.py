"""Point a head at a manifest that is here as a whole: what `current-manifest` asks for."""

from __future__ import annotations

from cloud import manifests
from cloud.context import Cloud
from cloud.database import Tx
from cloud.hub import Telling, pack_message
from cloud.manifests import Whole
from cloud.records.people.accounts import Account
from cloud.records.work import projects, replicas, workspaces
from cloud.records.work.workspaces import HeadMove
from store.errors import VersionMoved
from store.manifest import EMPTY_ROOT
from store.types import parse_digest
from sync.core.wire import EventHeader, Head


async def switch_root(cloud: Cloud, account: Account, workspace_id: str, root: str, previous: str | None, actor: str) -> tuple[Head, bool]:
    """The head, and whether it moved; asking for what it is already moves nothing.

    Raises VersionMoved when the head is not `previous` (None: the empty state), ManifestNotFound, BlobsMissing.
    """
    before = await workspaces.get_workspace(cloud.read(), account.user_id, workspace_id)
    whole: Whole | None = None
    if not await workspaces.project_knows_root(cloud.read(), before.project_id, root):
        whole = await manifests.check_whole(cloud, account.user_id, before.project_id, parse_digest(root))
    settled = await cloud.write(lambda tx: _switch(tx, cloud, account, workspace_id, root, previous or EMPTY_ROOT.hex(), actor, whole))
    if isinstance(settled, VersionMoved):
        raise settled
    head, has_moved = settled
    if has_moved:
        message = pack_message(EventHeader("version", head))
        await cloud.hub.tell(account.user_id, Telling(message, await replicas.machines_of(cloud.read(), workspace_id)))
    return head, has_moved


async def _switch(
    tx: Tx, cloud: Cloud, account: Account, workspace_id: str, root: str, previous: str, actor: str, whole: Whole | None
) -> tuple[Head, bool] | VersionMoved:
    """As with a push, a lost race is returned: it is told only once the winner is durable. What the project had (no `whole`) is kept."""
    head = await workspaces.get_head(tx, account.user_id, workspace_id)
    if head.root == root:
        return head, False
    if head.root != previous:
        return VersionMoved("the head is not the one that was expected", head=head)
    workspace = await workspaces.get_workspace(tx, account.user_id, workspace_id)
    if whole is not None:
        await manifests.hold_whole(tx, cloud, account.user_id, parse_digest(root), whole)
    elif not await workspaces.project_knows_root(tx, workspace.project_id, root):
        raise manifests.absent(parse_digest(root))
    at = cloud.now()
    move = HeadMove(workspace_id, head.version, root, head.snapshot_id, None, actor)
    version = await workspaces.advance_head(tx, account.user_id, move, at)
    await projects.touch_project(tx, workspace.project_id, None, at)
    return Head(workspace_id, cloud.epoch, version, root, head.snapshot_id), True
