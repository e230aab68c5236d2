"""Saves on A, looked for on B: the same measure for every system that mirrors two folders."""

from __future__ import annotations

import contextlib
import hashlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import CpuMeter
from tests.lab.process import REPOSITORY, Process
from tests.waiting import wait_until

POLL_SECONDS = 0.0005
LOST_SECONDS = 60.0


def whole(body: bytes) -> bytes:
    """A content that tells by itself whether it is whole: its body's SHA-256 in hex, a newline, the body."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def is_whole(data: bytes) -> bool:
    """Whether these are exactly the bytes of one `whole`."""
    return data[64:65] == b"\n" and data[:64] == hashlib.sha256(data[65:]).hexdigest().encode()


@dataclass(slots=True)
class Saves:
    """What B's reader saw of single saves."""

    latencies_ms: list[float] = field(default_factory=list)
    missing: int = 0
    torn: int = 0
    cpu_ms_an_edit: float = 0.0


def random_body(rng: random.Random) -> bytes:
    """50 bytes to 64 KiB, small ones as likely as large ones by order of magnitude."""
    return rng.randbytes(int(50 * (65536 / 50) ** rng.random()))


def choose_targets(root: Path, count: int, rng: random.Random) -> list[str]:
    """Files of the tree that the saves will hit."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return rng.sample(files, count)


def seed_targets(a: Path, b: Path, targets: list[str], rng: random.Random, timeout_s: float = 300) -> None:
    """Give each target a whole content, and wait until B has them all."""
    for path in targets:
        (a / path).write_bytes(whole(random_body(rng)))
    wait_until(lambda: all(_read(b / path) == (a / path).read_bytes() for path in targets), timeout_s, "B has the seeded files")


def measure_saves(
    a: Path,
    b: Path,
    targets: list[str],
    count: int,
    rng: random.Random,
    processes: Callable[[], list[Process]],
    pauses: tuple[float, float],
) -> Saves:
    """`count` saves of random files, sizes and pauses: from close() on A until B's reader has the bytes."""
    seen = Saves()
    meter = CpuMeter(processes)
    pace = threading.Event()
    for _ in range(count):
        pace.wait(rng.uniform(*pauses))
        path = rng.choice(targets)
        data, old = whole(random_body(rng)), (a / path).read_bytes()
        (a / path).write_bytes(data)
        seen.latencies_ms.append(_until_seen(b / path, old, data, seen) * 1e3)
    seen.cpu_ms_an_edit = meter.used() / count * 1e3
    return seen


def _until_seen(target: Path, old: bytes, data: bytes, seen: Saves) -> float:
    began = time.perf_counter()
    was_missing = was_torn = False
    while (met := _read(target)) != data:
        was_missing |= met is None
        was_torn |= met is not None and met != old
        if time.perf_counter() - began > LOST_SECONDS:
            raise AssertionError(f"{target} did not get its bytes within {LOST_SECONDS} s")
        time.sleep(POLL_SECONDS)
    seen.missing += was_missing
    seen.torn += was_torn
    return time.perf_counter() - began


def measure_burst(a: Path, b: Path, targets: list[str], rng: random.Random) -> tuple[float, int]:
    """All targets change as fast as they can be written; seconds from the first write until B has all, and how many were seen missing."""
    data = {path: whole(rng.randbytes(rng.randrange(200, 4000))) for path in targets}
    missing: set[str] = set()
    waiting = list(targets)
    began = time.perf_counter()
    for path, content in data.items():
        (a / path).write_bytes(content)
    while waiting:
        met = {path: _read(b / path) for path in waiting}
        missing |= {path for path, content in met.items() if content is None}
        waiting = [path for path in waiting if met[path] != data[path]]
        if time.perf_counter() - began > LOST_SECONDS:
            raise AssertionError(f"{len(waiting)} of {len(targets)} files did not arrive within {LOST_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began, len(missing)


def _read(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


class TightReader:
    """A process that reads B's targets without a pause and counts what it finds missing or torn."""

    def __init__(self, b: Path, targets: list[str]) -> None:
        argv = [sys.executable, "-m", "benchmarks.reader", str(b)]
        self._process = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(targets) + "\n\n")
        self._process.stdin.flush()

    def stop(self) -> tuple[int, int, int]:
        """Reads, missing, torn."""
        told, _ = self._process.communicate()
        reads, missing, torn = (int(number) for number in told.split())
        return reads, missing, torn
