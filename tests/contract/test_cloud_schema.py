"""The live tables against the documented data model, in both databases; what there is besides is listed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from cloud.database import Reader, drive
from cloud.database.postgres import PostgresDatabase
from tests.clouds import in_loop, opened
from tests.lab.services import Postgres

ADDED_TABLES: Final = {
    *["meta", "machines", "workspace_replicas", "workspace_versions", "workspace_conflicts", "owned_blobs", "owned_nodes"],
    *["user_identities", "sync_previews", "housekeeping", "account_events", "stream_tickets", "workspace_merges"],
}
ADDED_COLUMNS: Final = {
    "auth_codes": {"attempts"},
    "device_codes": {"interval_seconds", "polled_at", "machine", "address"},
    "sessions": {"scope", "machine", "address", "last_seen_at"},
    "projects": {"archived_at", "deleted_at"},
    "workspaces": {"archived_at", "deleted_at"},
    "snapshots": {"author_name", "author_email", "message", "agent", "version"},
}
NOT_DOCUMENTED: Final = {
    "schema_versions",
    "blobs",
    "nodes",
    "frames",
    "segments",
    "chunks",
    "recipes",
    "blob_era",
    "kept_frames",
    "kept_blobs",
    "kept_nodes",
    "loose_frames",
}
"""The blob store's own, and the list of migrations."""


class Column(NamedTuple):
    kind: str
    may_be_null: bool
    default: str | None
    refers: str | None = None
    when_gone: str = ""


class Table(NamedTuple):
    columns: dict[str, Column]
    keys: set[tuple[str, ...]]
    """Unique ones, the primary key among them."""
    indexes: set[tuple[str, ...]]
    """All, the unique ones among them."""


def documented() -> dict[str, Table]:
    tables: dict[str, Table] = {}
    table = Table({}, set(), set())
    for line in (Path(__file__).with_name("documented_schema.txt")).read_text().splitlines():
        words = line.split()
        if line and not line.startswith(" "):
            table = tables[line] = Table({}, set(), set())
        elif (words[:1] in (["index"], ["unique"]) and "," in words[1]) or words[:1] == ["index"]:
            named = tuple(words[1].split(","))
            table.indexes.add(named)
            if words[0] == "unique":
                table.keys.add(named)
        elif words:
            _add_column(table, words)
    return tables


def _add_column(table: Table, words: list[str]) -> None:
    name, kind = words[:2]
    default = words[words.index("default") + 1] if "default" in words else None
    refers = words[words.index("->") + 1] if "->" in words else None
    gone = "cascade" if "cascade" in words else "set null" if "set-null" in words else ""
    table.columns[name] = Column(kind, "null" in words, default, refers, gone)
    if "key" in words[2:] or "unique" in words:
        table.keys.add((name,))
    if "indexed" in words:
        table.indexes.add((name,))


async def live_in_sqlite(reader: Reader) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for (name,) in await reader.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
        refers = {row[3]: (f"{row[2]}.{row[4]}", row[6].lower()) for row in await reader.rows(f"PRAGMA foreign_key_list({name})")}
        table = tables[name] = Table({}, set(), set())
        keyed: dict[int, str] = {}
        for _, column, kind, not_null, default, in_key in await reader.rows(f"PRAGMA table_info({name})"):
            to, gone = refers.get(column, (None, ""))
            table.columns[column] = Column(kind.lower(), not (not_null or in_key), _plain(default), to, "" if gone == "no action" else gone)
            keyed |= {in_key: column} if in_key else {}
        table.keys.add(tuple(keyed[at] for at in sorted(keyed)))
        for _, index, unique, _, _ in await reader.rows(f"PRAGMA index_list({name})"):
            columns = tuple(row[2] for row in await reader.rows(f"PRAGMA index_info({index})"))
            table.indexes.add(columns)
            if unique:
                table.keys.add(columns)
    return tables


COLUMNS: Final = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"""
INDEXES: Final = """
SELECT c.relname, i.indisunique,
    ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (at, n) JOIN pg_attribute a
          ON a.attrelid = c.oid AND a.attnum = k.at ORDER BY k.n)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'"""
REFERENCES: Final = """
SELECT c.relname, a.attname, f.relname || '.' || b.attname, t.confdeltype::text
FROM pg_constraint t JOIN pg_class c ON c.oid = t.conrelid JOIN pg_class f ON f.oid = t.confrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = t.conkey[1] JOIN pg_attribute b ON b.attrelid = f.oid AND b.attnum = t.confkey[1]
WHERE t.contype = 'f'"""
KINDS: Final = {"text": "text", "bigint": "integer", "bytea": "blob"}


async def live_in_postgres(reader: Reader) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    refers = {(row[0], row[1]): (row[2], {"a": "", "c": "cascade", "n": "set null"}[row[3]]) for row in await reader.rows(REFERENCES)}
    for name, column, kind, may_be_null, default in await reader.rows(COLUMNS):
        table = tables.setdefault(name, Table({}, set(), set()))
        to, gone = refers.get((name, column), (None, ""))
        table.columns[column] = Column(KINDS[kind], may_be_null, _plain(default), to, gone)
    for name, unique, columns in await reader.rows(INDEXES):
        tables[name].indexes.add(tuple(columns))
        if unique:
            tables[name].keys.add(tuple(columns))
    return tables


def _plain(default: str | None) -> str | None:
    if default is None:
        return None
    return "now" if "now" in default else default.split("::")[0].strip("'")


def differences(live: dict[str, Table]) -> list[str]:
    found: list[str] = []
    for name, table in documented().items():
        ours = live.get(name, Table({}, set(), set()))
        added = ours.columns.keys() - table.columns.keys()
        found += [f"{name}.{column}: added, and not listed" for column in added - ADDED_COLUMNS.get(name, set())]
        found += [f"{name}.{column}: listed, and not there" for column in ADDED_COLUMNS.get(name, set()) - added]
        for column, what in table.columns.items():
            if ours.columns.get(column) != what:
                found.append(f"{name}.{column}: documented {what}, found {ours.columns.get(column)}")
        # A folder of names is a concept in each project: their key is both columns (docs/format-cloud.md).
        keys = table.keys - {("id",)} | {("project_id", "id")} if name == "atlas_concepts" else table.keys
        found += [f"{name}: no unique key {key}" for key in keys - ours.keys]
        found += [f"{name}: no index {index}" for index in table.indexes - ours.indexes]
    found += [f"{name}: a table that nobody lists" for name in live.keys() - documented().keys() - ADDED_TABLES - NOT_DOCUMENTED]
    return found + [f"{name}: listed, and not there" for name in ADDED_TABLES - live.keys()]


def test_the_document_has_28_tables() -> None:
    assert len(documented()) == 28


def test_the_embedded_tables_are_the_documented_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        assert differences(drive(live_in_sqlite(db.read()))) == []


def test_the_tables_in_postgresql_are_the_documented_ones(postgres: Postgres) -> None:
    @in_loop
    async def look() -> None:
        db = await PostgresDatabase.open(url)
        try:
            assert differences(await live_in_postgres(db.read())) == []
        finally:
            await db.close()

    url = postgres.new_database()
    look()


WOUNDS: Final[dict[str, tuple[str, Callable[[dict[str, Table]], object]]]] = {
    "a column": ("users.picture", lambda live: live["users"].columns.pop("picture")),
    "a table": ("jobs.id", lambda live: live.pop("jobs")),
    "an index": ("no index ('project_id', 'kind')", lambda live: live["atlas_chunks"].indexes.clear()),
    "a key": ("no unique key ('email',)", lambda live: live["users"].keys.discard(("email",))),
    "one too many": ("users.age: added", lambda live: live["users"].columns.update(age=Column("text", True, None))),
}


@pytest.mark.parametrize("wound", WOUNDS)
def test_what_differs_is_told(tmp_path: Path, wound: str) -> None:
    with opened(tmp_path) as db:
        live = drive(live_in_sqlite(db.read()))
    sign, hurt = WOUNDS[wound]
    hurt(live)
    assert any(sign in difference for difference in differences(live))
