"""Whether this server process should be sent requests (docs/decisions/0034).

Theory. A server is not ready until every part it stands on has answered once: one with a wrong key or address never gets a request.
Later on only what no request can do without takes it out, the database with the schema that this code knows; a bucket or a Redis that
is gone is gone for all servers, and taking them all out would stop what goes on without. And who is about to stop is not ready, before
it refuses anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from cloud.context import Cloud
from cloud.database import Reader
from cloud.database.schema import tables
from store.errors import FastestError

log = logging.getLogger(f"fastest.{__name__}")

ANSWER_SECONDS: Final = 2.0
KEPT_SECONDS: Final = 1.0
"""An answer serves all who ask within this time: asking must not be a way to keep the parts busy."""
NEEDED: Final = frozenset({"database", "schema"})
Part = Callable[[], Awaitable[bool]]


class Standing(msgspec.Struct, frozen=True):
    """`lacking`: why no request should come. `degraded`: what does not answer while the rest goes on."""

    lacking: list[str]
    degraded: list[str]


class Readiness:
    """Of one server process."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._parts: dict[str, Part] = {"database": self._database, "schema": self._schema, "objects": self._objects, "hub": self._hub}
        self._answered: set[str] = set()
        """Parts that did, once."""
        self._leaving = False
        self._asking = asyncio.Lock()
        self._found = Standing([], [])
        self._found_at = float("-inf")

    def leave(self) -> None:
        """From now on not ready: the process is about to stop."""
        self._leaving = True

    async def standing(self) -> Standing:
        """As of now, or a second ago. Raises nothing."""
        if self._leaving:
            return Standing(["leaving"], [])
        async with self._asking:
            if time.monotonic() - self._found_at > KEPT_SECONDS:
                self._found = await self._ask()
                self._found_at = time.monotonic()
            return self._found

    async def _ask(self) -> Standing:
        asked = await asyncio.gather(*(_answers(part) for part in self._parts.values()))
        found = dict(zip(self._parts, asked, strict=True))
        for name, answers in found.items():
            self._cloud.metrics.note_part(name, reachable=answers)
        self._answered |= {name for name, answers in found.items() if answers}
        silent = [name for name, answers in found.items() if not answers]
        lacking = [name for name in silent if name in NEEDED or name not in self._answered]
        standing = Standing(lacking, [name for name in silent if name not in lacking])
        if standing != self._found:
            log.warning("readiness changed", extra={"lacking": ",".join(lacking), "degraded": ",".join(standing.degraded)})
        return standing

    async def _database(self) -> bool:
        return await self._cloud.reading(_version) is not None

    async def _schema(self) -> bool:
        return await self._cloud.reading(_version) == len(tables().migrations)

    async def _objects(self) -> bool:
        await self._cloud.objects.ping()
        return True

    async def _hub(self) -> bool:
        await self._cloud.hub.ping()
        return True


READINESS: Final = web.AppKey("readiness", Readiness)


async def _version(reader: Reader) -> int | None:
    row = await reader.one("SELECT version FROM schema_versions WHERE component = $1", (tables().name,))
    return None if row is None else int(row[0])


async def _answers(part: Part) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await part()
    except (FastestError, TimeoutError):
        return False
