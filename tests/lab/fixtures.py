"""The fixtures of the tests that start real processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.pair import Pair
from tests.lab.process import Lab

__all__ = ["lab", "make_pair"]


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A scratch folder with a short name (sockets live in it); kept, and named, when the test failed."""
    yield from open_lab(request)


@pytest.fixture
def make_pair(lab: Lab) -> Callable[..., Pair]:
    """Two machines and a cloud, opened: `make_pair(fill=..., settings=...)`."""

    def make(fill: Callable[[Path], object] | None = None, settings: dict[str, str] | None = None) -> Pair:
        pair = Pair(lab, settings=settings)
        if fill is not None:
            fill(pair.a.root)
        pair.open()
        pair.converge(120)
        return pair

    return make


def open_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for a fixture of any scope."""
    base = Path(tempfile.mkdtemp(prefix="fstlab-", dir="/tmp"))
    failed_before = request.session.testsfailed
    lab = Lab(base)
    try:
        yield lab
    finally:
        lab.close()
        if request.session.testsfailed == failed_before:
            shutil.rmtree(base)
        else:
            print(f"\nkept for a look: {base}")
