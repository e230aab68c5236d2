"""What costs more than the everyday run can bear: `make soak` sets SOAK=1."""

from __future__ import annotations

import os

import pytest

slow = pytest.mark.skipif(not os.environ.get("SOAK"), reason="slow: `make soak` runs it (SOAK=1)")
