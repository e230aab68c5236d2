"""How far two workspaces are apart: drawn from their roots, kept in memory under them, written nowhere (DRIFT-1 to DRIFT-4, DRIFT-6).

Theory. Two questions have two answers. What differs between the two states: four sets of paths, without any history. And what each side
did since they parted: from the base that a merge would take, with the very merge drawn, so that what is told of an overlap (it joins; it
must be decided, and in which lines) is what a merge will do. Equal roots always give the same answer, so it may be kept for as long as
there is room. Paths are of files and links; a folder counts only where it stands against one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final, Literal

import msgspec

from cloud.context import Cloud
from cloud.merges.answers import Drift, SideChanges
from cloud.merges.contents import decide
from cloud.merges.decide import MAX_CHANGES, Decided, Known, Three
from cloud.merges.meeting import find_base, find_pair
from cloud.merges.prepare import three_of
from cloud.merges.shown import key_of, show_region
from cloud.records.people.accounts import Account
from cloud.records.work import snapshots
from cloud.records.work.workspaces import Workspace
from store.blobs.reading import Cache
from store.errors import TooLarge
from store.manifest import NodeSource, diff_manifests, manifest_totals, walk_manifest
from store.types import Change, Digest, Dir, Entry, File, RelPath
from sync.core.merge import Region

MAX_PATHS: Final = 10_000
"""Of one set of paths; counts are always of all."""
TOP_OVERLAPS: Final = 20
LARGE_BYTES: Final = 200_000
HIGH_OVERLAPS: Final = 10
HIGH_RATIO: Final = 0.6
CACHE_BYTES: Final = 32 * 1024 * 1024
PATH_BYTES: Final = 120
"""What a path that is kept is reckoned as, its bytes besides."""


class Changes(msgspec.Struct, frozen=True):
    """What one side did since the base. `bytes`: whole files that came or went, and by how much others grew or shrank."""

    added: list[RelPath]
    modified: list[RelPath]
    deleted: list[RelPath]
    counts: dict[str, int]
    bytes: int


class Overlap(msgspec.Struct, frozen=True):
    """A path that both sides changed, differently. `kind` is `joins`, or a decision's."""

    path: RelPath
    kind: str
    regions: tuple[Region, ...]


class Comparison(msgspec.Struct, frozen=True):
    """Two states against each other and against their base."""

    source_only: list[RelPath]
    workspace_only: list[RelPath]
    both_same: list[RelPath]
    both_different: list[RelPath]
    counts: dict[str, int]
    counts_by_ext: dict[str, int]
    has_large: bool
    workspace_changes: Changes
    source_changes: Changes
    overlaps: list[Overlap]
    overlap_count: int
    decide_count: int


class Compared(msgspec.Struct, frozen=True):
    """A comparison, and of what."""

    workspace: Workspace
    source: Workspace
    workspace_snapshot_id: str | None
    source_snapshot_id: str | None
    bases: list[str]
    comparison: Comparison


class Drifts:
    """The comparisons drawn lately in this process."""

    def __init__(self) -> None:
        self._kept: Cache[Three, Comparison] = Cache(CACHE_BYTES)

    async def compare(self, cloud: Cloud, three: Three) -> Comparison:
        """Of these roots. Raises TooLarge, BlobMissing."""
        found = self._kept.get(three)
        if found is None:
            decided = await decide(cloud, three, Known())
            found = await cloud.objects.over_nodes(lambda nodes: draw_comparison(decided, nodes))
            self._kept.put(three, found, _size_of(found))
        return found


async def compare(cloud: Cloud, account: Account, workspace_id: str, source_id: str | None, *, include_dirty: bool) -> Compared | str:
    """The comparison, or a sentence that says what it lacks. Raises NotFound, InvalidOperation, NoMainWorkspace, TooLarge."""
    project, workspace, source = await find_pair(cloud.read(), account, workspace_id, source_id)
    roots = []
    for each in (workspace, source):
        root: str | None = each.current_manifest_hash
        if not include_dirty:
            last = each.current_snapshot_id
            root = None if last is None else (await snapshots.get_snapshot(cloud.read(), account.user_id, last)).manifest_hash
        if root is None:
            return f"{each.name} has no snapshot yet."
        roots.append(root)
    base, bases = await find_base(cloud, account, project.id, workspace.current_snapshot_id, source.current_snapshot_id)
    comparison = await cloud.drifts.compare(cloud, three_of(base, *roots))
    return Compared(workspace, source, workspace.current_snapshot_id, source.current_snapshot_id, bases, comparison)


def draw_comparison(decided: Decided, nodes: NodeSource) -> Comparison:
    """Pure. Raises TooLarge."""
    three = decided.three
    differing = list(filter(_has_content, _list_changes(three.ours, three.theirs, nodes)))
    here, there = (_list_changes(three.base, side, nodes) for side in (three.ours, three.theirs))
    sets: dict[str, list[RelPath]] = {"source_only": [], "workspace_only": [], "both_different": []}
    for change in differing:
        name = "source_only" if _is_absent(change.old, change.new) else "workspace_only" if _is_absent(change.new, change.old) else ""
        sets[name or "both_different"].append(change.path)
    counts = {name: len(paths) for name, paths in sets.items()}
    counts["both_same"] = manifest_totals(three.ours, nodes).files - sum(isinstance(change.old, File) for change in differing)
    overlaps = _list_overlaps(decided, here, there)
    mine, theirs = (_sum_changes(filter(_has_content, changes)) for changes in (here, there))
    return Comparison(
        sets["source_only"][:MAX_PATHS], sets["workspace_only"][:MAX_PATHS], _list_same(three.ours, differing, nodes),
        sets["both_different"][:MAX_PATHS], counts, _count_extensions(sets["source_only"] + sets["both_different"]),
        any(_size(entry) >= LARGE_BYTES for change in differing for entry in (change.old, change.new)),
        mine, theirs, overlaps[:MAX_PATHS], len(overlaps), len(decided.decisions),
    )  # fmt: skip


def _list_changes(old: Digest, new: Digest, nodes: NodeSource) -> list[Change]:
    """All. Raises TooLarge."""
    changes = list(islice(diff_manifests(old, new, nodes), MAX_CHANGES + 1))
    if len(changes) > MAX_CHANGES:
        raise TooLarge(f"over {MAX_CHANGES} differences", "Compare them on a machine, with `fst drift`.")
    return changes


def _has_content(change: Change) -> bool:
    """False where only a folder came or went."""
    return any(entry is not None and not isinstance(entry, Dir) for entry in (change.old, change.new))


def _is_absent(entry: Entry | None, other: Entry | None) -> bool:
    return entry is None and other is not None


def _list_same(root: Digest, differing: Iterable[Change], nodes: NodeSource) -> list[RelPath]:
    paths = {change.path for change in differing}
    same = (path for path, entry in walk_manifest(root, nodes) if not isinstance(entry, Dir) and path not in paths)
    return list(islice(same, MAX_PATHS))


def _list_overlaps(decided: Decided, here: list[Change], there: list[Change]) -> list[Overlap]:
    """What a person decides, and what both sides changed, differently, and joins."""
    mine = {change.path: change for change in here}
    found = {
        change.path: Overlap(change.path, "joins", ()) for change in there if change.path in mine and mine[change.path].new != change.new
    }
    found |= {each.path: Overlap(each.path, each.kind, each.regions) for each in decided.decisions}
    return [found[path] for path in sorted(found)]


def _sum_changes(found: Iterable[Change]) -> Changes:
    changes = list(found)
    added = [change.path for change in changes if change.old is None]
    deleted = [change.path for change in changes if change.new is None]
    modified = [change.path for change in changes if change.old is not None and change.new is not None]
    counts = {"added": len(added), "modified": len(modified), "deleted": len(deleted)}
    size = sum(abs(_size(change.new) - _size(change.old)) for change in changes)
    return Changes(added[:MAX_PATHS], modified[:MAX_PATHS], deleted[:MAX_PATHS], counts, size)


def _size(entry: Entry | None) -> int:
    return entry.size if isinstance(entry, File) else 0


def _count_extensions(paths: Iterable[RelPath]) -> dict[str, int]:
    return dict(sorted(Counter(map(extension_of, paths)).items()))


def extension_of(path: RelPath) -> str:
    """Lower-case and with its dot; `none` where there is none."""
    stem, _, suffix = path.rpartition(b"/")[2].rpartition(b".")
    return "." + suffix.decode("utf-8", "replace").lower() if stem and suffix else "none"


def risk_of(overlaps: int, ratio: float) -> Literal["low", "medium", "high"]:
    """low, medium or high."""
    if not overlaps:
        return "low"
    return "high" if overlaps >= HIGH_OVERLAPS or ratio >= HIGH_RATIO else "medium"


def show_comparison(compared: Compared, at: str, limit: int) -> Drift:
    """As it is answered, at most `limit` paths of each set."""
    found = compared.comparison
    differing, total = found.counts["both_different"], found.counts["source_only"] + found.counts["both_different"]
    ratio = differing / total if total else 0.0
    return {
        "source_only": _keys(found.source_only, limit), "workspace_only": _keys(found.workspace_only, limit),
        "both_same": _keys(found.both_same, limit), "both_different": _keys(found.both_different, limit),
        "top_overlap_files": _keys(found.both_different, min(limit, TOP_OVERLAPS)),
        "workspace_id": compared.workspace.id, "source_workspace_id": compared.source.id,
        "workspace_snapshot_id": compared.workspace_snapshot_id, "source_snapshot_id": compared.source_snapshot_id,
        "counts": found.counts, "total_drift_files": total, "has_overlaps": differing > 0, "overlap_ratio": ratio,
        "risk_level": risk_of(differing, ratio), "counts_by_ext": found.counts_by_ext, "large_files_changed": found.has_large,
        "mode": "three-way" if compared.bases else "two-way", "base_snapshot_id": compared.bases[0] if compared.bases else None,
        "workspace_changes": _show_changes(found.workspace_changes, limit), "source_changes": _show_changes(found.source_changes, limit),
        "overlaps": [
            {"path": key_of(each.path), "kind": each.kind, "hunks": [show_region(region) for region in each.regions]}
            for each in found.overlaps[:limit]
        ],
        "overlap_count": found.overlap_count, "decide_count": found.decide_count, "reported_at": at, "staleness_hours": 0.0,
    }  # fmt: skip


def _show_changes(changes: Changes, limit: int) -> SideChanges:
    return {
        "added": _keys(changes.added, limit), "modified": _keys(changes.modified, limit), "deleted": _keys(changes.deleted, limit),
        "counts": changes.counts, "bytes": changes.bytes,
    }  # fmt: skip


def _keys(paths: list[RelPath], limit: int) -> list[str]:
    return [key_of(path) for path in paths[:limit]]


def _size_of(found: Comparison) -> int:
    sides = (found.workspace_changes, found.source_changes)
    lists = [found.source_only, found.workspace_only, found.both_same, found.both_different, [each.path for each in found.overlaps]]
    lists += [paths for side in sides for paths in (side.added, side.modified, side.deleted)]
    return sum(len(path) + PATH_BYTES for paths in lists for path in paths) + sum(PATH_BYTES * len(each.regions) for each in found.overlaps)
