"""Every failed answer has one shape and a request id, whoever made it: a route, the wrapper, or aiohttp itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from cloud.app import build, running
from cloud.routes import pace
from store.types import new_ulid
from tests.clouds import Reply, in_loop, serving

JSON = {"Content-Type": "application/json"}


def check_envelope(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.code) == (status, code), reply
    error = reply.json["error"]
    assert set(error) == {"code", "message", "hint", "details", "request_id"} and error["message"]
    assert error["request_id"] == reply.headers["X-Request-Id"]
    assert reply.headers["Content-Type"] == "application/json"


@in_loop
async def test_bodies_that_are_none(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for data, headers, status, code in (
            (b'{"name": "n"', JSON, 400, "INVALID_JSON"),
            (b'{"name": "\xc3\x28"}', JSON, 400, "INVALID_JSON"),
            (b'{"name": "n"}'.decode().encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}, 400, "INVALID_JSON"),
            (b'{"name": "n", "actor": "nobody"}', JSON, 422, "VALIDATION_ERROR"),
            (b"[" * 5_000, JSON, 422, "VALIDATION_ERROR"),
            (b'{"name": "n"}', form, 415, "UNSUPPORTED_MEDIA_TYPE"),
            (b'{"name": "n"}', {"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
            (b"x" * 4_000_000, JSON, 413, "TOO_LARGE"),
        ):
            check_envelope(await ada.ask("POST", "/v1/projects", data=data, **headers), status, code)
        assert (await ada.get("/v1/projects"))["projects"] == []
        expecting = ({"Expect": "the unexpected"}, {"Expect": "100-continue"})
        for headers in (
            *expecting,
            {},
            JSON,
            {"Content-Type": "application/vnd.thing+json"},
            {"Content-Type": "application/json; charset=x"},
        ):
            assert (await ada.ask("POST", "/v1/projects", data=b'{"name": "n"}', **headers)).status == 201


@in_loop
async def test_what_no_route_answers(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        check_envelope(await ada.ask("GET", "/v1/nothing"), 404, "NOT_FOUND")
        check_envelope(await ada.ask("GET", "/v1/projects/%00"), 404, "NOT_FOUND")
        wrong = await ada.ask("PUT", "/v1/projects")
        check_envelope(wrong, 405, "METHOD_NOT_ALLOWED")
        assert {word.strip() for word in wrong.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}
        check_envelope(await served.stranger().ask("GET", "/v1/nothing"), 401, "UNAUTHORIZED")
        check_envelope(await ada.ask("GET", "/v1/events"), 400, "BAD_REQUEST")


QUERIES = ["limit=1&limit=2", "limit=x", "limit=1.5", "limit=101", "before=%00", "before=", "before=%D9%A3", "before=zzz"]


@pytest.mark.parametrize("asked", QUERIES)
@in_loop
async def test_queries_that_must_not_be(tmp_path: Path, asked: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        path = f"/v1/projects/{await ada.project()}/events"
        check_envelope(await ada.ask("GET", f"{path}?{asked}"), 422, "VALIDATION_ERROR")
        assert (await ada.ask("GET", f"{path}?limit=5&unknown=1&unknown=2&before={new_ulid(1)}")).status == 200
        if asked.startswith("before"):
            snapshots = path.replace("/events", "/snapshots")
            for wrong in (asked, f"before={new_ulid(1)}"):
                check_envelope(await ada.ask("GET", f"{snapshots}?{wrong}"), 422, "VALIDATION_ERROR")
            assert (await ada.ask("GET", f"{snapshots}?before=snap-{new_ulid(1)}")).status == 200


@in_loop
async def test_streams_and_sockets_carry_a_request_id_too(tmp_path: Path) -> None:
    """They are sent before any middleware sees them."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await line.push({"a": b"1"})
        for method, path, data in (("POST", "/v1/blobs/fetch", b""), ("GET", "/device", None)):
            reply = await ada.ask(method, path, data=data, **{"X-Request-Id": "mine"})
            assert (reply.headers["X-Request-Id"], reply.headers["X-Fastest-Epoch"]) == ("mine", served.cloud.epoch)
        async with served.http.ws_connect(f"{served.url}/v1/events", headers={**ada.auth, "X-Request-Id": "ours"}) as socket:
            assert socket._response.headers["X-Request-Id"] == "ours"


HEADS = [
    b"NONSENSE\r\n\r\n",
    b"GET /health HTTP/1.1\r\nAuthorization: Bearer s3cret\x01\r\n\r\n",
    b"GET /health HTTP/1.1\r\nX-Long: s3cret" + b"x" * 20_000 + b"\r\n\r\n",
    b"POST /v1/oauth/token HTTP/1.1\r\nContent-Length: s3cret\r\n\r\n",
]


@pytest.mark.embedded
@in_loop
async def test_what_is_no_http_is_refused_in_the_envelope_and_neither_said_back_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "cloud") as served:
        runner = running(build(served.cloud))
        await runner.setup()
        try:
            await pace.Door(runner, "127.0.0.1", 0, 10).start()
            with caplog.at_level(logging.DEBUG):
                for head in HEADS:
                    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
                    writer.write(head)
                    told = await asyncio.wait_for(reader.read(), 10)
                    assert told.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400")), told
                    error = msgspec.json.decode(told.partition(b"\r\n\r\n")[2])["error"]
                    assert (error["code"], error["message"]) == ("BAD_REQUEST", "this is no HTTP")
                    assert error["request_id"].encode() in told.partition(b"\r\n\r\n")[0] and b"s3cret" not in told
                    writer.close()
        finally:
            await runner.cleanup()
        assert "s3cret" not in caplog.text and "a request could not be read" in caplog.text
