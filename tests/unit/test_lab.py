"""The harness itself: a comparison that misses a difference, or a book that forgives a loss, would make every e2e test worthless."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure import percentile, spread
from benchmarks.proxy import CountingProxy
from benchmarks.report import Bar, Section, write_page
from benchmarks.saves import is_whole, whole
from tests.lab.author import Author
from tests.lab.compare import digests_in, litter, tree_differences
from tests.lab.machine import phase_of
from tests.lab.process import REPOSITORY, marked
from tests.waiting import wait_until


def fill(root: Path) -> Path:
    (root / "folder" / "empty").mkdir(parents=True)
    (root / "folder" / "file.txt").write_text("text\n")
    (root / os.fsdecode(b"odd-\xff\n")).write_bytes(b"odd")
    (root / "script").write_text("#!/bin/sh\n")
    (root / "script").chmod(0o755)
    (root / "link").symlink_to("folder")
    return root


def same_size(root: Path) -> None:
    (root / "folder/file.txt").write_text("TEXT\n")


def other_size(root: Path) -> None:
    (root / "folder/file.txt").write_text("longer text\n")


def not_executable(root: Path) -> None:
    (root / "script").chmod(0o644)


def other_target(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("script")


def no_empty_folder(root: Path) -> None:
    (root / "folder/empty").rmdir()


def odd_name_gone(root: Path) -> None:
    (root / os.fsdecode(b"odd-\xff\n")).rename(root / os.fsdecode(b"odd-\xfe\n"))


def folder_for_file(root: Path) -> None:
    (root / "script").unlink()
    (root / "script").mkdir()


CHANGES = [same_size, other_size, not_executable, other_target, no_empty_folder, odd_name_gone, folder_for_file]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_difference_is_seen_from_both_sides(tmp_path: Path, change: Callable[[Path], None]) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b")
    assert tree_differences(a, b) == []
    change(b)
    assert tree_differences(a, b)
    assert tree_differences(b, a)


def test_our_own_folder_is_no_difference_but_our_temporary_files_are(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b")
    (b / ".fst").mkdir()
    (b / ".fst/marker").touch()
    assert tree_differences(a, b) == []
    (b / "folder/.fst-tmp-1").touch()
    assert tree_differences(a, b)
    assert litter(b) == ["folder/.fst-tmp-1"]


def test_an_author_notices_a_lost_edit_and_a_removal_undone(tmp_path: Path) -> None:
    for at in range(20):
        (tmp_path / f"{at}.txt").write_text(f"{at}\n")
    author = Author(tmp_path, 0, seed=1)
    author.play_burst(1, files=8, changes=2, removals=2)
    author.check(digests_in(tmp_path))
    removed = sorted(author.removed)[0]
    (tmp_path / removed).write_text("back\n")
    with pytest.raises(AssertionError, match="came back"):
        author.check(digests_in(tmp_path))
    (tmp_path / removed).unlink()
    (tmp_path / sorted(author.expected)[0]).write_text("old\n")
    with pytest.raises(AssertionError, match="are not as left"):
        author.check(digests_in(tmp_path))


def test_two_authors_never_touch_the_same_path(tmp_path: Path) -> None:
    for at in range(50):
        (tmp_path / f"{at}.txt").write_text(f"{at}\n")
    authors = [Author(tmp_path, share, seed=3) for share in (0, 1)]
    for author in authors:
        for number in range(4):
            author.play_burst(number, files=10, changes=5, removals=3)
    touched = [author.expected.keys() | author.removed for author in authors]
    assert not touched[0] & touched[1]


@pytest.mark.parametrize(
    ("state", "settled", "uploaded", "phase"),
    [
        ("scanning", False, False, "import"),
        ("pushing", True, False, "push"),
        ("applying", False, True, "apply"),
        ("idle", False, True, "import"),
        ("idle", True, False, "push"),
        ("idle", True, True, "idle"),
    ],
)
def test_a_phase_is_read_from_a_status(state: str, settled: bool, uploaded: bool, phase: str) -> None:
    assert phase_of({"state": state, "settled": settled, "uploaded": uploaded}) == phase


def test_what_a_killed_run_had_started_is_ended(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.lab.process import Lab; lab = Lab(Path(sys.argv[1]));"
        "lab.start(['sleep', '600'], lab.environment('x', {}), cwd=lab.base, log=lab.base / 'log');"
        "print(lab.mark, len(lab.processes()), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    mark, started = done.stdout.split()
    assert started == "1"
    wait_until(lambda: not marked(mark), 10, "the guard has ended what was started")


def test_a_torn_content_tells_itself() -> None:
    old, new = whole(b"a" * 5000), whole(b"b" * 6000)
    assert is_whole(old) and is_whole(new)
    assert not is_whole(new[:3000] + old[3000:])
    assert not is_whole(new[:-1])
    assert not is_whole(b"")


def test_the_proxy_counts_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = CountingProxy(server.getsockname()[1])

        def answer() -> None:
            near, _ = server.accept()
            with near:
                asked = near.recv(100, socket.MSG_WAITALL)
                near.sendall(hashlib.sha256(asked).digest() * 10)

        threading.Thread(target=answer, daemon=True).start()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            client.sendall(b"x" * 100)
            assert len(client.recv(320, socket.MSG_WAITALL)) == 320
        wait_until(lambda: (proxy.up, proxy.down) == (100, 320), 5, "100 up and 320 down are counted")
        proxy.close()


def test_a_page_keeps_what_is_not_measured_anew(tmp_path: Path) -> None:
    page = tmp_path / "PERFORMANCE.md"
    page.write_text("# Performance\n\nBy hand.\n")
    one = Section("one", "One", "How.", ("system", "s"), [("ours", "1.0")], [Bar("against git", 0.5, 0.4, "x")])
    two = Section("two", "Two", "How.", ("system", "s"), [("ours", "2.0")])
    write_page([one, two], "git: 2", page)
    one.rows[0] = ("ours", "3.0")
    write_page([one], "git: 2", page)
    text = page.read_text()
    assert text.startswith("# Performance\n\nBy hand.\n")
    assert text.count("## One") == text.count("## Two") == 1
    assert "| ours | 3.0 |" in text and "| ours | 1.0 |" not in text and "| ours | 2.0 |" in text
    assert "✘ against git: 0.5 x (bar: 0.4 x)" in text


def test_medians_and_ranks() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2.00 [1.00-3.00]"
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2
