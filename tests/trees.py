"""Folders on disk, described and made: the same notation for what a test writes, what a look finds and what an apply leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from store.atomic import Folder
from store.errors import BlobDamaged, BlobMissing
from store.index import StatIndex, entry_of
from store.types import DIR, Digest, Dir, Entry, File, Link, Spot, digest_of
from sync.rules import IgnoreSource
from sync.scan import Scanner, ScanResult

HOUR_NS = 3_600_000_000_000


def file(data: bytes, executable: bool = False) -> File:
    return File(digest_of(data), len(data), executable)


class MemoryBlobs:
    """Contents in a dict, spoken to as the blob store is."""

    def __init__(self) -> None:
        self.kept: dict[Digest, bytes] = {}
        self.bulks = 0
        self.large = 0

    def put(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self.kept[digest] = data
        return digest

    @contextmanager
    def bulk(self) -> Iterator[MemoryBlobs]:
        self.bulks += 1
        yield self

    def add(self, digest: Digest, data: bytes) -> None:
        assert digest_of(data) == digest
        self.kept[digest] = data

    def add_file(self, fd: int, size: int) -> Digest:
        self.large += 1
        with open(fd, "rb", closefd=False) as stream:
            return self.put(stream.read(size))

    def has(self, digest: Digest) -> bool:
        return digest in self.kept

    def stream(self, digest: Digest) -> Iterator[bytes]:
        if digest not in self.kept:
            raise BlobMissing(f"no blob {digest.hex()}")
        data = self.kept[digest]
        for at in range(0, len(data), 1000):
            yield data[at : at + 1000]
        if digest_of(data) != digest:
            raise BlobDamaged(f"blob {digest.hex()} is damaged")


class Replica:
    """A folder with its index, as the engine keeps them in step. Its clock is an hour ahead unless told, so nothing on disk is young."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ahead_ns = HOUR_NS
        self.blobs = MemoryBlobs()
        self.index = StatIndex()
        self.ignore = IgnoreSource()
        self.scanner = Scanner(self.index, self.ignore, self.blobs, self.now_ns)
        self.root = Folder.open_root(path)

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def look(self, *dirty: bytes | Spot, root: Folder | None = None) -> ScanResult:
        """A look at these folders and spots (none: at everything) whose result is not kept."""
        spots = [spot if isinstance(spot, Spot) else Spot(spot, b"") for spot in dirty]
        return self.scanner.scan(root or self.root, spots or None)

    def settle(self, *dirty: bytes | Spot, root: Folder | None = None) -> ScanResult:
        """A look whose result is kept."""
        result = self.look(*dirty, root=root)
        self.keep(result)
        return result

    def keep(self, result: ScanResult) -> None:
        for digest, data in result.contents:
            self.blobs.add(digest, data)
        self.index.remember(result.seen)

    def tree(self) -> dict[bytes, Entry]:
        """What the index says is there."""
        return {path: entry_of(record) for path, record in self.index.below(b"")}


def at(root: Path, path: bytes) -> Path:
    return root / os.fsdecode(path)


def read_tree(root: Path) -> dict[bytes, Entry]:
    """What is there, by other means than ours."""
    return {os.fsencode(path.relative_to(root)): _read_entry(path) for path in _walk(root)}


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _read_entry(path: Path) -> Entry:
    if path.is_symlink():
        return Link(os.fsencode(os.readlink(path)))  # noqa: PTH115 - a Path would tidy the target up
    if path.is_dir():
        return DIR
    return file(path.read_bytes(), bool(path.stat().st_mode & 0o100))


def write_tree(root: Path, tree: Mapping[bytes, bytes | Entry]) -> None:
    """Make files (bytes), folders and links; folders above them come by themselves."""
    for path, what in tree.items():
        full = at(root, path)
        full.parent.mkdir(parents=True, exist_ok=True)
        match what:
            case bytes():
                full.write_bytes(what)
            case Dir():
                full.mkdir(exist_ok=True)
            case Link():
                full.symlink_to(os.fsdecode(what.target))
            case File():
                raise AssertionError("a file is written from its bytes")


def changes_of(result: ScanResult) -> dict[bytes, tuple[Entry | None, Entry | None]]:
    assert [change.path for change in result.changes] == sorted({change.path for change in result.changes})
    return {change.path: (change.old, change.new) for change in result.changes}
