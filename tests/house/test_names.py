"""Our import names are ours alone, and hide nobody else's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys

from tests.house.sources import ROOMS, TOP


def test_nobody_else_owns_our_import_names() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {room: owners[room] for room in ROOMS if set(owners.get(room, ())) - {"fastest"}} == {}


def test_the_folder_packaging_does_not_shadow_the_library() -> None:
    assert not (TOP / "packaging" / "__init__.py").exists()
    where = subprocess.run(
        [sys.executable, "-c", "import packaging.version as p; print(p.__file__)"], cwd=TOP, capture_output=True, text=True
    )
    assert "site-packages" in where.stdout, where.stderr


def test_tests_and_packaging_never_ship() -> None:
    spec = (TOP / "pyproject.toml").read_text("utf-8")
    assert "include = " + str([f"{room}*" for room in ("daemon", "sync", "store", "tray", "cloud")]).replace("'", '"') in spec


def test_tests_have_no_init() -> None:
    assert not list((TOP / "tests").rglob("__init__.py"))


def test_the_lock_holds_hashes_and_no_address() -> None:
    lock = (TOP / "requirements-dev.txt").read_text("utf-8")
    assert "://" not in lock
    assert "--index" not in lock and "--find-links" not in lock
    pinned = [line for line in lock.split("\n") if line and not line.startswith((" ", "#"))]
    assert len(pinned) > 30
    assert all("==" in line and line.endswith("\\") for line in pinned)
