"""The shapes in which merges and comparisons are answered (docs/WIRE.md)."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from store.manifest import EntryRecord
from sync.core.wire import Head

Lines = list[int]
Mode = Literal["three-way", "two-way"]


class Executed(TypedDict):
    """A merge that was done."""

    success: bool
    errors: list[str]
    head: Head
    snapshot_before_id: str | None
    snapshot_after_id: str | None
    files_added: int
    files_updated: int
    files_deleted: int


class Undone(TypedDict):
    """A merge that was taken back."""

    success: bool
    head: Head
    restored_snapshot_id: str | None
    snapshot_id: str | None


class Hunk(TypedDict):
    """Lines that do not join: from 0, the end exclusive."""

    base: Lines
    ours: Lines
    theirs: Lines


class AutoAction(TypedDict):
    """What a merge does by itself at one path."""

    path: str
    action: Literal["add", "update", "joined", "remove"]
    description: str
    before: EntryRecord | None
    after: EntryRecord | None
    combined_content: NotRequired[str]


class Option(TypedDict):
    """What somebody may choose; `entry` is what would stand there, null for both or nothing."""

    id: str
    label: str
    entry: EntryRecord | None


class DecisionNeeded(TypedDict):
    """A path that somebody decides."""

    path: str
    kind: str
    conflict_reason: str
    base: EntryRecord | None
    ours: EntryRecord | None
    theirs: EntryRecord | None
    options: list[Option]
    recommended_option_id: str | None
    hunks: list[Hunk]


class Preview(TypedDict):
    """What a merge would do, and until when that may be said."""

    id: str
    created_at: str
    expires_at: str
    up_to_date: bool
    workspace_id: str
    source_workspace_id: str
    mode: Mode
    base_snapshot_id: str | None
    base_snapshot_ids: list[str]
    workspace_version: int
    workspace_head: Head
    source_head: Head
    auto_actions: list[AutoAction]
    actions_left_out: int
    decisions_needed: list[DecisionNeeded]
    files_to_add: int
    files_to_update: int
    files_to_delete: int
    counts: dict[str, int]
    summary: str


class SideChanges(TypedDict):
    """What one side did since the base; at most as many paths as were asked for, while `counts` counts all."""

    added: list[str]
    modified: list[str]
    deleted: list[str]
    counts: dict[str, int]
    bytes: int


class ShownOverlap(TypedDict):
    """A path that both sides changed, differently."""

    path: str
    kind: str
    hunks: list[Hunk]


class Drift(TypedDict):
    """How far two workspaces are apart."""

    workspace_id: str
    source_workspace_id: str
    workspace_snapshot_id: str | None
    source_snapshot_id: str | None
    source_only: list[str]
    workspace_only: list[str]
    both_same: list[str]
    both_different: list[str]
    top_overlap_files: list[str]
    counts: dict[str, int]
    total_drift_files: int
    has_overlaps: bool
    overlap_ratio: float
    risk_level: Literal["low", "medium", "high"]
    counts_by_ext: dict[str, int]
    large_files_changed: bool
    mode: Mode
    base_snapshot_id: str | None
    workspace_changes: SideChanges
    source_changes: SideChanges
    overlaps: list[ShownOverlap]
    overlap_count: int
    decide_count: int
    reported_at: str
    staleness_hours: float
