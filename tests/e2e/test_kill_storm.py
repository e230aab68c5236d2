"""SIGKILLs and SIGSTOPs of a daemon or the cloud in the middle of work lose nothing (KILLS=200, among more files, in `make soak`)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from benchmarks.trees import copy_tree, library_tree, stdlib_tree
from tests.lab.pair import Pair
from tests.lab.storm import Storm

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED", "1"))


@pytest.mark.e2e
@pytest.mark.timeout(300 + 60 * KILLS)
def test_a_storm_of_kills_loses_nothing(make_pair: Callable[..., Pair]) -> None:
    tree = stdlib_tree() if os.environ.get("BIG_TREE") else library_tree()
    pair = make_pair(fill=lambda root: copy_tree(tree, root), settings={"FASTEST_SECRETS_HOLD": "false"})
    storm = Storm(pair, SEED)
    print(f"seed {SEED}, {KILLS} kills and stops")
    storm.run(KILLS)
    print(storm.told())
    storm.check()
    in_work = sum(hit.in_work for hit in storm.hits)
    assert in_work * 2 > len(storm.hits), f"only {in_work} of {len(storm.hits)} fell into work: {storm.told()}"
