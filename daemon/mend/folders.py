"""Which folders are workspaces, beside the database: read only when that is lost (docs/FORMAT.md). Never a second truth."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from daemon.login import write_private
from store import workspaces
from store.database import Reader, Tx
from store.manifest import EMPTY_ROOT
from store.workspaces import Replica, Workspace

FOLDERS_FILE: Final = "folders.json"


class Attachment(msgspec.Struct, frozen=True):
    """A workspace in a folder, without anything that changes as work goes on."""

    replica_id: str
    workspace_id: str
    project_id: str
    project_name: str
    name: str
    created_ms: int
    root: bytes
    root_dev: int
    root_ino: int


class Folders(msgspec.Struct, frozen=True):
    """This machine, and its folders."""

    machine_id: str
    machine_name: str
    attached: list[Attachment]


def note_folders(state: Path, reader: Reader) -> None:
    """Write it down where it changed. Raises Unwritable."""
    machine = workspaces.get_machine(reader)
    if machine is None:
        return
    attached = []
    for row in workspaces.list_replicas(reader):
        its = workspaces.get_workspace(reader, row.workspace_id)
        attached.append(
            Attachment(row.id, its.id, its.project_id, its.project_name, its.name, its.created_ms, row.root, row.root_dev, row.root_ino)
        )
    data = msgspec.json.encode(Folders(*machine, attached))
    file = state / FOLDERS_FILE
    if not file.exists() or file.read_bytes() != data:
        write_private(file, data)


def read_folders(state: Path) -> Folders | None:
    """What was written down last; None when nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode((state / FOLDERS_FILE).read_bytes(), type=Folders)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def attach_again(tx: Tx, known: Folders) -> None:
    """The rows of every folder in a database that has none yet; the cloud is told of them again."""
    workspaces.set_machine(tx, known.machine_id, known.machine_name)
    for one in known.attached:
        its = Workspace(one.workspace_id, one.project_id, one.project_name, one.name, one.created_ms, registered=False)
        row = Replica(
            one.replica_id, its.id, one.root, one.root_dev, one.root_ino, EMPTY_ROOT, EMPTY_ROOT, EMPTY_ROOT, 0, EMPTY_ROOT, "", 0
        )  # fmt: skip
        workspaces.add_workspace(tx, its)
        workspaces.add_replica(tx, row)
