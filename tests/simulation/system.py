"""The system's calls over simulated disks, put in place of `os` where the product touches a workspace, and watched where it keeps blobs."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import store.atomic
import store.blobs.segments
import store.database
import sync.apply
import sync.apply.probe
import sync.apply.run
import sync.apply.site
import sync.outgoing
import sync.replica
import sync.rules
import sync.scan.contents
import sync.scan.look
import sync.scan.sweep
import sync.scan.take
import sync.transfer
from store.types import Spot
from tests.simulation.chunks import install_chunks
from tests.simulation.disk import Died, Disk, Node, Status

FIRST_FD = 1 << 24
"""Above any number that the real system gives."""
MODULES = (
    store.atomic, sync.apply.probe, sync.apply.run, sync.apply.site, sync.replica, sync.rules, sync.scan.contents, sync.scan.look,
    sync.scan.sweep, sync.scan.take,
)  # fmt: skip
NO_REPLACE, EXCHANGE = 1, 2


class Open:
    """What a descriptor stands for."""

    __slots__ = ("at", "disk", "node", "path", "writes")

    def __init__(self, disk: Disk, node: Node, path: bytes, writes: bool) -> None:
        self.disk = disk
        self.node = node
        self.path = path
        self.writes = writes
        self.at = 0


class Listed:
    """An entry of `scandir`."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self._node = node

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._node.is_folder


class System:
    """`os`, where it is about workspaces: roots are registered, and everything below one is relative to an open folder."""

    def __init__(self) -> None:
        self.disks: dict[bytes, Disk] = {}
        self.open_files: dict[int, Open] = {}
        self.has_exchange = True
        self._last = FIRST_FD
        self.path = os.path

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _refuse(self, number: int) -> OSError:
        return OSError(number, os.strerror(number))

    def _at(self, dir_fd: int, name: bytes | str) -> tuple[Open, bytes, Node]:
        folder = self.open_files[dir_fd]
        raw = folder.disk.spelt(folder.node, name if isinstance(name, bytes) else os.fsencode(name))
        if not folder.node.is_folder:
            raise self._refuse(errno.ENOTDIR)
        node = folder.node if raw == b"." else folder.node.names.get(raw)
        if node is None:
            raise self._refuse(errno.ENOENT)
        return folder, raw, node

    def _free(self, dir_fd: int, name: bytes) -> Open:
        folder = self.open_files[dir_fd]
        if folder.node.is_gone:
            raise self._refuse(errno.ENOENT)
        if folder.disk.spelt(folder.node, name) in folder.node.names:
            raise self._refuse(errno.EEXIST)
        return folder

    def fpathconf(self, fd: int, name: str) -> int:
        return 255

    # --- looking ------------------------------------------------------------------------------------------------------------------

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            disk = self.disks[os.fsencode(path)]
            return self._number(Open(disk, disk.root, b"", False))
        folder = self.open_files[dir_fd]
        if flags & os.O_CREAT:
            folder.disk.change()
            self._free(dir_fd, path)
            node = folder.disk.make(stat.S_IFREG | mode & ~0o022)
            folder.disk.put(folder.node, folder.path, {path: node})
            folder.disk.unsynced.add(node)
            node.writers += 1
            return self._number(Open(folder.disk, node, b"", True))
        folder, name, node = self._at(dir_fd, path)
        if flags & os.O_DIRECTORY and not node.is_folder:
            raise self._refuse(errno.ENOTDIR)
        if stat.S_ISLNK(node.mode):
            raise self._refuse(errno.ELOOP)
        below = folder.path if name == b"." else folder.path + b"/" + name if folder.path else name
        return self._number(Open(folder.disk, node, below, False))

    def _number(self, opened: Open) -> int:
        self._last += 1
        self.open_files[self._last] = opened
        return self._last

    def close(self, fd: int) -> None:
        opened = self.open_files.pop(fd)
        opened.node.writers -= opened.writes

    def is_open(self, node: Node) -> bool:
        """Whether somebody is at work in a folder, or below it."""
        names = {node, *(below for disk in self.disks.values() for _, below in disk.walk(node))}
        return any(opened.node in names for opened in self.open_files.values())

    def let_go(self, disk: Disk) -> None:
        """What a process had open goes with it."""
        for fd in [fd for fd, opened in self.open_files.items() if opened.disk is disk]:
            self.close(fd)

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Status:
        if dir_fd is None:
            machine, _, below = os.fsencode(path)[1:].partition(b"/")
            disk = self.disks[b"/" + machine]
            found = disk.find(below) if below else disk.root
            if found is None:
                raise self._refuse(errno.ENOENT)
            return disk.status(found)
        folder, _, node = self._at(dir_fd, path)
        return folder.disk.status(node)

    def fstat(self, fd: int) -> Status:
        opened = self.open_files[fd]
        return opened.disk.status(opened.node)

    def listdir(self, fd: int) -> list[str]:
        return [os.fsdecode(name) for name in self.open_files[fd].node.names]

    @contextmanager
    def scandir(self, fd: int) -> Iterator[list[Listed]]:
        yield [Listed(os.fsdecode(name), node) for name, node in self.open_files[fd].node.names.items()]

    def readlink(self, name: Any, *, dir_fd: int) -> bytes:
        _, _, node = self._at(dir_fd, name)
        if not stat.S_ISLNK(node.mode):
            raise self._refuse(errno.EINVAL)
        return node.data

    def pread(self, fd: int, length: int, start: int) -> bytes:
        node = self.open_files[fd].node
        if node.is_folder:
            raise self._refuse(errno.EISDIR)
        return node.data[start : start + length]

    def lseek(self, fd: int, start: int, whence: int) -> int:
        self.open_files[fd].at = start
        return start

    def read(self, fd: int, length: int) -> bytes:
        opened = self.open_files[fd]
        data = opened.node.data[opened.at : opened.at + length]
        opened.at += len(data)
        return data

    # --- changing -----------------------------------------------------------------------------------------------------------------

    def write(self, fd: int, data: Any) -> int:
        opened = self.open_files[fd]
        opened.disk.change()
        opened.disk.write(opened.node, opened.node.data + bytes(data))
        return len(data)

    def utime(self, fd: int, *, ns: tuple[int, int]) -> None:
        node = self.open_files[fd].node
        node.mtime_ns, node.ctime_ns = ns[1], self.open_files[fd].disk.now_ns()

    def fchmod(self, fd: int, mode: int) -> None:
        opened = self.open_files[fd]
        opened.disk.change()
        opened.node.mode = stat.S_IFMT(opened.node.mode) | mode
        opened.node.ctime_ns = opened.disk.now_ns()
        opened.disk.unsynced.add(opened.node)
        folder, _, name = opened.path.rpartition(b"/")
        opened.disk.heard(Spot(folder, name))

    def fsync(self, fd: int) -> None:
        opened = self.open_files[fd]
        opened.disk.change()
        opened.disk.sync(opened.node)

    def mkdir(self, name: Any, mode: int = 0o777, *, dir_fd: int) -> None:
        self._make(dir_fd, name, stat.S_IFDIR | mode & ~0o022, b"")

    def symlink(self, target: bytes, name: Any, *, dir_fd: int) -> None:
        self._make(dir_fd, name, stat.S_IFLNK | 0o777, target)

    def _make(self, dir_fd: int, name: bytes, mode: int, data: bytes) -> None:
        self.open_files[dir_fd].disk.change()
        folder = self._free(dir_fd, name)
        folder.disk.put(folder.node, folder.path, {name: folder.disk.make(mode, data)})

    def unlink(self, name: Any, *, dir_fd: int) -> None:
        self.open_files[dir_fd].disk.change()
        folder, raw, node = self._at(dir_fd, name)
        if node.is_folder:
            raise self._refuse(errno.EISDIR)
        folder.disk.put(folder.node, folder.path, {raw: None})
        folder.disk.unlinked(node)

    def rmdir(self, name: Any, *, dir_fd: int) -> None:
        self.open_files[dir_fd].disk.change()
        folder, raw, node = self._at(dir_fd, name)
        if not node.is_folder:
            raise self._refuse(errno.ENOTDIR)
        if node.names:
            raise self._refuse(errno.ENOTEMPTY)
        folder.disk.put(folder.node, folder.path, {raw: None})

    def link(self, source: Any, target: Any, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool = True) -> None:
        self.open_files[src_dir_fd].disk.change()
        folder, _, node = self._at(src_dir_fd, source)
        if node.is_folder:
            raise self._refuse(errno.EPERM)
        self._free(dst_dir_fd, target)
        folder.disk.put(folder.node, folder.path, {target: node})

    def rename(self, source: Any, target: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.open_files[src_dir_fd].disk.change()
        folder, raw, node = self._at(src_dir_fd, source)
        there = folder.disk.spelt(folder.node, target)
        other = folder.node.names.get(there)
        if other is not None and other is not node:
            self._check_renamed_over(node, other)
        folder.disk.put(folder.node, folder.path, {target if there == raw else there: node, raw: None})

    def _check_renamed_over(self, node: Node, other: Node) -> None:
        """A folder takes the place of an empty one alone, and anything else of no folder."""
        if node.is_folder and not other.is_folder:
            raise self._refuse(errno.ENOTDIR)
        if other.is_folder and not node.is_folder:
            raise self._refuse(errno.EISDIR)
        if other.names:
            raise self._refuse(errno.ENOTEMPTY)

    def rename_flagged(self, source_fd: int, source: bytes, target_fd: int, target: bytes, flag: int) -> int:
        """renameat2, within one folder."""
        try:
            if not self.has_exchange:
                raise self._refuse(errno.EINVAL)
            self.open_files[source_fd].disk.change()
            folder, raw, node = self._at(source_fd, source)
            if flag == NO_REPLACE:
                self._free(target_fd, target)
                folder.disk.put(folder.node, folder.path, {target: node, raw: None})
            else:
                _, there, other = self._at(target_fd, target)
                folder.disk.put(folder.node, folder.path, {there: node, raw: other})
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return 0

    def syncfs(self, fd: int) -> int:
        disk = self.open_files[fd].disk
        disk.change()
        disk.sync_all()
        return 0


class Leases:
    """`fcntl`, as far as has_writer asks."""

    def __init__(self, system: System) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        return getattr(fcntl, name)

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE and argument == fcntl.F_RDLCK and self._system.open_files[fd].node.writers:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return 0


class Stores:
    """`os` for the blob stores, which lie on a real disk: what was synced of each segment is noted, and each change is a door."""

    def __init__(self) -> None:
        self.disks: dict[str, Disk] = {}
        self.synced: dict[str, int] = {}
        """Segment -> its bytes that are durable; one without is not even a name yet."""
        self.named: set[str] = set()
        self._paths: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def disk_of(self, path: str) -> Disk:
        return next(disk for folder, disk in self.disks.items() if path.startswith(folder + "/"))

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            self.disk_of(str(path)).change()
        fd = os.open(path, flags, mode)
        self._paths[fd] = str(path)
        return fd

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        os.close(fd)

    def write(self, fd: int, data: Any) -> int:
        self.disk_of(self._paths[fd]).change()
        return os.write(fd, data)

    def ftruncate(self, fd: int, length: int) -> None:
        path = self._paths[fd]
        self.disk_of(path).change()
        os.ftruncate(fd, length)
        self.synced[path] = min(self.synced.get(path, 0), length)

    def fdatasync(self, fd: int) -> None:
        path = self._paths[fd]
        self.disk_of(path).change()
        self.synced[path] = os.fstat(fd).st_size

    def fsync(self, fd: int) -> None:
        """Of the folder of segments."""
        path = self._paths[fd]
        self.disk_of(path + "/").change()
        self.named |= {str(file) for file in Path(path).iterdir()}

    def cut_power(self, folder: str, rng: Any) -> int:
        """Leave of each segment what was synced, and behind that anything."""
        harmed = 0
        for segment in sorted(Path(folder).iterdir()):
            path = str(segment)
            safe, size = self.synced.get(path, 0), segment.stat().st_size
            if path not in self.named and rng.random() < 0.5:
                segment.unlink()
                harmed += 1
                continue
            if size > safe:
                tail = rng.choice((b"", bytes(size - safe), rng.randbytes((size - safe) // 2)))
                segment.write_bytes(segment.read_bytes()[:safe] + tail)
                harmed += 1
            self.named.add(path)
            self.synced[path] = segment.stat().st_size
        return harmed


class Sizes(NamedTuple):
    """Where the product begins to do things another way; small, so that few files are many."""

    few_steps: int = 100
    bulk_files: int = 200
    few_blobs: int = 64
    inline_blobs: int = 1_000
    push_changes: int = 1_000_000
    has_exchange: bool = True

    @classmethod
    def draw(cls, rng: random.Random) -> Sizes:
        """Half of all histories have nothing small."""
        if rng.random() < 0.5:
            return cls()
        return cls(
            rng.choice((100, 1, 0)), rng.choice((200, 1, 0)), rng.choice((64, 1, 0)), rng.choice((1_000, 1, 0)),
            rng.choice((1_000_000, 2)), rng.random() < 0.8,
        )  # fmt: skip


@contextmanager
def installed(
    system: System, stores: Stores, sizes: Sizes, near_commit: Callable[[store.database.Database, bool], None], *, chunks: bool
) -> Iterator[None]:  # fmt: skip
    """`near_commit` is called before each transaction is made durable, and after. `chunks`: files are large soon."""
    system.has_exchange = sizes.has_exchange
    really_commit = store.database.Database._commit

    def commit(db: store.database.Database, jobs: list[Any]) -> None:
        near_commit(db, False)
        really_commit(db, jobs)
        near_commit(db, True)

    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setattr(module, "os", system)
        patch.setattr(store.atomic, "fcntl", Leases(system))
        patch.setattr(store.atomic, "_RENAME", system.rename_flagged)
        patch.setattr(store.atomic, "_LIBC", system)
        patch.setattr(store.blobs.segments, "os", stores)
        patch.setattr(sync.apply, "FEW_STEPS", sizes.few_steps)
        patch.setattr(sync.scan.contents, "BULK_FILES", sizes.bulk_files)
        patch.setattr(sync.transfer, "FEW_BLOBS", sizes.few_blobs)
        patch.setattr(sync.outgoing, "INLINE_BLOBS", sizes.inline_blobs)
        patch.setattr(store.database.Database, "_commit", commit)
        if chunks:
            install_chunks(patch, system)
        yield


__all__ = ["Died", "Leases", "Stores", "System", "installed"]
