"""How far a long work is, as the API tells it: in order, in time, and to the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from daemon import api
from daemon.api.progress import SIGN_SECONDS, Teller, follow_work, progress_document
from daemon.api.states import EVENT_SECONDS, wait_for_news
from daemon.app import Daemon
from daemon.cli.progress import PHASE_WIDTH
from store.errors import Unwritable
from sync.progress import Count, Phase, Progress


class Watch:
    """A clock that stands until it is told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def told(teller: Teller) -> list[tuple[str, int, int | None]]:
    return [(line["progress"]["phase"], line["progress"]["done"], line["progress"]["total"]) for line in teller.lines()]


def test_a_phase_is_told_to_its_end_before_the_next_begins() -> None:
    progress = Progress()
    teller = Teller(progress, Watch())
    assert told(teller) == [("preparing", 0, None)]
    progress.begin(Phase.SENDING, 10)
    progress.add(3)
    assert told(teller) == [("sending", 3, 10)]
    progress.add(7)
    progress.begin(Phase.APPLYING, 5)
    assert told(teller) == [("sending", 10, 10), ("applying", 0, 5)]


def test_between_two_phases_nothing_else_is_told() -> None:
    progress = Progress()
    teller = Teller(progress, Watch())
    with progress:
        progress.begin(Phase.LOOKING)
        progress.add(4)
        told(teller)
        progress.add(2)
    assert told(teller) == [("looking", 6, None)]
    assert told(teller) == []


def test_a_work_that_does_not_move_is_told_of_once_a_second() -> None:
    watch = Watch()
    teller = Teller(Progress(), watch)
    said = []
    for tenth in range(31):
        watch.seconds = tenth / 10
        said += told(teller)
    assert SIGN_SECONDS == 1.0
    assert said == [("preparing", 0, None)] * 4


@pytest.mark.parametrize(("done", "total", "shown"), [(0, None, None), (0, 5, 5), (1, 5, 5), (5, 5, 5), (6, 5, None)])
def test_a_total_is_told_only_while_it_can_be_true(done: int, total: int | None, shown: int | None) -> None:
    count = Count(Phase.LOOKING, total)
    count.done = done
    assert progress_document(count) == {"phase": "looking", "done": done, "total": shown, "unit": "files"}


def test_a_work_is_followed_to_its_result_or_its_error() -> None:
    async def work(progress: Progress, go: asyncio.Event, error: Exception | None) -> dict[str, Any]:
        progress.begin(Phase.READING, 8)
        await go.wait()
        progress.add(8)
        if error is not None:
            raise error
        return {"clean": True}

    async def follow(error: Exception | None) -> list[dict[str, Any]]:
        progress, go = Progress(), asyncio.Event()
        lines = []
        try:
            async for line in follow_work(asyncio.create_task(work(progress, go, error)), progress, Watch()):
                lines.append(line)
                go.set()
        except Unwritable as raised:
            lines.append({"raised": raised})
        return lines

    done = asyncio.run(follow(None))
    assert done[-1] == {"result": {"clean": True}}
    assert done[-2]["progress"]["done"] == 8
    error = Unwritable("no")
    assert asyncio.run(follow(error))[-1] == {"raised": error}


def test_a_listener_that_hangs_up_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[dict[str, Any]]:
        try:
            while True:
                yield {"progress": {}}
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def handler(daemon: Daemon, request: web.Request) -> AsyncIterator[dict[str, Any]]:
        return endless()

    async def listen_and_leave() -> None:
        async with api.serve_api(cast(Any, None), tmp_path / "socket"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
            writer.write(b"POST /v1/long HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert b"200" in await reader.readline()
            writer.close()
            await asyncio.wait_for(ended.wait(), 10)

    monkeypatch.setattr(api, "ROUTES", (("POST", "/v1/long", handler),))
    asyncio.run(listen_and_leave())
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("phase", "is_told", "waits"), [(Phase.REST, False, EVENT_SECONDS), (Phase.REST, True, 1), (Phase.SENDING, False, 1)]
)
def test_who_listens_to_events_hears_each_second_of_a_work(phase: Phase, is_told: bool, waits: int) -> None:
    waited: list[float] = []

    async def changed(timeout_seconds: float) -> bool:
        waited.append(timeout_seconds)
        return is_told

    progress = Progress()
    progress.begin(phase)
    supervisors = {"one": SimpleNamespace(engine=SimpleNamespace(progress=progress))}
    asyncio.run(wait_for_news(cast(Any, SimpleNamespace(upkeep=SimpleNamespace(changed=changed), supervisors=supervisors))))
    assert waited == [1.0] * waits


def test_every_phase_has_words_that_fit_the_screen() -> None:
    assert {phase.word for phase in Phase if len(phase.word) > PHASE_WIDTH} == set()
    assert {phase.unit for phase in Phase} == {"", "files", "bytes", "changes", "states", "blobs"}
