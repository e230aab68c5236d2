"""What is counted, for Prometheus. The door to prometheus_client.

Labels are route templates, statuses and names of ours, each from a fixed list: an id, a name or a token in one would leak it, and
would make a new series for every user.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from cloud.database import Load
from store.errors import EpochChanged, FastestError, Refused, Stale

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES: Final = ("accepted", "stale", "refused", "failed")
SWITCHED: Final = 101


class Metrics:
    """Of one server process. `token` is what lets somebody read them; without one, see routes/watching.py."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        # When each series began would double their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("fastest_requests", "Requests that ended.", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram("fastest_request_seconds", "How long they took.", ["method", "route"], registry=registry, buckets=SECONDS)
        self._pushes = Counter("fastest_pushes", "Pushes, by what became of them.", ["outcome"], registry=registry)
        self._streams = Gauge("fastest_event_streams", "Event streams that are open.", registry=registry)
        self._bytes = Counter("fastest_blob_bytes", "Bytes of blobs that requests brought and took.", ["direction"], registry=registry)
        self._jobs = Counter("fastest_jobs", "Runs of housekeeping at this process.", ["job", "outcome"], registry=registry)
        self._job_seconds = Gauge("fastest_job_seconds", "How long the last run took.", ["job"], registry=registry)
        self._job_done = Gauge("fastest_job_done_timestamp_seconds", "When it was last done here.", ["job"], registry=registry)
        self._parts = Gauge("fastest_part_reachable", "1 when it answered the last time it was asked.", ["part"], registry=registry)
        self._at_work = Gauge("fastest_database_at_work", "Connections in use, or works in the writer's queue.", registry=registry)
        self._most = Gauge("fastest_database_at_work_most", "How many there may be.", registry=registry)
        for outcome in OUTCOMES:
            self._pushes.labels(outcome)
        for direction in ("in", "out"):
            self._bytes.labels(direction)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One that ended. A stream's time says nothing about how fast the cloud is."""
        self._requests.labels(method, route, str(status)).inc()
        if status != SWITCHED:
            self._seconds.labels(method, route).observe(seconds)

    @contextmanager
    def pushing(self) -> Iterator[None]:
        """Around one push."""
        outcome = "failed"
        try:
            yield
            outcome = "accepted"
        except FastestError as error:
            outcome = "stale" if isinstance(error, Stale | EpochChanged) else "refused" if isinstance(error, Refused) else "failed"
            raise
        finally:
            self._pushes.labels(outcome).inc()

    def streaming(self) -> AbstractContextManager[object]:
        """Around one event stream."""
        return self._streams.track_inprogress()

    def count_in(self, size: int) -> None:
        """Bytes of blobs that came."""
        self._bytes.labels("in").inc(size)

    def count_out(self, size: int) -> None:
        """Bytes of blobs that went."""
        self._bytes.labels("out").inc(size)

    def count_job(self, job: str, seconds: float, *, done: bool) -> None:
        """One run, done or failed."""
        self._jobs.labels(job, "done" if done else "failed").inc()
        self._job_seconds.labels(job).set(seconds)
        if done:
            self._job_done.labels(job).set(time.time())

    def note_part(self, part: str, *, reachable: bool) -> None:
        """What readiness found."""
        self._parts.labels(part).set(reachable)

    def watch_database(self, load: Callable[[], Load]) -> None:
        """Ask it whenever somebody reads."""
        self._at_work.set_function(lambda: load().at_work)
        self._most.set_function(lambda: load().most)

    def text(self) -> bytes:
        """All of it, as CONTENT_TYPE says."""
        return generate_latest(self._registry)
