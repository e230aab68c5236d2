"""The code of the house, read once for all house tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[2]
ROOMS = ("store", "sync", "daemon", "tray", "cloud")


class Module(NamedTuple):
    """One file: its path below the top, with `/`, and what it says."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """`sync.core` counts as a room of its own."""
        return "sync.core" if self.path.startswith("sync/core/") else self.path.partition("/")[0]


def modules(*folders: str) -> list[Module]:
    """Every module in these folders of the top; all rooms without arguments."""
    return [module for folder in folders or ROOMS for module in modules_in(folder)]


@cache
def modules_in(folder: str) -> list[Module]:
    found = sorted((TOP / folder).rglob("*.py"))
    return [Module(str(path.relative_to(TOP)), text := path.read_text("utf-8"), ast.parse(text)) for path in found]


class Import(NamedTuple):
    """One imported module, by its whole name: `from store import x` names `store.x` where that is a module."""

    name: str
    line: int

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def imports(module: Module) -> Iterator[Import]:
    """Wherever in the module they stand, inside functions and for types too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: a relative import hides where things live"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(whole if is_module(whole) else str(node.module), node.lineno)


def is_module(name: str) -> bool:
    place = TOP / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
