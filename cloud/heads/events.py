"""What listeners are told of a head that moved: the delta and the small blobs, where they fit; else they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from cloud.context import Cloud
from cloud.hub import Telling, pack_message
from cloud.records.work import replicas
from store.blobs.frames import encode_frame
from store.manifest import NodeSource, diff_manifests
from store.types import Digest
from sync.core.wire import INLINE_EVENT_BYTES, Delta, EventHeader, Head, WireSnapshot, pack_delta

EVENT_CHANGES = 4_096
"""A delta is drawn for an event only up to so many changes; beyond, listeners ask."""


def draw_deltas(parent: Digest, root: Digest, nodes: NodeSource) -> list[bytes] | None:
    """What leads from one root to another; None when it is too much for an event."""
    joined: Delta = [(change.path, change.new) for change in islice(diff_manifests(parent, root, nodes), EVENT_CHANGES + 1)]
    return None if len(joined) > EVENT_CHANGES else fitting(list(pack_delta(joined)))


def fitting(deltas: list[bytes]) -> list[bytes] | None:
    """These deltas if an event may carry them."""
    return deltas if sum(map(len, deltas)) <= INLINE_EVENT_BYTES else None


def small_frames(contents: Mapping[Digest, bytes], frames: list[bytes]) -> list[bytes]:
    """The small blobs in one frame; the one they came in when that holds nothing else."""
    small: list[tuple[Digest, bytes]] = []
    room = INLINE_EVENT_BYTES
    for digest, data in contents.items():
        if len(data) <= room:
            small.append((digest, data))
            room -= len(data)
    if len(small) == len(contents) and len(frames) == 1:
        return frames
    return [encode_frame(small)] if small else []


def version_message(
    head: Head, parent_root: str, deltas: list[bytes] | None, snapshots: Sequence[WireSnapshot], contents: Mapping[Digest, bytes]
) -> bytes:
    """Of a head that the cloud moved itself."""
    carried = deltas or []
    header = EventHeader("version", head, None if deltas is None else parent_root, len(carried), snapshots=list(snapshots))
    return pack_message(header, carried, [] if deltas is None else small_frames(contents, []))


async def tell_version(cloud: Cloud, user_id: str, workspace_id: str, message: bytes) -> None:
    """To everybody who follows this workspace."""
    await cloud.hub.tell(user_id, Telling(message, await replicas.machines_of(cloud.read(), workspace_id)))
