"""What people do to trees on two machines at once, through the real engine: moves, swaps, kinds that change, names and links as odd
as they come (C3 to C5, A1, A4). Of each it is asked: both end alike, no content is gone, and what was open stays open for both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from store import conflicts
from store.types import Digest
from tests.trees import read_tree
from tests.two_replicas import MemoryCloud, Side

Do = Callable[[Path], object]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    cloud = MemoryCloud()
    with ExitStack() as stack:
        sides = [Side(tmp_path / name, cloud) for name in "ab"]
        for side in sides:
            stack.callback(side.close)
        yield sides[0], sides[1]


def put(path: str, text: str) -> Do:
    def do(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return do


def move(old: str, new: str) -> Do:
    def do(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return do


def remove(path: str) -> Do:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def link(path: str, target: str) -> Do:
    return lambda root: (root / path).symlink_to(target)


def swap(one: str, other: str) -> list[Do]:
    return [move(one, "aside"), move(other, one), move("aside", other)]


def to_link(path: str, target: str) -> list[Do]:
    return [remove(path), link(path, target)]


START = {"a/x": "ax", "a/y": "ay", "b/z": "bz", "f": "f", "g": "g"}
REST = {"b/z": "bz", "f": "f", "g": "g"}
"""All but `a`."""
NO_F = {path: text for path, text in START.items() if path != "f"}

# what a does, what b does -> the files both have then (links as `-> target`); what a record keeps beside them
CASES: dict[str, tuple[list[Do], list[Do], dict[str, str], set[str]]] = {
    "one folder to two places": (
        [move("a", "c")], [move("a", "d")],
        {"c/x": "ax", "c/y": "ay", "d/x": "ax", "d/y": "ay", **REST}, set(),
    ),
    "one folder to one place": ([move("a", "c")], [move("a", "c")], {"c/x": "ax", "c/y": "ay", **REST}, set()),
    "a into b, b into a": (
        [move("a", "b/a")], [move("b", "a/b")], {"b/a/x": "ax", "b/a/y": "ay", "a/b/z": "bz", "f": "f", "g": "g"}, set(),
    ),
    "two files swapped": (swap("f", "g"), [], START | {"f": "g", "g": "f"}, set()),
    "two files swapped, one edited": (swap("f", "g"), [put("f", "f2")], START | {"f": "f2", "g": "f"}, {"g", "f2"}),
    "two folders swapped": (swap("a", "b"), [], {"b/x": "ax", "b/y": "ay", "a/z": "bz", "f": "f", "g": "g"}, set()),
    "two folders swapped, and an edit in one": (
        swap("a", "b"), [put("a/x", "ax2")], {"a/x": "ax2", "b/x": "ax", "b/y": "ay", "a/z": "bz", "f": "f", "g": "g"}, set(),
    ),
    "a file and a folder swapped": (swap("f", "b"), [], {"a/x": "ax", "a/y": "ay", "b": "f", "f/z": "bz", "g": "g"}, set()),
    "swapped on both sides": (swap("f", "g"), swap("f", "g"), START | {"f": "g", "g": "f"}, set()),
    "a file onto an edited one": ([move("f", "g")], [put("g", "g2")], NO_F | {"g": "g2"}, {"f", "g2"}),
    "a file onto one that was moved away": (
        [move("f", "g")], [move("g", "h")], {"a/x": "ax", "a/y": "ay", "b/z": "bz", "g": "f", "h": "g"}, set(),
    ),
    "an edit in a folder that goes": ([remove("a")], [put("a/x", "ax2")], {"a/x": "ax2", **REST}, set()),
    "a new file in a folder that goes": ([remove("a")], [put("a/deep/n", "n")], {"a/deep/n": "n", **REST}, set()),
    "an edit in a folder that moves": (
        [move("a", "c")], [put("a/x", "ax2")], {"a/x": "ax2", "c/x": "ax", "c/y": "ay", **REST}, set(),
    ),
    "a new file in a folder that moves": (
        [move("a", "c")], [put("a/n", "n")], {"a/n": "n", "c/x": "ax", "c/y": "ay", **REST}, set(),
    ),
    "a file becomes a folder, and is edited": ([remove("f"), put("f/in", "in")], [put("f", "f2")], NO_F | {"f/in": "in"}, {"f2"}),
    "a folder becomes a file, and is edited in": (
        [remove("a"), put("a", "file")], [put("a/x", "ax2")], {"a/x": "ax2", **REST}, {"file"},
    ),
    "a folder becomes a link, and is edited in": (
        [remove("a"), link("a", "b")], [put("a/x", "ax2")], {"a/x": "ax2", **REST}, {"-> b"},
    ),
    "a file becomes a link, and a folder": ([*to_link("f", "g")], [remove("f"), put("f/in", "in")], NO_F | {"f/in": "in"}, {"-> g"}),
    "a file becomes two links": (to_link("f", "g"), to_link("f", "b"), START | {"f": "-> b"}, {"-> g", "-> b"}),
    "a link out, up, to itself, and to nothing": (
        [link("out", "/etc/passwd"), link("up", ".."), link("self", "self"), link("none", "no/where"), link("a/back", "../a")], [],
        START | {"out": "-> /etc/passwd", "up": "-> ..", "self": "-> self", "none": "-> no/where", "a/back": "-> ../a"}, set(),
    ),
    "an edit below what becomes a link out": (
        [remove("a"), link("a", "/tmp")], [put("a/n", "n")], {"a/n": "n", **REST},
        {"-> /tmp"},
    ),
}  # fmt: skip


def see(root: Path) -> dict[str, str]:
    """Files and links, by other means than ours."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            if path.is_symlink():
                found[str(path.relative_to(root))] = f"-> {path.readlink()}"
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_text()
    return found


def records_of(side: Side) -> set[str]:
    """What open records keep, of either side."""
    kept = set()
    for one in conflicts.list_conflicts(side.db.read(), side.replica.row.workspace_id):
        for record in (one.ours, one.theirs):
            if record is not None and record.type == "file":
                kept.add(side.blobs.get(Digest(bytes.fromhex(record.hash or ""))).decode())
            elif record is not None and record.type == "link":
                kept.add(f"-> {record.target}")
    return kept


@pytest.mark.parametrize("first", ["a first", "b first"])
@pytest.mark.parametrize("name", CASES)
def test_both_end_alike_and_nothing_is_gone(pair: tuple[Side, Side], name: str, first: str) -> None:
    a, b = pair
    by_a, by_b, wanted, recorded = CASES[name]
    for path, text in START.items():
        a.write(path, text)
    a.sync()
    b.sync()
    for side, doings in ((a, by_a), (b, by_b)):
        for do in doings:
            do(side.root)
    order = [a, b] if first == "a first" else [b, a]
    for side in [*order, *order, *order]:
        side.sync()
    assert see(a.root) == see(b.root)
    assert read_tree(a.root) == read_tree(b.root)
    there = see(a.root)
    assert there.keys() == wanted.keys()
    assert all(there[path] == wanted[path] or there[path] in recorded for path in there)
    assert records_of(a) == records_of(b)
    assert recorded <= set(there.values()) | records_of(a)


ODD_NAMES = [
    b"\xff\xfe", b"line\nbreak", b"tab\there", b"\x1b[31mred", b"-rf", b"end.", b"end ", b" start", b"back\\slash", b"x" * 255,
    b"\xe2\x80\xaertl", b"a:b", b"CON", b"*", b"'\"", b"~", b"$HOME", b"%s",
]  # fmt: skip


def test_odd_names_go_round_byte_for_byte(pair: tuple[Side, Side]) -> None:
    a, b = pair
    deep = b"/".join([b"d" * 200] * 20)
    fd = os.open(a.root, os.O_RDONLY)
    for part in deep.split(b"/"):
        os.mkdir(part, dir_fd=fd)
        below = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open(b"f" * 70, os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(file, b"deep")
    os.close(file)
    os.close(fd)
    for name in ODD_NAMES:
        (a.root / os.fsdecode(name)).write_bytes(name)
    a.sync()
    b.sync()
    assert sorted(os.fsencode(path.name) for path in b.root.iterdir()) == sorted([*ODD_NAMES, b"d" * 200])
    for name in ODD_NAMES:
        assert (b.root / os.fsdecode(name)).read_bytes() == name
    assert a.replica.row.full_root == b.replica.row.full_root
    assert b.engine.apart == {}
