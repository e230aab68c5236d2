"""What a project is for: one of eight intents, and a brief in that intent's shape."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from store.errors import InvalidValue, TooLarge
from store.types import UNREADABLE

MAX_BRIEF_BYTES: Final = 64 * 1024
Text = Annotated[str, msgspec.Meta(max_length=4_000)]
Line = Annotated[str, msgspec.Meta(max_length=400)]
Lines = Annotated[list[Line], msgspec.Meta(max_length=100)]


class Startup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`startup`."""

    intent: Literal["startup"]
    problem: Text
    target_users: Lines
    mvp_features: Lines
    non_goals: Lines
    current_stage: Literal["idea", "building_mvp", "pre_launch", "launched", "growing"]
    has_users: bool
    has_revenue: bool
    unique_angle: Text | None = None
    reference_projects: Lines | None = None
    tech_preferences: Lines | None = None


class PersonalTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`personal_tool`."""

    intent: Literal["personal_tool"]
    problem: Text
    must_have: Lines
    nice_to_have: Lines
    platforms: Lines
    polish_level: Literal["hacky", "functional", "polished"]
    current_workaround: Text | None = None
    tech_preferences: Lines | None = None


Intent = Literal["startup", "personal_tool", "learning", "fun", "portfolio", "creative", "exploration", "open_source"]
SHAPES: Final[dict[Intent, type[Startup | PersonalTool] | None]] = {
    "startup": Startup, "personal_tool": PersonalTool, "learning": None, "fun": None, "portfolio": None, "creative": None,
    "exploration": None, "open_source": None,
}  # fmt: skip
"""The intents; those without a shape take any fields."""


def checked_brief(intent: Intent, brief: msgspec.Raw) -> str:
    """The brief as it is kept. Raises InvalidValue for another intent inside, or a wrong shape; TooLarge."""
    if len(bytes(brief)) > MAX_BRIEF_BYTES:
        raise TooLarge(f"a brief of over {MAX_BRIEF_BYTES} bytes")
    try:
        fields = msgspec.json.decode(brief, type=dict[str, object])
        if fields.get("intent") != intent:
            raise InvalidValue("the brief is of another intent")
        shape = SHAPES[intent]
        kept = fields if shape is None else msgspec.json.decode(brief, type=shape)
        return msgspec.json.encode(kept).decode()
    except msgspec.ValidationError as error:
        raise InvalidValue(f"the brief is not a brief of this intent: {error}") from None
    except UNREADABLE as error:
        raise InvalidValue(f"the brief cannot be read: {error}") from None
