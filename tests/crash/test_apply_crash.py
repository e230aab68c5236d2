"""Death before each change to the folder, with and without a save in the gap: nothing is lost, torn, or left lying about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from store.atomic import TEMP_PREFIX, Folder, TempName, Written, temp_name
from store.manifest import Draft, MemoryNodes, build_manifest
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of
from sync.apply import Applied, apply_plan
from sync.core.plan import Plan, plan
from tests.trees import Replica, file, read_tree, write_tree

BEFORE: dict[bytes, bytes | Entry] = {
    b"edit": b"old", b"edit too": b"old too", b"gone": b"going", b"d": DIR, b"d/in": b"inner", b"d/gone": b"inner going",
    b"fold": DIR, b"fold/x": b"folded", b"file": b"becomes a folder", b"link": Link(b"one"), b"tool": b"#!", b"still": b"untouched",
}  # fmt: skip
AFTER: dict[bytes, bytes | Entry] = {
    b"edit": b"new", b"edit too": b"new too", b"d": DIR, b"d/in": b"new inner", b"fold": b"becomes a file",
    b"file": DIR, b"file/y": b"below", b"link": Link(b"two"), b"tool": b"#!", b"still": b"untouched", b"new": DIR, b"new/z": b"fresh",
    b"new/er": DIR, b"new/er/link": Link(b"z"), b"new/er/est": b"freshest",
}  # fmt: skip


@pytest.fixture(autouse=True, params=["few steps", "many steps"])
def no_fsync(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies here, not the power: what was written is written. Both ways to carry out a plan."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr("sync.apply.sync_file_system", lambda fd: None)
    monkeypatch.setattr("sync.apply.run.sync_file_system", lambda fd: None)
    if request.param == "many steps":
        monkeypatch.setattr("sync.apply.FEW_STEPS", 0)


class Died(BaseException):
    """The process is gone: no handler of ours may run to any effect."""


class Dying(Folder):
    """Counts changes, does something before one of them, and dies before one; after that, nothing changes any more."""

    changes: int
    dies_at: int
    acts_at: int
    act: Callable[[], None]

    def _change(self) -> None:
        Dying.changes += 1
        if Dying.changes == Dying.acts_at:
            Dying.act()
        if Dying.changes >= Dying.dies_at:
            raise Died

    def write_temp(
        self, name: bytes, chunks: Iterable[bytes], executable: bool, *, fsync: bool, like: os.stat_result | None = None
    ) -> Written:
        try:
            self._change()
        except Died:
            torn = os.open(temp_name(name), os.O_WRONLY | os.O_CREAT, dir_fd=self.fd)
            os.write(torn, b"".join(chunks)[:2])
            os.close(torn)
            raise
        return super().write_temp(name, chunks, executable, fsync=fsync, like=like)

    def write_hidden(self, name: bytes, chunks: Iterable[bytes], executable: bool) -> os.stat_result:
        try:
            self._change()
        except Died:
            torn = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=self.fd)
            os.write(torn, b"".join(chunks)[:2])
            os.close(torn)
            raise
        return super().write_hidden(name, chunks, executable)

    def link_hidden(self, name: bytes, target: bytes) -> None:
        self._change()
        super().link_hidden(name, target)

    def exchange(self, temp: TempName, name: bytes) -> None:
        self._change()
        super().exchange(temp, name)

    def place(self, temp: TempName, name: bytes) -> None:
        self._change()
        super().place(temp, name)

    def take_aside(self, name: bytes) -> TempName:
        self._change()
        return super().take_aside(name)

    def discard(self, temp: TempName) -> None:
        self._change()
        super().discard(temp)

    def make_dir(self, name: bytes) -> None:
        self._change()
        super().make_dir(name)

    def remove_dir(self, name: bytes) -> bool:
        self._change()
        return super().remove_dir(name)

    def set_executable(self, name: bytes, fd: int, executable: bool) -> None:
        self._change()
        super().set_executable(name, fd, executable)


def entries_of(tree: dict[bytes, bytes | Entry]) -> dict[bytes, Entry]:
    return {path: file(what, path == b"tool" and tree is AFTER) if isinstance(what, bytes) else what for path, what in tree.items()}


def planned(replica: Replica, base: dict[bytes, Entry], remote: dict[bytes, Entry]) -> Plan:
    draft = Draft(MemoryNodes())
    old, here, new = (
        build_manifest(((RelPath(path), tree[path]) for path in sorted(tree)), draft) for tree in (base, replica.tree(), remote)
    )
    return plan(old, here, new, draft, join=lambda *_: None, untracked=lambda *_: False)


def carry_out(replica: Replica, dies_at: int, acts_at: int = 0, act: Callable[[], None] = lambda: None) -> Applied | None:
    Dying.changes, Dying.dies_at, Dying.acts_at, Dying.act = 0, dies_at, acts_at, act
    steps = planned(replica, entries_of(BEFORE), entries_of(AFTER)).actions
    with Dying.open_root(replica.path) as root:
        try:
            return apply_plan(steps, root, replica.blobs, replica.index, keep=replica.blobs.put)
        except Died:
            return None


def begin(path: Path) -> Replica:
    path.mkdir()
    write_tree(path, BEFORE)
    replica = Replica(path)
    replica.settle()
    for what in AFTER.values():
        if isinstance(what, bytes):
            replica.blobs.put(what)
    return replica


def restart(crashed: Replica) -> Replica:
    """Another process on the same folder, store and committed index."""
    again = Replica(crashed.path)
    again.blobs = crashed.blobs
    again.index.remember({path: record for path, record in crashed.index.below(b"")})
    again.scanner = type(again.scanner)(again.index, again.ignore, again.blobs, again.now_ns)
    _, problems = again.scanner.sweep_temps(again.root, again.blobs.put)
    assert problems == []
    assert [path for path in read_tree(again.path) if TEMP_PREFIX in path] == []
    return again


def count_changes(tmp_path: Path) -> int:
    applied = carry_out(begin(tmp_path / "counting"), dies_at=10**9)
    assert applied is not None and (applied.stale, applied.problems) == ([], {})
    assert read_tree(tmp_path / "counting") == entries_of(AFTER)
    return Dying.changes


def kept_or_there(replica: Replica) -> set[Digest]:
    return {*replica.blobs.kept, *(entry.digest for entry in read_tree(replica.path).values() if isinstance(entry, File))}


def test_after_death_at_any_change_all_is_whole_and_the_plan_can_be_finished(tmp_path: Path) -> None:
    old, new = entries_of(BEFORE), entries_of(AFTER)
    for dies_at in range(1, count_changes(tmp_path) + 1):
        replica = begin(tmp_path / f"dies at {dies_at}")
        assert carry_out(replica, dies_at) is None
        again = restart(replica)
        for path, entry in read_tree(again.path).items():
            assert entry in (old.get(path), new.get(path)), f"torn: {path!r} when it died at {dies_at}"
        assert again.settle().problems == []
        applied = apply_plan(planned(again, old, new).actions, again.root, again.blobs, again.index, keep=again.blobs.put)
        assert (applied.stale, applied.problems) == ([], {})
        assert read_tree(again.path) == new


def save_by_rename(path: Path, data: bytes) -> None:
    (path.parent.parent / "editor's temp").write_bytes(data)
    (path.parent.parent / "editor's temp").rename(path)


def scenarios(changes: int) -> Iterator[tuple[int, int]]:
    """A save before one change, death before that one or one of the next."""
    for acts_at in range(1, changes + 1):
        for dies_at in range(acts_at, min(acts_at + 2, changes + 1)):
            yield acts_at, dies_at


@pytest.mark.parametrize("name", ["edit", "gone", "file", "link", "new/z"])
def test_a_save_in_the_gap_before_death_is_never_lost(tmp_path: Path, name: str) -> None:
    mine = b"mine, saved in the gap"
    for acts_at, dies_at in scenarios(count_changes(tmp_path)):
        replica = begin(tmp_path / f"{acts_at}-{dies_at}")
        path = replica.path / name
        saved: list[bool] = []

        def save(path: Path = path, saved: list[bool] = saved) -> None:
            if path.parent.is_dir() and not path.is_dir():
                save_by_rename(path, mine)
                saved.append(True)

        carry_out(replica, dies_at, acts_at, save)
        again = restart(replica)
        again.settle()
        if saved:
            assert digest_of(mine) in kept_or_there(again), f"lost when saved at {acts_at}, died at {dies_at}"
        before = {digest_of(what) for what in BEFORE.values() if isinstance(what, bytes)}
        assert before <= kept_or_there(again)
