"""The cloud as a real process: killed in the middle of pushes, cut off in the middle of bodies, stopped while it answers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from store.blobs.frames import encode_frame
from store.manifest import walk_manifest
from store.types import digest_of, parse_digest
from sync.core.wire import Head, Section, WireWorkspace, pack_section
from tests.clouds import Caller, Line, in_loop, next_message, push_body

ROOT = Path(__file__).parents[2]


def cloud_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cloud", *arguments]


def run_cloud(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cloud_command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60)


class Process:
    """A cloud over a folder; started again it keeps its port."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data.with_suffix(".log")
        self.url = "http://127.0.0.1:0"
        self.child = self.start()

    def start(self) -> subprocess.Popen[str]:
        listen = self.url.removeprefix("http://")
        command = cloud_command("serve", "--data", str(self.data), "--listen", listen)
        # A file: a pipe that nobody reads would be full of lines after a while, and hold the cloud up.
        with self.log.open("ab") as log:
            child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert child.stdout
        said = child.stdout.readline()
        assert said.startswith("listening on http://127.0.0.1:"), (said, self.log.read_text())
        self.url = said.split()[-1]
        self.child = child
        return child

    def end(self, how: int) -> int:
        self.child.send_signal(how)
        out, _ = self.child.communicate(timeout=60)
        self.words = out + self.log.read_text()
        return self.child.returncode

    def token(self, email: str = "ada@example.org") -> str:
        return run_cloud("token", "--email", email, "--data", str(self.data)).stdout.strip()


@contextmanager
def started(data: Path) -> Iterator[Process]:
    process = Process(data)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.end(signal.SIGKILL)


@asynccontextmanager
async def calling(process: Process) -> AsyncIterator[Caller]:
    token = await asyncio.to_thread(process.token)
    async with aiohttp.ClientSession() as http:
        yield Caller(http, process.url, token)


def assert_clean(data: Path) -> None:
    checked = run_cloud("fsck", "--data", str(data))
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def push_until_dead(line: Line, name: str, acknowledged: list[tuple[str, bytes]]) -> None:
    """Edits of all sizes, some through a batch first; notes each that was acknowledged."""
    number = 0
    while True:
        number += 1
        path, data = f"{name}-{number}", os.urandom(10 if number % 3 else 200_000)
        try:
            if number % 4 == 0:
                await line.caller.upload(data)
            reply = await line.push({path: data}, message="m" if number % 5 == 0 else None)
            if reply.status == 409:
                await line.follow()
                continue
            assert reply.status == 200, reply
            acknowledged.append((path, data))
        except (aiohttp.ClientError, ConnectionError):
            return


async def mirrors(caller: Caller, count: int) -> list[Line]:
    first = await caller.line()
    shown = msgspec.convert(await caller.get(f"/v1/workspaces/{first.workspace_id}"), WireWorkspace)
    return [first] + [await caller.mirror(shown) for _ in range(count - 1)]


@in_loop
async def test_killed_again_and_again_it_keeps_all_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[tuple[str, bytes]] = []
    with started(tmp_path / "data") as process:
        async with calling(process) as ada:
            lines = await mirrors(ada, 3)
            for round_number in range(4):
                count = len(acknowledged)
                writers = [
                    asyncio.create_task(push_until_dead(line, f"r{round_number}w{at}", acknowledged)) for at, line in enumerate(lines)
                ]  # fmt: skip
                while len(acknowledged) < count + 12:
                    done, _ = await asyncio.wait(writers, timeout=0.005)
                    assert not done, [task.exception() for task in done]
                process.end(signal.SIGKILL)
                await asyncio.gather(*writers)
                await asyncio.to_thread(assert_clean, process.data)
                await asyncio.to_thread(process.start)
                for line in lines:
                    await line.follow()
            entries = dict(walk_manifest(parse_digest(lines[0].head.root), lines[0].nodes))
            assert {path.encode() for path, _ in acknowledged} <= entries.keys()
            digests = [digest_of(data) for _, data in acknowledged]
            _, found = await ada.fetch("/v1/blobs/fetch", digests)
            assert found == {digest_of(data): data for _, data in acknowledged}
        assert process.end(signal.SIGTERM) == 0
    assert_clean(tmp_path / "data")


@in_loop
async def test_a_push_whose_answer_was_lost_is_sent_again(tmp_path: Path) -> None:
    with started(tmp_path / "data") as process:
        async with calling(process) as ada:
            line = await ada.line()
            for number in range(6):
                step, deltas = line.step({"a": str(number).encode() * 40})
                data = str(number).encode() * 40
                body = push_body(line.header(step), deltas, [encode_frame([(digest_of(data), data)])])
                sending = asyncio.create_task(line.send_raw(body))
                await asyncio.wait([sending], timeout=0.001 * number)
                process.end(signal.SIGKILL)
                await asyncio.wait([sending])
                sending.exception()
                await asyncio.to_thread(process.start)
                reply = await line.send_raw(body)
                assert reply.status == 200, "taken now, or recognised"
                line.head = msgspec.json.decode(reply.body, type=Head)
                assert line.head.version == number + 2
        process.end(signal.SIGTERM)
    assert_clean(tmp_path / "data")


async def raw_request(url: str, head: str, body: bytes, sent_bytes: int) -> None:
    """Begin a request and vanish after `sent_bytes` of its body."""
    address, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(address, int(port))
    writer.write(f"{head}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:sent_bytes])
    await writer.drain()
    writer.transport.abort()


@in_loop
async def test_a_connection_cut_in_a_body_changes_nothing(tmp_path: Path) -> None:
    with started(tmp_path / "data") as process:
        async with calling(process) as ada:
            line = await ada.line()
            data = os.urandom(300_000)
            step, deltas = line.step({"a": data})
            frame = encode_frame([(digest_of(data), data)])
            body = push_body(line.header(step), deltas, [frame])
            auth = f"Authorization: {ada.auth['Authorization']}"
            for sent in (0, 3, 5, 100, 400, len(body) // 2, len(body) - 1):
                await raw_request(process.url, f"POST /v1/workspaces/{line.workspace_id}/push HTTP/1.1\r\n{auth}", body, sent)
            batch = pack_section(Section.FRAME, frame)
            for sent in (0, 4, 5, 100, len(batch) - 1):
                await raw_request(process.url, f"POST /v1/blobs/batch HTTP/1.1\r\n{auth}", batch, sent)
            shown = await ada.get(f"/v1/workspaces/{line.workspace_id}")
            assert shown["version"] == 1 and await ada.missing([digest_of(data)]) == [True]
            assert (await line.send_raw(body)).status == 200
        assert process.end(signal.SIGTERM) == 0
        assert "Traceback" not in process.words
    assert_clean(tmp_path / "data")


@in_loop
async def test_told_to_stop_it_answers_what_it_has_begun(tmp_path: Path) -> None:
    with started(tmp_path / "data") as process:
        async with calling(process) as ada:
            line = await ada.line()
            contents = {f"f{number}": os.urandom(40_000) for number in range(100)}
            step, deltas = line.step(dict(contents))
            frames = [encode_frame([(digest_of(data), data)]) for data in contents.values()]
            body = push_body(line.header(step), deltas, frames)
            gate = asyncio.Event()

            async def slowly() -> AsyncIterator[bytes]:
                yield body[: len(body) // 2]
                await gate.wait()
                yield body[len(body) // 2 :]

            async with ada.listening() as socket:
                await next_message(socket, "machines")
                sending = asyncio.create_task(line.send_raw(slowly()))
                await asyncio.wait([sending], timeout=0.2)
                process.child.send_signal(signal.SIGTERM)
                while (message := await socket.receive(timeout=30)).type is not aiohttp.WSMsgType.CLOSE:
                    continue
                assert message.data == aiohttp.WSCloseCode.TRY_AGAIN_LATER
                gate.set()
                reply = await sending
            assert reply.status == 200
        assert await asyncio.to_thread(process.child.wait, 30) == 0
    with started(tmp_path / "data") as process:
        async with calling(process) as ada:
            assert (await ada.get(f"/v1/workspaces/{line.workspace_id}"))["version"] == 2


def test_a_folder_has_one_cloud_and_a_port_one_server(tmp_path: Path) -> None:
    with started(tmp_path / "one") as process:
        second = run_cloud("serve", "--data", str(tmp_path / "one"), "--listen", "127.0.0.1:0")
        assert second.returncode == 1 and "another cloud holds" in second.stderr
        other = run_cloud("serve", "--data", str(tmp_path / "two"), "--listen", process.url.removeprefix("http://"))
        assert other.returncode == 1 and "cannot listen on 127.0.0.1:" in other.stderr and "Traceback" not in other.stderr
        assert "in use" in other.stderr.lower()


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--listen", "nowhere"], ["serve", "--listen", "a:99999"], ["token"]])
def test_a_command_line_that_is_wrong(arguments: list[str]) -> None:
    done = run_cloud(*arguments)
    assert done.returncode == 2 and "usage: fst cloud" in done.stderr


def test_a_token_is_all_that_is_printed(tmp_path: Path) -> None:
    done = run_cloud("token", "--email", "ada@example.org", "--data", str(tmp_path / "data"))
    assert done.returncode == 0 and len(done.stdout.strip()) >= 43 and done.stdout.count("\n") == 1 and done.stderr == ""
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    wrong = run_cloud("token", "--email", "nobody", "--data", str(tmp_path / "data"))
    assert wrong.returncode == 2 and "not an e-mail address" in wrong.stderr


def test_collection_from_the_command_line(tmp_path: Path) -> None:
    """Beside a cloud that serves the folder it may only look."""
    data = ("--data", str(tmp_path / "data"))
    with started(tmp_path / "data"):
        looked = run_cloud("gc", "--dry-run", *data)
        counted = [f"{each}: 0 blobs, 0 nodes" for each in ("condemn", "pardon", "remove")]
        assert looked.returncode == 0 and looked.stdout.splitlines() == counted
        assert "another cloud holds" in run_cloud("gc", *data).stderr
    done = run_cloud("gc", *data)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "let go: 0 blobs of 0 bytes, 0 nodes"
