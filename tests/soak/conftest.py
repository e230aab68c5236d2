"""Real processes: see tests/lab."""

from __future__ import annotations

from tests.lab.fixtures import lab, make_pair

__all__ = ["lab", "make_pair"]
