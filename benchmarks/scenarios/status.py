"""(2) What has changed: `fst status` with the daemon up, and a rescan of the whole tree, beside `git status`."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from benchmarks.bench import Bench, have
from benchmarks.measure import median, spread
from benchmarks.ours import single
from benchmarks.peers.git import Git
from benchmarks.report import Bar, Section
from tests.lab.compare import look
from tests.lab.machine import Machine

METHOD = """\
Whole processes, from exec to exit, as typed. Before each round one file is edited and one second passes; then `fst status`, `git
status` and `fst sync --rescan` run in turn on the same tree. `fst status` has to be true: the edit is either still counted as
pending, or told as settled, and then `fst cat` has to give its bytes. Medians of 9 rounds (quick: 3)."""


def run(bench: Bench) -> Section:
    """Rounds in turn."""
    section = Section("status", f"What has changed, on {bench.told(bench.big())}", METHOD, ("command", "ms", "CPU ms"))
    root = bench.copy(bench.big(), bench.folder("status") / "tree")
    lab = bench.lab("status")
    lacking = have("git")
    git = Git(lab, root, "git") if bench.peers and not lacking else None
    if git is not None:
        git.commit_all()
        git.run("status")
    machine = single(lab, root) if bench.ours else None
    if machine is not None:
        machine.must("up", str(root), "-y", timeout_s=900)
        machine.wait_settled(900)
        machine.must("sync", "--rescan", timeout_s=300)
    times: dict[str, list[tuple[float, float]]] = {}
    targets = [path for path, seen in sorted(look(root).items()) if seen.kind == "file" and seen.size < 20_000]
    for number in range(3 if bench.quick else 9):
        data = _edit(root / targets[(number * 7919) % len(targets)], number)
        threading.Event().wait(1.0)
        if machine is not None:
            taken = machine.must("status")
            times.setdefault("fst status", []).append((taken.seconds * 1e3, taken.cpu_seconds * 1e3))
            _check_truth(machine, data)
        if git is not None:
            seen = git.run("status")
            times.setdefault("git status", []).append((seen.seconds * 1e3, seen.cpu_seconds * 1e3))
        if machine is not None:
            looked = machine.must("sync", "--rescan")
            times.setdefault("fst sync --rescan", []).append((looked.seconds * 1e3, looked.cpu_seconds * 1e3))
    for name, taken_times in times.items():
        section.rows.append((name, spread([wall for wall, _ in taken_times], 1), f"{median([cpu for _, cpu in taken_times]):.0f}"))
    if lacking and bench.peers:
        section.notes.append(lacking)
    _judge(section, {name: median([wall for wall, _ in taken]) for name, taken in times.items()})
    return section


def _edit(path: Path, number: int) -> bytes:
    data = path.read_bytes() + f"\n// edit {number}\n".encode()
    path.write_bytes(data)
    return data


def _check_truth(machine: Machine, data: bytes) -> None:
    status = machine.status()
    if status["settled"]:
        assert machine.has_content(hashlib.sha256(data).hexdigest()), (
            f"status said settled, yet an edit made a second ago is not kept: {status}"
        )
    else:
        assert status["pending"], f"not settled, and nothing pending: {status}"


def _judge(section: Section, medians: dict[str, float]) -> None:
    if "fst status" not in medians:
        return
    section.bars.append(Bar("fst status", medians["fst status"], 60, "ms"))
    if "git status" in medians:
        section.bars.append(Bar("fst status against git status", medians["fst status"] / medians["git status"], 0.8, "x"))
        section.bars.append(Bar("rescan against git status", medians["fst sync --rescan"] / medians["git status"], 1.6, "x"))
