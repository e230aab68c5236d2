"""LIES=all (in `make soak`) tells every lie on every way; without it a few stand for the others."""

from __future__ import annotations

import os

import pytest

ALL = os.environ.get("LIES") == "all"
only_among_all = pytest.mark.skipif(not ALL, reason="LIES=all tells them all")
