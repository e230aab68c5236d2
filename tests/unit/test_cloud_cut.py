"""A connection that drops at every byte of a push: the head is whole, nothing is logged as a mistake, and the same push still works."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest

from cloud.routes.envelope import SECTION_HEAD_BYTES
from store.blobs.frames import encode_frame
from store.types import digest_of
from sync.core.wire import Head, split_sections
from tests.clouds import Caller, Line, Served, in_loop, push_body, serving
from tests.waiting import until

AT_ONCE = 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, as a machine does whose network went."""


def request_of(line: Line, body: bytes, *, chunked: bool) -> bytes:
    """The very bytes that go through the socket."""
    head = [f"POST /v1/workspaces/{line.workspace_id}/push HTTP/1.1", "Host: x", f"Authorization: {line.caller.auth['Authorization']}"]
    if not chunked:
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode() + sent


async def drop_after(port: int, sent: bytes, *, reset: bool) -> None:
    """Send so much, and be gone: by a reset, or by an end that looks like one."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()
        await writer.wait_closed()


async def drop_everywhere(served: Served, whole: bytes, lengths: Sequence[int]) -> None:
    """At each of these lengths; on return no request is under way any more."""
    room, port = asyncio.Semaphore(AT_ONCE), int(served.url.rpartition(":")[2])

    async def one(length: int) -> None:
        async with room:
            await drop_after(port, whole[:length], reset=length % 2 == 0)

    await asyncio.gather(*(one(length) for length in lengths))
    await until(lambda: not served.drain.under_way, 10, "every request has ended")


async def untouched(ada: Caller, line: Line) -> bool:
    shown = await ada.workspace(line.workspace_id)
    return shown.version == line.head.version and shown.root == line.head.root


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@in_loop
async def test_a_push_cut_at_every_byte(tmp_path: Path, caplog: pytest.LogCaptureFixture, chunked: bool) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        data = b"what is pushed" * 3
        step, deltas = line.step({"a": data}, message="m")
        body = push_body(line.header(step), deltas, [encode_frame([(digest_of(data), data)])])
        whole = request_of(line, body, chunked=chunked)
        with caplog.at_level(logging.WARNING):
            await drop_everywhere(served, whole, range(len(whole)))
            assert await untouched(ada, line) and await ada.missing([digest_of(data)]) == [True]
            # All of it, and gone before the answer: it may have been taken, and then it is recognised.
            await drop_everywhere(served, whole, [len(whole), len(whole)])
            reply = await line.send_raw(body)
            assert (reply.status, msgspec.json.decode(reply.body, type=Head).version) == (200, 2)
            assert (await line.send_raw(body)).body == reply.body
        assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


@in_loop
async def test_a_large_push_cut_at_the_seams(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that is streamed: cut around each section's head and in the midst of it."""
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        contents = {f"f{number}": os.urandom(90_000) for number in range(4)}
        step, deltas = line.step(dict(contents))
        frames = [encode_frame([(digest_of(data), data)]) for data in contents.values()]
        body = push_body(line.header(step), deltas, frames)
        whole = request_of(line, body, chunked=False)
        ends = accumulate((SECTION_HEAD_BYTES + len(payload) for _, payload in split_sections(body)), initial=len(whole) - len(body))
        seams = {near for end in ends for near in (end - 40_000, *range(end - 2, end + 7)) if near < len(whole)}
        with caplog.at_level(logging.WARNING):
            await drop_everywhere(served, whole, sorted(seams))
            assert await untouched(ada, line)
            assert (await line.send_raw(body)).status == 200
        assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
