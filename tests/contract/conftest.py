from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.services import Postgres, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test process's own."""
    with postgres_server() as server:
        yield server
