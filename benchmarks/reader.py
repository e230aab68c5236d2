"""`python -m benchmarks.reader ROOT`: paths come by standard input up to an empty line; reads them without a pause until it closes."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from benchmarks.saves import is_whole


def main() -> None:
    """Prints: reads, missing, torn."""
    root = Path(sys.argv[1])
    paths = []
    while path := sys.stdin.readline().rstrip("\n"):
        paths.append(root / path)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    reads = missing = torn = 0
    while not ended.is_set():
        for target in paths:
            reads += 1
            try:
                torn += not is_whole(target.read_bytes())
            except FileNotFoundError:
                missing += 1
    print(reads, missing, torn)


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
