"""`fst fsck --cloud`: does the cloud hold what this machine believes it holds? What it lost and is here is sent again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from daemon.mend.kept import file_sizes
from store import workspaces
from store.errors import Corrupt, FastestError, NotFound
from store.manifest import check_node, node_digests
from store.types import Digest, show_path
from sync.transfer import send_blobs

if TYPE_CHECKING:
    from daemon.app import Daemon
    from daemon.remote import CloudRemote
    from store.workspaces import Replica
    from sync.progress import Progress

NODES_AT_ONCE: Final = 4096


class Reached(msgspec.Struct):
    """How many contents were sent again, and what is wrong all the same."""

    sent: int
    problems: list[str]


async def check_cloud(daemon: Daemon, progress: Progress) -> Reached:
    """Every workspace of this machine. Without a cloud that is said, as a problem."""
    remote = daemon.link.remote
    if remote is None:
        return Reached(0, [f"the cloud was not asked: {daemon.link.message or 'not connected'}"])
    reached = Reached(0, [])
    for row in workspaces.list_replicas(daemon.db.read()):
        try:
            await _check_workspace(daemon, remote, row, reached, progress)
        except FastestError as error:
            reached.problems.append(f"{show_path(row.root)}: the cloud could not be checked: {error.message}")
    return reached


async def _check_workspace(daemon: Daemon, remote: CloudRemote, row: Replica, reached: Reached, progress: Progress) -> None:
    if not row.epoch:
        return  # nothing was agreed on with it yet
    shown = show_path(row.root)
    made = await remote.find_version(row.workspace_id, row.agreed_version)
    if made is None or made.root != row.agreed_root.hex():
        reached.problems.append(f"{shown}: the cloud does not have version {row.agreed_version} as it was agreed on")
    nodes = await asyncio.to_thread(lambda: sorted(node_digests(row.agreed_root, daemon.blobs, set())))
    lost = await _lost_nodes(remote, row.workspace_id, nodes)
    if lost:
        reached.problems.append(f"{shown}: the cloud lost {lost} parts of the list of files: run `fst cloud fsck` there")
    sizes = await asyncio.to_thread(file_sizes, daemon, row.agreed_root, set())
    absent = await remote.missing(sorted(sizes))
    nowhere = await asyncio.to_thread(daemon.blobs.lacking, absent)
    reached.problems += [f"{shown}: blob {digest.hex()} is neither here nor in the cloud" for digest in sorted(nowhere)]
    here = {digest: sizes[digest] for digest in sorted(absent - nowhere)}
    if here:
        await send_blobs(remote, daemon.blobs, here, progress)
        reached.sent += len(here)


async def _lost_nodes(remote: CloudRemote, workspace_id: str, nodes: list[Digest]) -> int:
    """How many of these it does not give, or gives wrong."""
    lost = 0
    for at in range(0, len(nodes), NODES_AT_ONCE):
        batch = set(nodes[at : at + NODES_AT_ONCE])
        try:
            async for digest, data in remote.nodes(workspace_id, sorted(batch)):
                check_node(digest, data)
                batch.discard(digest)
        except (NotFound, Corrupt):
            pass  # it says so of all, or gives others
        lost += len(batch)
    return lost
