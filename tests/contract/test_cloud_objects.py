"""What every keeper of bytes promises: the embedded blob store, and PostgreSQL with a bucket in a folder or behind S3."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from cloud.config import Settings
from cloud.database import Tx
from cloud.objects import remote
from cloud.objects import sweep as sweep_rows
from cloud.objects.bucket import MARK, Bucket
from cloud.objects.embedded import EmbeddedObjects
from cloud.objects.remote import RemoteObjects
from cloud.parts import Parts, opened
from cloud.records import blobs as owners
from cloud.records.people.accounts import add_user
from store.blobs import CHUNKED_MIN, INLINE_MAX, Recipe
from store.blobs.frames import decode_frame, decode_recipe, encode_frame, is_recipe
from store.errors import BlobDamaged, BlobMissing, Busy, InvalidReply, Unwritable
from store.manifest import EMPTY_NODE, EMPTY_ROOT, Draft, MemoryNodes, diff_manifests, edit_manifest
from store.types import Digest, File, RelPath, digest_of
from tests.clouds import in_loop
from tests.lab.services import Postgres, S3Server

Opening = Callable[[], AbstractAsyncContextManager[Parts]]
ENGINES: Final = ["embedded", "folder", "s3"]


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opening:
    """Opens the same cloud's parts as often as it is called."""
    settings = Settings("serve", tmp_path / "cloud")
    if request.param != "embedded":
        objects = ""
        if request.param == "s3":
            server: S3Server = request.getfixturevalue("s3")
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            objects = server.new_bucket()
        settings = Settings("serve", tmp_path / "cloud", database=request.getfixturevalue("lend_database")(), objects=objects)

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Parts]:
        async with opened(settings) as parts:
            yield parts

    return open_it


def blobs(count: int, size: int, seed: int = 1) -> dict[Digest, bytes]:
    rng = random.Random(seed)
    return {digest_of(data): data for data in (rng.randbytes(size) for _ in range(count))}


async def put(parts: Parts, contents: Mapping[Digest, bytes], nodes: Mapping[Digest, bytes] | None = None) -> None:
    await parts.objects.ready(contents)
    await parts.db.write(lambda tx: parts.objects.put(tx, contents, nodes or {}))


async def read(parts: Parts, digest: Digest) -> bytes:
    return b"".join([piece async for piece in parts.objects.stream(digest)])


async def fetched(parts: Parts, *digests: Digest) -> dict[Digest, bytes]:
    return dict(item for frame in await parts.objects.frames_for(digests) for item in decode_frame(frame))


@in_loop
async def test_what_a_transaction_puts_is_read_back_and_outlives_the_process(opening: Opening) -> None:
    contents = blobs(5, 100) | blobs(2, INLINE_MAX + 1) | blobs(1, 3_000_000) | {digest_of(b""): b""}
    async with opening() as parts:
        await put(parts, contents)
        await put(parts, contents)
    async with opening() as parts:
        assert await fetched(parts, *contents) == contents
        for digest, data in contents.items():
            assert await read(parts, digest) == data
        assert await parts.objects.lacking([*contents, digest_of(b"unknown")]) == {digest_of(b"unknown")}
        assert await parts.objects.verify() == []


@in_loop
async def test_a_transaction_that_fails_puts_nothing_small(opening: Opening) -> None:
    contents = blobs(3, 100)

    async with opening() as parts:

        async def fail(tx: object) -> None:
            await parts.objects.put(tx, contents, {})  # type: ignore[arg-type]
            raise Busy("half way")

        with pytest.raises(Busy):
            await parts.db.write(fail)
        assert await parts.objects.lacking(list(contents)) == contents.keys()


@in_loop
async def test_what_lies_in_two_frames_goes_in_one(opening: Opening) -> None:
    contents = list(blobs(5, 100).items())
    async with opening() as parts:
        for part in (contents[2:3], contents[:4], contents[3:]):
            await parts.objects.put_frames([encode_frame(part)])
        for asked in (contents, contents[::-1], contents[1:4]):
            frames = await parts.objects.frames_for([digest for digest, _ in asked])
            assert sorted(item for frame in frames for item in decode_frame(frame)) == sorted(asked)


@in_loop
async def test_frames_are_kept_as_they_come(opening: Opening) -> None:
    small, large = blobs(300, 500), blobs(40, 6_000, seed=2)
    frames = [encode_frame(list(small.items())), encode_frame(list(large.items()))]
    async with opening() as parts:
        sizes = await parts.objects.put_frames(frames)
        assert sizes == {digest: len(data) for digest, data in (small | large).items()}
        assert await fetched(parts, *small, *large) == small | large
        await parts.objects.put_frames(frames)
        assert await parts.objects.put_frames([]) == {}


@in_loop
async def test_a_neighbour_in_a_frame_is_not_given_away(opening: Opening) -> None:
    hers = blobs(30, 5_000)
    mine = dict(list(hers.items())[::7])
    async with opening() as parts:
        await parts.objects.put_frames([encode_frame(list(hers.items()))])
        assert await fetched(parts, *mine) == mine


@in_loop
async def test_bytes_that_are_not_what_they_say_are_refused(opening: Opening) -> None:
    (digest, data), *_ = blobs(1, 200_000).items()
    lie = encode_frame([(digest, data[:-1] + bytes([data[-1] ^ 1]))])
    async with opening() as parts:
        for frame in (lie, lie[:-1], b"", b"x" * 100):
            with pytest.raises((BlobDamaged, InvalidReply)):
                await parts.objects.put_frames([frame])
        assert await parts.objects.lacking([digest]) == {digest}


@in_loop
async def test_a_large_file_is_kept_in_chunks(opening: Opening, tmp_path: Path) -> None:
    for size in (0, 1, CHUNKED_MIN, CHUNKED_MIN + 1, 20_000_000):
        data = random.Random(size).randbytes(size)
        (tmp_path / "file").write_bytes(data)
        fd = os.open(tmp_path / "file", os.O_RDONLY)
        async with opening() as parts:
            digest, recipe = await parts.objects.put_file(fd, size)
            assert digest == digest_of(data) and (recipe is not None) == (size > CHUNKED_MIN)
            assert await read(parts, digest) == data
            [frame] = await parts.objects.frames_for([digest])
            assert is_recipe(frame) == (recipe is not None)
            if recipe is not None:
                assert decode_recipe(frame) == recipe
        os.close(fd)


@in_loop
async def test_a_recipe_counts_only_if_its_chunks_make_the_whole(opening: Opening) -> None:
    chunks = blobs(20, 250_000)
    whole = digest_of(b"".join(chunks.values()))
    rows = tuple((digest, len(data)) for digest, data in chunks.items())
    async with opening() as parts:
        with pytest.raises(BlobMissing):
            await parts.objects.put_recipe(Recipe(whole, 5_000_000, rows))
        await parts.objects.put_frames([encode_frame([item]) for item in chunks.items()])
        for wrong in (Recipe(digest_of(b"x"), 5_000_000, rows), Recipe(whole, 5_000_000, rows[::-1])):
            with pytest.raises(BlobDamaged):
                await parts.objects.put_recipe(wrong)
        assert await parts.objects.lacking([whole]) == {whole}
        assert await parts.objects.put_recipe(Recipe(whole, 5_000_000, rows)) == Recipe(whole, 5_000_000, rows)
        assert digest_of(await read(parts, whole)) == whole


@in_loop
async def test_trees_are_read_node_by_node(opening: Opening) -> None:
    changes = [(RelPath(b"f%05d" % number), File(digest_of(b"%d" % number), number)) for number in range(5_000)]
    draft = Draft(MemoryNodes())
    root = edit_manifest(EMPTY_ROOT, changes, draft)
    async with opening() as parts:
        await put(parts, {}, draft.new)
    async with opening() as parts:
        whole = await parts.objects.over_nodes(lambda nodes: [change.path for change in diff_manifests(EMPTY_ROOT, root, nodes)])
        assert whole == [path for path, _ in changes]
        edited = Draft(MemoryNodes())

        def edit(nodes: object) -> Digest:
            nonlocal edited
            edited = Draft(nodes)  # type: ignore[arg-type]
            return edit_manifest(root, [(RelPath(b"f02500"), None)], edited)

        after = await parts.objects.over_nodes(edit)
        await put(parts, {}, edited.new)
        gone = await parts.objects.over_nodes(lambda nodes: [change.path for change in diff_manifests(root, after, nodes)])
        assert gone == [b"f02500"]
        assert dict(await parts.objects.nodes([*draft.new, EMPTY_ROOT])) == draft.new | {EMPTY_ROOT: EMPTY_NODE}
        with pytest.raises(BlobMissing):
            await parts.objects.nodes([digest_of(b"none")])
        with pytest.raises(BlobMissing):
            await parts.objects.over_nodes(lambda nodes: nodes.get_node(digest_of(b"none")))


@in_loop
async def test_what_is_not_here_is_missing(opening: Opening) -> None:
    async with opening() as parts:
        for ask in (parts.objects.frames_for([digest_of(b"x")]), read(parts, digest_of(b"x"))):
            with pytest.raises(BlobMissing):
                await ask


# --- a bucket's own ---------------------------------------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_answer_is_busy(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    for name, value in (s3.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        bucket = Bucket.open("s3://nowhere/kept")
        for ask in (bucket.put("a", b"x"), bucket.get("a"), bucket.delete(["a"])):
            with pytest.raises(Busy) as refused:
                await ask
            assert "secret" not in str(refused.value)

    asyncio.run(run())


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://hush@host/x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Unwritable) as refused:
        Bucket.open(url)
    assert "hush" not in str(refused.value)


def test_a_damaged_object_is_found(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    settings = Settings("serve", tmp_path / "cloud", database=request.getfixturevalue("lend_database")())
    contents = blobs(1, 500_000)

    async def run() -> None:
        async with opened(settings) as parts:
            await put(parts, contents)
            [kept] = [path for path in (tmp_path / "cloud/objects").rglob("*") if path.is_file()]
            kept.write_bytes(kept.read_bytes()[:-1] + b"!")
            with pytest.raises(BlobDamaged):
                await read(parts, next(iter(contents)))
            assert len(await parts.objects.verify()) == 1
            kept.unlink()
            with pytest.raises(BlobMissing):
                await read(parts, next(iter(contents)))
            assert len(await parts.objects.verify()) == 1
            await parts.objects.forget_damaged(tmp_path / "quarantine")
            assert await parts.objects.verify() == []
            assert await parts.objects.lacking(list(contents)) == contents.keys()
            await put(parts, contents)
            assert await fetched(parts, *contents) == contents

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(run())).result()


# --- sweeping ---------------------------------------------------------------------------------------------------------------------------


async def own(parts: Parts, contents: Mapping[Digest, bytes], nodes: Sequence[Digest] = ()) -> None:
    async def work(tx: Tx) -> None:
        assert await parts.objects.hold(tx, list(contents)) == set()
        await owners.add_owned(tx, "ada", {digest: len(data) for digest, data in contents.items()}, "2026")
        await owners.add_nodes(tx, "ada", nodes)

    await parts.db.write(work)


async def sweep(parts: Parts) -> None:
    """Twice: the embedded store spares what came since the sweep before."""
    for _ in range(2):
        await (await parts.objects.plan_sweep()).execute()


async def add_ada(parts: Parts) -> None:
    await parts.db.write(lambda tx: add_user(tx, "ada", "ada@example.org", "2026"))


@in_loop
async def test_a_sweep_takes_what_nobody_owns_and_nothing_else(opening: Opening) -> None:
    mine, others = blobs(20, 5_000) | blobs(2, 300_000), blobs(20, 5_000, seed=2) | blobs(2, 300_000, seed=2)
    draft = Draft(MemoryNodes())
    edit_manifest(EMPTY_ROOT, [(RelPath(b"f%05d" % number), File(digest_of(b"x"), 1)) for number in range(100)], draft)
    kept, *lost = draft.new
    async with opening() as parts:
        await add_ada(parts)
        await parts.objects.put_frames([encode_frame([*mine.items(), *others.items()])])
        await put(parts, blobs(1, 200_000, seed=3), draft.new)
        await own(parts, mine, [kept])
        await sweep(parts)
        plan = await parts.objects.plan_sweep()
        assert (plan.blobs, plan.nodes, plan.bytes) == (0, 0, 0)
        assert await parts.objects.lacking([*mine, *others]) == others.keys()
        assert await fetched(parts, *mine) == mine
        assert await parts.objects.nodes([kept]) == [(kept, draft.new[kept])]
    # By others: who wrote the nodes may have them in memory yet, and they are what they were.
    async with opening() as parts:
        for digest in lost:
            with pytest.raises(BlobMissing):
                await parts.objects.over_nodes(lambda nodes, digest=digest: nodes.get_node(digest))  # type: ignore[misc]
        assert await parts.objects.verify() == []


def test_a_sweep_goes_through_tables_page_by_page(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement over all of a large table outlasts its time, and then nothing is ever let go."""
    monkeypatch.setattr(sweep_rows, "PAGE_ROWS", 7)
    settings = Settings("serve", tmp_path / "cloud", database=postgres.new_database())
    contents = blobs(40, 100)
    mine = dict(list(contents.items())[::3])
    draft = Draft(MemoryNodes())
    edit_manifest(EMPTY_ROOT, [(RelPath(b"f%05d" % number), File(digest_of(b"x"), 1)) for number in range(600)], draft)
    kept = list(draft.new)[::3]

    async def run() -> None:
        async with opened(settings) as parts:
            await add_ada(parts)
            await parts.objects.put_frames([encode_frame([blob]) for blob in contents.items()])
            await put(parts, {}, draft.new)
            await own(parts, mine, kept)
            plan = await parts.objects.plan_sweep()
            assert (plan.blobs, plan.nodes) == (len(contents) - len(mine), len(draft.new) - len(kept))
            await plan.execute()
            assert await parts.objects.lacking(list(contents)) == contents.keys() - mine.keys()
            left = {
                table: await parts.db.read().rows(f"SELECT count(*) FROM {table}") for table in ("kept_frames", "kept_blobs", "kept_nodes")
            }
            assert left == {"kept_frames": [(len(mine),)], "kept_blobs": [(len(mine),)], "kept_nodes": [(len(kept),)]}

    asyncio.run(run())


@in_loop
async def test_what_found_an_owner_since_the_plan_stays(opening: Opening) -> None:
    contents = blobs(3, 100) | blobs(1, 200_000)
    async with opening() as parts:
        await add_ada(parts)
        await parts.objects.put_frames([encode_frame(list(contents.items()))])
        await (await parts.objects.plan_sweep()).execute()
        if isinstance(parts.objects, EmbeddedObjects):
            await parts.objects.put_frames([encode_frame(list(contents.items()))])
            await (await parts.objects.plan_sweep()).execute()
        else:
            await parts.objects.put_frames([encode_frame(list(contents.items()))])
        plan = await parts.objects.plan_sweep()
        assert plan.blobs == len(contents)
        await own(parts, contents)
        await plan.execute()
        assert await fetched(parts, *contents) == contents


@pytest.mark.parametrize("way", ["hold", "put", "nodes"])
def test_a_sweep_waits_for_whoever_is_about_to_own(tmp_path: Path, postgres: Postgres, way: str) -> None:
    """The row is there, its owner not yet committed: the sweep must not decide before that is."""
    settings = Settings("serve", tmp_path / "cloud", database=postgres.new_database())
    contents = blobs(3, 100)
    draft = Draft(MemoryNodes())
    edit_manifest(EMPTY_ROOT, [(RelPath(b"a"), File(digest_of(b"x"), 1))], draft)

    async def run() -> None:
        async with opened(settings) as parts:
            await add_ada(parts)
            await put(parts, {} if way == "nodes" else contents, draft.new)
            plan = await parts.objects.plan_sweep()
            assert plan.nodes == 1

            async def work(tx: Tx) -> asyncio.Task[None]:
                if way == "hold":
                    assert await parts.objects.hold(tx, list(contents)) == set()
                else:
                    await parts.objects.put(tx, {} if way == "nodes" else contents, draft.new)
                sweeping = asyncio.create_task(plan.execute())
                sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                while await parts.db.read().one(sql) is None and not sweeping.done():
                    continue
                await owners.add_owned(tx, "ada", {digest: len(data) for digest, data in contents.items()}, "2026")
                await owners.add_nodes(tx, "ada", draft.new)
                return sweeping

            await (await parts.db.write(work))
            if way != "nodes":
                assert await fetched(parts, *contents) == contents
            if way != "hold":
                assert await parts.db.read().rows("SELECT hash FROM kept_nodes") == [(node,) for node in draft.new]

    asyncio.run(run())


@in_loop
async def test_a_keeper_says_whether_it_can_keep(opening: Opening) -> None:
    async with opening() as parts:
        await parts.objects.ping()
        await put(parts, blobs(1, INLINE_MAX + 1))
        await parts.objects.ping()


@pytest.mark.parametrize("url", ["s3://nowhere/kept", "s3://fastest"])
def test_a_bucket_that_is_not_there_or_lets_nobody_in(url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value if url.endswith("kept") or name != "AWS_ENDPOINT_URL" else "http://127.0.0.1:9")
    monkeypatch.setattr("cloud.objects.bucket._RETRY", {"max_retries": 0})

    async def run() -> None:
        with pytest.raises((Busy, Unwritable)):
            await Bucket.open(url).ping()

    asyncio.run(run())


def test_a_bucket_that_was_emptied_is_written_to_again(tmp_path: Path) -> None:
    async def run() -> None:
        bucket = Bucket.open(tmp_path.as_uri())
        await bucket.ping()
        (tmp_path / MARK).unlink()
        with pytest.raises(Busy):
            await bucket.ping()
        await bucket.ping()

    asyncio.run(run())


def test_a_data_folder_that_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(Settings("serve", tmp_path / "cloud")) as parts:
            (tmp_path / "cloud").rename(tmp_path / "elsewhere")
            with pytest.raises(Unwritable):
                await parts.objects.ping()
            (tmp_path / "elsewhere").rename(tmp_path / "cloud")
            await parts.objects.ping()

    asyncio.run(run())


def objects_in(folder: Path) -> int:
    return sum(path.is_file() for path in (folder / "cloud/objects").rglob("*"))


def test_an_object_goes_once_it_has_been_without_a_row_for_a_while(tmp_path: Path, postgres: Postgres) -> None:
    settings = Settings("serve", tmp_path / "cloud", database=postgres.new_database())
    contents = blobs(1, 500_000)

    async def run() -> None:
        async with opened(settings) as parts:
            assert isinstance(parts.objects, RemoteObjects)
            await add_ada(parts)
            await put(parts, contents)
            await sweep(parts)
            assert await parts.objects.lacking(list(contents)) == contents.keys() and objects_in(tmp_path) == 1
            await put(parts, contents)
            await own(parts, contents)
            await (await parts.objects.plan_sweep(loose_seconds=0)).execute()
            assert await fetched(parts, *contents) == contents, "sent again: it is nobody's to remove"
            await parts.db.write(lambda tx: tx.run("DELETE FROM owned_blobs"))
            await sweep(parts)
            await (await parts.objects.plan_sweep(loose_seconds=0)).execute()
            assert objects_in(tmp_path) == 0

    asyncio.run(run())


def test_an_object_whose_sender_died_is_no_orphan(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings("serve", tmp_path / "cloud", database=postgres.new_database())

    async def run() -> None:
        async with opened(settings) as parts:
            assert isinstance(parts.objects, RemoteObjects)
            with monkeypatch.context() as patched:
                patched.setattr("cloud.objects.remote._add_frames", None)
                with pytest.raises(TypeError):
                    await put(parts, blobs(1, 500_000))
            assert objects_in(tmp_path) == 1
            await sweep(parts)
            assert objects_in(tmp_path) == 1, "it may be on its way"
            await (await parts.objects.plan_sweep(loose_seconds=0)).execute()
            assert objects_in(tmp_path) == 0

    asyncio.run(run())


def test_a_frame_is_hashed_once_however_many_blobs_it_holds(
    lend_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    really_key = remote._key

    def key(frame: bytes) -> bytes:
        hashed.append(len(frame))
        return really_key(frame)

    async def run(count: int) -> None:
        async with opened(Settings("serve", tmp_path / "cloud", database=lend_database())) as parts:
            monkeypatch.setattr(remote, "_key", key)
            await parts.objects.put_frames([encode_frame(list(blobs(count, 100).items()))])

    for count in (10, 1000):
        asyncio.run(run(count))
    assert len(hashed) <= 4, "for a thousand blobs as often as for ten"
