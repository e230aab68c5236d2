"""What the cloud checks on a push before it believes it: deltas, trees, blobs, snapshots. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from cloud.content import LISTED_BLOBS
from cloud.database import Reader
from cloud.records import blobs
from cloud.records.work import snapshots
from store.blobs import CHUNKED_MIN
from store.blobs.frames import decode_frame, is_recipe
from store.errors import BlobDamaged, BlobsMissing, HashMismatch, InvalidManifest, InvalidReply, InvalidValue, TooLarge
from store.manifest import Draft, check_tree_after, edit_manifest
from store.snapshots import Snapshot, check_snapshot
from store.types import Digest, File, parse_digest
from sync.core.wire import MAX_STEP_CHANGES, Delta, PushStep, WireSnapshot, parse_delta

MAX_TEXT = 64 * 1024
"""Characters of a snapshot's message; its other texts are bounded by MAX_LINE."""
MAX_LINE = 1_000
MAX_PARENTS = 64


def open_frames(frames: Sequence[bytes]) -> dict[Digest, bytes]:
    """The blobs in these frames, each checked (B2). Raises InvalidValue, HashMismatch, TooLarge."""
    contents: dict[Digest, bytes] = {}
    try:
        for frame in frames:
            if is_recipe(frame):
                raise InvalidValue("a push carries small blobs only", "Send chunked ones through /v1/blobs/batch first.")
            contents.update(decode_frame(frame))
    except InvalidReply as error:
        raise InvalidValue(error.message) from error
    except BlobDamaged as error:
        raise HashMismatch(error.message) from error
    if any(len(data) > CHUNKED_MIN for data in contents.values()):
        raise TooLarge("a push carries small blobs only", "Send the others through /v1/blobs/batch first.")
    return contents


def follow(before: Digest, step: PushStep, deltas: Iterator[bytes], draft: Draft, wanted: dict[Digest, int]) -> Digest:
    """One step: its deltas lead from `before` to its root, which is a tree. Notes the blobs it needs."""
    changes = _read_changes(step, deltas)
    for _, entry in changes:
        if isinstance(entry, File) and wanted.setdefault(entry.digest, entry.size) != entry.size:
            raise InvalidValue(f"blob {entry.digest.hex()} with two sizes")
    root = edit_manifest(before, changes, draft)
    if root.hex() != step.root:
        raise InvalidValue("the delta does not lead to the root that is claimed", f"It leads to {root.hex()}.")
    try:
        check_tree_after(root, changes, draft)
    except InvalidManifest as error:
        raise InvalidValue(f"the result is not a tree: {error.message}") from error
    return root


def _read_changes(step: PushStep, deltas: Iterator[bytes]) -> Delta:
    changes: Delta = []
    try:
        for _ in range(step.sections):
            changes += parse_delta(next(deltas))
            if len(changes) > MAX_STEP_CHANGES:
                raise TooLarge(f"a step of over {MAX_STEP_CHANGES} changes", "Send them as several steps.")
    except (InvalidReply, InvalidManifest) as error:
        raise InvalidValue(error.message) from error
    if any(former[0] >= later[0] for former, later in pairwise(changes)):
        raise InvalidValue("a delta is sorted by path, each path once")
    return changes


async def check_blobs(reader: Reader, user_id: str, wanted: Mapping[Digest, int], contents: Mapping[Digest, bytes]) -> None:
    """Each is this user's, or came along, and has the entry's size. Raises BlobsMissing, InvalidValue."""
    sizes = await blobs.owned_sizes(reader, user_id, (digest for digest in wanted if digest not in contents))
    sizes |= {digest: len(data) for digest, data in contents.items()}
    missing = [digest.hex() for digest in wanted if digest not in sizes]
    if missing:
        raise BlobsMissing(f"{len(missing)} blobs are not here", "Send them, then push again.", hashes=missing[:LISTED_BLOBS])
    for digest, size in wanted.items():
        if sizes[digest] != size:
            raise InvalidValue(f"blob {digest.hex()} has {sizes[digest]} bytes, not {size}")


async def check_snapshots(reader: Reader, project_id: str, workspace_id: str, steps: Sequence[PushStep]) -> None:
    """Each verifies, is of this workspace and its step's root, and has its parents in the project or earlier in the push."""
    earlier: set[str] = set()
    for step in steps:
        snapshot = step.snapshot
        if snapshot is None:
            continue
        if (snapshot.project_id, snapshot.workspace_id, snapshot.manifest_hash) != (project_id, workspace_id, step.root):
            raise InvalidValue(f"{snapshot.id[:40]} is not of this step's root, workspace and project")
        check_texts(snapshot)
        if snapshot.parents != sorted(set(snapshot.parents)):
            raise InvalidValue("a snapshot's parents are sorted, each once")
        check_snapshot(_snapshot_of(snapshot))
        for parent in snapshot.parents:
            if parent not in earlier and not await snapshots.in_project(reader, project_id, parent):
                raise InvalidValue(f"the parent {parent[:40]} of {snapshot.id} is not in the project")
        earlier.add(snapshot.id)


def check_texts(snapshot: WireSnapshot) -> None:
    """Its texts and parents are within their bounds. Raises TooLarge."""
    lines = (snapshot.author_name, snapshot.author_email, snapshot.agent)
    is_long = max(len(snapshot.message), len(snapshot.summary)) > MAX_TEXT
    if is_long or len(snapshot.parents) > MAX_PARENTS or any(len(line) > MAX_LINE for line in lines):
        raise TooLarge(f"{snapshot.id[:40]} has too long a text, or over {MAX_PARENTS} parents")


def _snapshot_of(wire: WireSnapshot) -> Snapshot:
    return Snapshot(
        wire.id, wire.project_id, wire.workspace_id, parse_digest(wire.manifest_hash), tuple(wire.parents), wire.source, wire.message,
        wire.author_name, wire.author_email, wire.agent, wire.created_ms, wire.summary,
    )  # fmt: skip


async def newest_snapshot(reader: Reader, former: str | None, sent: Sequence[WireSnapshot]) -> str | None:
    """What the head's snapshot becomes: the last one sent, if it continues the former (SNAP-3: only forward)."""
    if not sent or former is None:
        return sent[-1].id if sent else former
    parents = {snapshot.id: snapshot.parents for snapshot in sent}
    behind, waiting = {sent[-1].id}, [sent[-1].id]
    for asked in waiting:
        new = [parent for parent in parents.get(asked, ()) if parent not in behind]
        behind.update(new)
        waiting += new
    if former in behind:
        return sent[-1].id
    for each in waiting:
        if each not in parents and await snapshots.descends(reader, each, former):
            return sent[-1].id
    return former
