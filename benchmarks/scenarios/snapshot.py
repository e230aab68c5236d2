"""(1) The first snapshot of the 60,000-file tree."""

from __future__ import annotations

from benchmarks.bench import Bench, have
from benchmarks.measure import disk_usage, flush_disks, median, peak_rss_mib, spread
from benchmarks.ours import NAME, check_contents, cpu_so_far, single
from benchmarks.peers.git import Git
from benchmarks.peers.restic import Restic
from benchmarks.report import Bar, Section
from tests.lab.machine import Machine

METHOD = """\
Each system takes its first full snapshot of the same tree, in turns. Fastest: from the start of `fst up TREE` with no daemon
running until both it and `fst wait --settled` have returned, that is until everything is durable; then its processes get SIGKILL,
`fst fsck` reads every byte back, and 100 random contents are asked for by digest. CPU and memory are those of all processes of a
system together. Stored: `du -s` at rest, write-ahead log included. git: `git add -A && git commit`; restic: `restic backup` into a
repository made before."""

Run = tuple[float, float, float]
"""wall seconds, CPU seconds, stored bytes"""


def run(bench: Bench) -> Section:
    """Take turns; then the table and the bars."""
    section = Section(
        "snapshot", f"First snapshot of {bench.told(bench.big())}", METHOD, ("system", "wall s", "CPU s", "stored MB", "peak RSS MiB")
    )
    runs: dict[str, list[Run]] = {}
    memory: list[float] = []
    tree = bench.copy(bench.big(), bench.folder("snapshot") / "tree")
    copies = [bench.copy(bench.big(), bench.folder("snapshot") / "tree") for _ in range(bench.repeats)] if bench.ours else []
    lacking = {"git": have("git"), "restic": have("restic")}
    for number in range(bench.repeats):
        lab = bench.lab("snapshot")
        if bench.peers and not lacking["git"]:
            flush_disks()
            git = Git(lab, tree, f"git-{number}")
            runs.setdefault("git add + commit", []).append((*git.commit_all(), float(disk_usage(git.folder))))
        if bench.peers and not lacking["restic"]:
            flush_disks()
            restic = Restic(lab, f"restic-{number}")
            runs.setdefault("restic backup", []).append((*restic.backup(tree), float(disk_usage(restic.folder))))
        if bench.ours:
            flush_disks()
            root = copies[number]
            machine = single(lab, root)
            wall_cpu, peak = _ours(machine)
            stored = float(disk_usage(machine.home))
            machine.kill()
            machine.fsck()  # starts a daemon again
            check_contents(machine, number)
            machine.kill()
            runs.setdefault(NAME, []).append((*wall_cpu, stored))
            memory.append(peak)
    for name, taken in runs.items():
        wall, cpu, stored_mb = ([run[at] for run in taken] for at in range(3))
        peak_told = f"{median(memory):.0f}" if name == NAME else "-"
        section.rows.append((name, spread(wall), spread(cpu), f"{median(stored_mb) / 1e6:.0f}", peak_told))
    section.notes += [reason for reason in lacking.values() if reason and bench.peers]
    _judge(section, runs)
    return section


def _ours(machine: Machine) -> tuple[tuple[float, float], float]:
    up = machine.must("up", str(machine.root), "-y", timeout_s=900)
    settled = machine.must("wait", "--settled", "--timeout", "900", timeout_s=930)
    wall = up.seconds + settled.seconds
    processes = machine.daemon_processes()
    return (wall, up.cpu_seconds + settled.cpu_seconds + cpu_so_far(machine.lab)), peak_rss_mib(processes)


def _judge(section: Section, runs: dict[str, list[Run]]) -> None:
    if NAME not in runs:
        return
    wall, stored = (median([run[at] for run in runs[NAME]]) for at in (0, 2))
    for peer, limit in (("git add + commit", 0.4), ("restic backup", 0.45)):
        if peer in runs:
            section.bars.append(Bar(f"wall against {peer}", wall / median([run[0] for run in runs[peer]]), limit, "x"))
    if "git add + commit" in runs:
        section.bars.append(Bar("stored against git", stored / median([run[2] for run in runs["git add + commit"]]), 1.0, "x"))
