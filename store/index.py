"""What the last look at a workspace saw: for each path its status and its entry, so that unchanged files are not read again.

Theory. A record is the path's *signature* (inode, size, mtime, ctime, mode) and what it stood for: a file's digest or a link's
target. A file whose signature is the record's holds the record's bytes, with one exception, known from git as racily clean: a
file that changed within the clock's grain of the look may change again without its times moving. Such a record is kept *doubted*:
no signature equals it, so the next look reads the file. A folder's record has only its inode: what it holds is for its own names.

I1: the entries of the records are the replica's full root, path for path. Signatures may lag behind; entries never do, so
`store` belongs into the transaction that moves the full root, and `remember` behind its commit.

In memory: {folder: {name: record}}, about 220 bytes a file (research/stack.md 1). Names are kept there as `os.scandir` gives them, so
that a look at an unchanged file converts nothing; everywhere else they are bytes.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Final

from store.database import HINT, Component, Migration, Reader, Tx
from store.errors import StoreDamaged
from store.types import DIR, Digest, Dir, Entry, File, Link, RelPath

INDEX: Final = Component(
    "index",
    (
        Migration(
            1,
            """
            CREATE TABLE stat_index (
                replica_id TEXT NOT NULL, path BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (replica_id, path)
            ) WITHOUT ROWID;
            """,
        ),
    ),
)

_SIGNATURE = struct.Struct("<QQqqI")
pack_signature = _SIGNATURE.pack
"""(inode, size, mtime_ns, ctime_ns, mode) -> the bytes a record that is not doubted starts with."""
_ENTRY_AT = _SIGNATURE.size
_DOUBT = 1 << 31
_DOUBT_BYTE = _ENTRY_AT - 1


def make_record(entry: Entry, status: os.stat_result | None, *, doubted: bool = False) -> bytes:
    """The record of `entry`, seen with this status; None: the entry is known, but what is on disk must be read."""
    match entry:
        case Dir():
            return pack_signature(0 if status is None else status.st_ino, 0, 0, 0, stat.S_IFDIR)
        case File():
            size, mode, payload = entry.size, stat.S_IFREG | (0o755 if entry.executable else 0o644), bytes(entry.digest)
        case Link():
            size, mode, payload = 0, stat.S_IFLNK, entry.target
    if status is None:
        return pack_signature(0, size, 0, 0, mode | _DOUBT) + payload
    # A disk without executable bits shows some for all: the record's is the entry's (I1).
    mode = status.st_mode if not isinstance(entry, File) else status.st_mode & ~stat.S_IXUSR | (mode & stat.S_IXUSR)
    mode = mode | _DOUBT if doubted else mode
    return pack_signature(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, mode) + payload


def entry_of(record: bytes) -> Entry:
    """What the path held."""
    _, size, _, _, mode = _SIGNATURE.unpack_from(record)
    if stat.S_ISDIR(mode):
        return DIR
    if stat.S_ISLNK(mode):
        return Link(record[_ENTRY_AT:])
    return File(Digest(record[_ENTRY_AT:]), size, bool(mode & stat.S_IXUSR))


def is_same_folder(record: bytes, status: os.stat_result) -> bool:
    """True when both are of one folder."""
    return record == pack_signature(status.st_ino, 0, 0, 0, stat.S_IFDIR) and stat.S_ISDIR(status.st_mode)


def is_folder(record: bytes) -> bool:
    """True for a folder's record."""
    return len(record) == _ENTRY_AT


def doubt_record(record: bytes) -> bytes:
    """The same entry, to be read at the next look; a folder's names are listed then."""
    if is_folder(record):
        return make_record(DIR, None)
    return record[:_DOUBT_BYTE] + bytes([record[_DOUBT_BYTE] | 0x80]) + record[_ENTRY_AT:]


def is_only_doubted(record: bytes, status: os.stat_result) -> bool:
    """True when the status is the recorded one and the record is doubted all the same."""
    inode, size, mtime_ns, ctime_ns, mode = _SIGNATURE.unpack_from(record)
    its = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode | _DOUBT)
    return (inode, size, mtime_ns, ctime_ns, mode) == its


def is_unmoved(record: bytes, status: os.stat_result) -> bool:
    """True when the file is the recorded one but for its ctime, which a rename changes too; never for a doubted record."""
    inode, size, mtime_ns, _, mode = _SIGNATURE.unpack_from(record)
    return (inode, size, mtime_ns, mode) == (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


class StatIndex:
    """The records of one replica. `seen` maps paths to new records; None: nothing is there any more."""

    def __init__(self) -> None:
        self._folders: dict[bytes, dict[str, bytes]] = {}
        self._count = 0

    @classmethod
    def load(cls, reader: Reader, replica_id: str) -> StatIndex:
        """From the store; in order of paths, so a folder comes before what it holds."""
        index = cls()
        for path, record in reader.execute("SELECT path, data FROM stat_index WHERE replica_id = $1 ORDER BY path", (replica_id,)):
            if not (type(path) is type(record) is bytes and len(record) >= _ENTRY_AT):
                raise StoreDamaged("the store's index of a folder cannot be read", HINT)
            index._put(path, record)
        return index

    def __len__(self) -> int:
        """How many paths it knows."""
        return self._count

    def count_files(self) -> int:
        """How many of them are no folders."""
        return sum(not is_folder(record) for names in self._folders.values() for record in names.values())

    def get(self, path: bytes) -> bytes | None:
        """A path's record."""
        folder, _, name = path.rpartition(b"/")
        names = self._folders.get(folder)
        return None if names is None else names.get(os.fsdecode(name))

    def folder(self, path: bytes) -> Mapping[str, bytes]:
        """Name, as `os.scandir` gives it, -> record of what a folder holds."""
        return self._folders.get(path, {})

    def below(self, folder: bytes) -> Iterator[tuple[RelPath, bytes]]:
        """Every path below a folder with its record, in no order."""
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            prefix = folder + b"/" if folder else b""
            for name, record in self._folders.get(folder, {}).items():
                path = RelPath(prefix + os.fsencode(name))
                yield path, record
                if is_folder(record):
                    waiting.append(path)

    def names_of(self, inodes: Set[int]) -> Iterator[RelPath]:
        """Every path that was seen to be one of these inodes; goes through all records."""
        wanted = {inode.to_bytes(8, "little") for inode in inodes}
        for folder, names in self._folders.items():
            for name, record in names.items():
                if record[:8] in wanted:
                    yield RelPath(folder + b"/" + os.fsencode(name) if folder else os.fsencode(name))

    def remember(self, seen: Mapping[RelPath, bytes | None]) -> None:
        """Take over what was stored; call it once the transaction is committed."""
        for path in sorted(seen):
            record = seen[path]
            if record is None:
                self._drop(path)
            else:
                self._put(path, record)

    def doubt(self, paths: Iterable[bytes]) -> None:
        """Have these paths, and what is below them, read at the next look. Only in memory."""
        for path in paths:
            record = self.get(path)
            if record is not None:
                self._put(path, doubt_record(record))
            for below, its in list(self.below(path)):
                self._put(below, doubt_record(its))

    @staticmethod
    def store(tx: Tx, replica_id: str, seen: Mapping[RelPath, bytes | None]) -> None:
        """Write what was seen."""
        gone = [(replica_id, path) for path, record in seen.items() if record is None]
        here = [(replica_id, path, record) for path, record in seen.items() if record is not None]
        if gone:
            tx.execute_many("DELETE FROM stat_index WHERE replica_id = $1 AND path = $2", gone)
        if here:
            tx.execute_many(
                "INSERT INTO stat_index (replica_id, path, data) VALUES ($1, $2, $3)"
                " ON CONFLICT (replica_id, path) DO UPDATE SET data = excluded.data",
                here,
            )

    @staticmethod
    def forget(tx: Tx, replica_id: str) -> None:
        """Drop all rows of a replica."""
        tx.execute("DELETE FROM stat_index WHERE replica_id = $1", (replica_id,))

    def _put(self, path: bytes, record: bytes) -> None:
        folder, _, raw = path.rpartition(b"/")
        name = os.fsdecode(raw)
        names = self._folders.get(folder)
        if names is None:
            names = self._folders[folder] = {}
        self._count += name not in names
        names[name] = record

    def _drop(self, path: bytes) -> None:
        folder, _, name = path.rpartition(b"/")
        names = self._folders.get(folder, {})
        self._count -= names.pop(os.fsdecode(name), None) is not None
        if not names:
            self._folders.pop(folder, None)
