"""The format as written down: vectors that never change, and a second implementation of docs/format-manifest.md."""

from __future__ import annotations

import hashlib
import json
import random
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from store.manifest import EMPTY_ROOT, Draft, MemoryNodes, build_manifest, edit_manifest
from store.manifest.build import ends_node
from store.types import DIR, Digest, Entry, File, Link, RelPath
from tests.manifests import build, make_entries

HERE = Path(__file__).parent
GOLDEN: dict[str, Any] = json.loads((HERE / "manifest_golden.json").read_text("utf-8"))
PAGE = (HERE.parent.parent / "docs" / "format-manifest.md").read_text("utf-8")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- the page, in plain Python ----------------------------------------------------------------------------------------------


def named(field: str, raw: bytes) -> dict[str, object]:
    try:
        return {field: raw.decode()}
    except UnicodeDecodeError:
        return {field + "_b64": b64encode(raw).decode()}


def plain_record(path: bytes, entry: Entry) -> dict[str, object]:
    if isinstance(entry, File):
        record = named("path", path) | {"type": "file", "hash": entry.digest.hex(), "size": entry.size}
        return record | {"exec": True} if entry.executable else record
    if isinstance(entry, Link):
        return named("path", path) | {"type": "link"} | named("target", entry.target)
    return named("path", path) | {"type": "dir"}


def plain_sums(entry: Entry) -> tuple[int, int, int]:
    return (1, 1, entry.size) if isinstance(entry, File) else (1, 0, 0)


def plain_root(entries: dict[RelPath, Entry]) -> tuple[str, dict[str, bytes]]:
    """(root, nodes by hash)."""
    nodes: dict[str, bytes] = {}
    items = [(path, plain_record(path, entry), plain_sums(entry)) for path, entry in sorted(entries.items())]
    level, field = 0, "entries"
    while True:
        above = []
        for run in plain_cuts(level, items):
            text = json.dumps({"level": level, field: [item[1] for item in run]}, ensure_ascii=False, separators=(",", ":"))
            data = text.encode()
            nodes[sha(data)] = data
            count, files, size = (sum(item[2][at] for item in run) for at in range(3))
            line = named("path", run[0][0] if run else b"") | {"hash": sha(data), "entries": count, "files": files, "bytes": size}
            above.append((run[0][0] if run else RelPath(b""), line, (count, files, size)))
        if len(above) == 1:
            return str(above[0][1]["hash"]), nodes
        level, field, items = level + 1, "children", above


def plain_cuts(level: int, items: list[Any]) -> list[list[Any]]:
    runs: list[list[Any]] = [[]]
    for at, item in enumerate(items):
        runs[-1].append(item)
        low = int.from_bytes(hashlib.sha256(bytes([level]) + item[0]).digest()[:4], "big") < 2**32 // 24
        if at + 1 < len(items) and ((len(runs[-1]) >= 8 and low) or len(runs[-1]) == 128):
            runs.append([])
    return runs


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, 1), (7, 2), (40, 3), (129, 4), (900, 5), (6000, 6)])
def test_two_implementations_agree(count: int, seed: int) -> None:
    entries = make_entries(count, seed) if count else {}
    root, draft = build(entries)
    plain, nodes = plain_root(entries)
    assert root.hex() == plain
    assert {digest.hex(): data for digest, data in draft.new.items()} == (nodes if count else {})


def odd_entry(rng: random.Random, name: bytes) -> Entry:
    return (DIR, Link(name), File(Digest(rng.randbytes(32)), rng.randrange(2**50)))[rng.randrange(3)]


def test_two_implementations_agree_on_odd_names() -> None:
    rng = random.Random(5)
    odd = ["\n", '"', "\\", "\x1f", "\x7f", "\b", "/", "é", "e\u0301", "\u2028", "\U0001f600"]
    letters = [b"a", b"\xff", *(letter.encode() for letter in odd)]
    for _ in range(50):
        names = {b"".join(rng.choices(letters, k=rng.randrange(1, 12))) for _ in range(rng.randrange(200))}
        entries = {RelPath(name): odd_entry(rng, name) for name in names}
        assert build(entries)[0].hex() == plain_root(entries)[0]


# --- the vectors ------------------------------------------------------------------------------------------------------------


def counted_entries(count: int) -> dict[RelPath, Entry]:
    """`d0` to `d9`, and in them files `f0`, `f1`, ... whose bytes are their number."""
    entries: dict[RelPath, Entry] = {RelPath(b"d%d" % at): DIR for at in range(10)}
    for at in range(count):
        content = b"%d" % at
        entries[RelPath(b"d%d/f%d" % (at % 10, at))] = File(Digest(hashlib.sha256(content).digest()), len(content))
    return entries


def entries_of(rows: list[dict[str, Any]]) -> dict[RelPath, Entry]:
    found: dict[RelPath, Entry] = {}
    for row in rows:
        path = RelPath(b64decode(row["path"]))
        if row["type"] == "file":
            found[path] = File(Digest(bytes.fromhex(row["hash"])), row["size"], row["exec"])
        else:
            found[path] = Link(b64decode(row["target"])) if row["type"] == "link" else DIR
    return found


def test_empty_vector() -> None:
    assert EMPTY_ROOT.hex() == GOLDEN["empty"]["root"] == sha(GOLDEN["empty"]["node"].encode())


def test_odd_leaf_vector() -> None:
    entries = entries_of(GOLDEN["odd"]["entries"])
    root, draft = build(entries)
    assert draft.new[root] == GOLDEN["odd"]["node"].encode()
    assert root.hex() == GOLDEN["odd"]["root"]


@pytest.mark.parametrize("row", GOLDEN["boundaries"], ids=lambda row: f"{row['level']}-{row['key']}")
def test_boundary_vectors(row: dict[str, Any]) -> None:
    assert hashlib.sha256(bytes([row["level"]]) + row["key"].encode()).digest()[:4].hex() == row["start"]
    assert ends_node(row["level"], row["key"].encode()) is row["ends"]


@pytest.mark.parametrize("row", GOLDEN["counted"], ids=lambda row: str(row["files"]))
def test_counted_vectors(row: dict[str, Any]) -> None:
    entries = counted_entries(row["files"])
    root, draft = build(entries)
    assert root.hex() == row["root"]
    assert len(draft.new) == row["nodes"]
    assert edit_manifest(root, [(RelPath(b"d5"), None), (RelPath(b"d5/new"), File(Digest(bytes(32)), 0))], draft).hex() == row["edited"]


def test_the_page_shows_the_vectors() -> None:
    for root in (GOLDEN["empty"]["root"], GOLDEN["odd"]["root"], *(row["root"] for row in GOLDEN["counted"])):
        assert root in PAGE
    assert build_manifest([], Draft(MemoryNodes())).hex() in PAGE
