"""(9) Five thousand idle daemons on one server: its memory, its CPU, and how soon a push reaches who is concerned meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.bench import Bench
from benchmarks.crowd import MACHINES
from benchmarks.measure import cpu_seconds, rss_mib
from benchmarks.report import Bar, Section
from cloud.accounts.session import sign_in
from cloud.app import wall_ms
from tests.clouds import opened
from tests.lab.cloud import Cloud
from tests.lab.process import REPOSITORY

METHOD = """\
500 users with 10 machines each, all with a replica of the user's workspace, an open event stream, a beat and a ping every 20 s, as a
daemon has them. Once all are connected: a minute in which somebody pushes once a second, from the request until each of the ten
replicas has heard of it. Memory and CPU are the server's alone (embedded), in that minute."""
COLUMNS = ("daemons", "server's RSS MiB", "server's CPU, share of a core", "push to replica p50 ms", "p95 ms", "heard")


def run(bench: Bench) -> Section:
    """One crowd."""
    users, seconds = (20, 5) if bench.quick else (500, 60)
    section = Section("crowd", f"{users * MACHINES:,} daemons at rest", METHOD, COLUMNS)
    if not bench.ours:
        return section
    cloud = Cloud(bench.lab("crowd"))
    with opened(cloud.data) as db:
        tokens = [db.write_now(lambda tx, name=f"user{number}@example.org": sign_in(tx, name, wall_ms())) for number in range(users)]  # type: ignore[misc]
    cloud.start()
    crowd = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", cloud.url, str(seconds)], cwd=REPOSITORY, env=cloud.lab.environment("crowd", {}),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert crowd.stdin is not None
    assert crowd.stdout is not None
    crowd.stdin.write(" ".join(tokens) + "\n")
    crowd.stdin.flush()
    assert crowd.stdout.readline() == "ready\n"
    server = cloud.lab.processes(cloud.name)
    crowd.stdin.write("\n")
    crowd.stdin.flush()
    before = sum(cpu_seconds(server).values())
    told = json.loads(crowd.stdout.readline())
    share = (sum(cpu_seconds(server).values()) - before) / seconds
    memory = rss_mib(server)
    assert crowd.wait(60) == 0
    section.rows.append(
        (f"{told['members']:,}", f"{memory:.0f}", f"{share:.1%}", f"{told['p50_ms']:.1f}", f"{told['p95_ms']:.1f}", str(told["heard"]))
    )
    section.bars += [
        Bar("server's memory", memory, 400, "MiB"),
        Bar("server's CPU", share * 100, 10, "% of a core"),
        Bar("a push reaches its replicas, p95", told["p95_ms"], 50, "ms"),
    ]
    return section
