"""Bytes up and down, and that nobody reads, finds or breaks what is somebody else's."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from cloud import content
from cloud.app import wall_ms
from cloud.content import LEAST_CHUNK_BYTES
from cloud.objects.embedded import INLINE_BYTES, EmbeddedObjects
from cloud.operate.upkeep import look_after
from store.blobs import CHUNKED_MIN, Recipe
from store.blobs.frames import decode_recipe, encode_frame, encode_recipe, is_recipe
from store.manifest import EMPTY_NODE, EMPTY_ROOT, node_digests
from store.types import Digest, File, digest_of, parse_digest
from sync.core.wire import MISSING_DIGESTS, Section, pack_section, split_sections
from tests.clouds import Caller, Reply, in_loop, serving


async def send_frames(caller: Caller, *frames: bytes) -> Reply:
    return await caller.ask("POST", "/v1/blobs/batch", data=b"".join(pack_section(Section.FRAME, frame) for frame in frames))


def chunked(seed: int, chunks: int = 20, chunk_bytes: int = 256 * 1024) -> tuple[Recipe, list[bytes]]:
    """A large file as a client would cut it."""
    parts = [random.Random(seed * 1000 + number).randbytes(chunk_bytes) for number in range(chunks)]
    whole = digest_of(b"".join(parts))
    return Recipe(whole, chunks * chunk_bytes, tuple((digest_of(part), len(part)) for part in parts)), parts


async def upload_chunked(caller: Caller, recipe: Recipe, parts: Sequence[bytes]) -> Reply:
    for part in parts:
        await caller.upload(part)
    return await send_frames(caller, encode_recipe(recipe))


@in_loop
async def test_blobs_come_back_byte_for_byte(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        contents = [b"", b"x", os.urandom(100_000), b"text " * 1000, os.urandom(3 << 20)] + [str(n).encode() * 50 for n in range(3000)]
        await ada.upload(*contents)
        digests = [digest_of(data) for data in contents]
        assert await ada.missing([*digests, digest_of(b"other")]) == [False] * len(digests) + [True]
        _, found = await ada.fetch("/v1/blobs/fetch", digests + digests[:3])
        assert found == dict(zip(digests, contents, strict=True))
        _, one = await ada.fetch("/v1/blobs/fetch", digests[7:8])
        assert one == {digests[7]: contents[7]}, "a neighbour in the same frame does not come along"
        _, nothing = await ada.fetch("/v1/blobs/fetch", [])
        assert nothing == {}


@in_loop
async def test_many_frames_stream_through_groups(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        contents = [os.urandom(2 << 20) for _ in range(12)]
        frames = [encode_frame([(digest_of(data), data)]) for data in contents]
        reply = await send_frames(ada, *frames)
        assert reply.json == {"kept": 12}
        assert not any(await ada.missing([digest_of(data) for data in contents]))


@in_loop
async def test_what_came_before_a_bad_frame_is_kept_and_the_bad_one_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        first = [os.urandom(6 << 20)[: 3 << 20] for _ in range(6)]
        frames = [encode_frame([(digest_of(data), data)]) for data in first]
        lie = encode_frame([(digest_of(b"promised"), b"sent")])
        reply = await send_frames(ada, *frames, lie)
        assert (reply.status, reply.code) == (400, "HASH_MISMATCH")
        assert not any(await ada.missing([digest_of(data) for data in first[:5]])), "a whole group went before"
        assert await ada.missing([digest_of(b"promised"), digest_of(b"sent")]) == [True, True]


@pytest.mark.parametrize("body", [b"x", b"\3\0\0\0\5abc", pack_section(Section.HEADER, b"{}"), pack_section(Section.FRAME, b"no frame")])
@in_loop
async def test_a_batch_that_is_none(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path / "cloud") as served:
        reply = await served.user().ask("POST", "/v1/blobs/batch", data=body)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")


@in_loop
async def test_lists_of_digests_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        for path in ("/v1/blobs/missing", "/v1/blobs/fetch", "/v1/manifests/nodes"):
            assert (await ada.ask("POST", path, data=b"x" * 33)).code == "VALIDATION_ERROR"
            assert (await ada.ask("POST", path, data=b"x" * 32 * (MISSING_DIGESTS + 1))).code == "TOO_LARGE"
        assert all(await ada.missing([Digest(number.to_bytes(32, "big")) for number in range(MISSING_DIGESTS)]))


@in_loop
async def test_a_chunked_file_comes_as_its_recipe(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        recipe, parts = chunked(1)
        early = await send_frames(ada, encode_recipe(recipe))
        assert (early.status, early.code) == (422, "MISSING_BLOBS")
        assert set(early.json["error"]["details"]["hashes"]) == {digest_of(part).hex() for part in parts}
        assert (await upload_chunked(ada, recipe, parts)).status == 200
        assert await ada.missing([recipe.digest]) == [False]
        reply = await ada.ask("POST", "/v1/blobs/fetch", data=recipe.digest)
        [(_, frame)] = split_sections(reply.body)
        assert is_recipe(frame) and decode_recipe(frame) == recipe
        line = await ada.line()
        assert (await line.push({"big": File(recipe.digest, recipe.size)})).status == 200


@in_loop
async def test_a_recipe_that_lies(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        recipe, parts = chunked(1)
        for part in parts:
            await ada.upload(part)
        chunks = recipe.chunks
        crumbs = Recipe(digest_of(b"y" * CHUNKED_MIN), CHUNKED_MIN, ((digest_of(b"y" * 64), 64),) * (CHUNKED_MIN // 64))
        await ada.upload(b"y" * 64, b"small")
        lies = [
            Recipe(recipe.digest, recipe.size, chunks[1:] + chunks[:1]),
            Recipe(digest_of(b"else"), recipe.size, chunks),
            Recipe(recipe.digest, recipe.size + 1, (*chunks[:-1], (chunks[-1][0], chunks[-1][1] + 1))),
            Recipe(digest_of(b"small"), 5, ((digest_of(b"small"), 5),)),
            crumbs,
        ]
        assert crumbs.size // LEAST_CHUNK_BYTES < len(crumbs.chunks)
        for lie in lies:
            assert (await send_frames(ada, encode_recipe(lie))).status in (400, 413, 422), lie
        assert await ada.missing([lie.digest for lie in lies[:2]]) == [True, True]


@in_loop
async def test_naming_anothers_large_file_is_not_owning_it(tmp_path: Path) -> None:
    """Eve knows the digest of Ada's file, and has chunks of the right sizes herself."""
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        recipe, parts = chunked(1)
        assert (await upload_chunked(ada, recipe, parts)).status == 200
        own, own_parts = chunked(2)
        for part in own_parts:
            await eve.upload(part)
        for forged in (Recipe(recipe.digest, recipe.size, own.chunks), recipe):
            assert (await send_frames(eve, encode_recipe(forged))).status in (400, 422)
        assert await eve.missing([recipe.digest, recipe.chunks[0][0]]) == [True, True]
        assert (await eve.ask("POST", "/v1/blobs/fetch", data=recipe.digest)).status == 404


@in_loop
async def test_whoever_cut_the_same_file_otherwise_can_still_read_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, bob = served.user(), served.user("bob@example.org")
        recipe, parts = chunked(1)
        await upload_chunked(ada, recipe, parts)
        pairs = [parts[at] + parts[at + 1] for at in range(0, len(parts), 2)]
        other = Recipe(recipe.digest, recipe.size, tuple((digest_of(pair), len(pair)) for pair in pairs))
        assert (await upload_chunked(bob, other, pairs)).status == 200
        reply = await bob.ask("POST", "/v1/blobs/fetch", data=recipe.digest)
        [(_, frame)] = split_sections(reply.body)
        kept = decode_recipe(frame)
        _, chunks = await bob.fetch("/v1/blobs/fetch", [digest for digest, _ in kept.chunks])
        assert digest_of(b"".join(chunks[digest] for digest, _ in kept.chunks)) == recipe.digest


@in_loop
async def test_anothers_blob_can_be_neither_read_nor_detected(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        line = await ada.line()
        await line.push({"secret.txt": b"secret", "other": b"common"})
        await eve.upload(b"common")
        hers, nobodys = digest_of(b"secret"), digest_of(b"never sent")
        assert await eve.missing([hers, nobodys]) == [True, True]
        replies = [await eve.ask("POST", "/v1/blobs/fetch", data=digest, **{"X-Request-Id": "r"}) for digest in (hers, nobodys)]
        assert [reply.code for reply in replies] == ["NOT_FOUND"] * 2
        assert replies[0].body.replace(hers.hex().encode(), b"") == replies[1].body.replace(nobodys.hex().encode(), b"")
        mixed = await eve.ask("POST", "/v1/blobs/fetch", data=digest_of(b"common") + hers)
        assert mixed.status == 404 and b"common" not in mixed.body
        _, common = await eve.fetch("/v1/blobs/fetch", [digest_of(b"common")])
        assert common == {digest_of(b"common"): b"common"}
        own = await eve.line()
        reply = await own.push({"stolen": File(hers, 6)})
        assert reply.code == "MISSING_BLOBS" and reply.json["error"]["details"]["hashes"] == [hers.hex()]


@in_loop
async def test_a_node_is_read_by_whose_manifest_it_is_in(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        line = await ada.line()
        await line.push({f"file-{number:04d}": b"1" for number in range(2000)})
        root = parse_digest(line.head.root)
        digests = list(node_digests(root, line.nodes, set()))
        assert len(digests) > 50
        _, found = await ada.fetch("/v1/manifests/nodes", [*digests, EMPTY_ROOT])
        assert found == {digest: line.nodes.get_node(digest) for digest in digests} | {EMPTY_ROOT: EMPTY_NODE}
        for digest in digests[:10]:
            assert (await eve.ask("POST", "/v1/manifests/nodes", data=digest)).code == "NOT_FOUND"
        _, empty = await eve.fetch("/v1/manifests/nodes", [EMPTY_ROOT])
        assert empty == {EMPTY_ROOT: EMPTY_NODE}
        # Eve makes the very same manifest: then the nodes are hers too, though the store keeps them once.
        same = await eve.line()
        await same.push({f"file-{number:04d}": b"1" for number in range(2000)})
        reply, _ = await eve.fetch("/v1/manifests/nodes", digests)
        assert reply.status == 200


@in_loop
async def test_an_old_states_nodes_stay_readable(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({f"file-{number:04d}": b"1" for number in range(300)})
        old = parse_digest(line.head.root)
        await line.push({"file-0007": b"2"})
        await line.push({"file-0007": b"1"})
        assert line.head.root == old.hex()
        for root in (old, parse_digest(line.head.root)):
            reply, _ = await ada.fetch("/v1/manifests/nodes", list(node_digests(root, line.nodes, set())))
            assert reply.status == 200


@pytest.mark.parametrize("size", [0, 1, 100_000, CHUNKED_MIN, CHUNKED_MIN + 1, 9_000_000])
@in_loop
async def test_one_blob_up_and_down(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, eve = served.user(), served.user("eve@example.org")
        data = random.Random(size).randbytes(size)
        name = digest_of(data).hex()
        first = await ada.ask("PUT", f"/v1/blobs/upload/{name}", data=data)
        assert first.status == 201 and first.json == {"hash": name, "size": size, "created": True}
        again = await ada.ask("PUT", f"/v1/blobs/upload/{name}", data=data)
        assert again.status == 200 and again.json["created"] is False
        down = await ada.ask("GET", f"/v1/blobs/download/{name}")
        assert down.body == data and down.headers["Cache-Control"].startswith("private")
        assert (await eve.ask("GET", f"/v1/blobs/download/{name}")).code == "NOT_FOUND"
        if size > 10:
            for asked, part in ((f"bytes={size - 5}-", data[-5:]), ("bytes=3-7", data[3:8]), ("bytes=-4", data[-4:])):
                ranged = await ada.ask("GET", f"/v1/blobs/download/{name}", Range=asked)
                assert (ranged.status, ranged.body) == (206, part), asked
            assert (await ada.ask("GET", f"/v1/blobs/download/{name}", Range=f"bytes={size}-")).status == 416
        line = await ada.line()
        assert (await line.push({"f": File(digest_of(data), size)})).status == 200


@in_loop
async def test_one_blob_that_is_not_what_it_says(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        name = digest_of(b"promised").hex()
        reply = await ada.ask("PUT", f"/v1/blobs/upload/{name}", data=b"sent")
        assert (reply.status, reply.code) == (400, "HASH_MISMATCH")
        assert await ada.missing([digest_of(b"promised"), digest_of(b"sent")]) == [True, True]
        for odd in ("x", name.upper(), name[:-1], name + "0"):
            assert (await ada.ask("PUT", f"/v1/blobs/upload/{odd}", data=b"x")).code == "VALIDATION_ERROR"
            assert (await ada.ask("GET", f"/v1/blobs/download/{odd}")).code == "VALIDATION_ERROR"


@in_loop
async def test_a_blob_that_is_too_large_is_told_before_it_is_sent_or_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_UPLOAD_BYTES", 1_000_000)
    async with serving(tmp_path / "cloud") as served:
        ada, data = served.user(), b"x" * 1_000_001
        path, sent = f"/v1/blobs/upload/{digest_of(data).hex()}", 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            for at in range(0, 64 * len(data), len(data)):
                sent = at
                yield data

        for body in (data, pieces()):
            reply = await ada.ask("PUT", path, data=body)
            assert (reply.status, reply.code) == (413, "TOO_LARGE")
        assert sent < 63 * len(data), "the rest is not waited for"
        reader, writer = await asyncio.open_connection("127.0.0.1", served.url.rpartition(":")[2])
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ada.auth['Authorization']}\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 20), "told before a byte came"
        writer.close()
        assert (await ada.ask("PUT", f"/v1/blobs/upload/{digest_of(data[1:]).hex()}", data=data[1:])).status == 201


@in_loop
async def test_exists_takes_a_hundred_and_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"here")
        here, gone = digest_of(b"here").hex(), digest_of(b"gone").hex()
        found = await ada.post("/v1/blobs/exists", {"hashes": [here, gone]})
        assert found == {"missing": [gone], "existing": [here], "checked": 2}
        assert (await ada.ask("POST", "/v1/blobs/exists", {"hashes": [here] * 101})).code == "TOO_LARGE"
        assert (await ada.ask("POST", "/v1/blobs/exists", {"hashes": ["x"]})).code == "VALIDATION_ERROR"


@pytest.mark.embedded
@in_loop
async def test_an_answer_that_fails_half_way_is_cut(tmp_path: Path) -> None:
    """The second batch holds a blob that rotted: the client must not take the first for the whole."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        contents = [random.Random(seed).randbytes(60_000) for seed in range(200)]
        line = await ada.line()
        for at in range(0, 200, 50):
            await line.push({f"f{at + number}": data for number, data in enumerate(contents[at : at + 50])})
        last = digest_of(contents[-1])
        served.db.write_now(lambda tx: tx.run("UPDATE blobs SET data = zeroblob(size) WHERE hash = $1", (last,)))
        with pytest.raises(aiohttp.ClientError):
            await ada.ask("POST", "/v1/blobs/fetch", data=b"".join(digest_of(data) for data in contents))
        first = await ada.ask("POST", "/v1/blobs/fetch", data=last)
        assert (first.status, first.code) == (500, "INTERNAL_ERROR")


@pytest.mark.embedded
@in_loop
async def test_small_blobs_move_out_of_the_database_and_stay_readable(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        contents = [random.Random(seed).randbytes(200_000) for seed in range(200)]
        for at in range(0, 200, 20):
            await line.push({f"f{at + number}": data for number, data in enumerate(contents[at : at + 20])})
        objects = served.cloud.objects
        assert isinstance(objects, EmbeddedObjects) and objects.store.inline_bytes() > INLINE_BYTES
        await look_after(served.cloud)
        assert objects.store.inline_bytes() <= INLINE_BYTES
        for at in range(0, 200, 20):
            digests = [digest_of(data) for data in contents[at : at + 20]]
            _, found = await ada.fetch("/v1/blobs/fetch", digests)
            assert found == dict(zip(digests, contents[at : at + 20], strict=True))


async def signed(ada: Caller, how: str, *contents: bytes) -> list[str]:
    """The paths of signed addresses."""
    found = (await ada.post(f"/v1/blobs/presign-{how}", {"hashes": [digest_of(data).hex() for data in contents]}))["urls"]
    assert all(each["url"].startswith(ada.url) and each["method"] == {"upload": "PUT", "download": "GET"}[how] for each in found)
    return [each["url"].removeprefix(ada.url) for each in found]


@in_loop
async def test_a_signed_address_needs_no_session(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(6_000_000)
    async with serving(tmp_path / "cloud") as served:
        ada, nobody = served.user(), served.stranger()
        [up] = await signed(ada, "upload", data)
        assert (await nobody.ask("PUT", up, data=data[:-1])).code == "HASH_MISMATCH"
        assert [(await nobody.ask("PUT", up, data=data)).status for _ in range(2)] == [201, 200]
        [down] = await signed(ada, "download", data)
        whole = await nobody.ask("GET", down)
        assert whole.status == 200 and whole.body == data and "private" in whole.headers["Cache-Control"]
        rest = await nobody.ask("GET", down, Range="bytes=5000000-")
        assert rest.status == 206 and rest.body == data[5_000_000:], "it goes on after a cut"
        assert (await nobody.ask("GET", down, Range="bytes=6000000-")).status == 416


@in_loop
async def test_a_signed_address_is_good_for_nothing_else(tmp_path: Path) -> None:
    now = wall_ms()
    clock = [now]
    async with serving(tmp_path / "cloud", lambda: clock[0]) as served:
        ada, bob, nobody = served.user(), served.user("bob@example.org"), served.stranger()
        await ada.upload(b"hers", b"other")
        [down], [up] = await signed(ada, "download", b"hers"), await signed(ada, "upload", b"hers")
        ticket = down.split("/")[4]
        name, ends, signature = ticket.split(".")
        hers, other = digest_of(b"hers").hex(), digest_of(b"other").hex()
        wrong = [
            *["x", f"{name}.{ends}.", f"{name}.{ends}.{signature[:-1]}", f"{name}.{ends}.{'A' * 43}"],
            f"{name}.{int(ends) + 1}.{signature}",
            *[f"{'0' * 26}.{ends}.{signature}", f"{name}.{ends}.{signature}x", f"{name}.-1.{signature}", f"{name}.{'9' * 12}.{signature}"],
            *[up.split("/")[4], f"{name}.{ends}.%C3%A9", "%00"],
        ]
        for each in wrong:
            assert (await nobody.ask("GET", f"/v1/blobs/signed/{each}/{hers}")).status == 401, each
        assert (await nobody.ask("GET", f"/v1/blobs/signed/{ticket}/{other}")).status == 401
        assert (await nobody.ask("PUT", f"/v1/blobs/signed/{ticket}/{hers}", data=b"hers")).status == 401
        assert (await nobody.ask("GET", f"/v1/blobs/signed/{ticket}/zz")).status == 422
        refused = await bob.ask("POST", "/v1/blobs/presign-download", {"hashes": [hers]})
        assert refused.status == 404 and (await bob.ask("GET", up)).status == 401
        assert (await nobody.ask("POST", "/v1/blobs/presign-upload", {"hashes": [hers]})).status == 401
        for body, status in (({"hashes": [hers] * 101}, 413), ({"hashes": ["x"]}, 422), ({}, 422)):
            assert (await ada.ask("POST", "/v1/blobs/presign-upload", body)).status == status
        clock[0] = now + 899_000
        assert (await nobody.ask("GET", down)).body == b"hers"
        clock[0] = now + 901_000
        for method, path in (("GET", down), ("PUT", up)):
            assert (await nobody.ask(method, path, data=b"hers" if method == "PUT" else None)).status == 401, "it has ended"


@in_loop
async def test_addresses_outlive_a_restart_and_their_key_is_sealed(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        await ada.upload(b"hers")
        asked = await asyncio.gather(*(signed(ada, "download", b"hers") for _ in range(5)))
    async with serving(tmp_path / "cloud") as served:
        for [path] in asked:
            assert (await served.stranger().ask("GET", path)).body == b"hers"
        row = await served.cloud.read().one("SELECT value FROM meta WHERE key = 'address_key'")
        assert row is not None and row[0].startswith("enc:v1:")
