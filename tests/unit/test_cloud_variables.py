"""A project's environment and brief."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from cloud.accounts.keys import checked_scope
from cloud.accounts.session import sign_in
from cloud.app import wall_ms
from tests.clouds import Caller, Served, in_loop, serving

SECRET = "sk-1234567890abcdefghijklmnop"


async def begun(served: Served) -> tuple[Caller, str]:
    ada = served.user()
    return ada, f"/v1/projects/{await ada.project()}"


async def listed(ada: Caller, project: str) -> dict[str, tuple[str, bool]]:
    found = (await ada.get(f"{project}/env-vars"))["variables"]
    assert [each["key"] for each in found] == sorted(each["key"] for each in found)
    return {each["key"]: (each["value"], each["is_secret"]) for each in found}


def helper(served: Served, project: str, email: str = "ada@example.org") -> Caller:
    """A program that runs something of this project for this user, with what `fst cloud token --scope` makes for it."""
    scope = checked_scope(f"env:{project.rpartition('/')[2]}")
    return Caller(served.http, served.url, served.write(lambda tx: sign_in(tx, email, wall_ms(), scope)))


async def told(ada: Caller, project: str) -> list[tuple[str, str, str | None]]:
    events = (await ada.get(f"{project}/events"))["events"]
    return [(each["type"], each["actor"], each["message"]) for each in reversed(events)][1:]


@in_loop
async def test_one_variable_is_kept_and_changed(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        await ada.post(f"{project}/env-vars", {"key": "TOKEN", "value": SECRET, "is_secret": True, "actor": "web"})
        await ada.post(f"{project}/env-vars", {"key": "PORT", "value": "80"})
        await ada.post(f"{project}/env-vars", {"key": "SHORT", "value": "12345678", "is_secret": True})
        await ada.post(f"{project}/env-vars", {"key": "EMPTY", "value": ""})
        shown = {"TOKEN": ("****mnop", True), "PORT": ("80", False), "SHORT": ("****", True), "EMPTY": ("", False)}
        assert await listed(ada, project) == shown
        await ada.post(f"{project}/env-vars", {"key": "TOKEN", "value": "x" * 30})
        assert (await listed(ada, project))["TOKEN"] == ("****xxxx", True), "left out, it stays a secret"
        await ada.post(f"{project}/env-vars", {"key": "TOKEN", "value": "y", "is_secret": False})
        assert (await listed(ada, project))["TOKEN"] == ("y", False)
        assert (await told(ada, project))[:2] == [("env.changed", "web", "TOKEN"), ("env.changed", "cli", "PORT")]


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "É", "A\n", "x" * 256, "A=B"])
@in_loop
async def test_a_key_that_is_none(tmp_path: Path, key: str) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        one = await ada.ask("POST", f"{project}/env-vars", {"key": key, "value": "x"})
        many = await ada.ask("PUT", f"{project}/env-vars", {"variables": [{"key": "GOOD", "value": "1"}, {"key": key, "value": "x"}]})
        for reply in (one, many):
            assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
            assert reply.json["error"]["details"]["invalid"] == [key]
        assert await listed(ada, project) == {} and await told(ada, project) == []


@in_loop
async def test_several_are_set_at_once_or_not_at_all(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        await ada.post(f"{project}/env-vars", {"key": "KEPT", "value": "1"})
        sent = [{"key": f"K{at}", "value": str(at)} for at in range(3)] + [{"key": "K0", "value": "last"}]
        reply = await ada.ask("PUT", f"{project}/env-vars", {"variables": sent})
        assert reply.json == {"success": True, "count": 3}
        assert await listed(ada, project) == {"K0": ("last", False), "K1": ("1", False), "K2": ("2", False), "KEPT": ("1", False)}
        bad: list[tuple[object, int]] = [
            ({"variables": [{"key": "NEW", "value": "1"}, {"key": "TWO"}]}, 422), ({"variables": {}}, 422), ({}, 422),
            ({"variables": [{"key": "NEW", "value": "x" * 40_000}]}, 422), ({"variables": [{"key": "NEW", "value": "a\0b"}]}, 422),
            ({"variables": [{"key": f"N{at}", "value": ""} for at in range(501)]}, 413),
            ({"variables": [{"key": f"N{at}", "value": ""} for at in range(498)]}, 413),
        ]  # fmt: skip
        for body, status in bad:
            assert (await ada.ask("PUT", f"{project}/env-vars", body)).status == status
        assert len(await listed(ada, project)) == 4
        for _ in range(2):
            assert (await ada.ask("DELETE", f"{project}/env-vars/K1?actor=web")).json == {"success": True}
        assert (await told(ada, project))[-1] == ("env.removed", "web", "K1") and "K1" not in await listed(ada, project)


@in_loop
async def test_values_are_sealed_where_they_lie_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        await ada.post(f"{project}/env-vars", {"key": "PLAIN", "value": SECRET})
        await ada.post(f"{project}/env-vars", {"key": "OTHER", "value": SECRET, "is_secret": True})
        rows = await served.cloud.read().rows("SELECT value FROM project_env_vars ORDER BY key")
        assert all(value.startswith("enc:v1:") and SECRET not in value for (value,) in rows) and rows[0] != rows[1]
        assert SECRET not in caplog.text and not any(SECRET in str(each) for each in await told(ada, project))
        await served.cloud.write(lambda tx: tx.run("UPDATE project_env_vars SET value = $1 WHERE key = 'PLAIN'", (rows[0][0],)))
        swapped = await ada.ask("GET", f"{project}/env-vars")
        assert swapped.status == 500 and SECRET.encode() not in swapped.body


@in_loop
async def test_values_are_told_to_a_session_for_them_alone_and_each_time_is_noted(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        await ada.post(f"{project}/env-vars", {"key": "TOKEN", "value": SECRET, "is_secret": True})
        await ada.post(f"{project}/env-vars", {"key": "PORT", "value": "80"})
        for nobody in (ada, served.stranger(), served.stranger("x" * 43)):
            assert (await nobody.ask("GET", f"{project}/env-vars/values")).status == 401
        other = f"/v1/projects/{await ada.project('other')}"
        assert (await helper(served, other).ask("GET", f"{project}/env-vars/values")).status == 401, "it is for one project"
        given = await helper(served, project).ask("GET", f"{project}/env-vars/values")
        assert given.json == {"values": {"TOKEN": SECRET, "PORT": "80"}} and given.headers["Cache-Control"] == "no-store"
        assert (await helper(served, project, "bob@example.org").ask("GET", f"{project}/env-vars/values")).status == 404
        assert (await helper(served, project).ask("GET", f"{project}/env-vars")).status == 401, "and it is good for nothing else"
        assert [each for each in await told(ada, project) if each[0] == "env.released"] == [("env.released", "system", None)]


@in_loop
async def test_anothers_environment_is_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        await ada.post(f"{project}/env-vars", {"key": "A", "value": "1"})
        bob = served.user("bob@example.org")
        asked: list[tuple[str, str, object]] = [
            ("GET", "/env-vars", None), ("POST", "/env-vars", {"key": "A", "value": "2"}), ("DELETE", "/env-vars/A", None),
            ("PUT", "/env-vars", {"variables": []}), ("GET", "/brief", None),
            ("PATCH", "/brief", {"intent": "fun", "brief": {"intent": "fun"}}),
            ("GET", "/status", None), ("PATCH", "", {"name": "mine"}), ("DELETE", "", None),
        ]  # fmt: skip
        for method, path, body in asked:
            reply = await bob.ask(method, project + path, body)
            assert (reply.status, reply.code) == (404, "NOT_FOUND"), path
        assert await listed(ada, project) == {"A": ("1", False)}
        assert (await ada.ask("PATCH", project, {"archived": True})).status == 200
        for method, path, body in asked[1:4]:
            assert (await ada.ask(method, project + path, body)).code == "ARCHIVED"
        assert await listed(ada, project) == {"A": ("1", False)}


@in_loop
async def test_one_key_set_by_many_at_once_is_one_variable(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        replies = await asyncio.gather(*(ada.ask("POST", f"{project}/env-vars", {"key": "A", "value": str(at)}) for at in range(10)))
        assert {reply.status for reply in replies} == {200} and list(await listed(ada, project)) == ["A"]
        assert len(await told(ada, project)) == 10


STARTUP: dict[str, Any] = {
    "intent": "startup", "problem": "p", "target_users": ["u"], "mvp_features": [], "non_goals": [], "current_stage": "idea",
    "has_users": False, "has_revenue": False,
}  # fmt: skip
TOOL: dict[str, Any] = {
    "intent": "personal_tool", "problem": "p", "must_have": [], "nice_to_have": [], "platforms": ["linux"], "polish_level": "hacky",
}  # fmt: skip
FREE = ["learning", "fun", "portfolio", "creative", "exploration", "open_source"]


@pytest.mark.parametrize("brief", [STARTUP, TOOL, *({"intent": each, "goal": [1, {"x": None}]} for each in FREE)])
@in_loop
async def test_a_brief_of_each_intent(tmp_path: Path, brief: dict[str, Any]) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        assert await ada.get(f"{project}/brief") == {"intent": None, "brief": None}
        body = {"intent": brief["intent"], "brief": brief, "actor": "web"}
        for _ in range(2):
            reply = await ada.ask("PATCH", f"{project}/brief", body)
            assert (reply.status, reply.json) == (200, {"intent": brief["intent"], "brief": brief})
        assert await ada.get(f"{project}/brief") == reply.json
        assert await told(ada, project) == [("project.brief_changed", "web", brief["intent"])], "once"


@pytest.mark.parametrize(
    "body",
    [
        {"intent": "money", "brief": {"intent": "money"}}, {"intent": "fun", "brief": {"intent": "learning"}},
        {"intent": "fun", "brief": {}},
        {"intent": "fun"}, {"brief": {"intent": "fun"}}, {"intent": "fun", "brief": []}, {"intent": "fun", "brief": "fun"}, {},
        {"intent": "startup", "brief": STARTUP | {"current_stage": "rich"}}, {"intent": "startup", "brief": STARTUP | {"has_users": "no"}},
        {"intent": "startup", "brief": {"intent": "startup"}}, {"intent": "startup", "brief": STARTUP | {"more": 1}},
        {"intent": "personal_tool", "brief": TOOL | {"polish_level": 3}}, {"intent": "personal_tool", "brief": STARTUP},
        {"intent": "personal_tool", "brief": TOOL | {"platforms": ["x" * 401]}},
        {"intent": "fun", "brief": {"intent": "fun"}, "actor": "me"},
    ],
)  # fmt: skip
@in_loop
async def test_a_brief_that_is_none(tmp_path: Path, body: object) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada, project = await begun(served)
        reply = await ada.ask("PATCH", f"{project}/brief", body)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
        large = {"intent": "fun", "brief": {"intent": "fun", "x": "y" * 70_000}}
        assert (await ada.ask("PATCH", f"{project}/brief", large)).status == 413
        assert await ada.get(f"{project}/brief") == {"intent": None, "brief": None}
