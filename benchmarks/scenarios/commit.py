"""(6) Ten edits among 100,000 files: what goes over the wire, and what it adds to the stores."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import Bench, have
from benchmarks.measure import disk_usage, median, spread, stored_bytes
from benchmarks.peers.git import Git
from benchmarks.proxy import CountingProxy
from benchmarks.report import Bar, Section
from tests.lab.process import free_port
from tests.waiting import wait_until

METHOD = """\
Ten random files get a line more, within a few milliseconds. Fastest: one machine and its cloud; bytes that a counting proxy between
them passed from before the edits until `fst wait --uploaded` has returned and half a second more, both directions, headers
included; stored: used SQLite pages and all other files, after less before, of the cloud and of the machine each. git: `git commit
-a` and `git push` to a `git daemon` through the same kind of proxy; stored: `du` of the loose objects (4 KiB blocks) of one side."""


def run(bench: Bench) -> Section:
    """Ours, then git."""
    columns = ("system", "wire bytes", "stored, cloud or server", "stored, machine")
    section = Section("commit", f"10 edits among {bench.told(bench.wide())}", METHOD, columns)
    if bench.ours:
        wire, cloud, machine = _ours(bench)
        section.rows.append((ours.NAME, spread(wire, 0), spread(cloud, 0), spread(machine, 0)))
        section.bars += [
            Bar("wire", median(wire) / 1e3, 10, "KB"),
            Bar("stored by the cloud", median(cloud) / 1e3, 120, "KB"),
            Bar("stored by the machine", median(machine) / 1e3, 120, "KB"),
        ]
    if bench.peers and not (lacking := have("git")):
        wire, server, client = _git(bench)
        section.rows.append(("git commit + push", spread(wire, 0), spread(server, 0), spread(client, 0)))
    elif bench.peers:
        section.notes.append(lacking)
    return section


def edit_ten(root: Path, files: list[str], rng: random.Random) -> None:
    """A line more in ten random files."""
    for path in rng.sample(files, 10):
        with (root / path).open("a") as file:
            file.write(f"edit {rng.getrandbits(64):016x}\n")


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _ours(bench: Bench) -> tuple[list[float], list[float], list[float]]:
    root = bench.copy(bench.wide(), bench.folder("commit") / "work")
    mirror = ours.Mirror(bench.lab("commit"), counted=True)
    mirror.start_a(root)
    machine, cloud = mirror.pair.a, mirror.pair.cloud
    files, rng = _files(root), random.Random(10)
    wire, stored_cloud, stored_machine = [], [], []
    pace = threading.Event()
    for _ in range(max(3, bench.repeats)):
        pace.wait(2.0)
        before = (mirror.moved, stored_bytes(cloud.data), stored_bytes(machine.home))
        edit_ten(root, files, rng)
        machine.wait_uploaded()
        pace.wait(0.5)
        wire.append(float(mirror.moved - before[0]))
        stored_cloud.append(float(stored_bytes(cloud.data) - before[1]))
        stored_machine.append(float(stored_bytes(machine.home) - before[2]))
    bench.close_labs()
    return wire, stored_cloud, stored_machine


def _git(bench: Bench) -> tuple[list[float], list[float], list[float]]:
    root = bench.copy(bench.wide(), bench.folder("commit-git") / "work")
    lab = bench.lab("git")
    git = Git(lab, root, "client")
    git.commit_all()
    served = lab.base / "served"
    server = served / "server.git"
    lab.run(["git", "clone", "-q", "--bare", str(git.folder), str(server)], git.env, cwd=lab.base, timeout_s=600)
    port = free_port()
    argv = [
        "git",
        "daemon",
        "--export-all",
        "--enable=receive-pack",
        "--reuseaddr",
        f"--base-path={served}",
        "--listen=127.0.0.1",
        f"--port={port}",
    ]
    daemon_env = {name: value for name, value in git.env.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    lab.start(argv, daemon_env, cwd=lab.base, log=lab.base / "git-daemon.log")
    proxy = CountingProxy(port)
    url = f"git://127.0.0.1:{proxy.port}/server.git"
    wait_until(lambda: lab.run(["git", "ls-remote", url], git.env, cwd=lab.base).code == 0, 10, "git daemon answers")
    files, rng = _files(root), random.Random(10)
    wire, stored_server, stored_client = [], [], []
    for _ in range(max(3, bench.repeats)):
        before = (disk_usage(server), disk_usage(git.folder))
        edit_ten(root, files, rng)
        git.run("commit", "-q", "-a", "-m", "ten")
        moved = proxy.moved
        git.run("push", "-q", url, "HEAD")
        wire.append(float(proxy.moved - moved))
        stored_server.append(float(disk_usage(server) - before[0]))
        stored_client.append(float(disk_usage(git.folder) - before[1]))
    bench.close_labs()
    return wire, stored_server, stored_client
