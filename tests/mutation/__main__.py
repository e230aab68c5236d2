"""How many slips in the core do the tests see? `python -m tests.mutation [MODULE...]`, e.g. `brake merge.lines`.

Not part of `make test`: a module takes from half a minute to ten. Prints what lives, and each module's score: the mutants that a
failing assertion, a law or an exception in a test killed, of all. Fails if one lives that `explained.py` does not explain.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutation.explained import EXPLAINED
from tests.mutation.journal import identity, try_remaining
from tests.mutation.operators import make_mutants
from tests.mutation.trial import KILLED, Outcome, Target

HOUSE = Path(__file__).resolve().parents[2]
CORE = HOUSE / "sync/core"
ENDS = "tests/unit/test_core_ends.py"
GIT = tuple(
    f"tests/property/test_ignore_git.py::{test}"
    for test in ("test_nested_rule_files_decide_as_git_does[1]", "test_excludes_and_a_root_file_rank_as_in_git[0]")
)
MERGE_FILE = "tests/unit/test_merge_git.py::test_joins_are_those_of_git[fixed]"
"""One seed: what survives the others lives here, and that is on the safe side."""
TESTS = {
    "autosnapshot": ("tests/unit/test_autosnapshot.py",),
    "brake": ("tests/unit/test_brake.py",),
    "disk": ("tests/unit/test_disk.py",),
    "glob": ("tests/unit/test_glob.py", "tests/unit/test_ignore.py", *GIT),
    "history": ("tests/unit/test_history_bases.py",),
    "ignore": ("tests/unit/test_ignore.py", "tests/unit/test_rules.py", *GIT),
    "merge": ("tests/unit/test_merge_[ts]*.py", "tests/property/test_merge_laws.py", MERGE_FILE),
    "plan": ("tests/unit/test_plan_cases.py", "tests/property/test_plan_laws.py", "tests/property/test_two_machines.py"),
    "secrets": ("tests/unit/test_secrets.py",),
    "settle": ("tests/unit/test_settle.py",),
    "state": ("tests/unit/test_state.py",),
    "wire": ("tests/unit/test_wire.py", "tests/unit/test_manifest_codec.py"),
}
"""Who answers for a module, or for all modules of a folder."""


def main(names: list[str]) -> int:
    """Try the mutants of the named modules, or of all. The number that live without an explanation."""
    os.chdir(HOUSE)
    unexplained = 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = f"{scratch}/temp"
        Path(f"{scratch}/temp").mkdir()
        for name in names or find_modules():
            unexplained += try_module(name)
    return min(unexplained, 99)


def find_modules() -> list[str]:
    """What there is to break: `brake`, `merge.lines`."""
    names = (".".join(file.relative_to(CORE).with_suffix("").parts).removesuffix("__init__").strip(".") for file in CORE.rglob("*.py"))
    return sorted(name for name in names if name and load_target(name).mutants)


def load_target(name: str) -> Target:
    """A module's mutants, and its tests."""
    file = CORE / name.replace(".", "/")
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    tests = []
    for pattern in TESTS[name.partition(".")[0]]:
        files, _, test = pattern.partition("::")
        tests += [str(path.relative_to(HOUSE)) + f"::{test}" * bool(test) for path in sorted(HOUSE.glob(files))]
    return Target(f"sync.core.{name}", file, list(make_mutants(file.read_text("utf-8"), str(file))), [ENDS, *tests])


def try_module(name: str) -> int:
    """Print what lives in one module, and its score. The number that live without an explanation."""
    target = load_target(name)
    outcomes: Counter[Outcome] = Counter()
    explained, seconds, unused = 0, 0.0, set(EXPLAINED.get(name, {}))
    for trial in try_remaining(target):
        called = identity(trial.mutant)
        outcomes[trial.outcome] += 1
        seconds += trial.seconds
        unused.discard(called)
        if trial.outcome not in (*KILLED, Outcome.BROKEN):
            why = EXPLAINED.get(name, {}).get(called)
            explained += why is not None
            if why is None:
                print(f"{name}:{trial.mutant.line}: {trial.outcome.name.lower()}: {called}", flush=True)
    killed = sum(outcomes[each] for each in KILLED)
    tried = sum(outcomes.values()) - outcomes[Outcome.BROKEN]
    counts = ", ".join(f"{outcomes[each]} {each.name.lower()}" for each in Outcome)
    print(f"{name}: {killed} of {tried} killed, {killed / tried:.1%} ({counts}; {explained} explained; {seconds:.0f} s)", flush=True)
    for gone in sorted(unused):
        print(f"{name}: explained, but no longer a mutant: {gone}")
    return tried - killed - explained


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
