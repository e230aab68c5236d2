"""Imports point one way, the core is pure, and each library has one door (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import sys
import tomllib
from fnmatch import fnmatch
from itertools import chain

from tests.house.sources import ROOMS, TOP, Module, imports, modules

# Who may import whom; a name stands for itself and all below it.
MAY_IMPORT = {
    "store": ["store"],
    "sync.core": ["store.types", "store.manifest", "store.errors", "sync.core"],
    "sync": ["store", "sync"],
    "daemon": ["store", "sync", "daemon"],
    "tray": ["daemon.client", "tray"],
    "cloud": ["store", "sync.core", "cloud"],
}
# The core decides and does nothing: no clock, disk, socket, randomness, log or thread. A list of what is allowed, as a list of what
# is forbidden let `random` through.
PURE = {
    *["__future__", "bisect", "collections", "dataclasses", "enum", "functools", "heapq", "itertools", "math", "operator", "re", "string"],
    *["struct", "typing", "unicodedata"],
}
DOORS = {
    "aiohttp": ["daemon/api/*", "daemon/remote/*", "cloud/*"],
    "apsw": ["store/database/*"],
    "asyncpg": ["cloud/database/postgres.py", "cloud/database/copies.py"],
    "obstore": ["cloud/objects/bucket.py"],
    "redis": ["cloud/hub/redis.py", "cloud/limits/redis.py"],
    "prometheus_client": ["cloud/telemetry/metrics.py"],
    "click": ["daemon/cli/*"],
    "cryptography": ["cloud/accounts/vault.py", "daemon/login.py"],
    "joserfc": ["cloud/accounts/oidc.py"],
    "keyring": ["daemon/login.py"],
    "msgspec": ["store/*", "sync/*", "daemon/*", "cloud/*"],
    "platformdirs": ["daemon/client/place.py", "daemon/config.py", "cloud/config.py"],
    "pyfastcdc": ["store/blobs/chunks.py"],
    "rich": ["daemon/cli/*"],
    "uvloop": ["daemon/app.py", "cloud/app.py"],
    "watchdog": ["sync/watch.py"],
    "zstandard": ["store/blobs/frames.py", "sync/core/wire.py"],
    # Of the standard library, what reaches past it.
    "ctypes": ["store/atomic.py", "daemon/upkeep.py"],
    "subprocess": ["daemon/*"],
}
# Imported by name in a child process, so that a keyring which hangs can be left alone.
BY_NAME = {"keyring"}
OUTSIDE = {"os.environ", "os.getenv", "os.path.expanduser", "Path.home", "time", "datetime"}


def test_imports_point_one_way() -> None:
    wrong = [
        f"{module.path}:{found.line}: {module.room} imports {found.name}"
        for module in modules()
        for found in imports(module)
        if found.top in ROOMS and not any((found.name + ".").startswith(allowed + ".") for allowed in MAY_IMPORT[module.room])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_imports_only_what_is_pure() -> None:
    wrong = [
        f"{module.path}:{found.line}: {found.name}"
        for module in modules("sync/core")
        for found in imports(module)
        if found.top not in PURE | set(DOORS) | set(ROOMS)
    ]
    assert not wrong, "\n".join(wrong)


def test_each_library_has_its_doors() -> None:
    wrong = [f"{module.path}:{line}: {library}" for library, module, line in libraries() if not at_door(library, module)]
    assert not wrong, "\n".join(wrong)


def test_every_door_is_used() -> None:
    used = {(library, door) for library, module, _ in libraries() for door in DOORS.get(library, []) if fnmatch(module.path, door)}
    used |= {(library, door) for library in BY_NAME for door in DOORS[library]}
    assert {(library, door) for library, doors in DOORS.items() for door in doors} - used == set()


def test_the_dependencies_are_those_that_are_imported() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {text.partition(">")[0].strip().replace("-", "_") for text in needed}
    imported = {library for library, _, _ in libraries() if library not in sys.stdlib_module_names} | BY_NAME
    assert declared == imported


def test_store_and_sync_read_no_environment_home_or_clock() -> None:
    wrong = [
        f"{module.path}:{getattr(node, 'lineno', '?')}: {name}"
        for module in modules("store", "sync")
        for node in ast.walk(module.tree)
        if (name := outside(node)) in OUTSIDE
    ]
    assert not wrong, "\n".join(wrong)


def test_the_tests_of_layers_see_through_every_form_of_import() -> None:
    text = "import time as t\nfrom os import path\ndef f():\n    from store import blobs, errors\n"
    module = Module("sync/x.py", text, ast.parse(text))
    assert [found.name for found in imports(module)] == ["time", "os", "store.blobs", "store.errors"]


def libraries() -> list[tuple[str, Module, int]]:
    """What is not ours: third parties, and the parts of the standard library that have doors."""
    found = [(found.top, module, found.line) for module in modules() for found in imports(module)]
    return [row for row in found if row[0] in DOORS or row[0] not in (*sys.stdlib_module_names, *ROOMS)]


def at_door(library: str, module: Module) -> bool:
    return any(fnmatch(module.path, door) for door in DOORS.get(library, []))


def outside(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node)
    if isinstance(node, ast.Import):
        return next((alias.name for alias in node.names if alias.name in OUTSIDE), "")
    return node.module or "" if isinstance(node, ast.ImportFrom) else ""
