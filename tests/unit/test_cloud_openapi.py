"""The OpenAPI document, and schemathesis asking a running cloud whether it is true."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cloud.app import ROOMS
from cloud.openapi.document import draw_document
from tests.clouds import Served, in_loop, serving
from tests.house.sources import TOP

DOCUMENT = draw_document([route for room in ROOMS for route in room.ROUTES])
SECONDS = os.environ.get("SOAK_SECONDS")
LIMITS = ["--phases", "coverage,fuzzing,stateful", "--max-time", SECONDS] if SECONDS else ["--phases", "coverage", "--seed", "1"]
# It allows rules that no schema can say; and a variable may be called `values`, so that path has another's methods.
CHECKS = ["--exclude-checks", "positive_data_acceptance,allow_header_conformance"]
DESTROYING = ["PATCH", "DELETE"]


@in_loop
async def test_it_is_served_to_everybody(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        for path in ("/openapi.json", "/v1/openapi.json"):
            reply = await served.stranger().ask("GET", path)
            assert reply.json == msgspec.to_builtins(DOCUMENT)


@pytest.mark.embedded
def test_operations_have_names_of_their_own() -> None:
    operations = [each for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations) > 60
    assert all(each["summary"] for each in operations)
    assert not [name for name in DOCUMENT["components"]["schemas"] if not re.fullmatch(r"[A-Za-z]+", name)], "two shapes of one name"


@pytest.mark.embedded
def test_every_reference_leads_somewhere_and_every_shape_is_used() -> None:
    text = msgspec.json.encode(DOCUMENT).decode()
    there = {f"#/components/{kind}/{name}" for kind, each in DOCUMENT["components"].items() for name in each if kind != "securitySchemes"}
    before_any_route = {f"#/components/responses/Refused{status}" for status in (405, 426)}
    assert set(re.findall(r'"\$ref":"([^"]*)"', text)) | before_any_route == there


def both_under_soak(test: Callable[..., None]) -> Callable[..., None]:
    """The embedded engine alone where seconds count."""
    return test if SECONDS else pytest.mark.embedded(test)


@both_under_soak
@pytest.mark.parametrize("which", ["what is there", "what goes"])
@in_loop
async def test_the_running_cloud_is_as_its_document_says(tmp_path: Path, which: str) -> None:
    """No 500, each answer of a declared status and shape, and what the schemas forbid refused."""
    async with serving(tmp_path / "cloud") as served:
        settings = tmp_path / "schemathesis.toml"
        settings.write_text(await known_things(served) if which == "what is there" else "")
        methods = [word for method in DESTROYING for word in ("--include-method", method)] if which == "what goes" else [
            word for method in DESTROYING for word in ("--exclude-method", method)
        ]  # fmt: skip
        asked = [
            *[
                "--config-file",
                str(settings),
                "run",
                f"{served.url}/openapi.json",
                "-H",
                f"Authorization: {served.user().auth['Authorization']}",
            ],
            *["--exclude-path-regex", "^/v1/auth/(logout|sessions)", *methods, *CHECKS, *LIMITS],
        ]
        await run_schemathesis(tmp_path, asked)


async def run_schemathesis(folder: Path, asked: list[str]) -> None:
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", *asked, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told = (await run.communicate())[0].decode()
    print(told)
    assert run.returncode == 0, told
    generated = re.search(r"(\d+) generated", told)
    assert generated and int(generated[1]) > 100, told


async def known_things(served: Served) -> str:
    """Two workspaces that differ, their snapshots, a replica and a blob; as the ids that are asked for."""
    ada = served.user()
    line = await ada.line()
    await line.push({"a.txt": b"1\n", "d/b": b"2"}, message="first")
    side = {"name": "side", "base_workspace_id": line.workspace_id}
    await ada.post(f"/v1/projects/{line.project_id}/workspaces", side)
    await line.push({"a.txt": b"3\n"}, message="second")
    blob = (await ada.ask("PUT", "/v1/blobs/upload/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", data=b"1")).json[
        "hash"
    ]
    names = {"project": line.project_id, "workspace": line.workspace_id, "snapshot": line.head.snapshot_id, "replica": line.replica_id}
    names |= {"hash": blob, "provider": "openai", "key": "A"}
    return "[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items())


@pytest.mark.embedded
def test_every_route_of_wire_is_in_it() -> None:
    page = (TOP / "docs" / "WIRE.md").read_text("utf-8")
    written = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in re.findall(r"`(GET|POST|PUT|DELETE|PATCH) (/[^`?\s]*)", page)}
    drawn = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/v1"))) for path, all in DOCUMENT["paths"].items() for method in all
    }
    assert written == drawn
