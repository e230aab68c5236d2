"""Scripts of other origins: let in by name, with every method that the API has (OPS-3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud.accounts.gate import GateSettings, open_gate
from store.errors import InvalidValue
from tests.clouds import in_loop, serving

APP = "https://app.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}


@in_loop
async def test_a_named_origin_may_ask_and_read(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud", gate=GateSettings(origins=(APP,))) as served:
        ada = served.user()
        path = f"/v1/projects/{await ada.project()}"
        asked = await served.stranger().ask("OPTIONS", path, Origin=APP, **PREFLIGHT)
        assert (asked.status, asked.body, asked.headers["Access-Control-Allow-Origin"]) == (204, b"", APP)
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"] and "Authorization" in asked.headers["Access-Control-Allow-Headers"]
        for reply, status in (
            (await ada.ask("PATCH", path, {"name": "new"}, Origin=APP), 200),
            (await ada.ask("PATCH", path, {}, Origin=APP), 422),
            (await served.stranger().ask("GET", path, Origin=APP), 401),
            (await ada.ask("POST", "/v1/blobs/fetch", data=b"", Origin=APP), 200),
        ):
            assert (reply.status, reply.headers["Access-Control-Allow-Origin"], reply.headers["Vary"]) == (status, APP, "Origin")
            assert "X-Request-Id" in reply.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize("origin", ["https://evil.example.org", "http://app.example.org", "https://app.example.org.evil.org", "null", ""])
@in_loop
async def test_any_other_may_not(tmp_path: Path, origin: str) -> None:
    async with serving(tmp_path / "cloud", gate=GateSettings(origins=(APP,))) as served:
        ada = served.user()
        asked = await served.stranger().ask("OPTIONS", "/v1/projects", Origin=origin, **PREFLIGHT)
        assert asked.status == 401 and "Access-Control-Allow-Origin" not in asked.headers
        assert "Access-Control-Allow-Origin" not in (await ada.ask("GET", "/v1/projects", Origin=origin)).headers
        assert "Access-Control-Allow-Origin" not in (await ada.ask("GET", "/sign-in", Origin=APP)).headers, "pages are nobody else's"


@in_loop
async def test_nobody_is_named_by_default(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        reply = await served.user().ask("GET", "/v1/projects", Origin=APP)
        assert reply.status == 200 and "Access-Control-Allow-Origin" not in reply.headers and "Vary" not in reply.headers


@pytest.mark.parametrize("origin", ["*", "app.example.org", "https://app.example.org/page", "ftp://x", "https://a@b.org", "https://"])
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(InvalidValue):
        open_gate(GateSettings(origins=(origin,)))


def test_an_origin_is_written_as_browsers_write_it() -> None:
    assert open_gate(GateSettings(origins=("https://App.Example.org/",))).origins == {APP}
