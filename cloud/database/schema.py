"""The tables, as numbered migrations (`migrations/NNNN-*.sql`), for either database; and the epoch, which stands in one of them.

The files are in SQLite's words; for PostgreSQL a few are put in its own. A file that has been released is never changed in what it
makes. The documented columns are those of the data model, exactly; what there is besides is listed in docs/format-cloud.md.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from cloud.database import Reader, Tx
from store.database import Component, Migration, refuse_newer
from store.errors import OlderStore

_FILES: Final = Path(__file__).parent / "migrations"
_POSTGRES_WORDS: Final = (
    (r"\bBLOB\b", "BYTEA"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
    (r"\) WITHOUT ROWID", ")"),
    (r"\(datetime\('now'\)\)", "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"),
)
"""Text is compared byte by byte in both: ids and times sort as they do in Python."""


@cache
def tables() -> Component:
    """The data model and what mirrors need besides."""
    return Component("cloud", _migrations(_FILES))


@cache
def bytes_tables() -> Component:
    """Blobs and nodes, where the blob store's own file is not there for them."""
    return Component("bytes", _migrations(_FILES / "bytes"))


def _migrations(folder: Path) -> tuple[Migration, ...]:
    files = sorted(folder.glob("[0-9]*.sql"))
    return tuple(Migration(int(file.name[:4]), file.read_text()) for file in files)


def in_postgres_words(sql: str) -> str:
    """The same migration for PostgreSQL."""
    for ours, theirs in _POSTGRES_WORDS:
        sql = re.sub(ours, theirs, sql)
    return sql


Versions = Mapping[str, int]
"""How far each component's migrations have come."""


def is_behind(found: Versions, components: Sequence[Component], what: str) -> bool:
    """True for tables that are there and not all of today's; what is not there yet is simply made. Raises NewerStore."""
    known = {component.name: len(component.migrations) for component in components}
    refuse_newer(what, found, known)
    return bool(found) and any(found.get(name, 0) < newest for name, newest in known.items())


def refuse_older(found: Versions) -> OlderStore:
    """What is told where somebody must decide when the tables change."""
    shown = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return OlderStore(
        f"the cloud's database is at an older schema ({shown})", "Back it up, stop the servers that use it, then run `fst cloud migrate`."
    )


def up_to(component: Component, version: int) -> Component:
    """The same, as far as an older program knew it."""
    return Component(component.name, component.migrations[:version])


async def epoch_of(reader: Reader) -> str:
    """The epoch that every head carries: random, and another one after a restore."""
    row = await reader.one("SELECT value FROM meta WHERE key = 'epoch'")
    if row is None:
        raise AssertionError("a database that is open has an epoch")
    return str(row[0])


async def begin_epoch(tx: Tx) -> None:
    """The first one, in a new database."""
    await tx.run("INSERT INTO meta (key, value) VALUES ('epoch', $1) ON CONFLICT (key) DO NOTHING", (secrets.token_hex(16),))


async def renew_epoch(tx: Tx) -> str:
    """Begin a new epoch: clients then ask before they delete anything because of this server."""
    epoch = secrets.token_hex(16)
    await tx.run("UPDATE meta SET value = $1 WHERE key = 'epoch'", (epoch,))
    return epoch
