"""(8) The cloud under pushes: how many a second, how late at half of that, and whether one that was answered is ever lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.measure import cpu_seconds, flush_disks, median, rss_mib, spread
from benchmarks.report import Bar, Section
from tests.lab.cloud import Cloud
from tests.lab.process import REPOSITORY
from tests.lab.services import Postgres, postgres_server

METHOD = """\
A workspace of 10,000 files for each of 64 connections; each push is another edit of one file with its blob of 2,000 bytes, prepared
before the clock starts, and is verified, durable, and told to whoever listens when it is answered. First as fast as they are answered,
then at half that rate, where a push counts from the moment it was due. The load generator is a process beside the server on the same
two cores; PostgreSQL comes as Debian has it. In the last run the server gets SIGKILL in the middle and is started again: every push
that was answered 200 has to be there."""

COLUMNS = (
    "engine", "pushes", "a second",
    "p50 ms at half of it", "p99 ms at half of it", "CPU ms of the server a push", "RSS MiB", "lost after SIGKILL",
)  # fmt: skip
CONNECTIONS = 64
BARS = {"embedded": 1000.0, "PostgreSQL": 700.0}


def run(bench: Bench) -> Section:
    """Both engines, in turn."""
    section = Section("pushes", "Pushes through the cloud's API", METHOD, COLUMNS)
    for engine in BARS if bench.ours else ():
        with _server(bench, engine) as cloud:
            _measure(bench, section, engine, cloud)
    return section


def _measure(bench: Bench, section: Section, engine: str, cloud: Cloud) -> None:
    each = 10 if bench.quick else 100
    full, late, cpu = [], [], []
    for _ in range(bench.repeats):
        before = _cpu(cloud)
        told = _load(cloud, each)
        # What it was prepared with is in it: some hundred requests.
        cpu.append((_cpu(cloud) - before) / told["pushes"] * 1e3)
        full.append(told["per_second"])
        late.append(_load(cloud, each // 2, rate=told["per_second"] / 2))
    memory = rss_mib(cloud.lab.processes(cloud.name))
    lost = _killed(cloud, each)
    p99 = median([told["p99_ms"] for told in late])
    section.rows.append(
        (
            engine, str(each * CONNECTIONS), spread(full, 0), f"{median([told['p50_ms'] for told in late]):.1f}",
            spread([told["p99_ms"] for told in late], 1), spread(cpu), f"{memory:.0f}", str(lost),
        )
    )  # fmt: skip
    section.bars += [
        Bar(f"pushes a second, {engine}", median(full), BARS[engine], at_least=True),
        Bar(f"p99 at half that load, {engine}", p99, 50, "ms"),
        Bar(f"answered and lost, {engine}", lost, 0),
    ]


def _killed(cloud: Cloud, each: int) -> int:
    (server,) = cloud.lab.processes(cloud.name)
    load = _start(cloud, each, "--kill", str(server.pid), "--after", str(each * CONNECTIONS // 2))
    server.wait(300)
    cloud.kill()
    cloud.start()
    return int(_ended(load)["lost"])


def _load(cloud: Cloud, each: int, rate: float = 0.0) -> dict[str, float]:
    return _ended(_start(cloud, each, "--rate", str(rate)))


def _start(cloud: Cloud, each: int, *more: str) -> subprocess.Popen[str]:
    flush_disks()
    words = [sys.executable, "-m", "benchmarks.load", cloud.url, "--connections", str(CONNECTIONS), "--pushes", str(each), *more]
    env: Mapping[str, str] = cloud.lab.environment("load", {"FASTEST_TOKEN": cloud.token()})
    return subprocess.Popen(words, cwd=REPOSITORY, env=dict(env), stdout=subprocess.PIPE, text=True)


def _ended(load: subprocess.Popen[str]) -> dict[str, float]:
    said, _ = load.communicate(timeout=600)
    assert load.returncode == 0, f"the load generator ended with {load.returncode}"
    told: dict[str, float] = json.loads(said)
    return told


def _cpu(cloud: Cloud) -> float:
    return sum(cpu_seconds(cloud.lab.processes(cloud.name)).values())


@contextmanager
def _server(bench: Bench, engine: str) -> Iterator[Cloud]:
    lab = bench.lab(f"pushes-{engine.lower()}")
    cloud = Cloud(lab)
    if engine == "embedded":
        cloud.start()
        yield cloud
        return
    with postgres_server(syncs=True) as postgres:
        cloud.env |= _scaled(postgres)
        cloud.start()
        yield cloud
        cloud.stop()


def _scaled(postgres: Postgres) -> dict[str, str]:
    return {"FASTEST_CLOUD_DATABASE": postgres.new_database()}
