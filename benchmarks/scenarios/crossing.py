"""(3) A save on A becomes bytes on B: single saves, bursts of 500 files, and what a reader of B can see meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks import ours
from benchmarks.bench import Bench, have
from benchmarks.measure import median, percentile, rss_mib, spread
from benchmarks.peers.syncthing import Syncthing
from benchmarks.peers.unison import Unison
from benchmarks.report import Bar, Section
from benchmarks.saves import TightReader, choose_targets, measure_burst, measure_saves, seed_targets
from tests.lab.process import Lab, Process

METHOD = """\
All processes on one machine, over loopback. 100 saves (in place, of random existing files, 50 bytes to 64 KiB, random pauses of
0.05 to 1 s): from close() on A until a reader on B that looks every 0.5 ms has exactly the bytes. CPU: what all of the system's
processes used, cloud included, by the number of saves. Burst: 500 files rewritten at once, from the first write until B has all.
Then, apart from the clock, a process reads B without a pause during two bursts and 20 saves: each content tells by a SHA-256 of its
own whether it is whole. Peers get fewer saves, and B begins as a copy for them: big trees take them minutes."""

COLUMNS = ("system", "tree", "saves", "p50 ms", "p95 ms", "max ms", "CPU ms a save", "burst of 500, s", "RSS MiB", "missing", "torn")
BURST = 500


class Continuous(Protocol):
    """A system that keeps two folders equal."""

    name: str

    def start(self, a: Path, b: Path) -> None:
        """Run until equal."""

    def processes(self) -> list[Process]:
        """All that it runs."""


def run(bench: Bench) -> Section:
    """Each system on the small tree, then on the big one."""
    section = Section("crossing", "From a save on A to the bytes on B", METHOD, COLUMNS)
    systems: list[tuple[str, int, int, Callable[[Lab], Continuous]]] = []
    if bench.ours:
        systems.append((ours.NAME, 100, 100, ours.Mirror))
    if bench.peers and not (lacking := have("syncthing")):
        systems += [("default", 8, 0, lambda lab: Syncthing(lab, None)), ("delay 1", 30, 15, lambda lab: Syncthing(lab, 1))]
    elif bench.peers:
        section.notes.append(lacking)
    if bench.peers and not (lacking := have("unison")):
        systems.append(("unison", 30, 10, Unison))
    elif bench.peers:
        section.notes.append(lacking)
    for tree_name in ("small",) if bench.quick else ("small", "big"):
        tree = bench.small() if tree_name == "small" else bench.big()
        for _, small_saves, big_saves, make in systems:
            saves = small_saves if tree_name == "small" else big_saves
            if saves:
                _measure(bench, section, make, tree_name, tree, saves // 5 if bench.quick else saves)
    return section


def _measure(bench: Bench, section: Section, make: Callable[[Lab], Continuous], tree_name: str, tree: Path, saves: int) -> None:
    rng = random.Random(saves)
    a = bench.copy(tree, bench.folder("crossing-a") / "work")
    b = bench.folder("crossing-b") / "work"
    system = make(bench.lab("crossing"))
    system.start(a, b)
    is_ours = system.name == ours.NAME
    targets = choose_targets(a, BURST, rng)
    seed_targets(a, b, targets, rng)
    pauses = (0.05, 1.0) if is_ours else (0.5, 2.5)
    seen = measure_saves(a, b, targets[:100], saves, rng, system.processes, pauses)
    memory = rss_mib(system.processes())
    bursts = [measure_burst(a, b, targets, rng) for _ in range(5 if is_ours else max(1, min(3, bench.repeats)))]
    reader = TightReader(b, targets[:20])
    measure_burst(a, b, targets, rng)
    measure_saves(a, b, targets[:20], 20 if is_ours else 3, rng, system.processes, pauses)
    measure_burst(a, b, targets, rng)
    reads, missing, torn = reader.stop()
    missing += seen.missing + sum(missed for _, missed in bursts)
    p50, p95 = percentile(seen.latencies_ms, 0.5), percentile(seen.latencies_ms, 0.95)
    section.rows.append(
        (
            system.name, tree_name, str(saves), f"{p50:.1f}", f"{p95:.1f}", f"{max(seen.latencies_ms):.1f}", f"{seen.cpu_ms_an_edit:.1f}",
            spread([seconds for seconds, _ in bursts]), f"{memory:.0f}", f"{missing} of {reads} reads", str(torn + seen.torn),
        )
    )  # fmt: skip
    bench.close_labs()
    if is_ours:
        section.bars += [
            Bar(f"p50, {tree_name} tree", p50, 50, "ms"),
            Bar(f"p95, {tree_name} tree", p95, 100, "ms"),
            Bar(f"CPU of all our processes a save, {tree_name} tree", seen.cpu_ms_an_edit, 10, "ms"),
            Bar(f"burst of 500, {tree_name} tree", median([seconds for seconds, _ in bursts]), 0.5, "s"),
            Bar(f"reads that found a file missing or torn, {tree_name} tree", missing + torn + seen.torn, 0),
        ]
