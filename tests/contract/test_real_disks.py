"""The same suite for disks that fold names, real and played: what the probe says of a disk is what the disk does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest

from store.atomic import Folder
from store.errors import FastestError
from sync.apply.probe import probe_disk
from tests.folding import Apple, Ascii, Fat, Hfs
from tests.real_disks import MAKERS, mounted
from tests.two_replicas import MemoryCloud, Side, run

PLAYED: dict[str, type[Folder]] = {"plain": Folder, "ascii": Ascii, "apple": Apple, "hfs": Hfs, "fat": Fat}
FAMILIES = [
    ["name", "NAME", "Name", "name2"],
    ["é", "É", "e\u0301", "E\u0301", "e"],
    ["straße", "STRASSE", "STRAßE"],
    ["ÿ", "Ÿ", "ж", "Ж", "Ω", "ω"],
]
ODD = [
    "a:b",
    "a?b",
    'a"b',
    "a|b",
    "a\\b",
    "a\x01b",
    "end.",
    "end ",
    " start",
    ".start",
    "CON",
    "aux.c",
    "COM1",
    "com10",
    "x" * 255,
    "\udcff",
]


@pytest.fixture(params=[*PLAYED, *MAKERS])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, type[Folder]]]:
    if request.param in PLAYED:
        (tmp_path / "disk").mkdir()
        yield tmp_path / "disk", PLAYED[request.param]
    else:
        with mounted(request.param, tmp_path / "mount") as root:
            yield root, Folder


def makes(root: Folder, name: str) -> bool:
    """Ask the disk itself: is this a new name, and is it then spelt so?"""
    raw = os.fsencode(name)
    try:
        temp = root.write_temp(raw, [b"x"], False, fsync=False)
    except FastestError:
        return False
    try:
        root.place(temp.name, raw)
    except FastestError:
        root.discard(temp.name)
        return False
    return name in root.names()


@pytest.mark.parametrize("family", FAMILIES)
def test_names_that_are_one_to_the_disk_have_one_key(disk: tuple[Path, type[Folder]], family: list[str]) -> None:
    path, kind = disk
    with kind.open_root(path) as root:
        names = probe_disk(root, [])
        assert names is not None
        for number, (one, other) in enumerate(combinations(family, 2)):
            root.make_dir(b"%d" % number)
            with root.open(b"%d" % number) as inside:
                if not makes(inside, one):
                    assert names.refusal(os.fsencode(one)) is not None, one
                    continue
                are_one = inside.stat(os.fsencode(other)) is not None
            assert are_one == (names.fold(os.fsencode(one)) == names.fold(os.fsencode(other))), (one, other)


def test_what_the_disk_refuses_is_known_to_be_refused(disk: tuple[Path, type[Folder]]) -> None:
    path, kind = disk
    with kind.open_root(path) as root:
        names = probe_disk(root, [])
        assert names is not None
        for name in ODD:
            if not makes(root, name):
                assert names.refusal(os.fsencode(name)) is not None, name


# What of these four a disk takes, and what it has once `d/x` and `D/x` were edited to "edited" and `Notes` was removed.
EVERYTHING = {"Notes": "one\n", "a:b": "no\n", "d/x": "x\n", "D/x": "other\n", "notes": "two\n"}
TAKEN = {"exfat": {"D/x": "other\n", "Notes": "one\n"}, "ntfs": {"d/x": "x\n", "notes": "two\n"}}
WAITS = {"exfat": {"a:b", "d", "d/run", "d/x", "notes"}, "ntfs": {"a:b", "D", "D/x", "Notes"}}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_replica_on_a_real_disk_that_folds(tmp_path: Path, kind: str) -> None:
    cloud, taken, rest = MemoryCloud(), dict(TAKEN[kind]), dict(EVERYTHING)
    with mounted(kind, tmp_path / "mount") as root, closing(Side(tmp_path / "a", cloud)) as a, closing(Side(root, cloud)) as b:
        for name, text in EVERYTHING.items():
            a.write(name, text)
        (a.root / "d" / "run").write_text("run\n")
        (a.root / "d" / "run").chmod(0o755)
        a.sync()
        b.sync()
        taken |= {"d/run": "run\n"} if kind == "ntfs" else {}
        assert b.tree() == taken
        waits = {path.decode() for path in b.engine.apart}
        assert waits == WAITS[kind]

        folder = "d" if kind == "ntfs" else "D"
        b.write(f"{folder}/x", "edited\n")
        a.write(f"{folder}/new", "new\n")
        a.sync()
        b.sync()
        a.sync()
        rest |= {f"{folder}/x": "edited\n", f"{folder}/new": "new\n", "d/run": "run\n"}
        assert a.tree() == rest
        assert {path for path in rest if os.access(a.root / path, os.X_OK)} == {"d/run"}, "a bit that the disk cannot keep is nobody's edit"

        run(b.engine.look(None))
        assert not run(b.engine.look(None)).seen, "a disk without bits is not read again and again"

        # The name that was taken becomes free, and changes its spelling.
        if kind == "exfat":
            (b.root / "Notes").unlink()
            b.sync()
            assert b.tree()["notes"] == "two\n"
            a.sync()
            (a.root / "notes").rename(a.root / "NOTES")
            a.sync()
            b.sync()
            assert b.tree()["NOTES"] == "two\n" and "notes" not in b.tree()
        assert not list(b.root.rglob(".fst-tmp-*"))
