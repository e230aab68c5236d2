"""Read everything that is kept and say what does not fit: heads, versions, manifests, blobs, and who owns what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from cloud.database import Database, Reader
from cloud.objects import Objects
from cloud.records import blobs
from store.errors import BlobDamaged, BlobMissing, InvalidManifest
from store.manifest import EMPTY_ROOT, NodeSource, check_manifest, node_digests
from store.types import Digest, parse_digest

BLOBS_AT_ONCE = 1024
NodeFiles = dict[Digest, dict[Digest, int]]
"""Of each node, the blobs that its files name, with their sizes."""


async def find_problems(db: Database, objects: Objects) -> AsyncIterator[str]:
    """A sentence for each problem; none means that every state that was ever acknowledged can be read."""
    reader = db.read()
    for problem in await objects.verify():
        yield problem
    for sentence in await _check_heads(reader):
        yield sentence
    for (user_id,) in await reader.rows("SELECT id FROM users ORDER BY id"):
        async for sentence in _check_owned(reader, objects, user_id):
            yield sentence
        async for sentence in _check_manifests(reader, objects, user_id):
            yield sentence


async def _check_heads(reader: Reader) -> list[str]:
    rows = await reader.rows(
        "SELECT w.id, w.version, w.current_manifest_hash, v.manifest_hash, n.versions FROM workspaces w"
        " LEFT JOIN workspace_versions v ON v.workspace_id = w.id AND v.version = w.version"
        " LEFT JOIN (SELECT workspace_id, max(version) AS versions FROM workspace_versions GROUP BY workspace_id) n"
        " ON n.workspace_id = w.id"
    )
    found = [
        f"workspace {workspace_id}: its head is not its newest version"
        for workspace_id, version, root, logged, newest in rows
        if root != logged or version != newest
    ]
    for table, column in (("projects", "last_snapshot_id"), ("workspace_versions", "snapshot_id")):
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM snapshots)"
        found += [f"snapshot {snapshot_id}: named in {table}, and not here" for (snapshot_id,) in await reader.rows(sql)]
    return found


async def _check_owned(reader: Reader, objects: Objects, user_id: str) -> AsyncIterator[str]:
    last: bytes = b""
    sql = "SELECT hash FROM owned_blobs WHERE user_id = $1 AND hash > $2 ORDER BY hash LIMIT $3"
    while rows := await reader.rows(sql, (user_id, last, BLOBS_AT_ONCE)):
        last = rows[-1][0]
        for digest in sorted(await objects.lacking([Digest(row[0]) for row in rows])):
            yield f"blob {digest.hex()}: owned, and not here"


async def _check_manifests(reader: Reader, objects: Objects, user_id: str) -> AsyncIterator[str]:
    """Every version's and snapshot's, each node once; a head's as a whole, too."""
    mine = "SELECT w.id FROM workspaces w JOIN projects p ON p.id = w.project_id WHERE p.owner_user_id = $1"
    heads = {row[0] for row in await reader.rows(f"SELECT current_manifest_hash FROM workspaces WHERE id IN ({mine})", (user_id,))}
    roots = await reader.rows(
        f"SELECT manifest_hash FROM workspace_versions WHERE workspace_id IN ({mine}) UNION"
        " SELECT s.manifest_hash FROM snapshots s JOIN projects q ON q.id = s.project_id WHERE q.owner_user_id = $1",
        (user_id,),
    )
    seen: set[Digest] = {EMPTY_ROOT}
    for (text,) in roots:
        try:
            found = await objects.over_nodes(lambda nodes, text=text: _walk(nodes, parse_digest(text), text in heads, seen))  # type: ignore[misc]
        except (BlobMissing, BlobDamaged, InvalidManifest) as error:
            yield f"manifest {text}: {error.message}"
            continue
        seen.update(found)
        for digest, files in found.items():
            for sentence in await _check_node(reader, user_id, digest, files):
                yield sentence


def _walk(nodes: NodeSource, root: Digest, is_head: bool, seen: Collection[Digest]) -> NodeFiles:
    found: NodeFiles = {}
    for digest in node_digests(root, nodes, set(seen)):
        records = [record for record in nodes.read_node(digest).entries if record.hash is not None]
        found[digest] = {parse_digest(record.hash or ""): record.size or 0 for record in records}
    if is_head:
        check_manifest(root, nodes)
    return found


async def _check_node(reader: Reader, user_id: str, digest: Digest, files: dict[Digest, int]) -> list[str]:
    found = []
    if not await blobs.owned_nodes(reader, user_id, [digest]):
        found.append(f"node {digest.hex()}: in a manifest of {user_id}, and not owned")
    sizes = await blobs.owned_sizes(reader, user_id, files)
    return found + [
        f"blob {named.hex()}: in a manifest of {user_id}, and not owned with its size"
        for named, size in files.items()
        if sizes.get(named) != size
    ]
