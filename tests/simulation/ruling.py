"""What the ignore rules in a tree say, worked out anew: lines are a name, with `!` before, `/` before or after it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FILES = (b".gitignore", b".fstignore")


def ignored_in(tree: Mapping[bytes, tuple[Any, ...]]) -> set[bytes]:
    """The paths that do not belong to the workspace, by the rule files that stand in it."""
    if not any(path.rpartition(b"/")[2] in FILES for path in tree):
        return set()
    found: set[bytes] = set()
    for path in sorted(tree):
        if path.rpartition(b"/")[0] in found or _decide(tree, path):
            found.add(path)
    return found


def names_in(rules: bytes) -> set[bytes]:
    """Every name that these rules speak of."""
    return {line.lstrip(b"!").strip(b"/") for line in rules.split(b"\n")} - {b""}


def _decide(tree: Mapping[bytes, tuple[Any, ...]], path: bytes) -> bool:
    folder, _, name = path.rpartition(b"/")
    verdict = False
    for file in FILES:
        for above in _from_the_root(folder):
            entry = tree.get(above + b"/" + file if above else file)
            if entry is None or entry[0] != "file":
                continue
            for line in entry[1].split(b"\n"):
                if line and _matches(line.lstrip(b"!"), name, tree[path][0] == "folder", above == folder):
                    verdict = not line.startswith(b"!")
    return verdict


def _from_the_root(folder: bytes) -> Iterator[bytes]:
    yield b""
    parts = folder.split(b"/") if folder else []
    for count in range(1, len(parts) + 1):
        yield b"/".join(parts[:count])


def _matches(line: bytes, name: bytes, is_folder: bool, is_here: bool) -> bool:
    if line.endswith(b"/"):
        if not is_folder:
            return False
        line = line[:-1]
    if line.startswith(b"/"):
        return is_here and line[1:] == name
    return line == name
