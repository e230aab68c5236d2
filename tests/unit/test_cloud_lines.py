"""How the log looks, and what must never be in it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.telemetry.lines import JsonLines, PlainLines, set_up_log
from tests.clouds import in_loop, serving

TOKEN = secrets.token_urlsafe(32)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[io.StringIO, Terminal])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What a whole process would write."""
    root, stream = logging.getLogger(), request.param()
    before, level = root.handlers[:], root.level
    set_up_log("info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def record(message: str, *args: object, exc_info: Any = None, **added: object) -> logging.LogRecord:
    made = logging.LogRecord("fastest.x", logging.WARNING, "", 0, message, args, exc_info)
    made.__dict__.update(added)
    return made


def test_a_line_is_one_document_with_what_was_added() -> None:
    said = JsonLines().format(record("so %s", "it is", request_id="r1", ms=1.5, job=Path("/x")))
    assert "\n" not in said
    line = json.loads(said)
    assert line.pop("at").endswith("+00:00")
    assert line == {"level": "warning", "logger": "fastest.x", "message": "so it is", "request_id": "r1", "ms": 1.5, "job": "/x"}


@pytest.mark.parametrize("made", [JsonLines(), PlainLines()], ids=["json", "plain"])
def test_nobody_forges_a_line_or_speaks_to_the_terminal(made: logging.Formatter) -> None:
    said = made.format(record("from %s", "a\nb\x1b[2J\u202e", name_of="c\rd"))
    assert len(said.splitlines()) == 1 and "\x1b" not in said and "\r" not in said


def failure() -> Any:
    try:
        raise ValueError(f"no such token: {TOKEN}\nsecond {TOKEN}")
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("made", [JsonLines(), PlainLines()], ids=["json", "plain"])
def test_a_trace_says_where_it_was_and_hides_what_looks_like_a_token(made: logging.Formatter) -> None:
    said = made.format(record("request failed", exc_info=failure()))
    assert TOKEN not in said and "no such token: ..." in said and "test_cloud_lines.py" in said and "in failure" in said


@pytest.mark.parametrize("made", [JsonLines(), PlainLines()], ids=["json", "plain"])
def test_what_a_library_quotes_is_struck_out(made: logging.Formatter) -> None:
    theirs = record("Task exception was never retrieved\nfuture: <Task exception=KeyError('%s')>", TOKEN)
    theirs.name = "asyncio"
    assert TOKEN not in made.format(theirs) and "never retrieved" in made.format(theirs)


@in_loop
async def test_each_request_has_a_line_without_its_query_or_path(tmp_path: Path, written: io.StringIO) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        await ada.ask("GET", f"/v1/workspaces/{line.workspace_id}?word={TOKEN}", **{"X-Request-Id": "mine-1", "X-Other": TOKEN})
        await served.stranger(TOKEN).ask("GET", f"/v1/blobs/signed/{TOKEN}/{'0' * 64}")
        for path in ("/health", "/ready", "/metrics"):
            await ada.ask("GET", path)
        user_id = (await ada.get("/v1/auth/me"))["user"]["id"]
    said = written.getvalue()
    assert TOKEN not in said and line.workspace_id not in said and "/ready" not in said
    if isinstance(written, Terminal):
        assert (
            "INFO fastest.cloud.telemetry.requests request request_id=mine-1 method=GET route=/v1/workspaces/{workspace} status=200" in said
        )
        return
    mine = next(each for each in lines(written) if each.get("request_id") == "mine-1")
    assert 0 < mine.pop("ms") < 10_000 and mine.pop("at")
    assert mine == {
        "level": "info", "logger": "fastest.cloud.telemetry.requests", "message": "request", "request_id": "mine-1", "method": "GET",
        "route": "/v1/workspaces/{workspace}", "status": 200, "user": user_id,
    }  # fmt: skip
    assert any(each.get("route") == "/v1/blobs/signed/{ticket}/{hash}" and each["status"] == 401 for each in lines(written))


@in_loop
async def test_a_failure_of_ours_has_its_trace_under_the_request(
    tmp_path: Path, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()

        def fail(_: object) -> None:
            raise KeyError(TOKEN)

        monkeypatch.setattr("cloud.routes.people.accounts.account_of", fail)
        reply = await ada.ask("GET", f"/v1/auth/me?{TOKEN}")
        assert reply.status == 500 and TOKEN.encode() not in reply.body
    said = written.getvalue()
    assert "KeyError" in said and "show_me" in said and TOKEN not in said
    if not isinstance(written, Terminal):
        failed, request = (each for each in lines(written) if each.get("request_id") == reply.headers["X-Request-Id"])
        assert (failed["level"], failed["route"]) == ("error", "/v1/auth/me") and "KeyError" in failed["trace"]
        assert (request["message"], request["status"]) == ("request", 500)


@in_loop
async def test_what_cannot_be_read_is_told_without_quoting_it(tmp_path: Path, written: io.StringIO) -> None:
    async with serving(tmp_path / "cloud") as served:
        host, port = served.url.removeprefix("http://").split(":")
        for head in (f"GET /{TOKEN} HTTP/9.9.9\r\n\r\n", f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\0\r\n\r\n", f"{TOKEN}\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode())
            await reader.read()
            writer.close()
    said = written.getvalue()
    assert TOKEN not in said and TOKEN[:20] not in said and "a request could not be read" in said
