"""The client against a server that behaves, and against one that does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.client import Client, find_socket, path_field, path_fields, state_folder
from store.errors import DaemonUnreachable, FastestError, InvalidReply, NotAWorkspace, TimedOut
from tests.cli import fastest_home
from tests.fake_daemon import FakeDaemon, status_of, workspace

ODD = os.fsdecode(b"/work/caf\xe9")


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon(fastest_home()) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(find_socket(os.environ))


def test_a_document_is_asked_for_and_read(daemon: FakeDaemon, client: Client) -> None:
    daemon.on("GET", "status", status_of(workspace()))
    assert client.status("/work/thing a&b=ü")["workspaces"][0]["name"] == "main"
    assert daemon.last.query == {"path": "/work/thing a&b=ü"}


def test_a_body_arrives_as_it_was_given(daemon: FakeDaemon, client: Client) -> None:
    daemon.on("POST", "wait", lines=[{"result": {"waited_for": "on"}}], kind="application/x-ndjson")
    assert list(client.wait("/w", "on", machine="ben", timeout_s=2.5)) == [{"result": {"waited_for": "on"}}]
    assert daemon.last.body == {"path": "/w", "for": "on", "machine": "ben", "timeout_s": 2.5}


def test_paths_that_are_not_utf8_travel_as_base64(daemon: FakeDaemon, client: Client) -> None:
    assert path_field(ODD) == {"path_b64": "L3dvcmsvY2Fm6Q=="}
    assert path_field(ODD, "file") == {"file_b64": "L3dvcmsvY2Fm6Q=="}
    assert path_fields(["/a", ODD]) == {"paths": ["/a"], "paths_b64": ["L3dvcmsvY2Fm6Q=="]}
    daemon.on("GET", "history", {"history": []})
    client.history("/a", ODD)
    assert daemon.last.query == {"path": "/a", "file_b64": "L3dvcmsvY2Fm6Q=="}


def test_an_error_comes_back_as_its_own_class(daemon: FakeDaemon, client: Client) -> None:
    daemon.refuse("GET", "status", "not-a-workspace", "/x is in no workspace", "fst up", status=404)
    with pytest.raises(NotAWorkspace, match="/x is in no workspace") as caught:
        client.status("/x")
    assert caught.value.hint == "fst up"


def test_an_error_of_a_newer_daemon_keeps_its_code_and_exit_code(daemon: FakeDaemon, client: Client) -> None:
    daemon.refuse("GET", "status", "moon-is-full", "wait a night", exit_code=5)
    with pytest.raises(FastestError) as caught:
        client.status()
    assert (caught.value.code, caught.value.exit_code, caught.value.message) == ("moon-is-full", 5, "wait a night")


def test_a_stream_gives_progress_and_then_the_result(daemon: FakeDaemon, client: Client) -> None:
    lines = [{"progress": {"phase": "scan", "done": 1, "total": 2}}, {"result": {"files": 2}}]
    daemon.on("POST", "up", lines=lines)
    assert list(client.up("/w", project=None, name=None, dry_run=True)) == lines
    assert daemon.last.body["dry_run"] is True


def test_a_stream_that_ends_in_an_error_raises_it(daemon: FakeDaemon, client: Client) -> None:
    daemon.on("POST", "fsck", lines=[{"progress": {}}, {"error": {"code": "timed-out", "message": "too slow"}}])
    with pytest.raises(TimedOut, match="too slow"):
        list(client.fsck(repair=False, cloud=False))


def test_a_stream_without_an_end_is_told(daemon: FakeDaemon, client: Client) -> None:
    daemon.on("POST", "fsck", lines=[{"progress": {}}])
    with pytest.raises(InvalidReply, match="before it was done"):
        list(client.fsck(repair=False, cloud=False))


def test_bytes_come_whole(daemon: FakeDaemon, client: Client) -> None:
    data = os.urandom(700_000)
    daemon.on("GET", "cat", raw=data, kind="application/octet-stream")
    assert b"".join(client.cat("/w", "a" * 64)) == data


def test_events_are_parsed(daemon: FakeDaemon, client: Client) -> None:
    text = b': hello\n\nid: 1\nevent: status\ndata: {"a":\ndata: 1}\n\n:\n\nid: 2\r\ndata: {}\r\n\r\n'
    daemon.on("GET", "events", raw=text, kind="text/event-stream")
    assert [(event.id, event.kind, event.data) for event in client.events()] == [("1", "status", {"a": 1}), ("2", "message", {})]


def test_no_daemon_ever_ran() -> None:
    with pytest.raises(DaemonUnreachable, match="no daemon is running"):
        find_socket(os.environ)


def test_a_dead_daemon_left_its_socket(daemon: FakeDaemon, client: Client) -> None:
    daemon.stop()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(daemon.places.socket))
    left.close()
    with pytest.raises(DaemonUnreachable, match="no daemon is running"):
        client.status()


RUDE = {
    b"": "cut short",
    b"hello\r\n\r\n": "did not answer HTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}": "cut short",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]": "not a document",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{": "not a document",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n": "did not answer HTTP",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "did not answer HTTP",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}": "cut short",
}


@pytest.mark.parametrize("said", RUDE, ids=lambda said: said.decode()[:40].split("\r")[0] or "nothing")
def test_what_is_not_our_protocol_is_told_as_such(tmp_path: Path, said: bytes) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InvalidReply, match=RUDE[said]):
            Client(path).status()
        thread.join()


def test_a_body_without_a_length_ends_with_the_connection(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}')

        thread = threading.Thread(target=answer)
        thread.start()
        assert Client(path).health() == {"a": 1}
        thread.join()


def test_the_state_folder_follows_the_environment() -> None:
    assert state_folder({"FASTEST_HOME": "/f"}) == "/f/state"
    assert state_folder({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/fastest"
    assert state_folder({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == "/h/.local/state/fastest"
