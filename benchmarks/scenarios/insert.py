"""(5) One byte inserted at the head of a 1 GiB file that both sides have."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import Bench, have
from benchmarks.measure import MIB, CpuMeter, flush_disks, median, spread
from benchmarks.peers.rsync import Rsync
from benchmarks.peers.syncthing import Syncthing
from benchmarks.peers.unison import Unison
from benchmarks.proxy import CountingProxy
from benchmarks.report import Bar, Section
from benchmarks.saves import POLL_SECONDS
from tests.lab.compare import digest_of_file
from tests.lab.process import Process

METHOD = """\
The file: 32 KiB of seeded random bytes and 32 KiB of numbered text in turn, 1 GiB (quick: 64 MiB). Its new state is written beside
the folder and renamed in; the clock runs from the rename (Unison, rsync: from the start of the command) until B has a file of the
new size, and its SHA-256 is compared afterwards. Bytes: what a counting proxy between each machine and its other side passed, both
directions, all links together (Fastest has two: A to cloud and cloud to B)."""

TIMEOUT_SECONDS = 120.0
Insert = Callable[[Path, Path], float]
Taken = tuple[float, float, float]
"""seconds, CPU seconds, bytes"""


def run(bench: Bench) -> Section:
    """Each system in turn, each with folders of its own."""
    title = f"1 byte inserted at the head of {'64 MiB' if bench.quick else '1 GiB'}"
    section = Section("insert", title, METHOD, ("system", "wall s", "CPU s", "MiB moved"))
    taken: dict[str, list[Taken]] = {}
    if bench.ours:
        taken[ours.NAME] = _ours(bench)
    for program, measure in (("unison", _unison), ("rsync", _rsync), ("syncthing", _syncthing)):
        lacking = have(program)
        if bench.peers and lacking:
            section.notes.append(lacking)
        elif bench.peers:
            name, runs = measure(bench)
            taken[name] = runs
    for name, runs in taken.items():
        wall, cpu, moved = ([run[at] for run in runs] for at in range(3))
        section.rows.append((name, spread(wall), spread(cpu), spread([count / MIB for count in moved])))
    if ours.NAME in taken:
        section.bars.append(Bar("bytes moved", median([moved for _, _, moved in taken[ours.NAME]]) / MIB, 2, "MiB"))
        section.bars.append(Bar("until B has it", median([wall for wall, _, _ in taken[ours.NAME]]), 5, "s"))
    return section


def write_large(path: Path, size: int) -> None:
    """Random and text blocks in turn, from a fixed seed."""
    rng = random.Random(1)
    with path.open("wb") as file:
        for number in range(size // 65536):
            file.write(rng.randbytes(32768))
            file.write("".join(f"{number:010} {line:010} abcdefghi\n" for line in range(1024)).encode()[:32768])


def _folders(bench: Bench) -> tuple[Path, Path]:
    a, b = bench.folder("insert-a") / "work", bench.folder("insert-b") / "work"
    a.mkdir()
    write_large(a / "large.bin", (64 if bench.quick else 1024) * MIB)
    flush_disks()
    return a, b


def _insert(a: Path) -> Path:
    """The new state, beside the folder."""
    fresh = a.parent / "next.bin"
    with (a / "large.bin").open("rb") as old, fresh.open("wb") as new:
        new.write(b"!")
        while block := old.read(4 * MIB):
            new.write(block)
    flush_disks()
    return fresh


def _repeat(
    bench: Bench, a: Path, b: Path, processes: Callable[[], list[Process]], moved: Callable[[], int], act: Callable[[], float]
) -> list[Taken]:
    runs = []
    for _ in range(bench.repeats):
        fresh = _insert(a)
        before, meter = moved(), CpuMeter(processes)
        began = time.perf_counter()
        fresh.rename(a / "large.bin")
        client_cpu = act()
        size = (a / "large.bin").stat().st_size
        while _size(b / "large.bin") != size:
            if time.perf_counter() - began > TIMEOUT_SECONDS:
                raise AssertionError(f"B did not get the file within {TIMEOUT_SECONDS} s")
            time.sleep(POLL_SECONDS)
        wall = time.perf_counter() - began
        assert digest_of_file(a / "large.bin") == digest_of_file(b / "large.bin")
        time.sleep(1.0)  # what is still told after the file has arrived belongs to it
        runs.append((wall, meter.used() + client_cpu, float(moved() - before)))
    return runs


def _size(path: Path) -> int:
    """-1 while there is none: Syncthing removes the old file before it puts the new one in."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _ours(bench: Bench) -> list[Taken]:
    a, b = _folders(bench)
    mirror = ours.Mirror(bench.lab("insert"), counted=True)
    mirror.start(a, b)
    runs = _repeat(bench, a, b, mirror.processes, lambda: mirror.moved, lambda: 0.0)
    bench.close_labs()
    return runs


def _unison(bench: Bench) -> tuple[str, list[Taken]]:
    a, b = _folders(bench)
    unison = Unison(bench.lab("unison"))
    unison.serve()
    unison.sync_once(a, b)
    proxy = CountingProxy(unison.port)
    unison.sync_once(a, b, port=proxy.port)
    runs = _repeat(bench, a, b, unison.processes, lambda: proxy.moved, lambda: unison.sync_once(a, b, port=proxy.port).cpu_seconds)
    bench.close_labs()
    return "Unison, local socket", runs


def _rsync(bench: Bench) -> tuple[str, list[Taken]]:
    a, b = _folders(bench)
    b.mkdir()
    rsync = Rsync(bench.lab("rsync"), b)
    rsync.sync(a, rsync.port)
    proxy = CountingProxy(rsync.port)
    runs = _repeat(bench, a, b, rsync.processes, lambda: proxy.moved, lambda: rsync.sync(a, proxy.port)[1])
    bench.close_labs()
    return "rsync, daemon, delta", runs


def _syncthing(bench: Bench) -> tuple[str, list[Taken]]:
    a, b = _folders(bench)
    syncthing = Syncthing(bench.lab("syncthing"), 1)
    proxy = syncthing.start_counted(a, b)
    runs = _repeat(bench, a, b, syncthing.processes, lambda: proxy.moved, lambda: 0.0)
    bench.close_labs()
    return syncthing.name, runs
