"""What many routes ask of a query, and the answer of those that have nothing to say."""

from __future__ import annotations

from typing import Annotated, Final, TypedDict

import msgspec

from cloud.records.work.projects import Shelf
from sync.core.wire import Actor

ULID: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
RowId = Annotated[str, msgspec.Meta(pattern=f"^{ULID}$")]
SnapshotId = Annotated[str, msgspec.Meta(pattern=f"^snap-{ULID}$")]


class Done(TypedDict):
    """It is so now."""

    success: bool


class OnShelf(msgspec.Struct, frozen=True):
    """Those at work, archived, or deleted."""

    shelf: Shelf = "open"


class Acting(msgspec.Struct, frozen=True):
    """Who acts, where no body says it."""

    actor: Actor = "cli"


class Last(msgspec.Struct, frozen=True):
    """A page of snapshots, newest first; `before` is the last id of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    before: SnapshotId | None = None


class FewLast(msgspec.Struct, frozen=True):
    """The same of events, which are shown a few at a time."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    before: RowId | None = None
