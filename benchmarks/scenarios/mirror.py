"""(4) The first mirror: from an empty folder on B until it equals A."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.bench import Bench, have
from benchmarks.measure import CpuMeter, flush_disks, median, spread
from benchmarks.peers.unison import Unison
from benchmarks.report import Bar, Section
from tests.lab.compare import shown, tree_differences
from tests.lab.pair import PROJECT

METHOD = """\
A's tree is known to its side before the clock starts (Fastest: pushed to the cloud; Unison has to scan it within its run). Fastest:
from the start of `fst clone PROJECT PATH --mirror` on a signed-in machine until it and `fst wait --settled` have returned, a cloud
in between. Unison: one run in batch mode against a server on a local socket. In turns; afterwards both folders are compared byte
for byte."""


def run(bench: Bench) -> Section:
    """In turns."""
    section = Section("mirror", f"First mirror of {bench.told(bench.big())} into an empty folder", METHOD, ("system", "wall s", "CPU s"))
    a = bench.copy(bench.big(), bench.folder("mirror-a") / "work")
    walls: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    lacking = have("unison")
    mirror = None
    if bench.ours:
        mirror = ours.Mirror(bench.lab("mirror"))
        mirror.start_a(a)
    for number in range(bench.repeats):
        if mirror is not None:
            _ours(bench, mirror, walls, used, number)
        if bench.peers and not lacking:
            b = bench.folder("mirror-b") / "work"
            unison = Unison(bench.lab("unison"))
            unison.serve()
            flush_disks()
            meter = CpuMeter(unison.processes)
            done = unison.sync_once(a, b)
            walls.setdefault("Unison, local socket", []).append(done.seconds)
            used.setdefault("Unison, local socket", []).append(meter.used() + done.cpu_seconds)
            assert not (told := tree_differences(a, b)), shown(told)
    for name, taken in walls.items():
        section.rows.append((name, spread(taken), spread(used[name])))
    if lacking and bench.peers:
        section.notes.append(lacking)
    if ours.NAME in walls:
        section.bars.append(Bar("first mirror", median(walls[ours.NAME]), 8, "s"))
        if "Unison, local socket" in walls:
            section.bars.append(Bar("against Unison", median(walls[ours.NAME]) / median(walls["Unison, local socket"]), 0.3, "x"))
    return section


def _ours(bench: Bench, mirror: ours.Mirror, walls: dict[str, list[float]], used: dict[str, list[float]], number: int) -> None:
    b = bench.folder("mirror-b") / "work"
    machine = mirror.add_machine(f"b{number}", b)
    flush_disks()
    meter = CpuMeter(mirror.processes)
    cloned = machine.must("clone", PROJECT, str(b), "--mirror", "-y", cwd=machine.folder, timeout_s=900)
    settled = machine.must("wait", "--settled", "--timeout", "900", timeout_s=930)
    walls.setdefault(ours.NAME, []).append(cloned.seconds + settled.seconds)
    used.setdefault(ours.NAME, []).append(meter.used() + cloned.cpu_seconds + settled.cpu_seconds)
    assert not (told := tree_differences(mirror.pair.a.root, b)), shown(told)
    machine.stop()
