"""What became of mutants in earlier runs, a file a module in `build/mutation`: a run that was cut short goes on where it was.

What died once is not tried again while the module and its mutants stay as they are: tests come, and hardly ever go. What lived is
tried again as soon as any test changed. Without the folder everything is tried anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.mutation.operators import Mutant
from tests.mutation.trial import KILLED, Outcome, Target, try_mutants

TESTS = Path(__file__).resolve().parents[1]
FOLDER = TESTS.parent / "build/mutation"


class Trial(NamedTuple):
    """What became of a mutant, and how long that took."""

    mutant: Mutant
    outcome: Outcome
    seconds: float


def identity(mutant: Mutant) -> str:
    """What journal and `explained.py` call it: no line number, which would move."""
    return f"{mutant.place}: {mutant.tells}"


def try_remaining(target: Target) -> Iterator[Trial]:
    """Every mutant's outcome, tried now or known."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    code = _digest([target.file.read_bytes(), *[identity(mutant).encode() for mutant in target.mutants]])
    journal = FOLDER / f"{target.name}-{code}.txt"
    tests = _digest(path.read_bytes() for path in sorted(TESTS.rglob("test_*.py")))
    known = dict(_read(journal, tests))
    remaining = []
    for mutant in target.mutants:
        if identity(mutant) in known:
            yield Trial(mutant, *known[identity(mutant)])
        else:
            remaining.append(mutant)
    with journal.open("a", encoding="utf-8", buffering=1) as out:
        for mutant, outcome, seconds in try_mutants(target._replace(mutants=remaining)) if remaining else ():
            out.write(f"{tests} {outcome.name} {seconds:.2f} {identity(mutant)!r}\n")
            yield Trial(mutant, outcome, seconds)


def _read(journal: Path, tests: str) -> Iterator[tuple[str, tuple[Outcome, float]]]:
    for line in journal.read_text("utf-8").splitlines(keepends=True) if journal.exists() else ():
        words = line.split(" ", 3)
        if line.endswith("\n") and (words[0] == tests or Outcome[words[1]] in KILLED):
            yield str(ast.literal_eval(words[3])), (Outcome[words[1]], float(words[2]))


def _digest(parts: Iterable[bytes]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(sha256(part).digest())
    return digest.hexdigest()[:12]
