"""The engine over a cloud that lies: it refuses in one of our families, and the folder and what is kept stay as they were."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from daemon import verbs
from store import conflicts
from store.blobs.frames import encode_frame
from store.errors import BlobsMissing, BrakeHeld, Corrupt, EpochChanged, InvalidReply
from store.manifest import Child, EntryRecord, check_manifest, edit_manifest, record_of
from store.manifest.node import child_of, encode_inner, encode_leaf, sum_children, sum_entries
from store.manifest.source import Draft
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of, new_ulid, parse_digest
from sync.core.wire import Delta, Head, PushHeader, WireConflict
from tests.two_replicas import WORKSPACE, CatchUpAnswer, MemoryCloud, Side, rel, run

MEMORY_BYTES = 64 * 1024 * 1024


class LyingCloud(MemoryCloud):
    """Honest until it is told what to say."""

    def __init__(self) -> None:
        super().__init__()
        self.said: CatchUpAnswer | None = None
        self.frames_said: Callable[[Sequence[Digest]], Iterable[bytes]] | None = None
        self.nodes_said: Callable[[Sequence[Digest]], Iterable[tuple[Digest, bytes]]] | None = None
        self.push_said: Callable[[Head], Head] = lambda head: head
        self.asks_for: list[Digest] = []
        self.uploaded: list[bytes] = []

    async def catch_up(self, workspace_id: str, version: int, root: Digest) -> CatchUpAnswer:
        return self.said or await super().catch_up(workspace_id, version, root)

    async def fetch(self, digests: Sequence[Digest]) -> AsyncIterator[bytes]:
        if self.frames_said is None:
            async for frame in super().fetch(digests):
                yield frame
        else:
            for frame in self.frames_said(digests):
                yield frame

    async def nodes(self, workspace_id: str, digests: Sequence[Digest]) -> AsyncIterator[tuple[Digest, bytes]]:
        if self.nodes_said is None:
            async for digest, data in super().nodes(workspace_id, digests):
                yield digest, data
        else:
            for digest, data in self.nodes_said(digests):
                yield digest, data

    async def push(self, workspace_id: str, header: PushHeader, deltas: Iterable[bytes], frames: Iterable[bytes]) -> Head:
        if self.asks_for:
            raise BlobsMissing("give me these", digests=list(self.asks_for))
        return self.push_said(await super().push(workspace_id, header, deltas, frames))

    async def upload(self, frames: Iterable[bytes]) -> None:
        self.uploaded += frames

    # --- what it can say --------------------------------------------------------------------------------------------------------

    def move(self, changes: Delta, side: Side) -> None:
        """A delta that leads from what is agreed to the head it names, whatever nonsense that is."""
        draft = Draft(side.blobs)
        root = edit_manifest(side.replica.row.agreed_root, changes, draft)
        head = msgspec.structs.replace(self.head(), version=self.version + 1, root=root.hex())
        self.said = CatchUpAnswer(head, side.replica.row.agreed_root, changes)

    def plant(self, root: Child) -> None:
        """A head whose manifest must be fetched as nodes."""
        head = msgspec.structs.replace(self.head(), version=self.version + 1, root=root.hash)
        self.said = CatchUpAnswer(head, None, None)

    def leaf(self, entries: Sequence[EntryRecord]) -> Child:
        digest = self.nodes_kept.put(encode_leaf(entries))
        return child_of((entries[0].path or "").encode(), digest, sum_entries(entries))

    def inner(self, level: int, children: Sequence[Child]) -> Child:
        digest = self.nodes_kept.put(encode_inner(level, children))
        return child_of((children[0].path or "").encode(), digest, sum_children(children))


class Victim(Side):
    """A machine in step with the cloud, with a folder beside its own that must never change."""

    def __init__(self, folder: Path, cloud: LyingCloud) -> None:
        super().__init__(folder / "machine", cloud)
        self.liar = cloud
        self.beside = folder / "machine" / "beside.txt"
        self.beside.write_text("not yours\n")
        for number in range(80):
            self.write(f"d/{number:02d}.txt", f"{number}\n")
        self.write("top.txt", "top\n")
        self.sync()
        self.before = self.tree()
        self.around = self.surroundings()

    def surroundings(self) -> set[str]:
        """All names in the machine's folder that are neither in the workspace nor our own."""
        return {str(path) for path in self.root.parent.rglob("*") if self.root not in path.parents and "store.db" not in path.name}

    def assert_untouched(self) -> None:
        assert self.tree() == self.before
        assert self.beside.read_text() == "not yours\n" and self.surroundings() == self.around

    def recovers(self) -> None:
        """Once the cloud is honest again all goes on."""
        self.liar.said = self.liar.frames_said = self.liar.nodes_said = None
        self.liar.asks_for, self.liar.push_said = [], lambda head: head
        self.write("later.txt", "later\n")
        self.sync()
        assert self.replica.row.agreed_root == self.liar.root and self.tree() == {**self.before, "later.txt": "later\n"}


@pytest.fixture
def cloud() -> LyingCloud:
    return LyingCloud()


@pytest.fixture
def victim(tmp_path: Path, cloud: LyingCloud) -> Iterator[Victim]:
    made = Victim(tmp_path, cloud)
    yield made
    made.close()


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def file_of(data: bytes) -> File:
    return File(digest_of(data), len(data))


# --- trees ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        [("top.txt/below", file_of(b""))],
        [("nowhere/below", file_of(b""))],
        [("d", None)],
        [("d", file_of(b"top\n"))],
        [("link", Link(b"../..")), ("link/x", file_of(b"top\n"))],
    ],
)
def test_a_delta_to_what_is_no_tree(victim: Victim, cloud: LyingCloud, changes: list[tuple[str, Entry | None]]) -> None:
    cloud.move([(rel(path), entry) for path, entry in changes], victim)
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def test_a_delta_out_of_order_or_to_another_root(victim: Victim, cloud: LyingCloud) -> None:
    cloud.move([(rel("a"), DIR), (rel("b"), DIR)], victim)
    assert cloud.said is not None and cloud.said.delta is not None
    cloud.said.delta.reverse()
    with pytest.raises(InvalidReply):
        victim.pull()
    cloud.said.delta[:] = [(rel("c"), DIR)]
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def entries(*names: str, entry: Entry) -> list[EntryRecord]:
    return [record_of(rel(name), entry) for name in names]


MANY = [f"q{number:05d}" for number in range(300)]


def a_file_below_a_file(cloud: LyingCloud) -> Child:
    return cloud.leaf(entries("a", "a/b", entry=file_of(b"top\n")))


def a_file_below_a_link(cloud: LyingCloud) -> Child:
    return cloud.leaf(entries("a", entry=Link(b"/tmp")) + entries("a/b", entry=file_of(b"top\n")))


def a_file_in_no_folder(cloud: LyingCloud) -> Child:
    return cloud.leaf(entries("a/b", entry=file_of(b"top\n")))


def order_across_leaves(cloud: LyingCloud) -> Child:
    return cloud.inner(1, [cloud.leaf(entries("a", "z", entry=DIR)), cloud.leaf(entries("b", "c", entry=DIR))])


def sums_that_lie(cloud: LyingCloud) -> Child:
    """The brake weighs by these."""
    leaf = cloud.leaf(entries("a", "b", entry=DIR))
    return cloud.inner(1, [msgspec.structs.replace(leaf, entries=1 << 40, files=1 << 40), cloud.leaf(entries("c", entry=DIR))])


def a_name_that_escapes(cloud: LyingCloud) -> Child:
    return cloud.leaf([EntryRecord(path="../beside.txt", type="file", hash=digest_of(b"top\n").hex(), size=4)])


def names_of_ours(cloud: LyingCloud) -> Child:
    return cloud.leaf([EntryRecord(path=".git", type="dir"), EntryRecord(path=".git/hooks", type="dir")])


def a_level_that_never_sinks(cloud: LyingCloud) -> Child:
    """Inner nodes below inner nodes of the same level: a chain as long as the liar pleases."""
    node = cloud.leaf(entries("a", entry=DIR))
    for _ in range(3_000):
        node = cloud.inner(1, [node])
    return node


def bytes_of_another_node(cloud: LyingCloud) -> Child:
    right = cloud.leaf(entries("a", entry=DIR))
    cloud.nodes_kept.nodes[parse_digest(right.hash)] = encode_leaf(entries("b", entry=DIR))
    return right


def a_tree_that_names_itself(cloud: LyingCloud) -> Child:
    child = cloud.leaf(entries(*MANY[:8], entry=DIR))
    for level in range(1, 10):
        child = cloud.inner(level, [msgspec.structs.replace(child, path=name) for name in MANY[:128]])
    return child


@pytest.mark.parametrize(
    "make",
    [
        a_file_below_a_file,
        a_file_below_a_link,
        a_file_in_no_folder,
        order_across_leaves,
        sums_that_lie,
        a_name_that_escapes,
        names_of_ours,
        a_level_that_never_sinks,
        bytes_of_another_node,
        a_tree_that_names_itself,
    ],
)
def test_nodes_of_what_is_no_tree(victim: Victim, cloud: LyingCloud, make: Callable[[LyingCloud], Child]) -> None:
    cloud.blobs[digest_of(b"top\n")] = b"top\n"
    cloud.plant(make(cloud))
    asked = 0

    def counted(digests: Sequence[Digest]) -> Iterable[tuple[Digest, bytes]]:
        nonlocal asked
        asked += 1
        return [(digest, cloud.nodes_kept.get_node(digest)) for digest in digests]

    cloud.nodes_said = counted
    with little_memory(), pytest.raises(InvalidReply):
        victim.pull()
    assert asked <= 17
    victim.assert_untouched()
    victim.recovers()


def test_nodes_nobody_asked_for_are_not_gathered(victim: Victim, cloud: LyingCloud) -> None:
    cloud.plant(cloud.leaf(entries("a", entry=DIR)))
    given = 0

    def endless(_: Sequence[Digest]) -> Iterator[tuple[Digest, bytes]]:
        nonlocal given
        while given < 20_000:
            given += 1
            data = encode_leaf(entries(f"{given:0200d}", entry=DIR))
            yield digest_of(data), data

    cloud.nodes_said = endless
    with pytest.raises(InvalidReply):
        victim.pull()
    assert given == 1
    victim.assert_untouched()
    victim.recovers()


def test_an_honest_tree_of_nodes_passes(victim: Victim, cloud: LyingCloud) -> None:
    draft = Draft(cloud.nodes_kept)
    root = edit_manifest(cloud.root, [(rel(name), DIR) for name in MANY], draft)
    check_manifest(root, draft)
    for data in draft.new.values():
        cloud.nodes_kept.put(data)
    cloud.root, cloud.version = root, cloud.version + 1
    cloud.said = CatchUpAnswer(cloud.head(), None, None)
    victim.pull()
    assert victim.replica.row.agreed_root == root and all((victim.root / name).is_dir() for name in MANY)


# --- contents ---------------------------------------------------------------------------------------------------------------


def arriving(victim: Victim, cloud: LyingCloud, *files: File) -> None:
    cloud.move([(rel(f"new{number:03d}"), file) for number, file in enumerate(files)], victim)


@pytest.mark.parametrize("size", [3, 5, 1 << 40])
def test_a_size_that_is_not_the_contents(victim: Victim, cloud: LyingCloud, size: int) -> None:
    cloud.blobs[digest_of(b"late")] = b"late"
    arriving(victim, cloud, File(digest_of(b"late"), size))
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def test_a_size_that_is_not_that_of_what_is_here_already(victim: Victim, cloud: LyingCloud) -> None:
    """Else a join would read as much as there is where it looked at how much was said."""
    arriving(victim, cloud, File(digest_of(b"top\n"), 5))
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def test_one_content_with_two_sizes(victim: Victim, cloud: LyingCloud) -> None:
    cloud.blobs[digest_of(b"late")] = b"late"
    arriving(victim, cloud, File(digest_of(b"late"), 5), File(digest_of(b"late"), 4))
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def others(digests: Sequence[Digest]) -> Iterator[bytes]:
    yield encode_frame([(digest_of(b"other"), b"other")])


def nothing(digests: Sequence[Digest]) -> Iterator[bytes]:
    return iter(())


def false_bytes(digests: Sequence[Digest]) -> Iterator[bytes]:
    for digest in digests:
        yield encode_frame([(digest, b"\0" * 100_000)])


def empty_frames(digests: Sequence[Digest]) -> Iterator[bytes]:
    for _ in range(1_000_000):
        yield encode_frame([])
    pytest.fail("a million frames of nothing were taken")


def the_same_again(digests: Sequence[Digest]) -> Iterator[bytes]:
    for _ in range(100_000):
        yield encode_frame([(digests[0], b"\0" * 100_000)])
    pytest.fail("one content was taken 100,000 times")


def bombs(digests: Sequence[Digest]) -> Iterator[bytes]:
    for number in range(2_000):
        data = number.to_bytes(8) + b"\0" * (4 * 1024 * 1024 - 8)
        yield encode_frame([(digest_of(data), data)])
    pytest.fail("2,000 bombs were taken")


def rubbish(digests: Sequence[Digest]) -> Iterator[bytes]:
    yield b"FSTF" + b"\xff" * 100


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("say", [others, nothing, false_bytes, empty_frames, the_same_again, bombs, rubbish])
def test_frames_that_are_not_what_was_asked_for(
    victim: Victim, cloud: LyingCloud, say: Callable[[Sequence[Digest]], Iterator[bytes]], count: int
) -> None:
    arriving(victim, cloud, *(file_of(b"%03d" % number + b"\0" * 99_997) for number in range(count)))
    cloud.frames_said = say
    with little_memory(), pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


# --- heads ------------------------------------------------------------------------------------------------------------------


def test_a_head_that_goes_back_or_splits_stops_and_deletes_nothing(victim: Victim, cloud: LyingCloud) -> None:
    gone: Delta = [(rel("top.txt"), None)]
    for version in (victim.replica.row.agreed_version - 1, victim.replica.row.agreed_version, 0):
        cloud.move(gone, victim)
        assert cloud.said is not None
        cloud.said.head = msgspec.structs.replace(cloud.said.head, version=version)
        with pytest.raises(EpochChanged):
            victim.pull()
        victim.assert_untouched()
    victim.recovers()


def test_a_head_of_another_epoch_or_workspace(victim: Victim, cloud: LyingCloud) -> None:
    cloud.move([(rel("top.txt"), None)], victim)
    assert cloud.said is not None
    honest = cloud.said.head
    cloud.said.head = msgspec.structs.replace(honest, epoch="another")
    with pytest.raises(EpochChanged):
        victim.pull()
    cloud.said.head = msgspec.structs.replace(honest, workspace_id=new_ulid(77))
    with pytest.raises(InvalidReply):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


def test_an_event_of_an_old_head_is_no_news(victim: Victim, cloud: LyingCloud) -> None:
    """One that waited while its version was caught up with: what is agreed may be its parent again."""
    cloud.move([(rel("top.txt"), None)], victim)
    old, cloud.said = cloud.said, None
    assert old is not None
    old.head = msgspec.structs.replace(old.head, version=victim.replica.row.agreed_version - 1)
    run(victim.engine.pull(cloud, old, lambda: None))
    victim.assert_untouched()
    victim.recovers()


def test_a_mass_deletion_is_held_whatever_the_sums_say(victim: Victim, cloud: LyingCloud) -> None:
    cloud.move([(rel(f"d/{number:02d}.txt"), None) for number in range(80)], victim)
    with pytest.raises(BrakeHeld):
        victim.pull()
    victim.assert_untouched()
    victim.recovers()


@pytest.mark.parametrize(
    "lie", [{"version": 1 << 62}, {"version": 1}, {"epoch": "another"}, {"workspace_id": new_ulid(77)}, {"root": "00" * 32}]
)
def test_a_push_whose_answer_lies_is_not_believed(victim: Victim, cloud: LyingCloud, lie: dict[str, object]) -> None:
    victim.write("mine.txt", "mine\n")
    victim.look()
    agreed = victim.replica.row.agreed_version
    cloud.push_said = lambda head: msgspec.structs.replace(head, **lie)
    with pytest.raises(InvalidReply):
        victim.push()
    assert victim.replica.row.agreed_version == agreed
    victim.before |= {"mine.txt": "mine\n"}
    victim.assert_untouched()
    victim.recovers()


def test_a_cloud_gets_no_content_that_is_not_of_the_push(victim: Victim, cloud: LyingCloud) -> None:
    """It may know the digest of what is kept back; that is no right to the bytes."""
    secret = victim.blobs
    kept_back = b"kept back"
    victim.db.write_now(lambda tx: secret.put_inline(tx, [(digest_of(kept_back), kept_back)]))
    victim.write("mine.txt", "mine\n")
    victim.look()
    cloud.asks_for = [digest_of(kept_back)]
    with pytest.raises(InvalidReply):
        victim.push()
    assert cloud.uploaded == []
    victim.before |= {"mine.txt": "mine\n"}
    victim.recovers()


# --- records ----------------------------------------------------------------------------------------------------------------


def conflict(path: str, **more: object) -> WireConflict:
    ours, theirs = file_of(b"ours"), file_of(b"top\n")
    made = WireConflict(
        new_ulid(9), WORKSPACE.id, EntryRecord(path=path, type="none"), "edit-edit", None,
        record_of(RelPath(path.encode()), ours), record_of(RelPath(path.encode()), theirs), "open", 1_700_000_000_000,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


@pytest.mark.parametrize(
    "path", ["../new.txt", "../beside.txt", "/tmp/fst-outside", "a/../../beside.txt", ".git/hooks/pre-commit", "a\0b", "", "."]
)
def test_a_conflict_record_cannot_name_what_is_outside(victim: Victim, cloud: LyingCloud, path: str) -> None:
    cloud.blobs |= {digest_of(b"ours"): b"ours", digest_of(b"top\n"): b"top\n"}
    cloud.said = CatchUpAnswer(cloud.head(), victim.replica.row.agreed_root, [], conflicts=(conflict(path),))
    with suppress(Corrupt):
        victim.pull()
    waiting = conflicts.list_conflicts(victim.db.read(), WORKSPACE.id)
    if waiting:
        verbs.resolve(victim.replica, waiting, "ours", None)
    victim.assert_untouched()
    assert waiting == []
    victim.recovers()


@pytest.mark.parametrize(
    "lie",
    [
        {"id": "../x"},
        {"id": "x" * 100_000},
        {"kind": "x" * 100_000},
        {"state": "half"},
        {"resolution": "x" * 100_000},
        {"resolved_ms": 5},
        {"ours": EntryRecord(path="other", type="dir")},
        {"ours": EntryRecord(path="x", type="file", hash="zz", size=1)},
        {"base": EntryRecord(path="x", type="file", hash="00" * 32, size=-1)},
    ],
)
def test_a_conflict_record_that_cannot_be(victim: Victim, cloud: LyingCloud, lie: dict[str, object]) -> None:
    cloud.blobs |= {digest_of(b"ours"): b"ours", digest_of(b"top\n"): b"top\n"}
    cloud.said = CatchUpAnswer(cloud.head(), victim.replica.row.agreed_root, [], conflicts=(conflict("x", **lie),))
    with pytest.raises(InvalidReply):
        victim.pull()
    assert conflicts.list_conflicts(victim.db.read(), WORKSPACE.id) == []
    victim.assert_untouched()
    victim.recovers()


def test_a_record_settles_none_of_another_workspace(victim: Victim) -> None:
    other = msgspec.structs.replace(_kept(conflict("x")), workspace_id=new_ulid(77))
    victim.db.write_now(lambda tx: conflicts.put_conflict(tx, other, sent=True))
    settled = msgspec.structs.replace(_kept(conflict("x")), id=other.id, state="resolved", resolution="theirs", resolved_ms=5)
    victim.db.write_now(lambda tx: conflicts.put_conflict(tx, settled, sent=True))
    assert conflicts.get_conflict(victim.db.read(), other.id).is_open


def _kept(wire: WireConflict) -> conflicts.Conflict:
    return conflicts.Conflict(
        wire.id, wire.workspace_id, rel(wire.record.path or ""), wire.kind, wire.base, wire.ours, wire.theirs, wire.state, wire.created_ms
    )  # fmt: skip
