"""Two machines and a cloud on real trees: identical at rest, whatever was done to the files in between.

All 12,000 files of an interpreter are mirrored once; what is then done to files is done among the library's 2,400 sources. BIG_TREE=1
(`make soak`) does it among all of them and 67,000 more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.trees import TreeUnavailable, copy_tree, library_tree, npm_tree, stdlib_tree
from tests.lab.compare import digests_in, look, shown, tree_differences
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.pair import Pair
from tests.lab.process import Lab
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NOTHING_HELD = {"FASTEST_SECRETS_HOLD": "false"}
BURST = 1000


def fill(root: Path) -> None:
    copy_tree(stdlib_tree() if os.environ.get("BIG_TREE") else library_tree(), root)


def test_the_standard_library_is_mirrored_byte_for_byte(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(fill=lambda root: copy_tree(stdlib_tree(), root), settings=NOTHING_HELD)
    differences = tree_differences(stdlib_tree(), pair.b.root)
    assert not differences, shown(differences)
    assert pair.b.status()["files"] == sum(seen.kind == "file" for seen in look(pair.b.root).values())
    pair.check()


def test_sixty_thousand_files_are_mirrored_byte_for_byte(make_pair: Callable[..., Pair]) -> None:
    try:
        tree = npm_tree()
    except TreeUnavailable as reason:
        pytest.skip(str(reason))
    pair = make_pair(fill=lambda root: copy_tree(tree, root), settings=NOTHING_HELD)
    differences = tree_differences(tree, pair.b.root)
    assert not differences, shown(differences)


# --- secrets ----------------------------------------------------------------------------------------------------------------


def held_paths(told: Any) -> set[str]:
    """`held_back` as told: paths, or records that name one."""
    assert isinstance(told, list), f"held_back is a list of what is held back, not {told!r}"
    return {item if isinstance(item, str) else item["path"] for item in told}


def test_only_the_files_that_are_told_as_held_back_are_missing(lab: Lab) -> None:
    pair = Pair(lab)
    fill(pair.a.root)
    planted = {".env": b"DATABASE_URL=postgres://ann:hunter2@db/prod\n", "deploy/id_rsa": _private_key()}
    for path, data in planted.items():
        (pair.a.root / path).parent.mkdir(exist_ok=True)
        (pair.a.root / path).write_bytes(data)
    told_by_up = pair.open()
    pair.converge(120, held=True)
    missing = look(pair.a.root).keys() - look(pair.b.root).keys()
    held = held_paths(pair.a.status()["held_back"])
    assert held == missing
    assert planted.keys() <= held
    assert held_paths(told_by_up["held_back"]) == held
    others = [told for told in tree_differences(pair.a.root, pair.b.root) if not told.startswith(f"only in {pair.a.root}")]
    assert not others, shown(others)
    for digest in (digests_in(pair.a.root)[path] for path in planted):
        assert pair.a.has_content(digest), "a held-back file stays in the local history"
        assert not pair.b.has_content(digest), "a held-back file never reaches another machine"


def _private_key() -> bytes:
    body = "\n".join(["QyNTUxOQAAACDk" * 5] * 6)
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n".encode()


# --- one pair for the tests below: each works in a corner of its own and leaves both sides identical --------------------------


class Shared:
    """The module's pair; made anew after a failure, so that one failure does not fail the rest."""

    def __init__(self) -> None:
        self.pair: Pair | None = None
        self.failed = 0


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Shared]]:
    for lab in open_lab(request):
        yield lab, Shared()


@pytest.fixture
def pair(request: pytest.FixtureRequest, shared: tuple[Lab, Shared]) -> Pair:
    lab, kept = shared
    if kept.pair is None or request.session.testsfailed != kept.failed:
        lab.kill_all()
        number = f"try-{request.session.testsfailed}"
        kept.pair, kept.failed = Pair(lab.below(number), settings=NOTHING_HELD), request.session.testsfailed
        fill(kept.pair.a.root)
        if os.environ.get("BIG_TREE"):
            copy_tree(npm_tree(), kept.pair.a.root / "npm")
        kept.pair.open()
        kept.pair.converge(120)
    return kept.pair


def sides(pair: Pair, writer: str) -> tuple[Machine, Machine]:
    return (pair.a, pair.b) if writer == "a" else (pair.b, pair.a)


both_ways = pytest.mark.parametrize("writer", ["a", "b"])


@both_ways
def test_edits_cross(pair: Pair, writer: str) -> None:
    here, there = sides(pair, writer)
    (here.root / "lib/json/decoder.py").write_text(f"changed on {writer}\n")
    with (here.root / "lib/json/encoder.py").open("a") as file:
        file.write(f"# appended on {writer}\n")
    (here.root / f"new-{writer}.txt").write_text("new\n")
    (here.root / f"empty-file-{writer}").touch()
    (here.root / f"empty-folder-{writer}/below").mkdir(parents=True)
    (here.root / f"link-{writer}").symlink_to("lib/json")
    (here.root / f"dangling-{writer}").symlink_to("/nowhere/at/all")
    script = here.root / "lib/json/tool.py"
    script.chmod(script.stat().st_mode ^ 0o111)
    pair.converge()
    assert (there.root / "lib/json/decoder.py").read_text() == f"changed on {writer}\n"
    assert (there.root / f"empty-folder-{writer}/below").is_dir()
    assert (there.root / f"dangling-{writer}").readlink() == Path("/nowhere/at/all")
    assert os.access(there.root / "lib/json/tool.py", os.X_OK) == bool(script.stat().st_mode & 0o100)


@both_ways
def test_renamed_folders_cross(pair: Pair, writer: str) -> None:
    here, there = sides(pair, writer)
    before = digests_in(here.root / "lib/unittest")
    (here.root / "lib/unittest").rename(here.root / "lib/unit-moved")
    pair.converge()
    assert digests_in(there.root / "lib/unit-moved") == before
    assert not (there.root / "lib/unittest").exists()
    (here.root / "deep/er").mkdir(parents=True)
    (here.root / "lib/unit-moved").rename(here.root / "deep/er/unittest")
    pair.converge()
    (here.root / "deep/er/unittest").rename(here.root / "lib/unittest")
    shutil.rmtree(here.root / "deep")
    pair.converge()
    assert digests_in(there.root / "lib/unittest") == before


@both_ways
def test_deletions_cross(pair: Pair, writer: str) -> None:
    here, there = sides(pair, writer)
    gone = "lib/email" if writer == "a" else "lib/logging"
    (here.root / "lib/this.py" if writer == "a" else here.root / "lib/antigravity.py").unlink()
    shutil.rmtree(here.root / gone)
    pair.converge()
    assert not (there.root / gone).exists()


@both_ways
def test_a_file_and_a_folder_swap_places(pair: Pair, writer: str) -> None:
    here, there = sides(pair, writer)
    corner = here.root / f"swap-{writer}"
    (corner / "was-folder/in").mkdir(parents=True)
    (corner / "was-folder/in/x.txt").write_text("x\n")
    (corner / "was-file").write_text("file\n")
    (corner / "one").write_text("one\n")
    (corner / "two").write_text("two\n")
    (corner / "was-link").symlink_to("one")
    pair.converge()
    shutil.rmtree(corner / "was-folder")
    (corner / "was-folder").write_text("now a file\n")
    (corner / "was-file").unlink()
    (corner / "was-file/in").mkdir(parents=True)
    (corner / "was-file/in/y.txt").write_text("y\n")
    (corner / "one").rename(corner / "three")
    (corner / "two").rename(corner / "one")
    (corner / "three").rename(corner / "two")
    (corner / "was-link").unlink()
    (corner / "was-link").mkdir()
    pair.converge()
    mirrored = there.root / f"swap-{writer}"
    assert (mirrored / "was-folder").read_text() == "now a file\n"
    assert (mirrored / "was-file/in/y.txt").read_text() == "y\n"
    assert (mirrored / "one").read_text() == "two\n"
    assert (mirrored / "two").read_text() == "one\n"
    assert (mirrored / "was-link").is_dir()


@pytest.mark.parametrize("writers", ["a", "b", "ab"])
def test_bursts_of_a_thousand_files_cross(pair: Pair, writers: str) -> None:
    for round_number in range(2):  # new at first, then all changed
        for at in range(BURST):
            for writer in writers:
                here, _ = sides(pair, writer)
                path = here.root / f"burst-{writers}-{writer}/{at % 10}/{at}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{writer} {at} {round_number}\n" * (1 + at % 50))
        pair.converge()
        for writer in writers:
            _, there = sides(pair, writer)
            assert len(digests_in(there.root / f"burst-{writers}-{writer}")) == BURST
            last = (there.root / f"burst-{writers}-{writer}/9/999.txt").read_text()
            assert last.startswith(f"{writer} 999 {round_number}\n")


def test_work_done_offline_and_apart_comes_together(pair: Pair) -> None:
    pair.cloud.stop()
    wait_until(lambda: pair.a.report()["daemon"]["cloud"] == "offline", 60, "a tells that the cloud is away")
    for machine in pair.machines:
        for at in range(50):
            (machine.root / f"offline-{machine.name}-{at}.txt").write_text(f"{machine.name} {at}\n")
        machine.wait_settled()
        assert not machine.status()["uploaded"]
    (pair.a.root / "lib/cmd.py").write_text("edited on a, offline\n")
    (pair.b.root / "lib/code.py").unlink()
    (pair.b.root / "lib/json").rename(pair.b.root / "lib/json-moved")
    pair.b.stop()
    (pair.b.root / "lib/bdb.py").write_text("edited on b, with no daemon at all\n")
    pair.cloud.start()
    pair.a.wait_uploaded(90)
    pair.b.start()
    pair.converge(90)
    for root in (pair.a.root, pair.b.root):
        assert len(list(root.glob("offline-*.txt"))) == 100
        assert (root / "lib/cmd.py").read_text() == "edited on a, offline\n"
        assert (root / "lib/bdb.py").read_text() == "edited on b, with no daemon at all\n"
        assert not (root / "lib/code.py").exists()
        assert (root / "lib/json-moved").is_dir() and not (root / "lib/json").exists()


ODD_NAMES = (
    b"not-utf8-\xff\xfe",
    b"new\nline",
    b"tab\there",
    b"\x1b[31mred\x07",
    b"-rf",
    b" leading and trailing ",
    b"dot.",
    b"back\\slash",
    b"quo\"te'`$(id)",
    b"%2e%2e",
    b"*?[a-z]",
    b"con",
    b"aux.c",
    b"a:b",
    "nfc-\u00e9".encode(),
    "nfd-e\u0301".encode(),
    b"Case",
    b"case",
    "\U0001f600".encode(),
    "\u202egnp.exe".encode(),
    b"x" * 255,
    b"#!.gitignore",
)


@both_ways
def test_odd_names_cross_byte_for_byte(pair: Pair, writer: str) -> None:
    here, there = sides(pair, writer)
    corner = here.root / f"odd-{writer}"
    corner.mkdir()
    for name in ODD_NAMES:
        (corner / os.fsdecode(name)).write_bytes(b"named " + name)
    deep = corner / "/".join(["d" * 100] * 30)
    deep.mkdir(parents=True)
    (deep / "bottom.txt").write_text("deep down\n")
    folder = corner / os.fsdecode(b"folder-\xff\n")
    folder.mkdir()
    (folder / os.fsdecode(b"\xfe")).write_bytes(b"both odd")
    pair.converge()
    arrived = {os.fsencode(item.name) for item in (there.root / f"odd-{writer}").iterdir()}
    assert arrived >= set(ODD_NAMES)
    (folder / os.fsdecode(b"\xfe")).rename(corner / os.fsdecode(b"moved-\xfd"))
    folder.rmdir()
    pair.converge()


def test_the_stores_are_sound_after_all_that(pair: Pair) -> None:
    pair.check()
