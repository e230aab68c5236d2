"""What one unit of work costs a cloud on PostgreSQL, a bucket and Redis: rows, bytes, requests, statements, processor time.

`python -m benchmarks.units [--repeats N]` prints the tables of docs/SCALE.md. Everything is done through the API, on the source files
of Python's own library; counts and bytes come out the same every time, and processor time is the processes' own, not the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import msgspec
import psutil  # type: ignore[import-untyped]

from benchmarks.crowd import gather_crowd, live
from benchmarks.day import DAY, IDLE, NAMES, Cost, cost_of_day, draw_totals
from benchmarks.measure import cpu_seconds, rss_mib
from benchmarks.proxy import CountingProxy
from cloud.app import wall_ms
from cloud.config import Settings
from cloud.operate.collect import limits_at, plan_collection
from cloud.parts import opened
from store.blobs.frames import FRAME_RAW
from store.types import DIR, Digest, Entry, digest_of
from sync.core.wire import WireWorkspace
from tests.clouds import Caller, Line
from tests.lab.cloud import Cloud
from tests.lab.process import Lab
from tests.lab.services import Postgres, RedisServer, binary, postgres_server, redis_server

MANY = 100
LARGE_BYTES = 8 * 1024 * 1024
CROWD_USERS = 30
IDLE_SECONDS = 60
SETTLED_SECONDS = 1.0
Work = Callable[[int], Awaitable[object]]


@dataclass(slots=True)
class Bed:
    """The servers, and what counts them."""

    cloud: Cloud
    postgres: Postgres
    redis: RedisServer
    proxy: CountingProxy
    database: str
    heard: int = 0
    """Messages that listeners got."""
    asked: int = 0

    def ask(self, sql: str) -> list[list[str]]:
        """Rows as psql prints them."""
        words = [binary("psql"), "-h", str(self.postgres.folder), "-U", "fastest", "-AtF", "|", "-c", sql, self.database]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        return [line.split("|") for line in done.stdout.splitlines()]

    def tables(self) -> dict[str, tuple[int, int]]:
        """Rows and bytes of each table, its indexes and long values with it."""
        names = [row[0] for row in self.ask("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")]
        sql = " UNION ALL ".join(f"SELECT '{name}', count(*), pg_total_relation_size('{name}') FROM {name}" for name in names)
        return {name: (int(rows), int(size)) for name, rows, size in self.ask(sql)}

    def counted(self) -> Cost:
        """All counters as they stand; of the database's statements those that ask about itself are left out."""
        tables, files = self.tables(), _sizes(self.cloud.data / "objects")
        ((calls, commits, wal),) = self.ask(
            "SELECT coalesce(sum(calls), 0), coalesce(sum(calls) FILTER (WHERE query ILIKE 'commit%'), 0),"
            " pg_current_wal_insert_lsn() - '0/0' FROM pg_stat_statements WHERE query NOT ILIKE '%pg\\_%'"
        )
        return Cost(
            rows=sum(rows for rows, _ in tables.values()), nodes=tables["kept_nodes"][0],
            postgres_bytes=sum(size for _, size in tables.values()), wal_bytes=float(wal), objects=len(files), bucket_bytes=sum(files),
            requests=self._requests(), up_bytes=self.proxy.up, down_bytes=self.proxy.down, messages=self.heard, statements=float(calls),
            commits=float(commits), redis_commands=self._redis_commands(),
        )  # fmt: skip

    def cpu(self) -> tuple[float, float]:
        """Seconds that the server and PostgreSQL have used."""
        postmaster = psutil.Process(int((self.postgres.folder / "data" / "postmaster.pid").read_text().split()[0]))
        family = [postmaster, *postmaster.children()]
        server = cpu_seconds(self.cloud.lab.processes(self.cloud.name))
        return sum(server.values()), sum(cpu_seconds(family).values())

    def _requests(self) -> float:
        with urlopen(f"{self.cloud.url}/metrics") as answer:
            text = answer.read().decode()
        found = re.findall(r'^fastest_requests_total{.*route="([^"]*)".*} (\S+)$', text, re.MULTILINE)
        return sum(float(value) for route, value in found if "metrics" not in route)

    def _redis_commands(self) -> float:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.redis.url.removeprefix("unix://"))
            client.sendall(b"INFO stats\r\n")
            said = client.recv(65536).decode()
        self.asked += 1  # this question is counted too
        return float(said.partition("total_commands_processed:")[2].split()[0]) - self.asked

    async def measure(self, work: Work, times: int, first: int = 0) -> Cost:
        """The mean of so many in a row, `work` being told which it is."""
        before = await asyncio.to_thread(self.counted)
        server, database = self.cpu()
        for number in range(first, first + times):
            await work(number)
        await asyncio.sleep(SETTLED_SECONDS)  # what is still being told to listeners
        after = self.cpu()
        spent = Cost(server_cpu_ms=(after[0] - server) * 1e3, postgres_cpu_ms=(after[1] - database) * 1e3)
        return (await asyncio.to_thread(self.counted)).plus(before.times(-1)).plus(spent).times(1 / times)


def sources() -> dict[str, bytes]:
    """The text of Python's own library by path."""
    top = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(top.rglob("*.py")) if not {"site-packages", "dist-packages"} & set(path.parts)]
    return {f"lib/{path.relative_to(top)}": path.read_bytes() for path in paths}


class Developer:
    """One user with two machines that listen, a workspace of real files, and what is done with it in a day."""

    def __init__(self, bed: Bed, caller: Caller) -> None:
        self.bed, self.caller = bed, caller
        self.files = sources()
        self.names = [name for name, data in self.files.items() if 500 < len(data) < 64 * 1024]
        self.rng = random.Random(4)
        self.main: Line
        self.fork: Line
        self.machines: list[str] = []

    async def first_push(self, _: int = 0) -> None:
        """All files in frames as a daemon packs them, then one push that names them."""
        group: list[bytes] = []
        for data in self.files.values():
            if group and sum(map(len, group)) + len(data) > FRAME_RAW:
                await self.caller.upload(*group)
                group = []
            group.append(data)
        await self.caller.upload(*group)
        parents = {str(above) for name in self.files for above in Path(name).parents if str(above) != "."}
        edits: dict[str, bytes | Entry | None] = {**dict.fromkeys(parents, DIR), **self.files}
        step, deltas = self.main.step(edits, message="begun")
        reply = await self.main.send(self.main.header(step), deltas)
        assert reply.status == 200, reply
        await self.main.follow()

    def edited(self, number: int, name: str = "") -> dict[str, bytes]:
        """One line more in one file."""
        name = name or self.rng.choice(self.names)
        data = self.files[name].splitlines(keepends=True)
        data.insert(self.rng.randrange(len(data) + 1), f"# edit {number} {self.rng.getrandbits(64):016x}\n".encode())
        self.files[name] = b"".join(data)
        return {name: self.files[name]}

    async def save(self, number: int, message: str | None = None) -> None:
        """A push of one file; the other machine hears of it with its bytes and need not ask."""
        reply = await self.main.push(self.edited(number), message, [self.main.head.snapshot_id or ""] if message else ())
        assert reply.status == 200, reply

    async def snapshot(self, number: int) -> None:
        """The same, with the snapshot that the daemon takes (SNAP-7)."""
        await self.save(number, f"automatic {number}")

    async def many(self, number: int) -> None:
        """Another branch, a formatter, an agent: a hundred files in one push."""
        edits: dict[str, bytes] = {}
        for name in self.rng.sample(self.names, MANY):
            edits |= self.edited(number, name)
        assert (await self.main.push(edits)).status == 200

    async def make_fork(self, number: int) -> None:
        """A workspace for an agent, and its replica."""
        asked = {"name": f"agent{number}", "base_workspace_id": self.main.workspace_id}
        made = await self.caller.post(f"/v1/projects/{self.main.project_id}/workspaces", asked)
        self.fork = await self.caller.mirror(msgspec.convert(made["workspace"], WireWorkspace), self.machines[0])
        self.fork.nodes.nodes.update(self.main.nodes.nodes)

    async def merge(self, number: int) -> None:
        """The fork comes home, five edits of its own first: their push, the preview, the merge, and both sides catching up."""
        names = self.rng.sample(self.names, 5)
        assert (await self.fork.push({name: self.edited(number, name)[name] for name in names})).status == 200
        path = f"/v1/workspaces/{self.main.workspace_id}/sync"
        preview = (await self.caller.post(f"{path}/prepare", {"source_workspace_id": self.fork.workspace_id}))["preview"]
        await self.caller.post(f"{path}/execute", {"preview_id": preview["id"], "decisions": {}})
        await self.main.follow()
        await self.fork.follow()

    async def large(self, number: int) -> None:
        """Bytes that do not shrink, uploaded and pushed."""
        data = random.Random(number).randbytes(LARGE_BYTES)
        digest = digest_of(data)
        sent = await self.caller.ask("PUT", f"/v1/blobs/upload/{digest.hex()}", data=data)
        assert sent.status == 201, sent
        step, deltas = self.main.step({f"data{number}": data})
        assert (await self.main.send(self.main.header(step), deltas)).status == 200
        await self.main.follow()

    async def mirror(self, _: int) -> None:
        """A new replica fetches everything."""
        line = await self.caller.mirror(await self.caller.workspace(self.main.workspace_id), self.machines[1])
        await self.caller.catch_up(line.workspace_id, 0, "0" * 64)
        await self.caller.fetch("/v1/manifests/nodes", list(self.main.nodes.nodes)[:1])
        wanted: list[Digest] = sorted({digest_of(data) for data in self.files.values()})
        reply, found = await self.caller.fetch("/v1/blobs/fetch", wanted)
        assert len(found) == len(wanted), reply.status

    async def connect(self, _: int) -> None:
        """As a daemon that was away: its machine, its stream, and what happened to one workspace."""
        await self.caller.post("/v1/machines", {"id": self.machines[1], "name": "box", "platform": "linux", "version": "0.1.0"})
        async with self.caller.listening(self.machines[1]):
            await self.caller.catch_up(self.main.workspace_id, self.main.head.version, self.main.head.root)

    @asynccontextmanager
    async def listened(self) -> AsyncIterator[None]:
        """Two machines hear what happens."""

        async def hear(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for _ in socket:
                self.bed.heard += 1

        async with self.caller.listening(self.machines[0]) as one, self.caller.listening(self.machines[1]) as other:
            tasks = [asyncio.create_task(hear(socket)) for socket in (one, other)]
            yield
            for task in tasks:
                task.cancel()


async def measure_day(bed: Bed, repeats: int) -> tuple[dict[str, Cost], dict[str, tuple[float, float]]]:
    """Each unit of DAY but the idle hour; and what a save leaves in each table, rows and bytes."""
    units: dict[str, Cost] = {}
    async with aiohttp.ClientSession(read_bufsize=2**20) as http:
        caller = Caller(http, f"http://127.0.0.1:{bed.proxy.port}", bed.cloud.token())
        ann = Developer(bed, caller)
        ann.machines = [await caller.machine("laptop"), await caller.machine("box")]
        ann.main = await caller.line(machine_id=ann.machines[0])
        units["first push"] = await bed.measure(ann.first_push, 1)
        await caller.mirror(await caller.workspace(ann.main.workspace_id), ann.machines[1])
        async with ann.listened():
            before = bed.tables()
            units["save"] = await bed.measure(ann.save, repeats)
            after = bed.tables()
            units["automatic snapshot"] = await bed.measure(ann.snapshot, repeats // 4)
            units["100 files at once"] = await bed.measure(ann.many, repeats // 20)
            units["fork"] = await bed.measure(ann.make_fork, repeats // 20)
            units["merge"] = await bed.measure(ann.merge, repeats // 20)
            units["large file"] = await bed.measure(ann.large, 3)
        units["mirror"] = await bed.measure(ann.mirror, 2)
        units["connect"] = await bed.measure(ann.connect, repeats // 10)
    left = {name: tuple((now - then) / repeats for now, then in zip(after[name], before[name], strict=True)) for name in after}
    return units, {name: (rows, size) for name, (rows, size) in left.items() if rows or size}


async def measure_idle(bed: Bed) -> tuple[Cost, float]:
    """An hour of one machine that only beats, and KiB of the server's memory for it."""
    tokens = [bed.cloud.token(f"user{number}@example.org") for number in range(CROWD_USERS)]
    server = bed.cloud.lab.processes(bed.cloud.name)
    before = rss_mib(server)
    members, _ = await gather_crowd(f"http://127.0.0.1:{bed.proxy.port}", tokens)
    living: Sequence[asyncio.Task[None]] = [asyncio.create_task(live(member)) for member in members]
    await asyncio.sleep(IDLE_SECONDS / 2)  # each has beaten once: what it says is not news any more
    memory = (rss_mib(server) - before) * 1024 / len(members)

    async def idle(_: int) -> None:
        await asyncio.sleep(IDLE_SECONDS)

    cost = await bed.measure(idle, 1)
    assert not [task for task in living if task.done()]
    for task in living:
        task.cancel()
    hour = cost.times(3600 / (IDLE_SECONDS + SETTLED_SECONDS) / len(members))
    return replace(hour, postgres_bytes=0.0), memory  # rows that were written over: their room is used again


async def measure_mark(bed: Bed) -> tuple[int, float]:
    """The nodes that a collection walks over, and milliseconds of this process for each; PostgreSQL's own are not in it."""
    ((nodes,),) = bed.ask("SELECT count(*) FROM kept_nodes")
    async with opened(Settings("gc", bed.cloud.data, database=bed.postgres.url(bed.database))) as parts:
        began = time.process_time()
        await plan_collection(parts.db, parts.objects, limits_at(wall_ms()))
        return int(nodes), (time.process_time() - began) * 1e3 / int(nodes)


def share_of_backup(bed: Bed) -> float:
    """How large a backup is beside the tables and the bucket."""
    folder = bed.cloud.folder / "backup"
    done = bed.cloud.fst("backup", str(folder), "--data", str(bed.cloud.data), timeout_s=600)
    assert done.code == 0, done
    kept = sum(size for _, size in bed.tables().values()) + sum(_sizes(bed.cloud.data / "objects"))
    return sum(_sizes(folder)) / kept


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


@contextmanager
def laid(folder: Path) -> Iterator[Bed]:
    """A cloud on a PostgreSQL that counts its statements, a Redis, and a bucket in a folder."""
    with postgres_server() as postgres, redis_server() as redis:
        psql = [binary("psql"), "-q", "-h", str(postgres.folder), "-U", "fastest", "-c"]
        subprocess.run([*psql, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'", "postgres"], check=True)
        postgres.stop()
        postgres.start()
        url = postgres.new_database()
        database = url.partition("@/")[2].partition("?")[0]
        subprocess.run([*psql, "CREATE EXTENSION pg_stat_statements", database], check=True)
        cloud = Cloud(Lab(folder))
        cloud.env |= {"FASTEST_CLOUD_DATABASE": url, "FASTEST_CLOUD_REDIS": redis.url}
        cloud.start()
        proxy = CountingProxy(cloud.port)
        try:
            yield Bed(cloud, postgres, redis, proxy, database)
        finally:
            proxy.close()
            cloud.stop()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=200, help="saves; the rarer units a part of it")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(prefix="fst-units-") as folder, laid(Path(folder)) as bed:
        units, left = await measure_day(bed, repeats)
        nodes, node_ms = await measure_mark(bed)
        share = share_of_backup(bed)
        units[IDLE], memory = await measure_idle(bed)
    day = cost_of_day(units)
    shown = {name: [f"{getattr(cost, each):,.4g}" for each in NAMES] for name, cost in (units | {"user-day": day}).items()}
    print(_table(["unit", "a day", *NAMES], [[name, f"{DAY.get(name, 1):g}", *values] for name, values in shown.items()]), "\n")
    print(_table(["a save leaves", "rows", "bytes"], [[name, f"{rows:.2f}", f"{size:.0f}"] for name, (rows, size) in left.items()]), "\n")
    totals = {users: draw_totals(units, users) for users in (1_000, 100_000, 1_000_000)}
    rows = [[name, *(each[name] for each in totals.values())] for name in totals[1_000]]
    print(_table(["", *(f"{users:,} users" for users in totals)], rows), "\n")
    print(f"an idle connection: {memory:.1f} KiB of the server; a backup: {share:.2f} of what tables and bucket take")
    print(f"collection: {node_ms:.2f} CPU ms for each of {nodes} manifest nodes")


if __name__ == "__main__":
    asyncio.run(_main())
