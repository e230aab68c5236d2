"""Tables machines and workspace_replicas."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from store.errors import NotFound
from sync.core.wire import BeatReplica, NewMachine, NewReplica, WireReplica


class Machine(msgspec.Struct, frozen=True):
    """One row."""

    id: str
    name: str
    platform: str
    version: str
    last_seen_at: str | None


async def put_machine(tx: Tx, user_id: str, machine: NewMachine, at: str) -> bool:
    """Keep a machine, or what it calls itself now; True when it is new. Raises NotFound when the id is somebody else's."""
    known = await tx.run(
        "UPDATE machines SET name = $1, platform = $2, version = $3, last_seen_at = $4 WHERE id = $5 AND user_id = $6",
        (machine.name, machine.platform, machine.version, at, machine.id, user_id),
    )
    if known:
        return False
    if await tx.one("SELECT 1 FROM machines WHERE id = $1", (machine.id,)) is not None:
        raise NotFound("no such machine")
    await tx.run(
        "INSERT INTO machines (id, user_id, name, platform, version, created_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        (machine.id, user_id, machine.name, machine.platform, machine.version, at, at),
    )
    return True


async def get_machine(reader: Reader, user_id: str, machine_id: str) -> Machine:
    """One machine that was not revoked. Raises NotFound, also for somebody else's."""
    row = await reader.one(
        "SELECT id, name, platform, version, last_seen_at FROM machines WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
        (machine_id, user_id),
    )
    if row is None:
        raise NotFound("no such machine")
    return Machine(*row)


async def list_machines(reader: Reader, user_id: str) -> list[tuple[Machine, list[str]]]:
    """Each with the workspaces it holds replicas of, by name."""
    held: dict[str, list[str]] = {}
    for machine_id, workspace_id in await reader.rows(
        "SELECT DISTINCT r.machine_id, r.workspace_id FROM workspace_replicas r JOIN machines m ON m.id = r.machine_id"
        " JOIN workspaces w ON w.id = r.workspace_id JOIN projects p ON p.id = w.project_id"
        " WHERE m.user_id = $1 AND r.removed_at IS NULL AND w.deleted_at IS NULL AND p.deleted_at IS NULL ORDER BY r.workspace_id",
        (user_id,),
    ):
        held.setdefault(machine_id, []).append(workspace_id)
    rows = await reader.rows(
        "SELECT id, name, platform, version, last_seen_at FROM machines WHERE user_id = $1 AND revoked_at IS NULL ORDER BY name, id",
        (user_id,),
    )
    return [(Machine(*row), held.get(row[0], [])) for row in rows]


async def touch_machine(tx: Tx, user_id: str, machine_id: str, at: str) -> None:
    """It showed that it is there."""
    await tx.run("UPDATE machines SET last_seen_at = $1 WHERE id = $2 AND user_id = $3", (at, machine_id, user_id))


async def put_replica(tx: Tx, user_id: str, workspace_id: str, replica: NewReplica, at: str) -> bool:
    """Keep a replica of a workspace that is known to be the user's; True when it is new. Raises NotFound when the id is taken elsewhere."""
    await get_machine(tx, user_id, replica.machine_id)
    known = await tx.run(
        "UPDATE workspace_replicas SET local_path = $1, last_seen_at = $2, removed_at = NULL"
        " WHERE id = $3 AND workspace_id = $4 AND machine_id = $5",
        (replica.local_path, at, replica.id, workspace_id, replica.machine_id),
    )
    if known:
        return False
    if await tx.one("SELECT 1 FROM workspace_replicas WHERE id = $1", (replica.id,)) is not None:
        raise NotFound("no such replica")
    await tx.run(
        "INSERT INTO workspace_replicas (id, workspace_id, machine_id, local_path, created_at, last_seen_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        (replica.id, workspace_id, replica.machine_id, replica.local_path, at, at),
    )
    return True


async def remove_replica(tx: Tx, workspace_id: str, replica_id: str, at: str) -> None:
    """Detach a replica of a workspace that is known to be the asker's. Raises NotFound."""
    removed = await tx.run(
        "UPDATE workspace_replicas SET removed_at = $1 WHERE id = $2 AND workspace_id = $3 AND removed_at IS NULL",
        (at, replica_id, workspace_id),
    )
    if not removed:
        raise NotFound("no such replica")


async def list_replicas(reader: Reader, workspace_id: str) -> list[WireReplica]:
    """The attached replicas of a workspace that is known to be the asker's."""
    rows = await reader.rows(
        "SELECT id, workspace_id, machine_id, local_path, agreed_version, agreed_manifest_hash, state, last_seen_at"
        " FROM workspace_replicas WHERE workspace_id = $1 AND removed_at IS NULL ORDER BY id",
        (workspace_id,),
    )
    return [WireReplica(*row) for row in rows]


async def machines_of(reader: Reader, workspace_id: str) -> frozenset[str]:
    """The machines that hold a replica of a workspace."""
    return frozenset((await places_of(reader, workspace_id)).values())


async def places_of(reader: Reader, workspace_id: str) -> dict[str, str]:
    """The attached replicas of a workspace, each with its machine."""
    sql = "SELECT id, machine_id FROM workspace_replicas WHERE workspace_id = $1 AND removed_at IS NULL"
    rows = await reader.rows(sql, (workspace_id,))
    return {str(row[0]): str(row[1]) for row in rows}


async def set_agreed(tx: Tx, user_id: str, replica: BeatReplica, at: str) -> None:
    """How far a replica has come, as it says itself; nothing when it is not this user's."""
    await tx.run(
        "UPDATE workspace_replicas SET agreed_version = $1, agreed_manifest_hash = $2, state = $3, last_seen_at = $4"
        " WHERE id = $5 AND machine_id IN (SELECT id FROM machines WHERE user_id = $6)",
        (replica.version, replica.root, replica.state, at, replica.id, user_id),
    )
