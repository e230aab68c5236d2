"""Per-workspace rows of this machine: workspaces, their replicas, and the paths kept apart.

A replica has a *full* root (what its folder holds) and a *shared* root (what the cloud may see). They differ only at the paths
listed in `apart`: secret-looking files that stay back, and remote changes the folder could not take.
`shared_full` is the full root that `shared_root` was derived from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from store.database import Component, Migration, Reader, Tx
from store.errors import NotAWorkspace, NotFound
from store.manifest import EMPTY_ROOT, EntryRecord
from store.types import Digest, RelPath

WORKSPACES: Final = Component(
    "workspaces",
    (
        Migration(
            1,
            """
            CREATE TABLE machine (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, name TEXT NOT NULL);
            CREATE TABLE workspaces (
                id TEXT PRIMARY KEY, project_id TEXT NOT NULL, project_name TEXT NOT NULL, name TEXT NOT NULL,
                created_ms INTEGER NOT NULL, registered INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            CREATE TABLE replicas (
                id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id), root BLOB NOT NULL,
                root_dev INTEGER NOT NULL, root_ino INTEGER NOT NULL, full_root BLOB NOT NULL, shared_root BLOB NOT NULL,
                shared_full BLOB NOT NULL, agreed_version INTEGER NOT NULL, agreed_root BLOB NOT NULL, epoch TEXT NOT NULL,
                sequence INTEGER NOT NULL, paused_until_ms INTEGER NOT NULL DEFAULT 0, allowed TEXT NOT NULL DEFAULT '',
                git_head TEXT NOT NULL DEFAULT '', removed_ms INTEGER
            ) WITHOUT ROWID;
            CREATE UNIQUE INDEX replicas_root ON replicas (root) WHERE removed_ms IS NULL;
            CREATE TABLE apart (
                replica_id TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE, path BLOB NOT NULL, kind TEXT NOT NULL,
                reason TEXT NOT NULL, PRIMARY KEY (replica_id, path)
            ) WITHOUT ROWID;
            """,
        ),
        Migration(2, "ALTER TABLE replicas ADD COLUMN agreed_snapshot TEXT NOT NULL DEFAULT ''"),
        Migration(3, "ALTER TABLE apart ADD COLUMN had BLOB"),
    ),
)


class Workspace(msgspec.Struct, frozen=True):
    """One line of work in a project, as this machine knows it; `registered` once the cloud has it too."""

    id: str
    project_id: str
    project_name: str
    name: str
    created_ms: int
    registered: bool


class Replica(msgspec.Struct, frozen=True):
    """A workspace attached to a folder of this machine."""

    id: str
    workspace_id: str
    root: bytes
    root_dev: int
    root_ino: int
    full_root: Digest
    shared_root: Digest
    shared_full: Digest
    agreed_version: int
    agreed_root: Digest
    epoch: str
    sequence: int
    paused_until_ms: int = 0
    allowed: str = ""
    git_head: str = ""
    agreed_snapshot: str = ""
    """The snapshot that the head had then; empty when it had none, or was never seen."""

    @property
    def is_agreed(self) -> bool:
        """Of this state nothing is left to be shared, or sent."""
        return self.shared_full == self.full_root and self.shared_root == self.agreed_root

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the root when it was last known to be ours."""
        return self.root_dev, self.root_ino


class Apart(msgspec.Struct, frozen=True):
    """Why a path's shared entry is not its full one.

    Kind `secret` (held back from the cloud), `owed` (the folder could not take it yet), or the code of a name that the disk cannot
    hold. `had`: what the folder had there when it could not take the change; None where that was never noted.
    """

    path: RelPath
    kind: str
    reason: str
    had: EntryRecord | None = None


_SELECT_REPLICA: Final = (
    "SELECT id, workspace_id, root, root_dev, root_ino, full_root, shared_root, shared_full, agreed_version, agreed_root, epoch,"
    " sequence, paused_until_ms, allowed, git_head, agreed_snapshot FROM replicas "
)


def set_machine(tx: Tx, machine_id: str, name: str) -> None:
    """Say who this machine is, once."""
    tx.execute("INSERT INTO machine (one, id, name) VALUES (1, $1, $2) ON CONFLICT (one) DO NOTHING", (machine_id, name))


def get_machine(reader: Reader) -> tuple[str, str] | None:
    """This machine's id and name, if it was ever said."""
    row = reader.one("SELECT id, name FROM machine")
    return None if row is None else (row[0], row[1])


def add_workspace(tx: Tx, workspace: Workspace) -> None:
    """Keep a workspace; adding it again changes nothing."""
    tx.execute(
        "INSERT INTO workspaces (id, project_id, project_name, name, created_ms, registered) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (id) DO NOTHING",
        (workspace.id, workspace.project_id, workspace.project_name, workspace.name, workspace.created_ms, int(workspace.registered)),
    )


def set_registered(tx: Tx, workspace_id: str) -> None:
    """The cloud knows this workspace now."""
    tx.execute("UPDATE workspaces SET registered = 1 WHERE id = $1", (workspace_id,))


def set_project(tx: Tx, workspace_id: str, project_id: str, project_name: str) -> None:
    """Attach a workspace that the cloud does not know yet to another project."""
    tx.execute(
        "UPDATE workspaces SET project_id = $1, project_name = $2 WHERE id = $3 AND registered = 0",
        (project_id, project_name, workspace_id),
    )


def get_workspace(reader: Reader, workspace_id: str) -> Workspace:
    """One workspace. Raises NotFound."""
    row = reader.one("SELECT id, project_id, project_name, name, created_ms, registered FROM workspaces WHERE id = $1", (workspace_id,))
    if row is None:
        raise NotFound(f"no workspace {workspace_id} on this machine")
    return Workspace(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


def list_workspaces(reader: Reader) -> list[Workspace]:
    """All of them, oldest first."""
    rows = reader.execute("SELECT id, project_id, project_name, name, created_ms, registered FROM workspaces ORDER BY created_ms, id")
    return [Workspace(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


def add_replica(tx: Tx, replica: Replica) -> None:
    """Keep a new replica."""
    values = tuple(getattr(replica, name) for name in Replica.__struct_fields__)
    tx.execute(
        "INSERT INTO replicas (id, workspace_id, root, root_dev, root_ino, full_root, shared_root, shared_full, agreed_version,"
        " agreed_root, epoch, sequence, paused_until_ms, allowed, git_head, agreed_snapshot)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        values,
    )


def get_replica(reader: Reader, replica_id: str) -> Replica:
    """One replica. Raises NotAWorkspace."""
    row = reader.one(_SELECT_REPLICA + "WHERE id = $1 AND removed_ms IS NULL", (replica_id,))
    if row is None:
        raise NotAWorkspace(f"no replica {replica_id} on this machine")
    return Replica(*row)


def list_replicas(reader: Reader) -> list[Replica]:
    """All that are attached to a folder, in the order of their ids (that is, of time)."""
    rows = reader.execute(_SELECT_REPLICA + "WHERE removed_ms IS NULL ORDER BY id")
    return [Replica(*row) for row in rows]


def set_full(tx: Tx, replica_id: str, full_root: Digest, sequence: int) -> None:
    """The folder's newest settled state."""
    tx.execute("UPDATE replicas SET full_root = $1, sequence = $2 WHERE id = $3", (full_root, sequence, replica_id))


def set_shared(tx: Tx, replica_id: str, shared_root: Digest, shared_full: Digest) -> None:
    """What of the full root `shared_full` the cloud may see."""
    tx.execute("UPDATE replicas SET shared_root = $1, shared_full = $2 WHERE id = $3", (shared_root, shared_full, replica_id))


def set_agreed(tx: Tx, replica_id: str, version: int, root: Digest, epoch: str) -> None:
    """What this replica and the cloud now share (J2: only when every step is on disk)."""
    tx.execute("UPDATE replicas SET agreed_version = $1, agreed_root = $2, epoch = $3 WHERE id = $4", (version, root, epoch, replica_id))


def forget_base(tx: Tx, replica_id: str) -> None:
    """Nothing is known of what folder and cloud hold: look at everything, and join both sides (D4: conflicts, no deletions)."""
    tx.execute("DELETE FROM apart WHERE replica_id = $1", (replica_id,))
    tx.execute(
        "UPDATE replicas SET full_root = $1, shared_root = $1, shared_full = $1, agreed_root = $1, agreed_version = 0, epoch = '',"
        " agreed_snapshot = '', allowed = '',"
        " sequence = 1 + max(sequence, (SELECT coalesce(max(sequence), 0) FROM log WHERE replica_id = id)) WHERE id = $2",
        (EMPTY_ROOT, replica_id),
    )


def set_agreed_snapshot(tx: Tx, replica_id: str, snapshot_id: str | None) -> None:
    """The newest snapshot that the head had when it was agreed on."""
    tx.execute("UPDATE replicas SET agreed_snapshot = $1 WHERE id = $2", (snapshot_id or "", replica_id))


def set_root_identity(tx: Tx, replica_id: str, identity: tuple[int, int]) -> None:
    """The root is this device and inode from now on (a person approved a replaced root)."""
    tx.execute("UPDATE replicas SET root_dev = $1, root_ino = $2 WHERE id = $3", (*identity, replica_id))


def set_paused(tx: Tx, replica_id: str, until_ms: int) -> None:
    """Transfer rests until then; 0 resumes."""
    tx.execute("UPDATE replicas SET paused_until_ms = $1 WHERE id = $2", (until_ms, replica_id))


def set_allowed(tx: Tx, replica_id: str, allowed: str) -> None:
    """What a person let past the brake; empty for nothing."""
    tx.execute("UPDATE replicas SET allowed = $1 WHERE id = $2", (allowed, replica_id))


def set_git_head(tx: Tx, replica_id: str, git_head: str) -> None:
    """Where git's HEAD stood when the folder was last scanned."""
    tx.execute("UPDATE replicas SET git_head = $1 WHERE id = $2", (git_head, replica_id))


def list_apart(reader: Reader, replica_id: str) -> dict[RelPath, Apart]:
    """The paths whose shared entry differs from the full one."""
    rows = reader.execute("SELECT path, kind, reason, had FROM apart WHERE replica_id = $1 ORDER BY path", (replica_id,))
    return {RelPath(path): Apart(RelPath(path), kind, reason, _decode_had(had)) for path, kind, reason, had in rows}


def set_apart(tx: Tx, replica_id: str, put: Mapping[RelPath, Apart], drop: Iterable[RelPath]) -> None:
    """Add and forget paths kept apart."""
    tx.execute_many("DELETE FROM apart WHERE replica_id = $1 AND path = $2", ((replica_id, path) for path in drop))
    tx.execute_many(
        "INSERT INTO apart (replica_id, path, kind, reason, had) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (replica_id, path) DO UPDATE SET kind = excluded.kind, reason = excluded.reason, had = excluded.had",
        ((replica_id, row.path, row.kind, row.reason, None if row.had is None else msgspec.json.encode(row.had)) for row in put.values()),
    )


def _decode_had(had: bytes | None) -> EntryRecord | None:
    return None if had is None else msgspec.json.decode(had, type=EntryRecord)
