"""`python -m tests.lab.guard MARK`: when standard input ends, because whoever held it is gone, kill every process with that mark.

A test run that is itself killed cannot tidy up; this can.
"""

from __future__ import annotations

import signal
import sys

from tests.lab.process import marked, signal_all


def main() -> None:
    """Wait, then kill."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    signal_all(marked(sys.argv[1]), signal.SIGKILL)


if __name__ == "__main__":
    main()
