"""Take back the last merge of a workspace: a new snapshot by the same compare-and-swap; what was edited since stays (SYNC-11)."""

from __future__ import annotations

import msgspec

from cloud.context import Cloud
from cloud.database import Tx
from cloud.heads.events import draw_deltas, tell_version, version_message
from cloud.heads.keep import add_taken, draw_missing, draw_snapshot
from cloud.merges.answers import Undone
from cloud.merges.contents import decide
from cloud.merges.decide import Decided, Known, Three, contents_of
from cloud.merges.execute import keep_bytes, move_head
from cloud.merges.meeting import head_of
from cloud.merges.shown import key_of
from cloud.records.people.accounts import Account
from cloud.records.work import activity, merges, snapshots, workspaces
from cloud.records.work.merges import Merge
from cloud.records.work.workspaces import HeadMove, Workspace
from store.errors import Conflicting, InvalidOperation, VersionMoved
from store.manifest import EMPTY_ROOT, Draft, NodeSource, edit_manifest
from store.types import Digest, parse_digest
from sync.core.wire import Actor, Head, WireSnapshot

SHOWN_PATHS = 1_000


class Undo(msgspec.Struct, frozen=True):
    """The body of undo. `snapshot_id`: the merge's result, or what was there before; without it the last merge."""

    snapshot_id: str | None = None
    actor: Actor = "web"


class Drawn(msgspec.Struct, frozen=True):
    """The whole result, right if the head has not moved."""

    workspace: Workspace
    merge: Merge
    root: Digest
    nodes: dict[Digest, bytes]
    contents: dict[Digest, bytes]
    deltas: list[bytes] | None


async def undo(cloud: Cloud, account: Account, workspace_id: str, asked: Undo) -> Undone:
    """The answer. Raises NotFound, InvalidOperation, Conflicting when later edits fell into what is to be taken back, VersionMoved."""
    drawn = await _draw(cloud, account, workspace_id, asked)
    await cloud.objects.ready(drawn.contents)
    settled = await cloud.write(lambda tx: _settle(tx, cloud, account, drawn, asked))
    if isinstance(settled, VersionMoved):
        raise settled
    head, taken = settled
    message = version_message(head, drawn.workspace.current_manifest_hash, drawn.deltas, taken, drawn.contents)
    await tell_version(cloud, account.user_id, head.workspace_id, message)
    return {"success": True, "head": head, "restored_snapshot_id": drawn.merge.before_snapshot_id, "snapshot_id": head.snapshot_id}


async def _draw(cloud: Cloud, account: Account, workspace_id: str, asked: Undo) -> Drawn:
    reader = cloud.read()
    workspace = await workspaces.get_workspace(reader, account.user_id, workspace_id)
    merge = await merges.last_merge(reader, workspace_id)
    if merge is None:
        raise InvalidOperation("no merge to undo")
    if asked.snapshot_id not in (None, merge.snapshot_id, merge.before_snapshot_id):
        raise InvalidOperation("only the last merge that was not undone can be undone", f"Its result is {merge.snapshot_id}.")
    merged = parse_digest((await snapshots.get_snapshot(reader, account.user_id, merge.snapshot_id)).manifest_hash)
    before = EMPTY_ROOT
    if merge.before_snapshot_id is not None:
        before = parse_digest((await snapshots.get_snapshot(reader, account.user_id, merge.before_snapshot_id)).manifest_hash)
    known = Known()
    decided = await decide(cloud, Three(merged, parse_digest(workspace.current_manifest_hash), before, obeys_rules=False), known)
    if decided.decisions:
        paths = [key_of(each.path) for each in decided.decisions]
        raise Conflicting(
            f"{len(paths)} paths that the merge changed were edited since", "Restore what you want of them from a snapshot.",
            paths=paths[:SHOWN_PATHS],
        )  # fmt: skip
    root, nodes, deltas = await cloud.objects.over_nodes(lambda nodes: _apply(decided, nodes))
    return Drawn(workspace, merge, root, nodes, contents_of(decided, known), deltas)


def _apply(decided: Decided, nodes: NodeSource) -> tuple[Digest, dict[Digest, bytes], list[bytes] | None]:
    draft = Draft(nodes)
    root = edit_manifest(decided.three.ours, sorted((step.path, step.become) for step in decided.actions), draft)
    return root, draft.new, draw_deltas(decided.three.ours, root, draft)


async def _settle(tx: Tx, cloud: Cloud, account: Account, drawn: Drawn, asked: Undo) -> tuple[Head, list[WireSnapshot]] | VersionMoved:
    """A lost race is returned: it is told only once the winner is durable."""
    workspace, merge = drawn.workspace, drawn.merge
    if not await workspaces.hold_head(tx, account.user_id, workspace.id, workspace.version):
        return VersionMoved("the head moved on", head=await workspaces.get_head(tx, account.user_id, workspace.id))
    version = head_of(cloud, workspace).version + 1
    taken: list[WireSnapshot] = []
    missing = await draw_missing(tx, cloud, account, workspace, "Before a merge was undone")
    if missing is not None:
        await add_taken(tx, cloud, missing, version, "system")
        taken.append(missing)
    last = missing.id if missing is not None else workspace.current_snapshot_id
    made = draw_snapshot(
        cloud, account, workspace, drawn.root.hex(), () if last is None else (last,), source=asked.actor, message="A merge undone"
    )
    await add_taken(tx, cloud, made, version, asked.actor)
    move = HeadMove(workspace.id, workspace.version, drawn.root.hex(), made.id, None, asked.actor)
    await move_head(tx, cloud, account, workspace, move)
    await keep_bytes(tx, cloud, account, drawn.contents, drawn.nodes)
    await merges.note_undone(tx, merge, made.id)
    await workspaces.set_merge_history(tx, workspace.id, merge.history_before)
    await activity.add_activity(
        tx, cloud.now_ms(), workspace.project_id, "merge.undone", asked.actor,
        workspace_id=workspace.id, snapshot_id=made.id, message=made.message,
    )  # fmt: skip
    return Head(workspace.id, cloud.epoch, version, drawn.root.hex(), made.id), [*taken, made]
