"""Do a merge that was shown: all of it or nothing, and only while both heads are what they were (SYNC-6 to SYNC-9).

Theory. What was shown is bound to both heads; a head cannot change without its version moving. So the merge is drawn and the decisions
are put in outside the transaction, as with a push. In it both heads are held, the preview is used up, the states that are joined become
snapshots if they are none, and one compare-and-swap makes the result true.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cloud.content import hold
from cloud.context import Cloud
from cloud.database import Tx
from cloud.heads.events import draw_deltas, tell_version, version_message
from cloud.heads.keep import Kept, add_taken, draw_missing, draw_snapshot, keep_head
from cloud.merges.answers import Executed
from cloud.merges.contents import decide
from cloud.merges.decide import Decided, Known, contents_of
from cloud.merges.meeting import Meeting, find_pair, has_moved
from cloud.merges.prepare import Bound, three_of
from cloud.merges.resolve import BOTH, Choice, Resolved, resolve
from cloud.merges.shown import CUSTOM, key_of, options_of
from cloud.records import blobs
from cloud.records.people.accounts import Account
from cloud.records.work import activity, merges, projects, workspaces
from cloud.records.work.merges import LastMerge, Merge
from cloud.records.work.workspaces import HeadMove, Workspace
from store.blobs import CHUNKED_MIN
from store.errors import BlobsMissing, InvalidOperation, InvalidValue, MissingDecisions, PreviewExpired, TooLarge, VersionMoved
from store.manifest import Draft, NodeSource
from store.types import Digest, File, RelPath, digest_of, parse_digest
from sync.core.wire import Actor, Hash, Head, Line, WireSnapshot

SHOWN_PATHS = 1_000
MAX_MESSAGE = 10_000


class Chosen(msgspec.Struct, frozen=True):
    """A decision in full: an option, or `custom` with a text, or with the hash of a blob that was sent before."""

    option: Line
    content: str | None = None
    hash: Hash | None = None


class Execute(msgspec.Struct, frozen=True):
    """The body of execute. `decisions`: by the preview's paths, an option's id or a Chosen."""

    preview_id: str
    decisions: dict[str, str | Chosen] = {}
    message: str = ""
    actor: Actor = "web"


class Drawn(msgspec.Struct, frozen=True):
    """The whole result, right if neither head has moved."""

    meeting: Meeting
    bound: Bound
    decided: Decided
    resolved: Resolved
    contents: dict[Digest, bytes]
    deltas: list[bytes] | None


class Moved(msgspec.Struct, frozen=True):
    """What became true: the new head, the snapshots taken on the way to it, and what the source's head became by being kept."""

    head: Head
    before_id: str | None
    snapshots: list[WireSnapshot]
    source: Kept


async def execute(cloud: Cloud, account: Account, workspace_id: str, asked: Execute) -> Executed:
    """The answer. Raises NotFound, PreviewExpired, VersionMoved, MissingDecisions, InvalidValue, BlobsMissing, TooLarge."""
    if len(asked.message) > MAX_MESSAGE:
        raise TooLarge(f"a message of over {MAX_MESSAGE} characters")
    drawn = await _draw(cloud, account, workspace_id, asked)
    await cloud.objects.ready(drawn.contents)
    moved = await cloud.write(lambda tx: _settle(tx, cloud, account, drawn, asked))
    if isinstance(moved, VersionMoved):
        raise moved
    await _tell(cloud, account, drawn, moved)
    changed = drawn.resolved.changes
    before = {step.path: step.expect for step in drawn.decided.actions} | {each.path: each.ours for each in drawn.decided.decisions}
    kinds = [(before.get(path), entry) for path, entry in changed.items()]
    return {
        "success": True, "errors": [], "head": moved.head,
        "snapshot_before_id": moved.before_id, "snapshot_after_id": moved.head.snapshot_id,
        "files_added": sum(old is None and new is not None for old, new in kinds),
        "files_updated": sum(old is not None and new is not None and old != new for old, new in kinds),
        "files_deleted": sum(old is not None and new is None for old, new in kinds),
    }  # fmt: skip


async def _draw(cloud: Cloud, account: Account, workspace_id: str, asked: Execute) -> Drawn:
    reader = cloud.read()
    await workspaces.get_workspace(reader, account.user_id, workspace_id)
    body = await merges.find_preview(reader, account.user_id, workspace_id, asked.preview_id, cloud.now())
    if body is None:
        raise PreviewExpired("no such preview", "It has expired or was used: prepare another one.")
    bound = msgspec.json.decode(body, type=Bound)
    for head in (bound.workspace, bound.source):
        now = await has_moved(reader, account.user_id, head)
        if now is not None:
            raise _stale(now)
    project, workspace, source = await find_pair(reader, account, workspace_id, bound.source.workspace_id)
    project = msgspec.structs.replace(project, main_workspace_id=bound.main_workspace_id)
    meeting, known = Meeting(project, workspace, source, bound.roots, bound.bases), Known()
    decided = await decide(cloud, three_of(bound.roots, bound.workspace.root, bound.source.root), known)
    if decided.root.hex() != bound.root:
        raise PreviewExpired("this cloud merges otherwise than the one that made the preview", "Prepare another one.")
    choices, own = await _read_choices(cloud, account, meeting, decided, asked.decisions)
    resolved, deltas = await cloud.objects.over_nodes(lambda nodes: _resolve(decided, choices, nodes))
    return Drawn(meeting, bound, decided, resolved, contents_of(decided, known) | own, deltas)


def _resolve(decided: Decided, choices: Mapping[RelPath, Choice], nodes: NodeSource) -> tuple[Resolved, list[bytes] | None]:
    resolved = resolve(decided, choices, nodes)
    draft = Draft(nodes)
    draft.new.update(resolved.nodes)
    return resolved, draw_deltas(decided.three.ours, resolved.root, draft)


async def _read_choices(
    cloud: Cloud, account: Account, meeting: Meeting, decided: Decided, sent: Mapping[str, str | Chosen]
) -> tuple[dict[RelPath, Choice], dict[Digest, bytes]]:
    """Every decision's choice, and the texts that came along. Raises MissingDecisions, InvalidValue, BlobsMissing, TooLarge."""
    keys = {key_of(each.path): each for each in decided.decisions}
    missing = [key for key in keys if key not in sent]
    if missing:
        raise MissingDecisions(f"{len(missing)} paths are not decided", "Decide each of them.", missing=missing[:SHOWN_PATHS])
    strange = sorted(sent.keys() - keys.keys())
    if strange:
        raise InvalidValue(f"nothing to decide about {strange[0][:200]!r}", "Send the paths of the preview's decisions.")
    choices: dict[RelPath, Choice] = {}
    own: dict[Digest, bytes] = {}
    for key, decision in keys.items():
        given = sent[key]
        chosen = Chosen(given) if isinstance(given, str) else given
        options = options_of(decision, meeting)
        if chosen.option == CUSTOM:
            choices[decision.path] = Choice(own=await _own_content(cloud, account, chosen, own))
        elif chosen.option in options:
            side = options[chosen.option]
            choices[decision.path] = BOTH if side is None else Choice(side)
        else:
            raise InvalidValue(f"unknown option {chosen.option[:40]!r} for {key[:200]!r}", f"One of {', '.join([*options, CUSTOM])}.")
    return choices, own


async def _own_content(cloud: Cloud, account: Account, chosen: Chosen, own: dict[Digest, bytes]) -> File:
    if (chosen.content is None) == (chosen.hash is None):
        raise InvalidValue("a custom decision has a content or the hash of one")
    if chosen.content is not None:
        data = chosen.content.encode()
        if len(data) > CHUNKED_MIN:
            raise TooLarge("a content of over 4 MiB", "Send it through /v1/blobs/upload first.")
        digest = digest_of(data)
        own[digest] = data
        return File(digest, len(data))
    digest = parse_digest(chosen.hash or "")
    sizes = await blobs.owned_sizes(cloud.read(), account.user_id, [digest])
    if digest not in sizes:
        raise BlobsMissing("a blob is not here", "Send it first.", hashes=[digest.hex()])
    return File(digest, sizes[digest])


def _stale(head: Head) -> VersionMoved:
    return VersionMoved("a head moved on since the preview was made", "Prepare another one.", head=head)


async def _settle(tx: Tx, cloud: Cloud, account: Account, drawn: Drawn, asked: Execute) -> Moved | VersionMoved:
    """A lost race is returned, as with a push: it is told only once the winner is durable."""
    bound = drawn.bound
    # In one order, so that two merges in opposite directions do not wait for each other.
    for head in sorted((bound.workspace, bound.source), key=lambda head: head.workspace_id):
        if not await workspaces.hold_head(tx, account.user_id, head.workspace_id, head.version):
            return _stale(await workspaces.get_head(tx, account.user_id, head.workspace_id))
    if not await merges.use_preview(tx, asked.preview_id, cloud.now()):
        raise PreviewExpired("no such preview", "It has expired or was used: prepare another one.")
    workspace, source = drawn.meeting.workspace, drawn.meeting.source
    # A text that was sent for a decision is named by nothing yet: it may have been collected since it was looked up.
    named = {entry.digest for entry in drawn.resolved.changes.values() if isinstance(entry, File)}
    await hold(tx, cloud, account.user_id, named - drawn.contents.keys())
    kept = await keep_head(tx, cloud, account, source, f"Before it was merged into {workspace.name}")
    if kept.snapshot_id is None:
        raise InvalidOperation("nothing was ever kept in the workspace that is merged")
    version = bound.workspace.version + 1
    taken: list[WireSnapshot] = []
    missing = await draw_missing(tx, cloud, account, workspace, f"Before {source.name} was merged in")
    if missing is not None:
        await add_taken(tx, cloud, missing, version, "system")
        taken.append(missing)
    before = missing.id if missing is not None else workspace.current_snapshot_id
    parents = (kept.snapshot_id,) if before is None else (before, kept.snapshot_id)
    root, message = drawn.resolved.root.hex(), asked.message.strip() or f"Merged {source.name} into {workspace.name}"
    merged = draw_snapshot(cloud, account, workspace, root, parents, source=asked.actor, message=message)
    await add_taken(tx, cloud, merged, version, asked.actor)
    await move_head(tx, cloud, account, workspace, HeadMove(workspace.id, bound.workspace.version, root, merged.id, None, asked.actor))
    await keep_bytes(tx, cloud, account, drawn.contents, drawn.resolved.nodes)
    await _note(tx, cloud, workspace, source, Merge(
        workspace.id, version, source.id, merged.id, before, workspace.merge_history, None, cloud.now(),
    ), kept.snapshot_id)  # fmt: skip
    await activity.add_activity(
        tx, cloud.now_ms(), workspace.project_id, "merge.completed", asked.actor,
        workspace_id=workspace.id, snapshot_id=merged.id, message=message,
    )  # fmt: skip
    head = Head(workspace.id, cloud.epoch, version, root, merged.id)
    return Moved(head, before, [*taken, merged], kept)


async def move_head(tx: Tx, cloud: Cloud, account: Account, workspace: Workspace, move: HeadMove) -> None:
    """The one compare-and-swap, and what goes with it in the project's row."""
    at = cloud.now()
    await workspaces.advance_head(tx, account.user_id, move, at)
    await projects.touch_project(tx, workspace.project_id, move.snapshot_id, at)


async def keep_bytes(tx: Tx, cloud: Cloud, account: Account, contents: Mapping[Digest, bytes], nodes: Mapping[Digest, bytes]) -> None:
    """What a head that moves by the cloud's own doing needs, in the transaction that moves it."""
    await cloud.objects.put(tx, contents, nodes)
    await blobs.add_owned(tx, account.user_id, {digest: len(data) for digest, data in contents.items()}, cloud.now())
    await blobs.add_nodes(tx, account.user_id, nodes)


async def _note(tx: Tx, cloud: Cloud, workspace: Workspace, source: Workspace, merge: Merge, source_snapshot: str) -> None:
    await merges.add_merge(tx, merge)
    history = merges.read_history(workspace.merge_history) | {source.id: LastMerge(source_snapshot, cloud.now())}
    await workspaces.set_merge_history(tx, workspace.id, merges.write_history(history))


async def _tell(cloud: Cloud, account: Account, drawn: Drawn, moved: Moved) -> None:
    kept = moved.source
    if kept.head is not None and kept.taken is not None:
        # The source moved by its snapshot alone: the same root, no delta.
        message = version_message(kept.head, kept.head.root, [], [kept.taken], {})
        await tell_version(cloud, account.user_id, kept.head.workspace_id, message)
    message = version_message(moved.head, drawn.bound.workspace.root, drawn.deltas, moved.snapshots, drawn.contents)
    await tell_version(cloud, account.user_id, moved.head.workspace_id, message)
