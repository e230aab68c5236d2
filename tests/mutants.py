"""Breaks the code on purpose, one mistake at a time, and asks which tests notice: `python -m tests.mutants [NAME...]`.

Not part of `make test`. Each mutant is one replaced text; it runs in a copy, without shrinking. Prints the rows of docs/mutants.md and
fails if a mutant lives. The text must occur exactly once, so a mutant that the code has outgrown says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.simulation.mistakes import MISTAKES

HOUSE = Path(__file__).parents[1]
PARTS = ("store", "sync", "daemon", "cloud", "tests", "pyproject.toml")
NO_SHRINKING = """
from hypothesis import Phase
settings.register_profile("mutants", settings.get_profile("fast"), phases=[Phase.explicit, Phase.generate], database=None)
settings.load_profile("mutants")
"""


class Mutant(NamedTuple):
    """A mistake: in `file`, `old` becomes `new`."""

    name: str
    tells: str
    file: str
    old: str
    new: str


class Suite(NamedTuple):
    """The tests that some mutants must not survive."""

    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


PLAN, MACHINES = "sync/core/plan.py", "tests/machines.py"

PLANNER = Suite(
    ("tests/unit/test_plan_cases.py", "tests/property/test_plan_laws.py", "tests/property/test_two_machines.py"),
    (
        Mutant(
            "M1",
            "the original's table: a deletion there does not travel",
            PLAN,
            "                if untracked(path, ours):",
            "                if mine is None or untracked(path, ours):",
        ),
        Mutant(
            "M1b",
            "the original's base: where it is missing, an empty one",
            PLAN,
            "    table = _Table(\n",
            "    from store.manifest import EMPTY_ROOT as base\n    table = _Table(\n",
        ),
        Mutant("M2", "a deletion here beats an edit there", PLAN, "        return theirs, None\n", "        return None, None\n"),
        Mutant(
            "M2b",
            "a deletion there beats an edit here",
            PLAN,
            "                    self.kept.add(path)\n                    continue\n",
            "                    self.wanted[path] = None\n                    continue\n",
        ),
        Mutant(
            "M3",
            "base moves before the compare-and-swap answers",
            MACHINES,
            "if shared != self.agreed and cloud.push(self.agreed_version, shared) and answered:\n            ",
            "if shared != self.agreed:\n            cloud.push(self.agreed_version, shared)\n            ",
        ),
        Mutant("M4", "pull forgets to move the base", MACHINES, "            self.agreed, self.agreed_version = remote, version\n", ""),
        Mutant(
            "M5",
            "a conflict forgets the other side's bytes",
            PLAN,
            "Clash(path, kind, change.old, ours, theirs)",
            "Clash(path, kind, change.old, theirs, theirs)",
        ),
        Mutant("M6", "the server skips the version check", MACHINES, "if expected_version != self.version:", "if expected_version < 0:"),
        Mutant(
            "M7",
            "base moves though steps were left undone",
            MACHINES,
            "if all(done) and len(done) == len(plan.actions):",
            "if all(done):",
        ),
        Mutant(
            "M7b",
            "base moves though a step found something else",
            MACHINES,
            "if all(done) and len(done) == len(plan.actions):",
            "if len(done) == len(plan.actions):",
        ),
        Mutant(
            "M8",
            "a clash is recorded only once all steps are done",
            MACHINES,
            "        cloud.records += plan.clashes\n",
            "        cloud.records += plan.clashes if most is None or most >= len(plan.actions) else ()\n",
        ),
        Mutant(
            "M9",
            "no look below a folder the remote lost",
            PLAN,
            "        for path in chain(self.here, self.there):\n",
            "        for path in self.there:\n",
        ),
        Mutant(
            "M10",
            "no look below a folder we lost",
            PLAN,
            "        for path in chain(self.here, self.there):\n",
            "        for path in self.here:\n",
        ),
        Mutant(
            "M11",
            "only the nearest folder comes back",
            PLAN,
            "                folder = parent_of(folder)\n\n",
            "                break\n\n",
        ),
        Mutant(
            "M12",
            "a folder comes back over a file that nobody keeps",
            PLAN,
            "            self.clashes[folder] = Clash(folder, FILE_FOLDER, DIR, ours, theirs)\n",
            "            pass\n",
        ),
        Mutant("M13", "a folder that stays is not told", PLAN, "            self.kept.add(folder)\n", "            pass\n"),
        Mutant(
            "M14",
            "the remote's file takes a folder's name",
            PLAN,
            "        return DIR, FILE_FOLDER\n",
            "        return theirs, FILE_FOLDER\n",
        ),
        Mutant("M15", "the clash keeps ours in place", PLAN, "    return theirs, ADD_ADD if", "    return ours, ADD_ADD if"),
        Mutant(
            "M16",
            "the executable bit follows the content",
            PLAN,
            "content.size, _join_executable(base, ours, theirs))",
            "content.size, content.executable)",
        ),
        Mutant(
            "M17",
            "the bit goes to whoever has it",
            PLAN,
            "    if base is None:\n        return ours.e",
            "    if True:\n        return ours.e",
        ),
        Mutant(
            "M18",
            "one side's edit is joined with the base",
            PLAN,
            "    elif base is not None and theirs.digest == base.digest:\n        content = ours\n",
            "",
        ),
        Mutant("M19", "removals run from the top", PLAN, "        removals.reverse()\n", ""),
        Mutant(
            "M20", "names are taken before they are free", PLAN, "            (*removals, *writes),", "            (*writes, *removals),"
        ),
        Mutant(
            "M21",
            "only newcomers' names are compared",
            PLAN,
            "                    takers[folder] = self.names_kept(folder, fold, list_local)",
            "                    takers[folder] = {}",
        ),
        Mutant("M22", "who leaves still has the name", PLAN, " if self.wanted.get(path, entry) is not None}", "}"),
        Mutant("M23", "what is below a held folder is written", PLAN, "            if folder in self.held:\n", "            if False:\n"),
        Mutant("M24", "names are compared in the whole tree", PLAN, "fold(_name_of(path)), path)", "fold(path), path)"),
        Mutant("M25", "what the remote ignores is removed", PLAN, "                if untracked(path, ours):", "                if False:"),
        Mutant(
            "M26",
            "an edit of what the remote ignores is an edit it lost",
            PLAN,
            "                if untracked(path, ours):",
            "                if mine is None and untracked(path, ours):",
        ),
        Mutant(
            "M27", "a held path is pushed as removed", MACHINES, "for place in self.held}, **self.disk}", "for place in ()}, **self.disk}"
        ),
        Mutant("M28", "with a held path, push does not plan first", MACHINES, "        if self.held:\n", "        if False:\n"),
        Mutant(
            "M29",
            "a held path stays in the base",
            MACHINES,
            "base = {place: entry for place, entry in self.agreed.items() if place not in self.held}",
            "base = self.agreed",
        ),
        Mutant(
            "M30",
            "a stale step is taken all the same",
            "tests/planning.py",
            "    assert disk.get(path) == action.expect,",
            "    assert True,",
        ),
    ),
)

BRAKE, STATE, SETTLE, SNAPSHOT = (f"sync/core/{name}.py" for name in ("brake", "state", "settle", "autosnapshot"))

JUDGEMENTS = Suite(
    ("tests/unit/test_brake.py", "tests/unit/test_state.py", "tests/unit/test_settle.py", "tests/unit/test_autosnapshot.py"),
    (
        Mutant("J1", "the brake counts moves", BRAKE, "sum(min(count, arrived[content])", "sum(min(0, arrived[content])"),
        Mutant(
            "J2",
            "one file that comes vouches for all that go",
            BRAKE,
            "sum(min(count, arrived[content])",
            "sum(count * (content in arrived)",
        ),
        Mutant("J3", "the brake holds at its limit", BRAKE, "losses.weight > max(", "losses.weight >= max("),
        Mutant("J4", "the smaller limit counts", BRAKE, "> max(limits", "> min(limits"),
        Mutant("J5", "a root may be emptied", BRAKE, "clears = before > 0 and after == 0", "clears = False"),
        Mutant("J6", "git may not switch", BRAKE, "Brake(not switching and (", "Brake(("),
        Mutant("J7", "emptying is overwriting", BRAKE, "            emptied += 1\n", "            overwritten += 1\n"),
        Mutant(
            "J8", "a nudge ends a halt", STATE, "(State.HALTED, Signal.NUDGE): State.HALTED", "(State.HALTED, Signal.NUDGE): State.SCANNING"
        ),
        Mutant("J9", "what is stale waits", STATE, "{(state, Signal.STALE): State.SCANNING", "{(state, Signal.STALE): State.WAITING"),
        Mutant("J10", "halting loses its reason", STATE, "    return Standing(state, halt)\n", "    return Standing(state)\n"),
        Mutant(
            "J11",
            "offline saves wait",
            STATE,
            "(State.WAITING, Signal.NUDGE): State.SCANNING",
            "(State.WAITING, Signal.NUDGE): State.WAITING",
        ),
        Mutant("J12", "a burst that never ends is never due", SETTLE, ", burst.first_seconds + pace.max_ms / 1000)", ", 1e9)"),
        Mutant("J13", "a burst is due as a single save", SETTLE, "if burst.paths <= 1 else pace.quiet_ms", "if True else 0"),
        Mutant("J14", "each event begins the bound anew", SETTLE, "Burst(burst.first_seconds, max(", "Burst(now_seconds, max("),
        Mutant("J15", "no cooldown", SNAPSHOT, "    if large or not", "    if True or not"),
        Mutant("J16", "a clock that went back waits for years", SNAPSHOT, "not 0 <= now_ms - newest_ms <", "not now_ms - newest_ms <"),
        Mutant(
            "J17",
            "folders count as files",
            SNAPSHOT,
            "        if _is_folder(change.old) and _is_folder(change.new):\n            continue\n",
            "",
        ),
        Mutant("J18", "an addition is not significant", SNAPSHOT, "change.old is None or change.new is None", "change.new is None"),
    ),
)

SIMULATION = Suite(("tests/simulation/test_simulation.py",), tuple(Mutant(*row) for row in MISTAKES))

SUITES = (PLANNER, JUDGEMENTS, SIMULATION)


def main(names: list[str]) -> int:
    """Try the named mutants, or all. The number that live."""
    living = 0
    for suite in SUITES:
        for mutant in suite.mutants:
            if not names or mutant.name in names:
                killers = try_mutant(mutant, suite.tests)
                living += not killers
                print(f"| {mutant.name} {mutant.tells} | {', '.join(killers) or '**lives**'} |", flush=True)
    return living


def try_mutant(mutant: Mutant, tests: tuple[str, ...]) -> list[str]:
    """The tests that fail when this mistake is made."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for part in PARTS:
            if (HOUSE / part).is_dir():
                shutil.copytree(HOUSE / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(HOUSE / part, copy / part)
        text = (copy / mutant.file).read_text()
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.name}: its text is {text.count(mutant.old)} times in {mutant.file}")
        (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
        conftest = copy / "tests/conftest.py"
        conftest.write_text(conftest.read_text() + NO_SHRINKING)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
        told = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False).stdout
    return summarise(re.findall(r"^(?:FAILED|ERROR) \S*?(\w+)\.py(?:::(\S+?))?(?:\[.*)?(?: - .*)?$", told, re.MULTILINE))


def summarise(failed: list[tuple[str, str]]) -> list[str]:
    """`P3`, `two machines`, `plan_cases x 12`: who noticed."""
    counts: dict[str, int] = {}
    for module, test in failed:
        law = re.match(r"test_p(\d+)_", test)
        name = f"P{law[1]}" if law else "two machines" if module == "test_two_machines" else module.removeprefix("test_").replace("_", " ")
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts, key=lambda name: (not name.startswith("P"), int(name[1:]) if name[1:].isdigit() else 0, name))
    return [f"{name} ({counts[name]})" if counts[name] > 1 else name for name in ordered]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
