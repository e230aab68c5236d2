"""A server process as those see it who run it: its log, its readiness, its secrets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from store.types import digest_of
from tests.browsing import Browser
from tests.clouds import Caller
from tests.lab.mailbox import Mailbox, mailbox
from tests.lab.services import Postgres, S3Server
from tests.waiting import until

pytestmark = pytest.mark.e2e
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Operated:
    """One `fst cloud serve`, whose words go to a file."""

    def __init__(self, folder: Path, env: dict[str, str], *options: str) -> None:
        self.log = folder / "cloud.log"
        words = [sys.executable, "-m", "cloud", "serve", "--data", str(folder / "data"), "--listen", "127.0.0.1:0", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, env=dict(os.environ) | env, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("listening"), self.log.read_text()
        self.url = said.split()[-1]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def ended() -> Iterator[list[Operated]]:
    """Servers that are ended with the test."""
    made: list[Operated] = []
    yield made
    for each in made:
        each.process.kill()
        each.process.wait(30)


def token_of(env: dict[str, str], folder: Path) -> str:
    words = [sys.executable, "-m", "cloud", "token", "--email", "ada@example.org", "--data", str(folder / "data")]
    return subprocess.run(words, env=dict(os.environ) | env, check=True, capture_output=True, text=True).stdout.strip()


async def sign_in_by_mail(http: aiohttp.ClientSession, url: str, box: Mailbox) -> list[str]:
    """What was secret on the way."""
    browser = Browser(http, url)
    asked = await browser.send(await browser.open("/sign-in"), "Send me a code", email="ada@example.org")
    await until(lambda: box.letters, what="a letter came")
    code = re.search(r"^ +(\d{4} \d{4})\r?$", box.letters[0].get_content(), re.MULTILINE)
    assert code is not None
    signed_in = await browser.send(asked, "Sign in", code=code[1])
    assert signed_in.title.startswith("Your account")
    words = [value for form in (*asked.forms, *signed_in.forms) for value in form.fields.values() if len(value) > 20]
    return [code[1], code[1].replace(" ", ""), *words, *browser.cookies.values()]


async def let_machine_in(ada: Caller, stranger: Caller) -> list[str]:
    told = await stranger.post("/v1/oauth/device", None)
    await ada.post("/v1/oauth/device/authorize", {"user_code": told["user_code"]})
    given = await stranger.post("/v1/oauth/token", {"grant_type": GRANT, "device_code": told["device_code"]})
    return [told["user_code"], told["user_code"].replace("-", ""), told["device_code"], given["access_token"]]


async def use_the_rest(ada: Caller, stranger: Caller) -> list[str]:
    line = await ada.line()
    content = secrets.token_urlsafe(40).encode()
    message = secrets.token_urlsafe(20)
    assert (await line.push({"a": content}, message=message)).status == 200
    key, value, wrong = ("sk-ant-" + secrets.token_urlsafe(40), secrets.token_urlsafe(24), secrets.token_urlsafe(32))
    assert (await ada.ask("POST", "/v1/auth/api-keys", {"provider": "anthropic", "key_value": key})).status in (200, 201)
    await ada.post(f"/v1/projects/{line.project_id}/env-vars", {"key": "TOKEN", "value": value, "is_secret": True})
    address = (await ada.post("/v1/blobs/presign-download", {"hashes": [digest_of(content).hex()]}))["urls"][0]["url"]
    ticket = address.split("/")[-2]
    for tried in (address, address.replace(ticket, ticket + wrong)):
        await stranger.ask("GET", "/" + tried.split("/", 3)[3])
    word = (await ada.ask("POST", "/v1/auth/ticket")).json["ticket"]
    async with ada.http.ws_connect(f"{ada.url}/v1/events?ticket={word}"):
        pass
    for path in (f"/v1/auth/me?token={wrong}", f"/sign-in-back?code={wrong}&state={wrong}", f"/{wrong}"):
        await Caller(ada.http, ada.url, wrong).ask("GET", path)
    host, port = ada.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET / HTTP/1.1\r\nAuthorization: Bearer {wrong}\0\r\n\r\n".encode())
    await reader.read()
    writer.close()
    return [key, value, wrong, ticket, word, content.decode(), message]


def test_the_log_of_a_whole_run_holds_no_secret(tmp_path: Path, postgres: Postgres, s3: S3Server, ended: list[Operated]) -> None:
    async def run() -> None:
        sealed, watch, password, mailed = b64encode(secrets.token_bytes(32)).decode(), *(secrets.token_urlsafe(24) for _ in range(3))
        (tmp_path / "key").write_text(sealed + "\n")
        async with mailbox() as box, aiohttp.ClientSession() as http:
            env = s3.environment | {
                "AWS_SECRET_ACCESS_KEY": (bucket_key := secrets.token_urlsafe(24)),
                "FASTEST_CLOUD_KEY_FILE": str(tmp_path / "key"), "FASTEST_CLOUD_METRICS_TOKEN": watch, "FASTEST_CLOUD_LOG_LEVEL": "debug",
                "FASTEST_CLOUD_DATABASE": postgres.new_database().replace("fastest@", f"fastest:{password}@"),
                "FASTEST_CLOUD_OBJECTS": s3.new_bucket(),
                "FASTEST_CLOUD_SMTP": f"smtp://me:{mailed}@127.0.0.1:{box.port}?from=fastest@example.org",
            }  # fmt: skip
            ended.append(Operated(tmp_path, env, "--public-url", "http://127.0.0.1"))
            url, token = ended[0].url, token_of(env, tmp_path)
            seen_by_all = await asyncio.to_thread(Path(f"/proc/{ended[0].process.pid}/cmdline").read_text)
            ada, stranger = Caller(http, url, token), Caller(http, url, None)
            assert (await stranger.ask("GET", "/metrics", Authorization=f"Bearer {watch}")).status == 200
            assert (await stranger.ask("GET", "/ready")).json == {"status": "ready", "degraded": []}
            hidden = [sealed, watch, password, mailed, bucket_key, token]
            hidden += await sign_in_by_mail(http, url, box)
            hidden += await let_machine_in(ada, stranger)
            hidden += await use_the_rest(ada, stranger)
            ended[0].process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(ended[0].process.wait, 30) == 0
        said = ended[0].log.read_text()
        assert len(hidden) > 18 and all(len(secret) >= 8 for secret in hidden)
        assert not [secret for secret in hidden if secret in said or secret in seen_by_all]
        routes = {line.get("route") for line in ended[0].lines()}
        assert {"/v1/blobs/signed/{ticket}/{hash}", "/v1/workspaces/{workspace}/push", "/v1/events", "/metrics", "/sign-in-code"} <= routes

    asyncio.run(run())


def test_balancers_are_told_before_anybody_is_refused(tmp_path: Path, ended: list[Operated]) -> None:
    async def run() -> None:
        ended.append(Operated(tmp_path, {}, "--notice", "60"))
        server = ended[0]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            ada = Caller(http, server.url, token_of({}, tmp_path))
            assert (await ada.ask("GET", "/ready")).status == 200
            async with ada.listening() as socket:
                server.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    while (reply := await ada.ask("GET", "/ready")).status == 200:
                        pass
                assert (reply.status, reply.json["error"]["details"]) == (503, {"lacking": ["leaving"]})
                assert (await ada.line()).head.version == 1, "new connections, and work, as ever"
                assert not socket.closed
                server.process.send_signal(signal.SIGTERM)
                async for _ in socket:
                    pass
            assert await asyncio.to_thread(server.process.wait, 20) == 0, "a second signal does not wait for the notice to end"

    asyncio.run(run())


def test_more_streams_fit_than_the_soft_limit_of_open_files(tmp_path: Path, ended: list[Operated]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    try:
        ended.append(Operated(tmp_path, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert psutil.Process(ended[0].process.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
