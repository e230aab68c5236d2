"""Clocks, processors, memory and disks: what is read, and how it is summed up."""

from __future__ import annotations

import math
import os
import sqlite3
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.lab.process import Process

MIB = 1024 * 1024


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return float(statistics.median(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all is not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and smallest to largest when there are several."""
    told = f"{median(values):.{digits}f}"
    return told if len(values) == 1 else f"{told} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def cpu_seconds(processes: Sequence[Process]) -> dict[int, float]:
    """CPU used so far by each process, its children that have ended included."""
    used = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[process.pid] = times.user + times.system + times.children_user + times.children_system
    return used


class CpuMeter:
    """CPU seconds that all of a system's processes use from now on."""

    def __init__(self, processes: Callable[[], list[Process]]) -> None:
        self._processes = processes
        self._before = cpu_seconds(processes())

    def used(self) -> float:
        now = cpu_seconds(self._processes())
        return sum(seconds - self._before.get(pid, 0.0) for pid, seconds in now.items())


def rss_mib(processes: Sequence[Process]) -> float:
    """Resident memory of all of them together; pages that they share count for each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / MIB


def peak_rss_mib(processes: Sequence[Process]) -> float:
    """The sum of each process's highest resident memory since its start."""
    total = 0
    for process in processes:
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            total += sum(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return total / 1024


def disk_usage(folder: Path) -> int:
    """`du -s`: blocks that the disk gave, in bytes."""
    done = subprocess.run(["du", "-s", "--block-size=1", str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def stored_bytes(folder: Path) -> int:
    """Used pages of each SQLite file (what its write-ahead log holds included) and the sizes of all other files.

    `du` cannot see a commit's few kilobytes: a write-ahead log is reused, and files grow in steps.
    """
    total = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith(("-wal", "-shm", ".log", ".sock")):
            continue
        total += _used_pages(path) if _is_sqlite(path) else path.stat().st_size
    return total


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _used_pages(path: Path) -> int:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        count, free, size = (
            int(database.execute(f"pragma {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (count - free) * size
    finally:
        database.close()


def flush_disks() -> None:
    """Write back what others left dirty, before a clock starts."""
    os.sync()
