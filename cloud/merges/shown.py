"""A merge as JSON for people: what it does by itself, and what they decide."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from cloud.merges.answers import AutoAction, DecisionNeeded, Hunk, Option, Preview
from cloud.merges.decide import CROSSWISE, EDIT_DELETE, Decided, Decision, Known, Side
from cloud.merges.meeting import Meeting
from store.manifest import EntryRecord, record_of
from store.types import Entry, File, RelPath
from sync.core.brake import count_losses
from sync.core.merge import Region
from sync.core.plan import ADD_ADD, FILE_FOLDER, Action
from sync.core.wire import Head

MAX_SHOWN: Final = 10_000
"""Actions that one preview lists; it always counts all."""
MAX_CONTENT: Final = 64 * 1024
CONTENT_ROOM: Final = 1024 * 1024
"""Bytes of joined texts in one preview."""
BOTH_OPTION: Final = "use_both"
CUSTOM: Final = "custom"


def key_of(path: RelPath) -> str:
    """A path as the key of a JSON object: itself, or NUL and base64 where it is not UTF-8."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return "\0" + b64encode(path).decode()


def option_of(side: Side, meeting: Meeting) -> str:
    """What people call a side: main is main, whichever way the merge goes."""
    owner, other = (meeting.workspace, meeting.source) if side is Side.OURS else (meeting.source, meeting.workspace)
    if owner.id == meeting.project.main_workspace_id:
        return "use_main"
    is_plain = side is Side.OURS or other.id == meeting.project.main_workspace_id
    return "use_workspace" if is_plain else "use_source"


def options_of(decision: Decision, meeting: Meeting) -> dict[str, Side | None]:
    """Option -> the side it takes; None for both."""
    options: dict[str, Side | None] = {option_of(side, meeting): side for side in (Side.THEIRS, Side.OURS)}
    return options if None in (decision.ours, decision.theirs) else options | {BOTH_OPTION: None}


class Times(NamedTuple):
    """Of one preview."""

    id: str
    created_at: str
    expires_at: str


def show_preview(times: Times, meeting: Meeting, heads: tuple[Head, Head], decided: Decided, known: Known) -> Preview:
    """As it is answered."""
    deciding = {each.path for each in decided.decisions}
    auto = [step for step in decided.actions if step.path not in deciding]
    losses = count_losses((step.expect, step.become) for step in auto)
    counts = {"add": 0, "update": 0, "joined": 0, "remove": 0} | dict(Counter(_kind(step, decided) for step in auto))
    counts |= {"decide": len(decided.decisions), "emptied": losses.emptied, "moved": losses.moved}
    return {
        "id": times.id, "created_at": times.created_at, "expires_at": times.expires_at,
        "up_to_date": decided.three.theirs == decided.three.base,
        "workspace_id": meeting.workspace.id, "source_workspace_id": meeting.source.id, "mode": meeting.mode,
        "base_snapshot_id": meeting.bases[0] if meeting.bases else None, "base_snapshot_ids": meeting.bases,
        "workspace_version": meeting.workspace.version, "workspace_head": heads[0], "source_head": heads[1],
        "auto_actions": _show_actions(auto[:MAX_SHOWN], decided, known), "actions_left_out": max(0, len(auto) - MAX_SHOWN),
        "decisions_needed": [_show_decision(each, meeting) for each in decided.decisions],
        "files_to_add": counts["add"], "files_to_update": counts["update"] + counts["joined"] + counts["decide"],
        "files_to_delete": counts["remove"], "counts": counts, "summary": _summary(counts, meeting),
    }  # fmt: skip


def _kind(step: Action, decided: Decided) -> Literal["add", "update", "joined", "remove"]:
    if step.become is None:
        return "remove"
    if step.expect is None:
        return "add"
    return "joined" if step.path in decided.joined else "update"


def _show_actions(steps: list[Action], decided: Decided, known: Known) -> list[AutoAction]:
    room, texts = CONTENT_ROOM, {answer.digest: answer.data for answer in known.answers.values()}
    words = {"remove": "removed there", "add": "new there", "update": "changed there", "joined": "changed on both sides, lines joined"}
    shown: list[AutoAction] = []
    for step in steps:
        kind = _kind(step, decided)
        line: AutoAction = {
            "path": key_of(step.path), "action": kind, "description": words[kind],
            "before": _record(step.path, step.expect), "after": _record(step.path, step.become),
        }  # fmt: skip
        data = texts.get(step.become.digest) if kind == "joined" and isinstance(step.become, File) else None
        if data is not None and len(data) <= min(MAX_CONTENT, room):
            room -= len(data)
            with suppress(UnicodeDecodeError):
                line["combined_content"] = data.decode()
        shown.append(line)
    return shown


def _show_decision(decision: Decision, meeting: Meeting) -> DecisionNeeded:
    sides = {Side.OURS: meeting.workspace.name, Side.THEIRS: meeting.source.name}
    options: list[Option] = []
    for name, side in options_of(decision, meeting).items():
        what = "keep both, one beside the other" if side is None else _offer(decision.entry(side), sides[side])
        options.append({"id": name, "label": what, "entry": None if side is None else _record(decision.path, decision.entry(side))})
    recommended = None if decision.recommended is None else option_of(decision.recommended, meeting)
    path = decision.path
    return {
        "base": _record(path, decision.base), "ours": _record(path, decision.ours), "theirs": _record(path, decision.theirs),
        "path": key_of(path), "kind": decision.kind, "conflict_reason": _reason(decision, sides), "options": options,
        "recommended_option_id": recommended, "hunks": [show_region(region) for region in decision.regions],
    }  # fmt: skip


def show_region(region: Region) -> Hunk:
    """Lines from 0, the end exclusive."""
    return {
        "base": [region.base_start, region.base_end], "ours": [region.ours_start, region.ours_end],
        "theirs": [region.theirs_start, region.theirs_end],
    }  # fmt: skip


def _offer(entry: Entry | None, name: str) -> str:
    return f"remove it, as in {name}" if entry is None else f"as in {name}"


def _reason(decision: Decision, sides: dict[Side, str]) -> str:
    if decision.kind == EDIT_DELETE:
        gone, there = (Side.OURS, Side.THEIRS) if decision.ours is None else (Side.THEIRS, Side.OURS)
        return f"removed in {sides[gone]}, changed in {sides[there]}"
    if decision.kind == FILE_FOLDER:
        return "a folder on one side, none on the other"
    if decision.kind == CROSSWISE:
        return "the common states, for there are several, lead to different results"
    if decision.regions:
        places = len(decision.regions)
        return f"both changed the same lines, in {places} {'place' if places == 1 else 'places'}"
    return "both added it, with other content" if decision.kind == ADD_ADD else "both changed it, and it is no text that can be joined"


def _record(path: RelPath, entry: Entry | None) -> EntryRecord | None:
    return None if entry is None else record_of(path, entry)


def _summary(counts: dict[str, int], meeting: Meeting) -> str:
    verbs = {"add": "add", "update": "update", "joined": "join", "remove": "remove", "decide": "decide"}
    parts = [f"{counts[kind]:,} to {verb}" for kind, verb in verbs.items() if counts[kind]]
    base = "" if meeting.bases else " They have no common history: every file that differs is a decision."
    several = " They were merged crosswise: what several common states leave open is a decision." if len(meeting.bases) > 1 else ""
    return f"{meeting.source.name} into {meeting.workspace.name}: {', '.join(parts) or 'nothing changes'}.{base}{several}"
