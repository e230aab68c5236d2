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
PARTS = ("daemon", "store", "sync", "cloud", "tests", "pyproject.toml")
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
            "content.size, join_executable(base, ours, theirs))",
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
            "                takers[folder] = self.names_kept(folder, fold, list_local)",
            "                takers[folder] = {}",
        ),
        Mutant("M22", "who leaves still has the name", PLAN, " if self.wanted.get(path, entry) is not None}", "}"),
        Mutant("M23", "what is below a held folder is written", PLAN, "            if self.hold_below(path):\n", "            if False:\n"),
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
            "M31",
            "a name the disk cannot hold is written",
            PLAN,
            "(reason := refuse(_name_of(path))) is not None",
            "(reason := None) is not None",
        ),
        Mutant(
            "M32",
            "what is below a folder with such a name is written",
            PLAN,
            "            if not self.hold_below(path) and (",
            "            if (",
        ),
        Mutant(
            "M33",
            "a name the disk cannot hold takes another's place",
            PLAN,
            "    if refuse is not None:\n        table.hold_refused(refuse)\n    if fold is not None:\n"
            "        table.hold_taken(fold, lambda folder: list_folder(local, folder, nodes))\n",
            "    if fold is not None:\n        table.hold_taken(fold, lambda folder: list_folder(local, folder, nodes))\n"
            "    if refuse is not None:\n        table.hold_refused(refuse)\n",
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

JOIN, LINES, MARKED = (f"sync/core/merge/{name}.py" for name in ("join", "lines", "marked"))

JOINING = Suite(
    ("tests/unit/test_merge_text.py", "tests/unit/test_merge_git.py", "tests/property/test_merge_laws.py"),
    (
        Mutant(
            "L1",
            "replacements that touch clash",
            JOIN,
            "        if mine and yours and _are_replacements",
            "        if False and _are_replacements",
        ),
        Mutant("L2", "insertions and removals that touch join", JOIN, "not any(hunk.growth for hunk in hunks) and ", ""),
        Mutant("L3", "replacements that overlap join", JOIN, "one.old_end <= other.old_start for", "True for"),
        Mutant("L4", "a line that only moved has gone", JOIN, "    return known[side].isdisjoint(went) and ", "    return "),
        Mutant("L5", "a line that was there has come", JOIN, "known[0].isdisjoint(came) and ", ""),
        Mutant("L6", "a line that both wrote is one side's", JOIN, " and known[3 - side].isdisjoint(came)", ""),
        Mutant("L7", "touching replacements are told as theirs", JOIN, "hunk in mine, hunk in yours)", "False, True)"),
        Mutant(
            "L8",
            "hunks that touch do not hang together",
            JOIN,
            "side[0].old_start <= end:",
            "(side[0].old_start < end or side[0].old_start == start):",
        ),
        Mutant(
            "L9",
            "what both made alike clashes",
            JOIN,
            "            yield Stretch(region, False, False)",
            "            yield Stretch(region, True, True)",
        ),
        Mutant("L10", "only the beginning is asked for a NUL", JOIN, 'b"\\0" not in data and', 'b"\\0" not in data[:8000] and'),
        Mutant("L11", "wide letters are lines of text", JOIN, " or data.startswith(WIDE_MARKS)", ""),
        Mutant("L12", "sliding costs nothing", LINES, "        self.budget.slides -= 1 + before", "        before -= 1 + before"),
        Mutant("L13", "the search has a budget of its own", LINES, "kept_b, budget).run", "kept_b, Budget()).run"),
        Mutant(
            "L14",
            "each conflict is marked with a budget of its own",
            MARKED,
            "_narrow(region, texts, budget)",
            "_narrow(region, texts, Budget())",
        ),
        Mutant(
            "L15",
            "the shift of a side is forgotten",
            JOIN,
            "start + shift_theirs, end + shift_theirs)\n        yield",
            "start, end)\n        yield",
        ),
        Mutant(
            "L16", "what is between two conflicts is doubled", JOIN, "        at = region.base_end\n", "        at = region.base_start\n"
        ),
    ),
)

STYLE, STYLED, SHARE, VERBS, ADOPT = (
    "sync/core/merge/style.py",
    "sync/apply/styled.py",
    "sync/share.py",
    "daemon/verbs.py",
    "sync/adopt/__init__.py",
)

STYLES = Suite(
    ("tests/unit/test_merge_style.py", "tests/unit/test_engine_conflicts.py", "tests/property/test_conflict_histories.py"),
    (
        Mutant("Y1", "a copy's name is chance", STYLE, ".hex()[:TAG_DIGITS]\n", ".hex()[:9] + str(id(object()))[-3:]\n"),
        Mutant("Y2", "copies go in last", STYLED, "actions=(*copies, *decided.actions)", "actions=(*decided.actions, *copies)"),
        Mutant("Y3", "a copy takes a name that only the disk knows", STYLE, "if there is None and is_free(path):", "if there is None:"),
        Mutant("Y4", "a copy that is there is made again", STYLE, "            if there == lost:\n", "            if False:\n"),
        Mutant(
            "Y5", "a copy takes a name that is carried", STYLE, "if there is None and is_free(path):", "if is_free(path) or there != lost:"
        ),
        Mutant("Y6", "two clashes take one name", STYLE, "made[path].become if path in made else entry_at(path)", "entry_at(path)"),
        Mutant("Y7", "a folder has a copy, a file none", STYLE, "lost = theirs if isinstance(ours, Dir) else ours", "lost = ours"),
        Mutant("Y8", "letters are cut in two", STYLE, "name[size] & 0xC0 == 0x80", "False"),
        Mutant("Y9", "markers stand among markers", STYLE, " or _MARK.search(ours) or _MARK.search(theirs):", ":"),
        Mutant("Y10", "control characters are text", STYLE, "if not is_text(data) or _CONTROL.search(data):", "if not is_text(data):"),
        Mutant("Y11", "any bytes are text", STYLE, "        data.decode()\n", '        data.decode("latin-1")\n'),
        Mutant("Y12", "a text with markers is an edit of its own", ADOPT, "        if is_marked(local, remote):\n", "        if False:\n"),
        Mutant("Y13", "an undo has no style", ADOPT, "    decided = in_style(replica, before,", "    in_style(replica, before,"),
        Mutant("Y14", "a plan that is made again records again", ADOPT, "if (record.path, record.ours, record.theirs) not in known]", "]"),
        Mutant("Y15", "theirs keeps the markers", VERBS, "if marked is not None and marked == now else {}", "if False else {}"),
        Mutant(
            "Y16", "theirs takes an edit back", VERBS, "if marked is not None and marked == now else {}", "if marked is not None else {}"
        ),
        Mutant("Y17", "both make a second copy", VERBS, "if lost is None or any(", "if lost is None or False and any("),
        Mutant(
            "Y18",
            "the edited text takes a folder's name",
            VERBS,
            '        if how == "edit":\n            raise',
            "        if False:\n            raise",
        ),
        Mutant("Y19", "the record of a secret is told", SHARE, "if suspect is None or not _has_secret(", "if True or not _has_secret("),
        Mutant(
            "Y20",
            "the copy of a secret is none",
            SHARE,
            "suspect(named_after(change.path), change.new)",
            "suspect(change.path, change.new)",
        ),
        Mutant("Y21", "markers take the executable bit", STYLED, "len(text), theirs.executable)", "len(text))"),
    ),
)

DISK, RUN, PROBE = "sync/core/disk/__init__.py", "sync/apply/run.py", "sync/apply/probe.py"

DISKS = Suite(
    (
        "tests/unit/test_disk.py",
        "tests/unit/test_probe.py",
        "tests/unit/test_engine_names.py",
        "tests/unit/test_reserved_names.py",
        "tests/unit/test_apply.py",
        "tests/contract/test_real_disks.py",
        "tests/property/test_odd_disks.py",
    ),
    (
        Mutant(
            "D1",
            "forms stay apart",
            DISK,
            '            text = normalize("NFD", text)\n        if self.wide',
            "            pass\n        if self.wide",
        ),
        Mutant(
            "D2", "letters fold to small ones, whatever their capitals are", DISK, "    upper = letter.upper()\n", "    upper = letter\n"
        ),
        Mutant("D3", "a device's name with an ending is free", DISK, 'text.partition(".")[0].rstrip(" ")', "text"),
        Mutant(
            "D4", "a dot at the end is kept", DISK, 'if self.tails and text.endswith((".", " ")):', 'if self.tails and text.endswith(" "):'
        ),
        Mutant("D5", "a name that would lose its capitals is written", DISK, "if self.lowers and text != text.lower():", "if False:"),
        Mutant("D6", "another spelling counts as done", RUN, "if step.expect is None and not site.has_name(name):", "if False:"),
        Mutant(
            "D7",
            "what is in a folder that was refused goes into another's",
            RUN,
            "        if step.become is not None and self._refuse_below(step.path):\n",
            "        if False:\n",
        ),
        Mutant(
            "D8",
            "what the system does not take is looked at for ever",
            RUN,
            "        if step.expect is None and status is None:\n",
            "        if False:\n",
        ),
        Mutant(
            "D9",
            "a plan begins at agreed",
            SHARE,
            "return Ground(edit_manifest(base, sorted(had.items()), draft)",
            "return Ground(base",
        ),
        Mutant("D10", "a plan begins at shared", SHARE, "edit_manifest(row.shared_root, sorted(here.items()), draft))", "row.shared_root)"),
        Mutant(
            "D11",
            "an edit of what could not be taken is shared at once",
            SHARE,
            "        if self._untaken and _is_at_or_below(path, self._untaken):\n",
            "        if False:\n",
        ),
        Mutant(
            "D12",
            "what waits in a folder that went is left in no folder",
            SHARE,
            "            self._edits.update((below, None) for below in self._find_untaken_below(path))\n",
            "            pass\n",
        ),
        Mutant(
            "D13",
            "what a record keeps is recorded again",
            "sync/adopt/__init__.py",
            "decided.start.local if path in told else decided.start.base",
            "decided.start.base",
        ),
        Mutant(
            "D14",
            "what was taken at last waits for ever",
            "sync/adopt/__init__.py",
            "    dropped = [path for path in decided.untaken if path not in refused and path not in stale]\n",
            "    dropped: list[RelPath] = []\n",
        ),
        Mutant("D15", "what waits is sent unplanned", "sync/engine.py", "        if self.is_plan_due:\n", "        if False:\n"),
        Mutant("D16", "a disk that cannot be asked refuses all", PROBE, '    if left or not _holds(root, b"", left):\n', "    if False:\n"),
        Mutant(
            "D17",
            "a full disk refuses all",
            PROBE,
            "REFUSALS: Final = (FileMoved, InvalidValue, Unwritable)",
            "from store.errors import NoSpace\n\nREFUSALS: Final = (FileMoved, InvalidValue, Unwritable, NoSpace)",
        ),
        Mutant(
            "D18",
            "another disk is not asked",
            "sync/replica.py",
            "if self._disk is None or self._disk[0] != self.row.identity:",
            "if self._disk is None:",
        ),
        Mutant("D19", "a bit that the disk made up is an edit", "sync/scan/take.py", " if self._bits else _was_executable(record))", ")"),
        Mutant(
            "D20",
            "a record has the bit that the disk made up",
            "store/index.py",
            "status.st_mode & ~stat.S_IXUSR | (mode & stat.S_IXUSR)",
            "status.st_mode",
        ),
        Mutant(
            "D21",
            "a disk without bits is read again and again",
            "sync/scan/look.py",
            "            if no_bits and record",
            "            if False and record",
        ),
        Mutant(
            "D22",
            "a removal waits for the right bit",
            "sync/apply/site.py",
            "(self._bits and bool(status.st_mode & stat.S_IXUSR) != expect.executable)",
            "bool(status.st_mode & stat.S_IXUSR) != expect.executable",
        ),
        Mutant("D23", "a backslash after .git frees it", "store/types.py", 'rb"[:\\\\]"', 'rb"[:]"'),
        Mutant("D24", "the dotless i is no i", "store/types.py", "kept.upper().casefold()", "kept.casefold()"),
    ),
)

SIMULATION = Suite(("tests/simulation/test_simulation.py",), tuple(Mutant(*row) for row in MISTAKES))

ADOPT = "sync/adopt/__init__.py"

DOUBT = Suite(
    ("tests/unit/test_agenda.py", "tests/unit/test_engine_killed.py", "tests/unit/test_engine_doubt.py"),
    (
        Mutant(
            "S1",
            "what was heard while halted calls for a cycle for ever",
            "daemon/agenda.py",
            "        if self.incoming:  # left",
            "        if False:  # left",
        ),
        Mutant("K1", "what a killed pull placed is not known", ADOPT, "base_of(replica, before_it, received.draft)", "before_it"),
        Mutant(
            "K2",
            "a copy of what clashed is taken for the cloud's",
            ADOPT,
            "isinstance(step.become, File | Link) and step.become == entry}",
            "isinstance(step.become, File | Link)}",
        ),
        Mutant(
            "K3", "what both sides let go of is still known as placed", ADOPT, "    _agree_placed(replica, start.local, received)\n", ""
        ),
        Mutant(
            "K4",
            "a late message with a record is not asked about",
            "sync/incoming/__init__.py",
            "return is_before and not (event.snapshots or event.conflicts)",
            "return is_before",
        ),
        Mutant(
            "K5",
            "a secret that a killed pull brought is held back",
            SHARE,
            "(theirs := came(change.path)) != change.new:",
            "(theirs := find_entry(row.agreed_root, change.path, draft)) != change.new:",
        ),
        Mutant(
            "K6",
            "a secret made of what a killed pull brought is held back from what was before",
            SHARE,
            "                sharing.take(msgspec.structs.replace(change, new=theirs))",
            "                pass",
        ),
    ),
)

SUITES = (PLANNER, JUDGEMENTS, JOINING, STYLES, DISKS, SIMULATION, DOUBT)


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
