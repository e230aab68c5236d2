"""Two folders, byte for byte, by the harness's own eyes: nothing of the product is asked.

Paths are relative, as text with surrogate escapes, so that any name of a POSIX disk is held exactly.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

MAX_TOLD = 20


class Seen(NamedTuple):
    """One path as the file system shows it."""

    kind: str
    executable: bool
    size: int
    target: str


def look(root: Path) -> dict[str, Seen]:
    """Every path below `root` but our own `.fst` and any `.git`; one that vanishes meanwhile, as a daemon's probe does, is left out."""
    found: dict[str, Seen] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as items:
            for item in items:
                if item.name in (".fst", ".git"):
                    continue
                path = f"{folder}/{item.name}" if folder else item.name
                try:
                    seen = _see(item)
                except FileNotFoundError:
                    continue
                found[path] = seen
                if seen.kind == "folder":
                    pending.append(path)
    return found


def _see(item: os.DirEntry[str]) -> Seen:
    met = item.stat(follow_symlinks=False)
    if stat.S_ISLNK(met.st_mode):
        return Seen("link", False, 0, str(Path(item.path).readlink()))
    if stat.S_ISDIR(met.st_mode):
        return Seen("folder", False, 0, "")
    if stat.S_ISREG(met.st_mode):
        return Seen("file", bool(met.st_mode & 0o100), met.st_size, "")
    return Seen("other", False, 0, "")


def tree_differences(a: Path, b: Path) -> list[str]:
    """What differs, told for a person; empty when the two are identical."""
    left, right = look(a), look(b)
    told = [f"only in {a}: {path!r} ({left[path].kind})" for path in sorted(left.keys() - right.keys())]
    told += [f"only in {b}: {path!r} ({right[path].kind})" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        if left[path] != right[path]:
            told.append(f"differs: {path!r}: {left[path]} in {a}, {right[path]} in {b}")
        elif left[path].kind == "file" and not _same_bytes(a / path, b / path):
            told.append(f"differs: {path!r}: {left[path].size} bytes here and there, and other ones")
    return told


def _same_bytes(a: Path, b: Path) -> bool:
    with a.open("rb") as one, b.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(1 << 20):
                return False
        return not other.read(1)


def shown(differences: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f"\n... and {len(differences) - MAX_TOLD} more" if len(differences) > MAX_TOLD else ""
    return "\n".join(differences[:MAX_TOLD]) + more


def litter(root: Path) -> list[str]:
    """Temporary files of ours that outlived a reconcile."""
    return sorted(path for path in look(root) if path.rpartition("/")[2].startswith(".fst-tmp-"))


def digests_in(root: Path) -> dict[str, str]:
    """The SHA-256 of every file. A file that vanishes meanwhile is left out."""
    found = {}
    for path, seen in look(root).items():
        if seen.kind == "file":
            try:
                found[path] = digest_of_file(root / path)
            except FileNotFoundError:
                continue
    return found


def digest_of_file(path: Path) -> str:
    """SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
