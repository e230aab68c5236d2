"""Editors save as they do, while two daemons mirror the folder: no save is lost, none is seen torn, nothing of theirs stays behind.

SAVES=200 (`make soak`) saves that often. Whether a content is whole it tells by itself (benchmarks/saves.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.saves import is_whole, whole
from tests.lab.compare import look
from tests.lab.editors import KEEPS_BACKUP, WHOLE, pause
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.pair import Pair

SAVES = int(os.environ.get("SAVES", "3"))
SEED = int(os.environ.get("SEED", "1"))
MOST_BYTES = 40_000

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240 + 10 * SAVES)]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    for lab in open_lab(request):
        made = Pair(lab, settings={"FASTEST_SECRETS_HOLD": "false"})
        made.open()
        yield made


def name_of(pattern: str) -> str:
    return f"{pattern}.txt"


def start(pair: Pair, corner: str, rng: random.Random) -> None:
    """Each pattern's file, on both sides."""
    (pair.a.root / corner).mkdir()
    for pattern in WHOLE:
        (pair.a.root / corner / name_of(pattern)).write_bytes(new_content(rng))
    pair.converge(90)


def new_content(rng: random.Random) -> bytes:
    return whole(rng.randbytes(rng.randrange(50, MOST_BYTES)))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept(machine: Machine, path: Path) -> set[str]:
    """Every content that was ever kept of this file."""
    return {one["digest"] for one in json.loads(machine.must("history", str(path), "--json").out)["history"] if one.get("digest")}


class Reader:
    """Reads a folder's files again and again, and remembers what was torn."""

    def __init__(self, folder: Path) -> None:
        self.torn: list[str] = []
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            for pattern in WHOLE:
                try:
                    data = (self._folder / name_of(pattern)).read_bytes()
                except FileNotFoundError:
                    continue
                if not is_whole(data):
                    self.torn.append(f"{pattern}: {len(data)} bytes")


def at_once(work: Callable[[str], None]) -> None:
    """Every pattern in a thread of its own."""
    with ThreadPoolExecutor(len(WHOLE)) as pool:
        list(pool.map(work, WHOLE))


def save_all(pair: Pair, corner: str, contents: dict[tuple[str, str], bytes], lags: dict[tuple[str, str], float]) -> None:
    """Both machines save each pattern's file, each after its lag."""

    def save(machine: Machine, pattern: str) -> None:
        pause(lags[machine.name, pattern])
        WHOLE[pattern](machine.root / corner / name_of(pattern), contents[machine.name, pattern])

    with ThreadPoolExecutor(2 * len(WHOLE)) as pool:
        for saved in [pool.submit(save, machine, pattern) for machine in pair.machines for pattern in WHOLE]:
            saved.result()


def test_saves_on_one_side_arrive_whole_and_nothing_else_does(pair: Pair) -> None:
    rng = random.Random(SEED)
    start(pair, "one", rng)
    contents = {pattern: [new_content(rng) for _ in range(SAVES)] for pattern in WHOLE}
    gaps = {pattern: [rng.uniform(0, 0.12) for _ in range(SAVES)] for pattern in WHOLE}
    here, there = pair.a.root / "one", pair.b.root / "one"
    before = {pattern: (here / name_of(pattern)).read_bytes() for pattern in WHOLE}

    def work(pattern: str) -> None:
        for data, gap in zip(contents[pattern], gaps[pattern], strict=True):
            WHOLE[pattern](here / name_of(pattern), data)
            pause(gap)

    with Reader(there) as reader:
        at_once(work)
        pair.converge(90)
    assert not reader.torn
    for pattern in WHOLE:
        assert (there / name_of(pattern)).read_bytes() == contents[pattern][-1], pattern
        known = {digest(data) for data in (before[pattern], *contents[pattern])}
        for machine in pair.machines:
            strange = kept(machine, machine.root / "one" / name_of(pattern)) - known
            assert not strange, f"{pattern}: {machine.name} kept what nobody saved: {strange}"
    names = {name_of(pattern) for pattern in WHOLE} | {name_of(pattern) + "~" for pattern in KEEPS_BACKUP}
    assert look(here).keys() == look(there).keys() == names
    assert [machine.status()["conflicts"] for machine in pair.machines] == [0, 0]


def test_saves_on_both_sides_are_all_within_reach(pair: Pair) -> None:
    rng = random.Random(SEED + 1)
    start(pair, "both", rng)
    owed: dict[str, str] = {}
    for round_number in range(SAVES):
        contents = {(machine.name, pattern): new_content(rng) for machine in pair.machines for pattern in WHOLE}
        lags = {key: rng.uniform(0, 0.15) for key in contents}
        save_all(pair, "both", contents, lags)
        pair.converge(90)
        owed |= {digest(data): f"{key} in round {round_number}" for key, data in contents.items()}
        for pattern in WHOLE:
            assert is_whole((pair.a.root / "both" / name_of(pattern)).read_bytes()), pattern
    with ThreadPoolExecutor(2) as pool:
        reached = list(pool.map(lambda one: any(machine.has_content(one) for machine in pair.machines), owed))
    lost = [told for told, is_there in zip(owed.values(), reached, strict=True) if not is_there]
    assert not lost, f"{len(lost)} of {len(owed)} saves are lost: {lost[:20]}"
    expected = {f"{name_of(pattern)}{end}" for pattern in WHOLE for end in ("", *("~" for _ in range(pattern in KEEPS_BACKUP)))}
    assert {Path(path).name for path in look(pair.a.root / "both")} == expected
