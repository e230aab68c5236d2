"""The cloud's tests over HTTP run twice: on the embedded engine, and on PostgreSQL with a bucket in a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import ENGINE

BOTH = {
    *["test_cloud_push", "test_cloud_rooms", "test_cloud_content", "test_cloud_events", "test_cloud_session"],
    *["test_cloud_vault", "test_cloud_device", "test_cloud_signed_in", "test_cloud_pages", "test_cloud_mailed", "test_cloud_keys"],
    *["test_cloud_issuers", "test_cloud_collect", "test_cloud_projects", "test_cloud_variables", "test_cloud_registering"],
    *["test_cloud_merges", "test_cloud_drift", "test_cloud_envelope", "test_cloud_openapi", "test_cloud_cut"],
    *["test_cloud_watching", "test_cloud_manifests", "test_cloud_foreign"],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in BOTH and not metafunc.definition.get_closest_marker("embedded"):
        metafunc.parametrize("cloud_engine", ["embedded", "postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def cloud_engine(request: pytest.FixtureRequest) -> Iterator[None]:
    if getattr(request, "param", "embedded") == "postgresql":
        ENGINE.new_database = request.getfixturevalue("lend_database")
    yield
    ENGINE.new_database = None
