"""Manifests for tests: trees of many entries from a seed, and a node source that counts its reads."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from store.manifest import Draft, MemoryNodes, Node, NodeSource, build_manifest
from store.types import DIR, Digest, Entry, File, Link, RelPath


def make_entries(count: int, seed: int) -> dict[RelPath, Entry]:
    """About `count` entries that are a tree (P6), sorted by path, with paths of about 45 bytes."""
    rng = random.Random(seed)
    folders = [b"src"]
    entries: dict[bytes, Entry] = {b"src": DIR}
    while len(entries) < count:
        folder = rng.choice(folders)
        if rng.random() < 0.04 and folder.count(b"/") < 4:
            folders.append(folder + b"/part_%d" % rng.randrange(10**4))
            entries[folders[-1]] = DIR
        elif rng.random() < 0.02:
            entries[folder + b"/link_%d" % rng.randrange(10**7)] = Link(b"../somewhere")
        else:
            entries[folder + b"/file_%d.py" % rng.randrange(10**7)] = make_file(rng)
    return {RelPath(path): entries[path] for path in sorted(entries)}


def make_file(rng: random.Random) -> File:
    return File(Digest(rng.randbytes(32)), rng.randrange(100_000), rng.random() < 0.05)


def build(entries: Mapping[RelPath, Entry] | Iterable[tuple[RelPath, Entry]], below: NodeSource | None = None) -> tuple[Digest, Draft]:
    """Root and nodes of these entries, sorted here."""
    draft = Draft(below or MemoryNodes())
    return build_manifest(sorted(dict(entries).items()), draft), draft


class CountingNodes:
    """Passes reads on and remembers which nodes were read."""

    def __init__(self, below: NodeSource) -> None:
        self._below = below
        self.reads: list[Digest] = []

    def get_node(self, digest: Digest) -> bytes:
        self.reads.append(digest)
        return self._below.get_node(digest)

    def read_node(self, digest: Digest) -> Node:
        self.reads.append(digest)
        return self._below.read_node(digest)
