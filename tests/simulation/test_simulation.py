"""The real engine on two and three simulated machines, one simulated cloud, and trouble of every kind: a history is its seed.

`make test` runs fixed seeds and some fresh ones. SEEDS=7,8 runs exactly these; with SOAK_SECONDS, as many as fit, from each on.
What fails is made smaller, and printed as a History that can be pasted into found.py.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from pprint import pformat

import pytest

from tests.simulation.drawing import draw, draw_plain, shrink
from tests.simulation.features import KINDS, Action
from tests.simulation.found import FOUND, TRIED
from tests.simulation.system import Sizes
from tests.simulation.world import History, Outcome, World

FIXED = range(40)
FRESH = 12
EACH = 2
"""Seeds of each kind of feature."""
PLAIN_SEVEN = "((0.0, 'cloud', 'kill', 7), (0.0, 'a', 'kill', 1, 0.05))"
ASKED = os.environ.get("SEEDS", "")
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
APART = 1_000_000
"""Between the seeds that a soak begins from."""
MOST_EXPLAINED = 3
CHANGES = 60
STRIDE = 1 if SOAK_SECONDS else 3


def outcome_of(history: History) -> Outcome:
    """A mistake that ends the simulation itself is one of the product, too."""
    try:
        return World(history).run()
    except Exception as error:  # whatever it is, the history that leads to it is wanted
        return Outcome([f"raised: {error!r}"], Counter(), [])


def blamed_in(history: History) -> list[str]:
    return outcome_of(history).blamed


def explain(history: History) -> str:
    """Nothing when all is well; else the smallest history that fails alike."""
    blamed = blamed_in(history)
    if not blamed:
        return ""
    kind = blamed[0].partition(":")[0]
    small = shrink(history, lambda one: any(text.startswith(kind) for text in blamed_in(one)))
    return "\n".join([f"SEEDS={history.seed}", pformat(small, width=140), *blamed_in(small)])


def run_all(seeds: range | list[int]) -> None:
    failed = [told for told in (explain(draw(seed)) for seed in seeds) if told]
    assert not failed, "\n\n".join(failed)


@pytest.mark.skipif(bool(ASKED), reason="SEEDS asks for others")
def test_fixed_histories_lose_nothing_and_come_together() -> None:
    run_all(FIXED)


@pytest.mark.skipif(bool(ASKED), reason="SEEDS asks for others")
def test_fresh_histories_lose_nothing_and_come_together() -> None:
    first = random.SystemRandom().randrange(10**9)
    run_all(range(first, first + FRESH))


@pytest.mark.timeout(SOAK_SECONDS + 600)
@pytest.mark.parametrize("seed", [int(seed) for seed in ASKED.split(",") if seed])
def test_asked_histories_lose_nothing_and_come_together(seed: int) -> None:
    if not SOAK_SECONDS:
        run_all([seed])
        return
    counts: Counter[str] = Counter()
    failed: list[History] = []
    began, histories = time.monotonic(), 0
    while time.monotonic() - began < SOAK_SECONDS:
        history = draw(seed * APART + histories)
        outcome = outcome_of(history)
        if outcome.blamed:  # the hour goes on: what comes after may be another one's doing
            failed.append(history)
            print(f"SEEDS={history.seed} {outcome.blamed}", flush=True)
        counts += outcome.counts
        histories += 1
    print(f"{histories} histories, {histories / SOAK_SECONDS * 60:.0f} a minute: {dict(counts.most_common())}")
    assert not failed, "\n\n".join(explain(history) for history in failed[:MOST_EXPLAINED])


@pytest.mark.parametrize("what", FOUND, ids=[what.partition(" ")[0] for what in FOUND])
def test_what_was_found_stays_mended(what: str) -> None:
    assert blamed_in(FOUND[what]) == []


@pytest.mark.parametrize("mistake", TRIED)
def test_where_a_mistake_would_show_all_is_well(mistake: str) -> None:
    assert blamed_in(TRIED[mistake]) == []


def trouble_at(change: int, verb: str, *arguments: object, sizes: Sizes) -> History:
    """A machine that holds a small tree meets trouble at this change, while it follows one of every kind of change."""
    before: list[Action] = [(0.0, "a", "write", path, number) for number, path in enumerate((b"x", b"d/x", b"d/y", b"f", b"go/x"))]
    before += [(0.0, "a", "link", b"l", 7), (2.9, "b", verb, change, *arguments)]
    after: list[Action] = [
        (3.0, "a", "change", b"x", 21), (3.0, "a", "remove", b"d/y"), (3.0, "a", "move", b"d/x", b"d/e/x"), (3.0, "a", "flip", b"f"),
        (3.0, "a", "link", b"l", 8), (3.0, "a", "swap", b"go", 23), (3.0, "a", "write", b"new/er", 24), (3.0, "b", "write", b"own", 25),
        (3.0, "a", "write", b"clash", 26), (3.0, "b", "write", b"clash", 27),
    ]  # fmt: skip
    return History(change, 2, (*before, *after), sizes)


MANY = Sizes(0, 0, 0, 0, 2)
WAYS = pytest.mark.parametrize("sizes", [Sizes(), MANY, MANY._replace(has_exchange=False)], ids=["few", "many", "no exchange"])


@WAYS
@pytest.mark.parametrize("verb", ["kill", "cut"])
def test_the_process_or_the_power_goes_before_every_durable_change(verb: str, sizes: Sizes) -> None:
    died = 0
    for change in range(1, CHANGES, STRIDE):
        outcome = World(trouble_at(change, verb, 0.1, sizes=sizes)).run()
        assert outcome.blamed == [], change
        died += outcome.counts["killed"] + outcome.counts["power cut"]
    assert died > CHANGES / STRIDE / 2


@WAYS
@pytest.mark.parametrize(
    "edit", [("append", b"x", 31), ("write", b"x", 33), ("remove", b"x"), ("swap", b"x", 35)], ids=lambda edit: edit[0]
)
def test_a_person_acts_before_every_durable_change(edit: tuple[object, ...], sizes: Sizes) -> None:
    for change in range(1, 14):
        actions = [(0.0, "a", "write", b"x", 1), (2.0, "b", "meet", change, *edit), (2.1, "a", "change", b"x", 21)]
        assert World(History(change, 2, tuple(actions), sizes)).run().blamed == [], change


def digest_of_traces(seeds: list[int]) -> str:
    traces = [World(draw(seed)).run().trace for seed in seeds]
    return hashlib.sha256(repr(traces).encode()).hexdigest()


def test_a_seed_is_the_same_history_in_any_process() -> None:
    seeds = list(range(12))
    assert digest_of_traces(seeds) == digest_of_traces(seeds)
    script = f"from tests.simulation.test_simulation import digest_of_traces\nprint(digest_of_traces({seeds}))"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert told.stdout.strip() == digest_of_traces(seeds)


class Poked(World):
    """Somebody wakes a machine at the instant in which it is told to stop."""

    async def _rest(self) -> None:
        await super()._rest()
        self.loop.call_later(600, self.loop.stop)
        for machine in self.machines.values():
            machine.supervisor._wake.set()


def test_a_machine_that_is_woken_as_it_stops_stops() -> None:
    """S23: `wait_for` gave its answer, and the wish to stop was forgotten: the daemon never ended."""
    assert Poked(History(0, 2, ((0.1, "a", "write", b"x", 1),))).run().blamed == []


def test_a_plain_history_is_what_its_seed_always_was() -> None:
    """What features add is drawn from a stream of their own."""
    plain = draw_plain(7)
    assert repr(plain.actions[:2]) == PLAIN_SEVEN
    both = [(draw(seed), draw_plain(seed)) for seed in range(40)]
    assert all(set(one.actions) <= set(more.actions) and one.sizes == more.sizes for more, one in both)
    assert any(more == one for more, one in both) and any(more.actions != one.actions for more, one in both)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_feature_loses_nothing(kind: str) -> None:
    for seed in range(EACH):
        assert blamed_in(draw(seed, (kind,))) == [], seed


def test_a_history_is_made_as_small_as_its_failure() -> None:
    history = draw(3)
    needed = history.actions[1], history.actions[4]
    assert shrink(history, lambda one: set(needed) <= set(one.actions)).actions == needed
