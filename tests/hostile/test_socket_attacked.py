"""The daemon's own socket, asked by somebody who wants to break it or who is not its user."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from daemon.api import ROUTES
from daemon.client import find_socket
from tests.hostile.thorough import ALL
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RSS_BYTES = 300 * 1024 * 1024
LEAVE_ALONE = ("/v1/down", "/v1/login", "/v1/logout", "/v1/events", "/v1/wait", "/v1/up", "/v1/clone")
"""They stop it, block, or change what the other questions ask about; `ASKED_ONCE` has their odd bodies."""
NOBODY = 65534


class Unix(http.client.HTTPConnection):
    """HTTP over the socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


class Attacked:
    """One machine with one workspace, and its socket."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.path = find_socket({"FASTEST_HOME": str(machine.home)})

    def ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and document: every answer is JSON."""
        connection = Unix(self.path)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.getheader("Content-Type") or ""
            assert "json" in kind or answer.status == 200, (target, body, data[:300])
            lines = data.splitlines() if "ndjson" in kind else [data]
            return answer.status, json.loads(lines[-1]) if "json" in kind else None
        finally:
            connection.close()

    def shout(self, data: bytes) -> bytes:
        """Raw bytes, and what comes back until it hangs up or falls silent."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(0.3)
            raw.connect(self.path)
            came = b""
            try:
                raw.sendall(data)
                while part := raw.recv(1 << 16):
                    came += part
            except OSError:
                return came
            return came

    def is_well(self) -> bool:
        status, document = self.ask("GET", "/v1/status")
        return status == 200 and len(document["workspaces"]) == 1

    def peak_bytes(self) -> int:
        pid = self.ask("GET", "/v1/health")[1]["pid"]
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def attacked(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    for lab in open_lab(request):
        machine = Machine(lab, "a")
        machine.root.mkdir()
        (machine.root / "file.txt").write_text("mine\n")
        machine.start()
        machine.must("up", str(machine.root), "-y")
        machine.wait_settled()
        yield Attacked(machine)
        assert (machine.root / "file.txt").read_text() == "mine\n"
        assert sorted(path.name for path in machine.root.iterdir()) == ["file.txt"]
        assert sorted(path.name for path in machine.folder.iterdir()) == ["daemon.log", "home", "user", "work"]


def odd_values(root: str) -> list[object]:
    numbers: list[object] = [None, 0, -1, 1 << 70, 1.5, True, "²", "9" * 5000]
    texts: list[object] = [
        "",
        "x",
        "/",
        "/nowhere",
        "/etc/passwd",
        "..",
        f"{root}/../../../etc",
        f"{root}/a\0b",
        "\ud800",
        "x" * 100_000,
        root,
    ]
    coded: list[object] = ["ours", "AAAA", "!!", base64.b64encode(b"..").decode(), base64.b64encode(b"\0").decode()]
    return [*numbers, *texts, *coded, "x" * 100_000, root, [], ["\0"], ["!"], {}]


FIELDS = (
    "path", "path_b64", "paths", "paths_b64", "file", "file_b64", "id", "a", "b", "what", "limit", "how", "text", "from", "message",
    "author_name", "for_s", "timeout_s", "for", "machine", "dry_run", "project", "workspace", "name", "url", "token", "mirror", "rescan",
)  # fmt: skip


def refused_or_answered(status: int, document: Any) -> None:
    assert status < 500 or document["error"]["code"] != "internal", document
    if status >= 400:
        assert {"code", "message", "hint"} <= document["error"].keys(), document


@pytest.mark.parametrize("seed", range(20 if ALL else 1))
def test_odd_queries_and_bodies_are_refused_in_the_one_envelope(attacked: Attacked, seed: int) -> None:
    chance = random.Random(seed)
    odd = odd_values(str(attacked.machine.root))
    for method, target, _ in ROUTES:
        if target in LEAVE_ALONE:
            continue
        for _ in range(8):
            body = {field: chance.choice(odd) for field in chance.sample(FIELDS, 5)}
            if chance.random() < 0.7:
                body |= {"path": str(attacked.machine.root), "dry_run": True, "path_b64": None}
            query = "&".join(f"{name}={quote_from_bytes(_text(value)[:800])}" for name, value in body.items() if value is not None)
            data = json.dumps(body).encode() if method == "POST" else None
            refused_or_answered(*attacked.ask(method, f"{target}?{query}" if method == "GET" else target, data))
    assert attacked.is_well()


def _text(value: object) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else str(value).encode()


NO_DOCUMENTS = (
    b"[" * 100_000, b'{"path":' * 50_000, b'"\xff"', b"\xff", b"{", b"nil", b"[]", b"1e999", b'{"unknown":' + b"[" * 9000,
    b'{"path":"\\ud800"}',
)  # fmt: skip


@pytest.mark.parametrize("body", NO_DOCUMENTS, ids=range(len(NO_DOCUMENTS)))
def test_bodies_that_are_no_documents(attacked: Attacked, body: bytes) -> None:
    for method, target, _ in ROUTES:
        if method == "POST" and target not in ("/v1/down", "/v1/logout"):
            status, document = attacked.ask(method, target, body)
            assert 400 <= status < 500 and document["error"]["code"] != "internal", (target, document)
    assert attacked.is_well()


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/pause", {"for_s": 1e300}),
        ("/v1/pause", {"for_s": -1e300}),
        ("/v1/wait", {"timeout_s": -1}),
        ("/v1/restore", {"from": "²", "dry_run": True}),
        ("/v1/restore", {"from": "9" * 5000, "dry_run": True}),
        ("/v1/restore", {"paths": ["../../etc/passwd"], "dry_run": True}),
        ("/v1/restore", {"paths": ["/etc/passwd"], "dry_run": True}),
        ("/v1/restore", {"paths_b64": ["!"], "dry_run": True}),
        ("/v1/restore", {"paths_b64": [base64.b64encode(b"../x").decode()], "dry_run": True}),
        ("/v1/resolve", {"how": "edit", "text": "!"}),
        ("/v1/up", {"path": "/proc/self", "name": "\x1b[31m", "dry_run": True}),
    ],
)
def test_values_that_cannot_be(attacked: Attacked, target: str, body: dict[str, object]) -> None:
    status, document = attacked.ask("POST", target, json.dumps({"path": str(attacked.machine.root), **body}).encode())
    if body.get("timeout_s") != -1:
        assert 400 <= status < 500, document
    refused_or_answered(status, document)
    assert attacked.is_well()


def test_a_path_in_base64_is_absolute_too(attacked: Attacked) -> None:
    for raw in (b"..", b"work", b"", b"\0/x"):
        status, _ = attacked.ask("GET", f"/v1/status?path_b64={quote_from_bytes(base64.b64encode(raw) or b'=')}")
        assert status == 422


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 5000,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /v1/status HTTP/1.1\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/down HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/down HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/down HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /v1/snapshot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROPFIND /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=range(13),
)
def test_what_is_no_request(attacked: Attacked, data: bytes) -> None:
    came = attacked.shout(data)
    assert not came.startswith(b"HTTP/1.1 2") and b"root:" not in came
    assert attacked.is_well()


def test_a_body_beyond_the_bound_is_refused_and_not_held(attacked: Attacked) -> None:
    head = b"POST /v1/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    came = attacked.shout(head + (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * 200)
    assert not came or came.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    status, document = attacked.ask("POST", "/v1/snapshot", b"x" * (17 * 1024 * 1024))
    assert status == 413 and document["error"]["code"] == "invalid-value"
    assert attacked.is_well() and attacked.peak_bytes() < RSS_BYTES


def test_many_who_ask_and_say_nothing_more(attacked: Attacked) -> None:
    held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for one in held:
            one.settimeout(5)
            one.connect(attacked.path)
            one.sendall(b"POST /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert attacked.is_well()
    finally:
        for one in held:
            one.close()
    wait_until(attacked.is_well, 10, "it goes on")


# --- another user ---------------------------------------------------------------------------------------------------------------

ASK_AS = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as one:
    one.settimeout(10)
    one.connect(sys.argv[1])
    for target in (b"/v1/status", b"/v1/health", b"/v1/nothing"):
        one.sendall(b"GET " + target + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        sys.stdout.write(one.recv(65536).decode())
"""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


def ask_as(uid: int, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", ASK_AS, path, str(uid)], capture_output=True, text=True, timeout=30, check=False)


@needs_root
def test_another_user_does_not_get_to_the_socket(attacked: Attacked) -> None:
    for path in (Path(attacked.path), Path(attacked.path).parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    done = ask_as(NOBODY, attacked.path)
    assert done.returncode != 0 and "PermissionError" in done.stderr and done.stdout == ""


@needs_root
def test_another_user_who_gets_to_it_is_told_nothing(attacked: Attacked) -> None:
    """As where a folder's permissions were changed by hand: who asks is looked at, too."""
    opened = [Path(attacked.path), *Path(attacked.path).parents][:-1]
    before = [path.stat().st_mode for path in opened]
    try:
        for path in opened:
            path.chmod(path.stat().st_mode | 0o777 if path == opened[0] else path.stat().st_mode | 0o055)
        done = ask_as(NOBODY, attacked.path)
    finally:
        for path, mode in zip(opened, before, strict=True):
            path.chmod(stat.S_IMODE(mode))
    assert done.stdout.count("HTTP/1.1 403") == 3, done
    assert str(attacked.machine.root) not in done.stdout and '"pid"' not in done.stdout
    assert attacked.is_well()


@needs_root
def test_what_is_kept_is_nobody_elses(attacked: Attacked) -> None:
    """The store holds every file's bytes, the state the token."""
    home = attacked.machine.home
    open_to_all = {path for path in (home, *home.rglob("*")) if not _is_closed(path)}
    loose = sorted(path for path in open_to_all if not any(_is_closed(above) for above in path.parents if above.is_relative_to(home)))
    # What the test itself made for a home is as open as any folder.
    assert loose in ([], [home]), loose


def _is_closed(path: Path) -> bool:
    return stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0
