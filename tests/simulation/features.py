"""What a few histories have besides: settings, and what only they let people do. Drawn apart, so that an old seed's edits stay its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

Action = tuple[Any, ...]
"""(seconds, who, verb, *arguments); `who` is a machine, or the cloud."""


class Features(NamedTuple):
    """How this history's machines are set, and what the judges must know of it."""

    styles: tuple[str, ...] = ()
    """`conflict.style` of each machine; all `record` where there are none."""
    folds: str = ""
    """What the last machine's disk does not tell apart: one of tests.simulation.disk.KEYS."""
    rules: bool = False
    """Somebody writes ignore rules."""
    secrets: bool = False
    """What looks like a secret is held back, machine by machine, until a person lets it go."""
    lets_go: bool = True
    """They do in the end, everywhere."""
    brake_files: int = 0
    """The brake holds what takes away more; 0: it holds nothing."""
    chunks: bool = False
    """Files of some 1,500 bytes are large, and segments full with a few of them."""


class Scene(NamedTuple):
    """For whoever draws: how many machines there are, and when the last edit is."""

    rng: random.Random
    names: str
    end: float

    def at(self) -> tuple[float, str]:
        """Sometime, somebody."""
        return self.rng.random() * self.end, self.rng.choice(self.names)


Drawn = tuple[dict[str, Any], list[Action]]

RULE_FILES = (b".fstignore", b".fstignore", b".gitignore", b"d/.fstignore", b"f/.gitignore")
RULES = (b"x\n", b"/x\n", b"y\n", b"d/\n", b"e\n", b"f\n", b"/f/\n", b"x\n!/x\n", b"x\ny\n", b"a/\n", b"!x\n", b"")
SECRETS = (b".env", b"x", b"y", b"d/x", b"d/.env", b"d/e/x", b"f/x", b"f")
TWINS = (b"X", b"D/x", b"d/X", b"D", b"F/x", b"F", b"x", b"d/x")
FORMS = ("n\u00e9".encode(), "ne\u0301".encode(), "d/\u00e9".encode(), "d/e\u0301".encode(), "\u00e9/x".encode(), "e\u0301/x".encode())
PLACES = (b"x", b"y", b"d/x", b"d/y", b"f", b"f/x", b"a/x", b"b/x")


def _number(rng: random.Random) -> int:
    """Apart from those of drawing.py."""
    return rng.randrange(100_000, 1_000_000)


def _styles(scene: Scene) -> Drawn:
    styles = tuple(scene.rng.choice(("copy", "copy", "markers", "markers", "record")) for _ in scene.names)
    return {"styles": styles}, _clash(scene) + _clash(scene)


def _clash(scene: Scene) -> list[Action]:
    """Two write to one path at about one time."""
    path, now = scene.rng.choice(PLACES), scene.rng.random() * scene.end
    return [(now + 0.05 * scene.rng.random(), who, "write", path, _number(scene.rng)) for who in scene.rng.sample(scene.names, 2)]


def _rules(scene: Scene) -> Drawn:
    drawn: list[Action] = []
    for _ in range(scene.rng.randrange(1, 5)):
        now, who = scene.at()
        file = scene.rng.choice(RULE_FILES)
        drawn.append((now, who, "remove", file) if scene.rng.random() < 0.2 else (now, who, "rule", file, scene.rng.choice(RULES)))
    return {"rules": True}, drawn


def _secrets(scene: Scene) -> Drawn:
    drawn: list[Action] = []
    for _ in range(scene.rng.randrange(1, 5)):
        now, who = scene.at()
        drawn.append((now, who, "hide", scene.rng.choice(SECRETS), _number(scene.rng)))
    if scene.rng.random() < 0.5:
        now, who = scene.at()
        drawn.append((now, who, "hold", False))
        if scene.rng.random() < 0.3:
            drawn.append((now + scene.rng.random(), who, "hold", True))
    return {"secrets": True, "lets_go": scene.rng.random() < 0.6}, drawn


def _folds(scene: Scene) -> Drawn:
    folds = scene.rng.choice(("case", "case", "form", "apple"))
    names = {"case": TWINS, "form": FORMS, "apple": TWINS + FORMS}[folds]
    drawn: list[Action] = []
    for _ in range(scene.rng.randrange(2, 7)):
        now, who = scene.at()
        path, other = scene.rng.choice(names), scene.rng.choice(names)
        verb = scene.rng.choice(("write", "write", "write", "remove", "move", "change"))
        drawn.append(
            {"remove": (now, who, verb, path), "move": (now, who, verb, path, other)}.get(verb, (now, who, verb, path, _number(scene.rng)))
        )
    return {"folds": folds}, drawn


def _asks(scene: Scene) -> Drawn:
    drawn: list[Action] = []
    for _ in range(scene.rng.randrange(2, 7)):
        now, who = scene.at()
        verb = scene.rng.choice(("snapshot", "snapshot", "restore", "restore", "restore one", "undo", "resolve"))
        ask = {
            "restore": (now, who, "ask", verb, scene.rng.randrange(100)),
            "restore one": (now, who, "ask", verb, scene.rng.randrange(100), scene.rng.choice(PLACES)),
            "resolve": (now, who, "ask", verb, scene.rng.choice(("ours", "theirs", "both", "edit")), _number(scene.rng)),
        }.get(verb, (now, who, "ask", verb))
        if scene.rng.random() < 0.2:
            drawn.append((now, who, scene.rng.choice(("kill", "cut")), scene.rng.randrange(1, 20), 0.5))
        if scene.rng.random() < 0.2:
            drawn.append((now, who, "meet", scene.rng.randrange(1, 12), "write", scene.rng.choice(PLACES), _number(scene.rng)))
        drawn.append(ask)
    return {}, drawn + _clash(scene)


def _git(scene: Scene) -> Drawn:
    """It holds its index for a while, changes several files, and stands elsewhere afterwards."""
    now, who = scene.at()
    drawn: list[Action] = [(now, who, "git", scene.rng.choice((0.05, 0.5, 2.0)))]
    for place in scene.rng.sample(PLACES, scene.rng.randrange(1, 5)):
        at = now + 0.05 * scene.rng.random()
        drawn.append((at, who, "remove", place) if scene.rng.random() < 0.4 else (at, who, "write", place, _number(scene.rng)))
    return {}, drawn


def _pause(scene: Scene) -> Drawn:
    now, who = scene.at()
    drawn: list[Action] = [(now, who, "ask", "pause", scene.rng.choice((0.5, 2.0, 1e6)))]
    if scene.rng.random() < 0.7:
        drawn.append((now + scene.rng.random(), who, "ask", "resume"))
    return {}, drawn


def _brake(scene: Scene) -> Drawn:
    now, who = scene.at()
    drawn: list[Action] = [(now, who, "write", place, _number(scene.rng)) for place in PLACES[: scene.rng.randrange(3, 7)]]
    later, other = now + scene.rng.random(), scene.rng.choice(scene.names)
    drawn += [(later, other, "remove", place) for place in (b"d", b"x", b"y", b"f")]
    if scene.rng.random() < 0.3:
        drawn.append((later + scene.rng.random(), scene.rng.choice(scene.names), "ask", "approve"))
    return {"brake_files": scene.rng.choice((1, 2, 3))}, drawn


def _chunks(scene: Scene) -> Drawn:
    drawn: list[Action] = []
    for _ in range(scene.rng.randrange(2, 6)):
        now, who = scene.at()
        drawn.append((now, who, scene.rng.choice(("fill", "fill", "append", "change")), scene.rng.choice(PLACES), _number(scene.rng)))
    return {"chunks": True}, drawn


KINDS: dict[str, tuple[int, Callable[[Scene], Drawn]]] = {
    "rules": (4, _rules),
    "secrets": (3, _secrets),
    "styles": (3, _styles),
    "folds": (3, _folds),
    "asks": (4, _asks),
    "git": (2, _git),
    "pause": (2, _pause),
    "brake": (2, _brake),
    "chunks": (2, _chunks),
}


def draw_features(seed: int, names: str, end: float, kinds: tuple[str, ...] | None = None) -> tuple[Features, list[Action]]:
    """None in an eighth of all histories, else one to three kinds, with what people do in them."""
    rng = random.Random(f"features of {seed}")
    count = rng.choice((0, 1, 1, 1, 1, 2, 2, 3))
    weights = {kind: weight for kind, (weight, _) in KINDS.items()}
    chosen: list[str] = []
    while len(chosen) < count:
        (kind,) = rng.choices(list(weights), list(weights.values()))
        del weights[kind]
        chosen.append(kind)
    features, drawn = Features(), []
    for kind in chosen if kinds is None else kinds:
        settings, actions = KINDS[kind][1](Scene(rng, names, end))
        features = features._replace(**settings)
        drawn += actions
    return features, drawn
