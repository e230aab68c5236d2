"""Read everything that is kept and say what does not fit: heads, versions, manifests, blobs, and who owns what."""

from __future__ import annotations

from collections.abc import Iterator

from cloud.records import blobs
from store.blobs import BlobStore
from store.database import Database, Reader
from store.errors import BlobDamaged, BlobMissing, InvalidManifest
from store.manifest import EMPTY_ROOT, check_manifest, node_digests
from store.types import Digest, parse_digest

BLOBS_AT_ONCE = 1024


def find_problems(db: Database, store: BlobStore) -> Iterator[str]:
    """A sentence for each problem; none means that every state that was ever acknowledged can be read."""
    reader = db.read()
    for problem in store.verify():
        yield str(problem)
    yield from _check_heads(reader)
    for (user_id,) in list(reader.execute("SELECT id FROM users ORDER BY id")):
        yield from _check_owned(reader, store, user_id)
        yield from _check_manifests(reader, store, user_id)


def _check_heads(reader: Reader) -> Iterator[str]:
    rows = reader.execute(
        "SELECT w.id, w.version, w.current_manifest_hash, v.manifest_hash, n.versions FROM workspaces w"
        " LEFT JOIN workspace_versions v ON v.workspace_id = w.id AND v.version = w.version"
        " LEFT JOIN (SELECT workspace_id, max(version) AS versions FROM workspace_versions GROUP BY workspace_id) n"
        " ON n.workspace_id = w.id"
    )
    for workspace_id, version, root, logged, newest in rows:
        if root != logged or version != newest:
            yield f"workspace {workspace_id}: its head is not its newest version"
    for table, column in (("projects", "last_snapshot_id"), ("workspace_versions", "snapshot_id")):
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM snapshots)"
        for (snapshot_id,) in reader.execute(sql):
            yield f"snapshot {snapshot_id}: named in {table}, and not here"


def _check_owned(reader: Reader, store: BlobStore, user_id: str) -> Iterator[str]:
    last: bytes = b""
    while rows := list(
        reader.execute(
            "SELECT hash FROM owned_blobs WHERE user_id = $1 AND hash > $2 ORDER BY hash LIMIT $3", (user_id, last, BLOBS_AT_ONCE)
        )
    ):
        last = rows[-1][0]
        for digest in sorted(store.lacking(Digest(row[0]) for row in rows)):
            yield f"blob {digest.hex()}: owned, and not here"


def _check_manifests(reader: Reader, store: BlobStore, user_id: str) -> Iterator[str]:
    """Every version's and snapshot's, each node once; a head's as a whole, too."""
    mine = "SELECT w.id FROM workspaces w JOIN projects p ON p.id = w.project_id WHERE p.owner_user_id = $1"
    heads = {row[0] for row in reader.execute(f"SELECT current_manifest_hash FROM workspaces WHERE id IN ({mine})", (user_id,))}
    roots = reader.execute(
        f"SELECT manifest_hash FROM workspace_versions WHERE workspace_id IN ({mine}) UNION"
        " SELECT s.manifest_hash FROM snapshots s JOIN projects q ON q.id = s.project_id WHERE q.owner_user_id = $1",
        (user_id,),
    )
    seen: set[Digest] = {EMPTY_ROOT}
    for (text,) in list(roots):
        try:
            for digest in node_digests(parse_digest(text), store, seen):
                yield from _check_node(reader, store, user_id, digest)
            if text in heads:
                check_manifest(parse_digest(text), store)
        except (BlobMissing, BlobDamaged, InvalidManifest) as error:
            yield f"manifest {text}: {error.message}"


def _check_node(reader: Reader, store: BlobStore, user_id: str, digest: Digest) -> Iterator[str]:
    if not blobs.owned_nodes(reader, user_id, [digest]):
        yield f"node {digest.hex()}: in a manifest of {user_id}, and not owned"
    files = [record for record in store.read_node(digest).entries if record.hash is not None]
    sizes = blobs.owned_sizes(reader, user_id, (parse_digest(record.hash or "") for record in files))
    for record in files:
        if sizes.get(parse_digest(record.hash or "")) != record.size:
            yield f"blob {record.hash}: in a manifest of {user_id}, and not owned with its size"
