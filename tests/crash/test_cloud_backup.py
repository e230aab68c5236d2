"""Backups of clouds that go on running, on both engines: checked, of one moment; half-done ones known; a restore overwrites nothing."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from cloud.backup import embedded, record
from cloud.backup.record import Record
from cloud.database.embedded import FILE
from cloud.operate import collect
from store import database as engine
from store.types import digest_of
from tests.clouds import Caller, Line, in_loop, serving
from tests.lab.place import Place
from tests.lab.services import S3Server
from tests.waiting import until, wait_until

SECRET = "sk-a-secret-that-nobody-else-may-read"


@pytest.fixture(params=["embedded", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_of(request, tmp_path / "data", request.param)


@pytest.fixture
def other(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Place:
    """An empty one of the same kind."""
    return place_of(request, tmp_path / "other", "postgresql" if place.url else "embedded")


def place_of(request: pytest.FixtureRequest, folder: Path, kind: str) -> Place:
    if kind == "embedded":
        return Place(folder)
    s3: S3Server = request.getfixturevalue("s3")
    return Place(folder, request.getfixturevalue("postgres").new_database(), s3.environment | {"FASTEST_CLOUD_OBJECTS": s3.new_bucket()})


@asynccontextmanager
async def calling(place: Place, token: str) -> AsyncIterator[Caller]:
    with place.serving() as url:
        async with aiohttp.ClientSession() as http:
            yield Caller(http, url, token)


async def push_on(line: Line, rng: random.Random, done: dict[str, bytes], ended: asyncio.Event) -> None:
    """Small and large edits until told to end; each that was acknowledged is noted."""
    number = 0
    while not ended.is_set():
        number += 1
        edits = {f"f{number % 5}": rng.randbytes(rng.choice([10, 3_000, 90_000])), f"new{number}": b"%d" % number}
        if number % 4 == 0:
            await line.caller.upload(edits[f"f{number % 5}"])
        reply = await line.push(dict(edits), message="m" if number % 7 == 0 else None)
        assert reply.status == 200, reply
        done |= edits


async def back_up(place: Place, folder: Path) -> str:
    return await asyncio.to_thread(place.must, "backup", str(folder))


@in_loop
async def test_a_backup_beside_pushes_is_one_state_and_comes_back_in_a_new_epoch(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()
    folder, ended = tmp_path / "backup", asyncio.Event()
    done: list[dict[str, bytes]] = [{}, {}]
    async with calling(place, token) as ada:
        lines = [await ada.line(f"w{at}") for at in range(2)]
        await ada.ask("POST", "/v1/auth/api-keys", {"provider": "openai", "key_value": SECRET})
        writers = [asyncio.create_task(push_on(line, random.Random(at), done[at], ended)) for at, line in enumerate(lines)]
        await until(lambda: len(done[0]) > 12, 30)
        before = [dict(each) for each in done]
        heads = [line.head for line in lines]
        said = await back_up(place, folder)
        after = [line.head.version for line in lines]
        ended.set()
        await asyncio.gather(*writers)
    assert str(folder) in said and all(now > then.version for now, then in zip(after, heads, strict=True)), "they went on meanwhile"
    made = record.read(folder)
    assert made.problems == 0 and not (folder / record.UNFINISHED).exists() and folder.stat().st_mode & 0o777 == 0o700
    assert place.run("backup", str(folder), "--verify")[0] == 0

    assert "new epoch" in other.must("restore", str(folder))
    assert other.must("fsck") == ""
    async with calling(other, token) as ada:
        for line, then, last, kept in zip(lines, heads, after, before, strict=True):
            shown = await ada.workspace(line.workspace_id)
            assert then.version <= shown.version <= last and shown.epoch not in (then.epoch, made.epoch)
            digests = [digest_of(data) for data in kept.values()]
            assert (await ada.fetch("/v1/blobs/fetch", digests))[1] == {digest_of(data): data for data in kept.values()}
            line.caller = ada
            late = await line.push({"late": b"from the old epoch"})
            assert (late.status, late.code) == (409, "EPOCH_CHANGED")
            again = await ada.mirror(shown)
            again.nodes = line.nodes
            assert (await again.push({"new": b"in the new one"})).status == 200
    assert other.must("fsck") == ""


def test_what_is_there_is_never_overwritten(place: Place, other: Place, tmp_path: Path) -> None:
    for each in (place, other):
        each.must("token", "--email", "ada@example.org")
    place.must("backup", str(tmp_path / "b"))
    code, out, err = other.run("restore", str(tmp_path / "b"))
    assert code == 1 and out == "" and "is not empty" in err and other.must("fsck") == ""
    code, out, err = place.run("backup", str(tmp_path / "b"))
    assert code == 1 and out == "" and "is not empty" in err
    shutil.copytree(tmp_path / "b", tmp_path / "half")
    (tmp_path / "half" / record.NAME).unlink()
    code, _, err = other.run("restore", str(tmp_path / "half"))
    assert code == 1 and "no finished backup" in err


def test_a_damaged_backup_is_refused_and_leaves_no_cloud(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()
    asyncio.run(fill(place, token, 2))
    place.must("backup", str(tmp_path / "b"))
    for file in largest_files(tmp_path / "b"):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert place.run("backup", str(tmp_path / "b"), "--verify")[0] == 1
        code, out, err = other.run("restore", str(tmp_path / "b"))
        assert code == 1 and out == "" and ("not as it was written" in err or "damaged" in err), err
        if not other.url:
            code, _, err = other.run("serve", "--listen", "127.0.0.1:0")
            assert code == 1 and "did not come to its end" in err
        file.unlink()
        assert other.run("restore", str(tmp_path / "b"))[0] == 1, "a file that is missing"
        file.write_bytes(data)
    other.must("restore", str(tmp_path / "b"))
    assert other.must("fsck") == ""


def largest_files(folder: Path) -> list[Path]:
    """The largest of each folder of a backup."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != record.NAME]
    return list({file.relative_to(folder).parts[0]: file for file in sorted(files, key=lambda file: file.stat().st_size)}.values())


async def fill(place: Place, token: str, count: int) -> None:
    async with calling(place, token) as ada:
        line = await ada.line()
        for number in range(count):
            large = os.urandom(4_000_000)
            await ada.upload(large)
            assert (await line.push({f"f{number}": large, "small": b"%d" % number})).status == 200


@pytest.mark.parametrize("when", ["begun", "copying"])
def test_a_backup_that_was_killed_is_known_and_not_restored(place: Place, other: Place, tmp_path: Path, when: str) -> None:
    sign = record.UNFINISHED if when == "begun" else "tables/users" if place.url else FILE
    token = place.must("token", "--email", "ada@example.org").strip()
    asyncio.run(fill(place, token, 4))
    folder = tmp_path / "b"
    child = place.start("backup", str(folder))
    wait_until(lambda: (folder / sign).exists(), 30, "it has begun")
    child.kill()
    child.communicate()
    if (folder / record.NAME).exists():
        assert place.run("backup", str(folder), "--verify")[0] == 0
        return
    assert "It cannot be restored" in (folder / record.UNFINISHED).read_text()
    code, out, err = other.run("restore", str(folder))
    assert code == 1 and out == "" and "did not come to its end" in err
    code, _, err = place.run("backup", str(folder))
    assert code == 1 and "did not come to its end" in err
    place.must("backup", str(tmp_path / "again"))
    assert place.must("fsck") == "", "the cloud itself was only read"


def test_a_restore_that_was_killed_is_known_and_begins_anew(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()
    asyncio.run(fill(place, token, 4))
    place.must("backup", str(tmp_path / "b"))
    for seconds in (0.0, 0.02, 0.1):
        child = other.start("restore", str(tmp_path / "b"))
        if not other.url:
            wait_until(lambda child=child: (other.folder / "restoring").exists() or child.poll() is not None, 30)  # type: ignore[misc]
        try:
            child.wait(seconds)
        except Exception as late:
            assert type(late).__name__ == "TimeoutExpired"
        child.kill()
        child.communicate()
        if child.returncode == 0:
            break
        if not other.url and (other.folder / "restoring").exists():
            code, _, err = other.run("serve", "--listen", "127.0.0.1:0")
            assert code == 1 and "did not come to its end" in err and "fst cloud restore" in err
    else:
        other.must("restore", str(tmp_path / "b"))
    assert other.must("fsck") == ""


def test_secrets_stay_sealed_and_the_key_is_not_in_it(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()

    async def give() -> None:
        async with calling(place, token) as ada:
            assert (await ada.ask("POST", "/v1/auth/api-keys", {"provider": "openai", "key_value": SECRET})).status in (200, 201)

    asyncio.run(give())
    code, _, err = place.run("backup", str(tmp_path / "b"))
    assert code == 0 and "The key that opens sealed secrets is not in it" in err
    whole = b"".join(file.read_bytes() for file in (tmp_path / "b").rglob("*") if file.is_file())
    assert b"enc:v1:" in whole and SECRET.encode() not in whole
    for spelling in (bytes(range(32)), b"AAECAwQFBgcICQ"):
        assert spelling not in whole
    unkeyed = Place(other.folder, other.url, {**other.extra, "FASTEST_CLOUD_KEY": ""})
    code, _, err = unkeyed.run("restore", str(tmp_path / "b"))
    assert code == 0 and f"put the key {record.read(tmp_path / 'b').sealing_key} back" in err
    lost = Place(other.folder, other.url, {**other.extra, "FASTEST_CLOUD_KEY": "/" * 43 + "="})
    code, _, err = lost.run("serve", "--listen", "127.0.0.1:0")
    assert code == 1 and "sealed with the key" in err
    with other.serving():
        assert other.must("fsck") == ""


def test_a_cloud_whose_key_is_lost_comes_back_without_its_secrets(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()

    async def seal(at: Place) -> list[dict[str, str]]:
        async with calling(at, token) as ada:
            kept: list[dict[str, str]] = (await ada.get("/v1/auth/api-keys"))["api_keys"]
            given = await ada.ask("POST", "/v1/auth/api-keys", {"provider": "openai", "key_value": SECRET})
            signed = await ada.ask("POST", "/v1/blobs/presign-upload", {"hashes": ["0" * 64]})
            assert (given.status, signed.status) == (200, 200)
            return kept

    assert asyncio.run(seal(place)) == []
    place.must("backup", str(tmp_path / "b"))
    lost = Place(other.folder, other.url, {**other.extra, "FASTEST_CLOUD_KEY": "/" * 43 + "="})
    code, _, err = lost.run("restore", str(tmp_path / "b"), "--key-lost")
    assert code == 0 and "1 secrets whose key is lost were let go" in err
    assert asyncio.run(seal(lost)) == [], "and new ones are sealed with the new key"


def test_a_cloud_that_lost_something_is_backed_up_and_told(place: Place, other: Place, tmp_path: Path) -> None:
    token = place.must("token", "--email", "ada@example.org").strip()
    asyncio.run(fill(place, token, 1))
    place.change(f"DELETE FROM {'kept_blobs' if place.url else 'blobs'} WHERE size = 1")
    code, out, err = place.run("backup", str(tmp_path / "b"))
    assert code == 1 and digest_of(b"0").hex() in out and "damaged" in err
    assert record.read(tmp_path / "b").problems > 0
    code, _, err = other.run("restore", str(tmp_path / "b"))
    assert code == 0 and "problems when it was copied" in err


def test_a_backup_goes_back_only_to_its_own_kind_of_place(place: Place, other: Place, tmp_path: Path) -> None:
    place.must("token", "--email", "ada@example.org")
    place.must("backup", str(tmp_path / "b"))
    wrong = Place(tmp_path / "wrong", "" if place.url else "postgresql://nobody@127.0.0.1:1/x")
    code, _, err = wrong.run("restore", str(tmp_path / "b"))
    assert code == 1 and "is a backup of a cloud" in err
    made = record.read(tmp_path / "b")
    newer = msgspec.structs.replace(made, versions={**made.versions, "cloud": made.versions["cloud"] + 1})
    outside = msgspec.structs.replace(made, files=[msgspec.structs.replace(made.files[0], path="../x/y")])
    for changed, sign in ((newer, "newer Fastest"), (outside, "in no backup"), (msgspec.structs.replace(made, format=2), "another format")):
        write_record(tmp_path / "b", changed)
        code, _, err = other.run("restore", str(tmp_path / "b"))
        assert code == 1 and sign in err, err
    write_record(tmp_path / "b", made)
    other.must("restore", str(tmp_path / "b"))


def test_what_was_put_back_by_other_means_gets_a_new_epoch_on_a_persons_word(place: Place) -> None:
    place.must("token", "--email", "ada@example.org")
    said = {place.must("restored") for _ in range(2)}
    assert len(said) == 2 and all(each.startswith("new epoch ") for each in said)


def write_record(folder: Path, changed: Record) -> None:
    (folder / record.NAME).write_bytes(msgspec.json.encode(changed))


@pytest.mark.parametrize("version", [2, 4])
def test_an_older_backup_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    """As a folder of an older program, put beside a record: today's refuses to back that up before it is migrated."""
    place, folder = Place(tmp_path / "data"), tmp_path / "b"
    place.make(version)
    code, _, err = place.run("backup", str(folder))
    assert code == 1 and "older schema" in err and not folder.exists()
    record.begin(folder)
    engine.copy_file(place.folder / FILE, folder / FILE)
    made = Record(
        engine="embedded", made_at="t", epoch="e", sealing_key="", versions={"cloud": version}, files=[record.part_of(folder / FILE, FILE)]
    )
    record.finish(folder, made)
    other = Place(tmp_path / "other")
    other.must("restore", str(folder))
    assert "nothing to do" in other.must("migrate") and other.must("fsck") == ""


@in_loop
async def test_a_segment_that_is_collected_between_the_two_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that was taken first names it. It is there in the backup, or a newer state, which does not, was taken."""
    async with serving(tmp_path / "data") as served:
        line = await served.user().line()
        large = [os.urandom(200_000) for _ in range(4)]
        await line.caller.upload(*large)
        assert (await line.push({"a": large[0], "b": b"small"})).status == 200
        loop, copied = asyncio.get_running_loop(), 0

        async def collect_all() -> None:
            cloud = served.cloud
            for days in (400, 410):
                far = collect.limits_at(cloud.now_ms() + days * 86_400_000)
                await collect.execute(cloud.db, cloud.objects, await collect.plan_collection(cloud.db, cloud.objects, far))

        def copy_file(source: Path, target: Path) -> None:
            nonlocal copied
            copy(source, target)
            copied += 1
            if copied == 1:
                before = sorted((tmp_path / "data" / "blobs").iterdir())
                asyncio.run_coroutine_threadsafe(collect_all(), loop).result()
                assert sorted((tmp_path / "data" / "blobs").iterdir()) != before, "a segment went"

        copy = engine.copy_file
        monkeypatch.setattr(engine, "copy_file", copy_file)
        made, problems = await embedded.back_up(tmp_path / "data", tmp_path / "b", "t")
        assert problems == [] and made.problems == 0 and copied == 2
