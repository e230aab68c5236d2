"""(7) A daemon at rest on the 60,000-file tree: memory and CPU while nothing happens."""

from __future__ import annotations

import time

from benchmarks import ours
from benchmarks.bench import Bench, have
from benchmarks.measure import CpuMeter, median, rss_mib, spread
from benchmarks.peers.syncthing import Syncthing
from benchmarks.report import Bar, Section
from tests.lab.process import Process

METHOD = """\
Signed in, in sync, connected; a minute of quiet, then windows of 60 s (quick: 5 s) in which nothing changes. Resident memory is
summed over each system's processes at the end of a window (the highest window counts), CPU over the window. Syncthing: one of two
instances that share the tree."""


def run(bench: Bench) -> Section:
    """All side by side: a system at rest does not disturb another."""
    section = Section("rest", f"At rest on {bench.told(bench.big())}", METHOD, ("process", "RSS MiB", "CPU s a minute", "share of a core"))
    window = 5 if bench.quick else 60
    watched: dict[str, list[Process]] = {}
    if bench.ours:
        mirror = ours.Mirror(bench.lab("rest"))
        mirror.start_a(bench.copy(bench.big(), bench.folder("rest") / "work"))
        watched["Fastest, daemon with its children"] = mirror.pair.lab.processes("a")
        watched["Fastest, cloud"] = mirror.pair.lab.processes("cloud")
    if bench.peers and not (lacking := have("syncthing")):
        syncthing = Syncthing(bench.lab("rest-syncthing"), None)
        a = bench.copy(bench.big(), bench.folder("rest-syncthing") / "a")
        syncthing.start(a, a.parent / "b")
        watched["Syncthing, one instance"] = syncthing.left_processes()
    elif bench.peers:
        section.notes.append(lacking)
    time.sleep(window)
    used: dict[str, list[float]] = {name: [] for name in watched}
    memory: dict[str, list[float]] = {name: [] for name in watched}
    for _ in range(bench.repeats):
        meters = {name: CpuMeter(lambda found=found: found) for name, found in watched.items()}  # type: ignore[misc]
        time.sleep(window)
        for name, found in watched.items():
            used[name].append(meters[name].used())
            memory[name].append(rss_mib(found))
    for name in watched:
        share = median(used[name]) / window
        section.rows.append(
            (name, f"{max(memory[name]):.0f}", spread([seconds * 60 / window for seconds in used[name]], 3), f"{share:.3%}")
        )
        if name.startswith("Fastest, daemon"):
            section.bars.append(Bar("daemon's memory", max(memory[name]), 110, "MiB"))
            section.bars.append(Bar("daemon's CPU", share * 100, 0.1, "% of a core"))
    return section
