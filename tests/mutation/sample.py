"""Beyond the core: `python -m tests.mutation.sample [MODULE...]` tries some mutants of the modules in which a slip would lose work.

The same ones each time, drawn from what is in functions; asked are the quick tests. Prints what lives. It fails for nothing: not every
one that lives is a missing test, and docs/mutants.md says which were. It works in a copy of the project, as a broken executor may
remove what it should not.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutation.journal import identity
from tests.mutation.operators import make_mutants
from tests.mutation.trial import Outcome, Target, try_mutants

HOUSE = Path(__file__).resolve().parents[2]
MUTANTS = 15
ENGINE = "tests/unit/test_engine*.py"
APPLY = ("tests/unit/test_apply.py", "tests/property/test_scan_apply.py", ENGINE)
SCAN = ("tests/unit/test_scan*.py", "tests/unit/test_rules.py", "tests/property/test_scan_*.py")
TESTS = {
    "store.atomic": ("tests/unit/test_atomic.py", "tests/unit/test_apply.py", *SCAN),
    "sync.adopt": (ENGINE,),
    "sync.apply.build": APPLY,
    "sync.apply.probe": ("tests/unit/test_probe.py",),
    "sync.apply.run": APPLY,
    "sync.apply.site": APPLY,
    "sync.apply.styled": (*APPLY, "tests/unit/test_styled.py"),
    "sync.engine": ("tests/unit/test_agenda.py", ENGINE, "tests/hostile/test_engine_lied_to.py"),
    "sync.scan.look": SCAN,
    "sync.scan.take": SCAN,
}


def main(names: list[str]) -> None:
    """Try a sample of each of the named modules, or of all."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = f"{scratch}/temp"
        Path(f"{scratch}/temp").mkdir()
        copy = Path(scratch) / "copy"
        shutil.copytree(HOUSE, copy, ignore=shutil.ignore_patterns(".*", "build", "node_modules", "web"))
        os.chdir(copy)
        sys.path[:] = [str(copy), *sys.path]
        for name in names or TESTS:
            try_sample(name, copy)


def try_sample(name: str, house: Path) -> None:
    """Print what lives of one module, and how many of how many died."""
    place = house / name.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    mutants = [each for each in make_mutants(file.read_text("utf-8"), str(file)) if each.place and not each.place.endswith(".")]
    tests = sorted({str(path.relative_to(house)) for pattern in TESTS[name] for path in house.glob(pattern)})
    chosen = random.Random(name).sample(mutants, MUTANTS)
    outcomes: Counter[Outcome] = Counter()
    for mutant, outcome, _ in try_mutants(Target(name, file, sorted(chosen, key=lambda each: each.line), tests)):
        outcomes[outcome] += 1
        if outcome not in (Outcome.ASSERTED, Outcome.RAISED):
            print(f"{name}:{mutant.line}: {outcome.name.lower()}: {identity(mutant)}", flush=True)
    print(f"{name}: {outcomes[Outcome.ASSERTED] + outcomes[Outcome.RAISED]} of {MUTANTS} killed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
