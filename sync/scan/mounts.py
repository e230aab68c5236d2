"""What the system tells of itself: whose disk a folder lies on (what others change there is told to nobody here), and of its limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from store.errors import NoSpace
from store.types import show_path

NETWORK_KINDS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre", "davfs", "vboxsf", "prl_fs"}
    | {"fuse.vmhgfs-fuse", "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs", "fuse.davfs"}
)
ROOM_ASKED_BYTES: Final = 1024 * 1024
MOUNT_TABLE: Final = Path("/proc/self/mountinfo")


def mount_of(fd: int) -> bytes:
    """What tells the mount that an open folder is in from others, bound folders of one disk too; empty where nobody tells."""
    try:
        info = os.open(b"/proc/self/fdinfo/%d" % fd, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(info, 1024).partition(b"mnt_id:")[2].split(b"\n")[0]
    finally:
        os.close(info)


def check_room(fd: int, path: bytes, size: int) -> None:
    """Before a disk is filled in vain (a sparse file arrives dense). Raises NoSpace when an open folder's has no room for so much."""
    if size < ROOM_ASKED_BYTES:
        return
    disk = os.fstatvfs(fd)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < size:
        raise NoSpace(f"no room on the disk for {show_path(path)}", "Free some space; the work goes on by itself.")


def network_kind(root: bytes, table: Path = MOUNT_TABLE) -> str:
    """The kind of network file system that a folder lies on; empty where it is none, or nobody tells."""
    try:
        disk = os.stat(root).st_dev  # noqa: PTH116 - roots are bytes
        lines = table.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    its = f"{os.major(disk)}:{os.minor(disk)}"
    for line in lines:
        # proc_pid_mountinfo(5): id parent major:minor root point options [optional fields] - kind source options
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [its]:
            kind = after.split(" ")[0]
            return kind if kind in NETWORK_KINDS else ""
    return ""


def is_out_of_descriptors() -> bool:
    """EMFILE is told of two limits: it is this process's own when it may open nothing else either."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return True
    return False
