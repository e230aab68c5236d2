"""Whole manifests of one user: put and given as one document, and judged before a head or a snapshot may name them.

Theory. A push builds on a head, so its result is a tree if its changes are. Whatever else names a root proves nothing: it may be a node in
the middle of a tree, all of whose paths are in no folder. So a root that the project never had is walked once, as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from cloud import content
from cloud.context import Cloud
from cloud.database import Tx
from cloud.heads import checks
from cloud.reach import reach
from cloud.records import blobs
from cloud.records.work import workspaces
from store.errors import (
    BlobDamaged,
    BlobMissing,
    BlobsMissing,
    HashMismatch,
    InvalidManifest,
    InvalidOperation,
    InvalidValue,
    ManifestNotFound,
    NotFound,
    StoreDamaged,
)
from store.manifest import (
    EMPTY_ROOT,
    Draft,
    EntryRecord,
    MemoryNodes,
    NodeSource,
    Totals,
    build_manifest,
    check_manifest,
    entry_of,
    manifest_totals,
    record_of,
    walk_manifest,
)
from store.types import Digest, Entry, RelPath

MAX_GIVEN: Final = 200_000
"""Entries in one document; larger manifests are read node by node."""


class Document(msgspec.Struct, frozen=True):
    """The entries of a manifest, sorted by path. Of a manifest that is one node, canonical, these are that node's bytes."""

    entries: list[EntryRecord]
    level: Literal[0] = 0


class Taken(NamedTuple):
    """What a document came to, and whether this user did not have it."""

    totals: Totals
    is_new: bool


class Whole(NamedTuple):
    """All nodes and blobs of a manifest that is here."""

    nodes: set[Digest]
    files: set[Digest]


async def take(cloud: Cloud, user_id: str, root: Digest, document: Document) -> Taken:
    """Keep a manifest; its blobs may follow. Raises InvalidValue for what is no tree, HashMismatch for another root's entries."""
    drawn, nodes = await cloud.compute(lambda: _draw(document))
    if drawn != root:
        raise HashMismatch(f"these entries are not {root.hex()}", "See docs/format-manifest.md.", hash=drawn.hex())
    totals = manifest_totals(root, _source(nodes))

    async def work(tx: Tx) -> bool:
        is_new = root != EMPTY_ROOT and not await blobs.owned_nodes(tx, user_id, [root])
        await cloud.objects.put(tx, {}, nodes)
        await blobs.add_nodes(tx, user_id, nodes)
        return is_new

    return Taken(totals, await cloud.write(work))


async def give(cloud: Cloud, user_id: str, root: Digest) -> bytes:
    """A manifest as a document. Raises NotFound unless it is this user's, InvalidOperation for over MAX_GIVEN entries."""
    if root != EMPTY_ROOT and not await blobs.owned_nodes(cloud.read(), user_id, [root]):
        raise NotFound("no such manifest")
    try:
        return await cloud.objects.over_nodes(lambda nodes: _write(root, nodes))
    except BlobMissing:
        raise NotFound("no such manifest") from None


async def check_whole(cloud: Cloud, user_id: str, project_id: str, root: Digest) -> Whole:
    """A tree, and all of it this user's and here. Raises ManifestNotFound, BlobsMissing."""
    if root == EMPTY_ROOT:
        return Whole(set(), set())
    if not await blobs.owned_nodes(cloud.read(), user_id, [root]):
        raise absent(root)
    is_known = await workspaces.project_knows_root(cloud.read(), project_id, root.hex())
    try:
        nodes, files = await cloud.objects.over_nodes(lambda source: _walk(root, source, is_known=is_known))
    except (StoreDamaged, InvalidManifest, BlobMissing, BlobDamaged) as error:
        raise absent(root) from error
    if len(await cloud.reading(lambda reader: blobs.owned_nodes(reader, user_id, nodes))) < len(nodes):
        raise absent(root)
    await cloud.reading(lambda reader: checks.check_blobs(reader, user_id, files, {}))
    gone = sorted(digest.hex() for digest in await cloud.objects.lacking(list(files)))
    if gone:
        raise BlobsMissing(f"{len(gone)} blobs are not here", "Send them, then this again.", hashes=gone[: content.LISTED_BLOBS])
    return Whole(nodes, set(files))


async def hold_whole(tx: Tx, cloud: Cloud, user_id: str, root: Digest, whole: Whole) -> None:
    """What was whole stays so, now that this transaction names it. Raises ManifestNotFound, BlobsMissing."""
    if await blobs.hold_nodes(tx, user_id, whole.nodes):
        raise absent(root)
    await content.hold(tx, cloud, user_id, whole.files)


def absent(root: Digest) -> ManifestNotFound:
    """What to say of a root that is not here, not this user's, or no tree."""
    return ManifestNotFound(f"no manifest {root.hex()}", "Push it, or put it at /v1/blobs/manifests/{hash}.")


def _draw(document: Document) -> tuple[Digest, dict[Digest, bytes]]:
    draft = Draft(MemoryNodes())
    try:
        root = build_manifest(_entries(document.entries), draft)
        check_manifest(root, draft)
    except InvalidManifest as error:
        raise InvalidValue(error.message) from error
    return root, draft.new


def _entries(records: Iterable[EntryRecord]) -> Iterable[tuple[RelPath, Entry]]:
    for record in records:
        path, entry = entry_of(record)
        if entry is None:
            raise InvalidManifest("a manifest that lists a removal")
        yield RelPath(path), entry


def _source(nodes: dict[Digest, bytes]) -> MemoryNodes:
    source = MemoryNodes()
    source.nodes = nodes
    return source


def _walk(root: Digest, source: NodeSource, *, is_known: bool) -> tuple[set[Digest], dict[Digest, int]]:
    if not is_known:
        check_manifest(root, source)
    return reach(source, [root.hex()])


def _write(root: Digest, nodes: NodeSource) -> bytes:
    if manifest_totals(root, nodes).entries > MAX_GIVEN:
        raise InvalidOperation(f"a manifest of over {MAX_GIVEN} entries", "Read its nodes: POST /v1/manifests/nodes.")
    records = (msgspec.json.encode(record_of(path, entry)) for path, entry in walk_manifest(root, nodes))
    return b'{"level":0,"entries":[' + b",".join(records) + b"]}"
