"""`python -m benchmarks [--only NAME ...] [--quick]`: measure, print, and write docs/PERFORMANCE.md's tables."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.report import Section, write_page
from benchmarks.scenarios import commit, crossing, crowd, insert, mirror, pushes, rest, snapshot, status, uploads
from benchmarks.trees import CACHE, TreeUnavailable

SCENARIOS = {
    "snapshot": snapshot.run,
    "status": status.run,
    "crossing": crossing.run,
    "mirror": mirror.run,
    "insert": insert.run,
    "commit": commit.run,
    "rest": rest.run,
    "pushes": pushes.run,
    "crowd": crowd.run,
    "uploads": uploads.run,
}
VERSIONS = {
    "Syncthing": ("syncthing", "--version"),
    "Unison": ("unison", "-version"),
    "git": ("git", "--version"),
    "restic": ("restic", "version"),
    "rsync": ("rsync", "--version"),
}


def main() -> int:
    """0 when every bar held."""
    asked = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    bench = Bench(
        CACHE / "runs" / time.strftime("%m%d-%H%M%S"), asked.repeats or (1 if asked.quick else 3), asked.quick, asked.ours, asked.peers
    )
    print(f"scratch: {bench.scratch} (removed at the end, not before)\n{versions()}", flush=True)
    sections: list[Section] = []
    failed = False
    try:
        for name in asked.only or SCENARIOS:
            try:
                sections.append(SCENARIOS[name](bench))
                print(sections[-1].text(), flush=True)
            except (AssertionError, TreeUnavailable, subprocess.SubprocessError) as error:
                failed = True
                print(f"\n== {name} could not be measured: {error}", file=sys.stderr, flush=True)
            finally:
                bench.close_labs()
    finally:
        if asked.keep:
            bench.close_labs()
        else:
            bench.close()
    if asked.write:
        write_page(sections, versions())
    missed = [bar for section in sections for bar in section.bars if not bar.holds]
    print(f"\n{len(missed)} bars missed, {sum(len(section.bars) for section in sections) - len(missed)} held")
    return 1 if missed or failed else 0


def versions() -> str:
    """The first line that each peer tells of itself."""
    told = []
    for name, argv in VERSIONS.items():
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            told.append(f"{name}: {done.stdout.splitlines()[0]}")
        except FileNotFoundError:
            told.append(f"{name}: not installed. Next: apt-get install -y {argv[0]}")
    return "\n".join(told)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Fastest beside its peers, on this machine, in this run.")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="small trees, one repeat: shows that the harness works; writes no page")
    parser.add_argument("--repeats", type=int, help="default 3")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours alone")
    parser.add_argument("--peers-only", dest="ours", action="store_false", help="peers alone")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, help="write docs/PERFORMANCE.md (default: unless --quick or part of it)"
    )
    asked = parser.parse_args()
    if asked.write is None:
        asked.write = not asked.quick and asked.ours and asked.peers
    return asked


if __name__ == "__main__":
    sys.exit(main())
