"""Histories drawn from a seed, and made smaller once they fail."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.features import Action, draw_features
from tests.simulation.network import FAULTS
from tests.simulation.system import Sizes
from tests.simulation.world import History

PATHS = [b"x", b"y", b"d", b"d/x", b"d/y", b"d/e", b"d/e/x", b"f", b"f/x"]
EDITS = (
    (8, "write"),
    (6, "change"),
    (3, "append"),
    (5, "remove"),
    (5, "move"),
    (1, "folder"),
    (2, "link"),
    (3, "swap"),
    (2, "flip"),
    (1, "slow"),
)
TROUBLES = ((5, "kill"), (5, "cut"), (4, "meet"), (6, "fault"), (1, "drop"), (1, "jump"), (1, "deafen"), (1, "tidy"))
FAR_CHANGES = 60


def draw(seed: int, kinds: tuple[str, ...] | None = None) -> History:
    """A plain history, and what else a few of them have (`kinds`: what of features.KINDS this one has)."""
    plain = draw_plain(seed)
    end = float(plain.actions[-1][0]) + 1
    features, drawn = draw_features(seed, "abc"[: plain.machines], end, kinds)
    actions = sorted((*plain.actions, *drawn), key=lambda action: float(action[0])) if drawn else plain.actions
    return plain._replace(actions=tuple(actions), features=features)


def draw_plain(seed: int) -> History:
    """Half of all histories have crashes; one in ten has a cloud that is put back."""
    rng = random.Random(seed)
    names = "abc"[: rng.choice((2, 2, 3))]
    length, share = rng.randrange(6, 24), rng.choice((0.0, 0.2, 0.4, 0.5))
    actions: list[Action] = []
    now = 0.0
    for number in range(length):
        now += rng.choice((0.0, 0.01, 0.1, 0.5, 1.5)) * rng.random()
        who = rng.choice(names)
        actions.append(_trouble(rng, now, who, number) if rng.random() < share else (now, who, *_edit(rng, who, number)))
    if rng.random() < 0.1:
        actions += [(rng.random() * now, "cloud", "back_up"), (now, "cloud", "restore")]
        actions.sort(key=lambda action: float(action[0]))
    if rng.random() < share / 2:
        actions.insert(0, (0.0, "cloud", "kill", rng.randrange(1, 12)))
    return History(seed, len(names), tuple(actions), Sizes.draw(rng))


def _path(rng: random.Random, who: str) -> bytes:
    path = rng.choice(PATHS)
    return who.encode() + b"/" + path if rng.random() < 0.3 else path


def _edit(rng: random.Random, who: str, number: int) -> tuple[object, ...]:
    (verb,) = rng.choices([verb for _, verb in EDITS], [weight for weight, _ in EDITS])
    path = _path(rng, who)
    match verb:
        case "move":
            return verb, path, _path(rng, who)
        case "remove" | "folder" | "flip":
            return verb, path
        case _:
            return verb, path, 100 * number + rng.randrange(100)


def _trouble(rng: random.Random, now: float, who: str, number: int) -> Action:
    (verb,) = rng.choices([verb for _, verb in TROUBLES], [weight for weight, _ in TROUBLES])
    changes = rng.randrange(1, rng.choice((6, 12, 12, FAR_CHANGES)))
    match verb:
        case "kill" | "cut":
            return now, who, verb, changes, rng.choice((0.05, 0.5, 3.0))
        case "meet":
            return now, who, verb, changes, *_edit(rng, who, number)
        case "fault":
            return now, who, verb, rng.choice(FAULTS)
        case "jump":
            return now, who, verb, rng.choice((-86400.0, -3.0, 0.5, 3600.0))
        case "deafen":
            return now, who, verb, rng.random()
        case _:
            return now, who, verb


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """Without every chunk of actions that the failure does not need."""
    actions, size = list(history.actions), max(1, len(history.actions) // 2)
    while size:
        at = 0
        while at < len(actions):
            fewer = actions[:at] + actions[at + size :]
            if fails(history._replace(actions=tuple(fewer))):
                actions = fewer
            else:
                at += size
        size //= 2
    return history._replace(actions=tuple(actions))
