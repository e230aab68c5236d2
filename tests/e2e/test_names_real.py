"""Two real machines, one of them with its folder on a disk that folds names: what cannot be there is told, and stops nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.compare import litter
from tests.lab.pair import Pair
from tests.real_disks import mounted
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


def test_names_that_an_exfat_disk_cannot_hold_are_told_and_stop_nothing(tmp_path: Path, make_pair: Callable[..., Pair]) -> None:
    with mounted("exfat", tmp_path / "mount") as disk:
        pair = make_pair()
        a, b = pair.machines
        b.root = disk / "work"
        a.root.mkdir(exist_ok=True)
        for name, text in {"Notes": "one\n", "notes": "two\n", "a:b": "no\n", "plain": "plain\n"}.items():
            (a.root / name).write_text(text)
        pair.open()
        try:
            b.wait_settled(60)
            b.wait_uploaded(60)
            status = b.status()
            assert sorted((one["path"], one["code"], one["message"]) for one in status["problems"]) == [
                ("a:b", "name-refused", "a:b is not written here: names here have no :."),
                ("notes", "name-collision", "notes is not written here: on this disk it would be the same file as Notes."),
            ]
            assert "on this disk it would be the same file as Notes" in b.must("status").out.decode()
            assert sorted(path.name for path in b.root.iterdir()) == ["Notes", "plain"]

            (b.root / "plain").write_text("from b\n")
            wait_until(lambda: (a.root / "plain").read_text() == "from b\n", 30, "an edit on that disk crosses")
            (a.root / "plain").write_text("from a\n")
            # exFAT cannot exchange two names, so this one is absent for a moment.
            wait_until(
                lambda: (b.root / "plain").exists() and "from a" in (b.root / "plain").read_text(), 30, "an edit crosses to that disk"
            )
            (b.root / "Notes").unlink()
            wait_until(lambda: not (a.root / "Notes").exists(), 30, "a removal crosses")
            wait_until(lambda: (b.root / "notes").exists() and (b.root / "notes").read_text() == "two\n", 30, "a free name is taken")
            wait_until(lambda: [one["path"] for one in b.status()["problems"]] == ["a:b"], 30, "what is there is told no more")
            assert sorted(path.name for path in a.root.iterdir()) == ["a:b", "notes", "plain"]
            assert all(path.stat().st_mode & 0o111 == 0 for path in a.root.iterdir()), "that disk's made-up bits are nobody's edit"
            pair.check()
            assert not litter(b.root)
        finally:
            b.stop()
