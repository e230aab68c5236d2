"""One word for one thing: identifiers keep to docs/GLOSSARY.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.sources import TOP, Module, modules

BANNED = {
    *["repo", "repository", "checkout", "device", "host", "object", "checksum", "listing", "commit", "revision", "tip", "synced", "op"],
    *["chunk", "tree", "manager", "hash"],
}
BANNED_VERBS = {"process", "handle", "manage", "do"}
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Where such a word is the format's, SQL's, the wire's or the system's own, and not a second name for one of our things.
FORMAT, SQL, SYSTEM = "a part of the format", "SQL's word", "the file system's word"
EXCEPTIONS = {
    ("chunk", "store/blobs/"): FORMAT,
    ("chunk", "store/atomic.py"): "a piece of a file on its way to disk",
    ("chunk", "cloud/content.py"): FORMAT,
    ("checksum", "store/blobs/frames.py"): FORMAT,
    ("tree", "store/manifest/"): FORMAT,
    ("hash", "store/manifest/"): FORMAT,
    ("hash", "store/snapshots.py"): SQL,
    ("hash", "store/errors.py"): "the cloud's code HASH_MISMATCH",
    ("hash", "cloud/"): SQL,
    ("hash", "sync/core/wire.py"): "the wire's word",
    ("commit", "store/database.py"): SQL,
    ("commit", "sync/replica.py"): SQL,
    ("device", "cloud/"): "RFC 8628's word",
    ("device", "sync/scan/look.py"): SYSTEM,
    ("device", "sync/watch.py"): SYSTEM,
    ("tip", "sync/core/history.py"): "any point of the history that one starts from; a head is a workspace's",
}


def test_identifiers_keep_to_the_glossary() -> None:
    wrong = sorted(
        f"{module.path}:{line}: {name}: never say {word!r}"
        for module in modules()
        for name, line in defined(module)
        for word in banned_in(name)
        if not any(word == known and module.path.startswith(place) for known, place in EXCEPTIONS)
    )
    assert not wrong, "\n".join(wrong)


def test_the_exceptions_are_needed() -> None:
    used = {
        (word, place)
        for module in modules()
        for name, _ in defined(module)
        for word in banned_in(name)
        for known, place in EXCEPTIONS
        if word == known and module.path.startswith(place)
    }
    assert set(EXCEPTIONS) - used == set()


def test_functions_are_named_for_what_they_do() -> None:
    wrong = [
        f"{module.path}:{node.lineno}: {node.name}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.strip("_").split("_")[0] in BANNED_VERBS
    ]
    assert not wrong, "\n".join(wrong)


def test_the_page_names_every_banned_word() -> None:
    page = (TOP / "docs" / "GLOSSARY.md").read_text("utf-8").lower()
    assert {word for word in BANNED | BANNED_VERBS if not re.search(rf"\b{word}", page)} == set()


@pytest.mark.parametrize(
    ("name", "words"), [("lastSynced", {"synced"}), ("CHUNK_MAX", {"chunk"}), ("repo_of", {"repo"}), ("report", set())]
)
def test_words_are_found_in_names_of_every_style(name: str, words: set[str]) -> None:
    assert banned_in(name) == words


def banned_in(name: str) -> set[str]:
    return {word.lower() for word in WORDS.findall(name)} & BANNED


def defined(module: Module) -> Iterator[tuple[str, int]]:
    """Every name this module makes: functions, classes, arguments, variables, attributes."""
    for node in ast.walk(module.tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
