"""Everything that manifests name: their nodes, and the blobs of their files."""

from __future__ import annotations

from collections.abc import Iterable

from store.errors import BlobDamaged, BlobMissing, InvalidManifest, StoreDamaged
from store.manifest import NodeSource, node_digests
from store.types import Digest, parse_digest


def reach(source: NodeSource, roots: Iterable[str]) -> tuple[set[Digest], dict[Digest, int]]:
    """Nodes, and blobs with their sizes. Raises StoreDamaged, naming the manifest, when one cannot be read."""
    seen: set[Digest] = set()
    files: dict[Digest, int] = {}
    for root in roots:
        try:
            for digest in node_digests(parse_digest(root), source, seen):
                for record in source.read_node(digest).entries:
                    if record.hash is not None:
                        files[parse_digest(record.hash)] = record.size or 0
        except (BlobMissing, BlobDamaged, InvalidManifest) as error:
            raise StoreDamaged(f"manifest {root}: {error.message}", "Run `fst cloud fsck`.") from error
    return seen, files
