"""(10) Bytes up and down: many small blobs, and one of a gibibyte."""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.measure import flush_disks, median, peak_rss_mib, spread
from benchmarks.report import Bar, Section
from store.blobs.frames import encode_frame
from store.types import digest_of
from sync.core.wire import Section as Kind
from sync.core.wire import pack_section
from tests.lab.cloud import Cloud

METHOD = """\
50,000 blobs of 100 to 2,000 bytes of text, in frames of 2,000 as a daemon sends them, in one request to an embedded server: from its
first byte until the answer, by which all are durable and owned. 1 GiB: random bytes as one raw upload, read back as one download and
compared by SHA-256; memory is the highest the server ever had since its start."""
COLUMNS = ("what", "up, s", "down, s", "server's peak RSS MiB")
SMALL, IN_FRAME = 50_000, 2_000
PIECE = 1024 * 1024


def run(bench: Bench) -> Section:
    """A new server for each round: what it has already it does not keep again."""
    section = Section("uploads", "Bytes up and down", METHOD, COLUMNS)
    if bench.ours:
        _small(bench, section, SMALL // 10 if bench.quick else SMALL)
        _large(bench, section, 64 if bench.quick else 1024)
    return section


def _small(bench: Bench, section: Section, count: int) -> None:
    rng = random.Random(count)
    words = [b"%d" % rng.randrange(10**9) for _ in range(2000)]
    took, memory = [], []
    for turn in range(bench.repeats):
        frames = []
        for start in range(0, count, IN_FRAME):
            texts = [b"%d %d " % (turn, at) + b" ".join(rng.sample(words, rng.randrange(10, 200))) for at in range(start, start + IN_FRAME)]
            frames.append(pack_section(Kind.FRAME, encode_frame([(digest_of(text), text) for text in texts])))
        cloud, asking, auth = _served(bench)
        flush_disks()
        began = time.perf_counter()
        asking.request("POST", "/v1/blobs/batch", b"".join(frames), auth)
        answer = asking.getresponse()
        said = answer.read()
        took.append(time.perf_counter() - began)
        assert answer.status == 200, said
        memory.append(peak_rss_mib(cloud.lab.processes(cloud.name)))
        cloud.stop()
    section.rows.append((f"{count:,} small blobs", spread(took), "-", f"{max(memory):.0f}"))
    section.bars.append(Bar(f"{count:,} small blobs", median(took), 1.0, "s"))


def _large(bench: Bench, section: Section, mib: int) -> None:
    up, down, memory = [], [], []
    for turn in range(bench.repeats):
        digest = hashlib.sha256()
        for piece in _pieces(turn, mib):
            digest.update(piece)
        cloud, asking, auth = _served(bench)
        flush_disks()
        began = time.perf_counter()
        asking.request(
            "PUT", f"/v1/blobs/upload/{digest.hexdigest()}", _pieces(turn, mib),
            auth | {"Content-Length": str(mib * PIECE), "Content-Type": "application/octet-stream"},
        )  # fmt: skip
        answer = asking.getresponse()
        said = answer.read()
        up.append(time.perf_counter() - began)
        assert answer.status in (200, 201), said
        began = time.perf_counter()
        asking.request("GET", f"/v1/blobs/download/{digest.hexdigest()}", headers=auth)
        answer = asking.getresponse()
        back = hashlib.sha256()
        while piece := answer.read(PIECE):
            back.update(piece)
        down.append(time.perf_counter() - began)
        assert back.digest() == digest.digest()
        memory.append(peak_rss_mib(cloud.lab.processes(cloud.name)))
        cloud.stop()
    section.rows.append((f"{mib} MiB", spread(up), spread(down), f"{max(memory):.0f}"))
    section.bars.append(Bar(f"server's memory over {mib} MiB up and down", max(memory), 150, "MiB"))


def _pieces(seed: int, mib: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    return (rng.randbytes(PIECE) for _ in range(mib))


def _served(bench: Bench) -> tuple[Cloud, http.client.HTTPConnection, dict[str, str]]:
    cloud = Cloud(bench.lab("uploads"))
    cloud.start()
    return cloud, http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=600), {"Authorization": f"Bearer {cloud.token()}"}
