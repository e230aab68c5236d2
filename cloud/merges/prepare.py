"""Show what a merge would do, bound to both heads; nothing moves (SYNC-5)."""

from __future__ import annotations

from typing import Final

import msgspec

from cloud.context import Cloud
from cloud.merges.answers import Preview
from cloud.merges.contents import decide
from cloud.merges.decide import Decided, Known, Three
from cloud.merges.meeting import Meeting, head_of, meet
from cloud.merges.shown import Times, show_preview
from cloud.records.moments import text_of
from cloud.records.people.accounts import Account
from cloud.records.work import merges
from store.types import new_ulid, parse_digest
from sync.core.wire import Head

PREVIEW_MS: Final = 30 * 60 * 1000


class Bound(msgspec.Struct, frozen=True):
    """What a preview is good for, as its row keeps it. The merge itself is drawn again: the same roots give the same one, to `root`."""

    workspace: Head
    source: Head
    roots: list[str]
    bases: list[str]
    root: str
    main_workspace_id: str | None


class Shown(msgspec.Struct, frozen=True):
    """A merge in full."""

    meeting: Meeting
    decided: Decided
    known: Known


def three_of(bases: list[str], ours: str, theirs: str) -> Three:
    """Roots as the merge has them."""
    base, *others = map(parse_digest, bases)
    return Three(base, parse_digest(ours), parse_digest(theirs), others=tuple(others))


async def draw(cloud: Cloud, account: Account, workspace_id: str, source_id: str | None) -> Shown:
    """The merge of the heads as they are now. Raises NotFound, InvalidOperation, NoMainWorkspace, TooLarge."""
    meeting = await meet(cloud, account, workspace_id, source_id)
    known = Known()
    ours, theirs = meeting.workspace.current_manifest_hash, meeting.source.current_manifest_hash
    decided = await decide(cloud, three_of(meeting.roots, ours, theirs), known)
    return Shown(meeting, decided, known)


async def prepare(cloud: Cloud, account: Account, workspace_id: str, source_id: str | None) -> Preview:
    """The preview as it is answered; kept for half an hour unless there is nothing to merge."""
    shown = await draw(cloud, account, workspace_id, source_id)
    now_ms = cloud.now_ms()
    times = Times(new_ulid(now_ms), text_of(now_ms), text_of(now_ms + PREVIEW_MS))
    meeting, decided = shown.meeting, shown.decided
    heads = head_of(cloud, meeting.workspace), head_of(cloud, meeting.source)
    preview = show_preview(times, meeting, heads, decided, shown.known)
    if not preview["up_to_date"]:
        body = msgspec.json.encode(Bound(*heads, meeting.roots, meeting.bases, decided.root.hex(), meeting.project.main_workspace_id))
        await cloud.write(
            lambda tx: merges.add_preview(tx, times.id, account.user_id, workspace_id, body, times.expires_at, times.created_at)
        )
    return preview
