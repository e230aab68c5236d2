"""The fixture alphabet: small trees as one line of text, and back.

`tree("a=F1 d/b=F2X e=D")` is a dict of path to entry, with the folders in between; `-` (or nothing) is the empty tree. F1 to F9 are files
with different bytes, X sets the executable bit, L1 to L9 are links with different targets, D is a folder, N is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from store.manifest import Draft, MemoryNodes, NodeSource, build_manifest, walk_manifest
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of, parent_of, parse_path, show_path

Tree = dict[RelPath, Entry]


def file(content: bytes, executable: bool = False) -> File:
    return File(digest_of(content), len(content), executable)


N = None
D = DIR
FILES = {number: file(b"%d" % number) for number in range(1, 10)}
LINKS = {number: Link(b"to/%d" % number) for number in range(1, 10)}
F1, F2, F3 = FILES[1], FILES[2], FILES[3]
F1X, F2X = file(b"1", True), file(b"2", True)
L1, L2 = LINKS[1], LINKS[2]


def entry(word: str) -> Entry | None:
    """`F1`, `F1X`, `L1`, `D` or `N`."""
    if word in ("N", "D"):
        return N if word == "N" else D
    number = int(word[1])
    if word[0] == "L":
        return LINKS[number]
    return File(FILES[number].digest, FILES[number].size, word.endswith("X"))


def path(text: str | bytes) -> RelPath:
    return parse_path(text.encode() if isinstance(text, str) else text)


def tree(text: str) -> Tree:
    """`a=F1 d/b=F2X` -> entries, parents added."""
    entries: Tree = {}
    for word in text.replace("-", "").split():
        name, _, value = word.partition("=")
        found = entry(value)
        assert found is not None
        entries[path(name)] = found
    return with_folders(entries)


def with_folders(entries: Mapping[RelPath, Entry]) -> Tree:
    """The same with every folder in between."""
    full = dict(entries)
    for name in entries:
        folder = parent_of(name)
        while folder:
            full.setdefault(folder, D)
            folder = parent_of(folder)
    return full


def manifest(entries: str | Tree, draft: Draft) -> Digest:
    """The root of a tree, its nodes kept in the draft."""
    return build_manifest(sorted((tree(entries) if isinstance(entries, str) else entries).items()), draft)


def tree_at(root: Digest, nodes: NodeSource) -> Tree:
    """The entries under a root."""
    return dict(walk_manifest(root, nodes))


def new_draft() -> Draft:
    return Draft(MemoryNodes())


def is_tree(entries: Mapping[RelPath, Entry]) -> bool:
    """P6: what holds a path is a folder."""
    return all(isinstance(entries.get(parent_of(name)), type(D)) for name in entries if parent_of(name))


def show_tree(entries: Mapping[RelPath, Entry]) -> str:
    """A tree as text, for the message of a failed test."""
    return " ".join(f"{show_path(name)}={show_entry(found)}" for name, found in sorted(entries.items())) or "-"


def show_entry(found: Entry | None) -> str:
    if found is None:
        return "N"
    if isinstance(found, Link):
        return f"L({show_path(found.target)})"
    return f"F({found.digest.hex()[:6]}){'X' if found.executable else ''}" if isinstance(found, File) else "D"
