"""What can still be read of a damaged database, taken over into a new one. Nothing is believed: each row is checked first.

Theory. A table whose page is damaged is read from its beginning up to the damage, then from its end down to it. Contents and nodes
prove themselves by their digests and snapshots by their ids; of other rows only the types can be told. So what two sides agreed on is
never taken over (`workspaces.forget_base`): a base that lies deletes, a base that is missing only joins. A header is as every header
of ours, and is written anew where it cannot be read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from store import conflicts, snapshots
from store.blobs.catalog import check_node_row
from store.database import Database, Reader, Row, Tx, peek
from store.errors import BlobDamaged, Conflicting, FastestError, InvalidValue, StoreDamaged
from store.types import digest_of

TABLES: Final = {
    "machine": "one", "workspaces": "id", "replicas": "id", "snapshots": "id", "conflicts": "id", "log": "replica_id, sequence",
    "acts": "id", "blobs": "id", "nodes": "id",
}  # fmt: skip
"""What is worth saving, each with the key it lies by. Frames are read from their segments, the index from the folder."""
ROWS_AT_ONCE: Final = 1024
HEADER_BYTES: Final = 100
PAGE_BYTES: Final = 4096
_KINDS: Final = {"INTEGER": int, "TEXT": str, "BLOB": bytes}


class Salvaged(NamedTuple):
    """How many rows of each table came over, and the tables of which some could not be read."""

    rows: dict[str, int]
    torn: list[str]


def salvage(source: Path, db: Database, model: Path) -> Salvaged:
    """Everything readable of `source` (with its log, if it lies beside it) into `db`. `model`: a sound file with our header."""
    for prepare in (_as_it_is, _with_header):
        copy = prepare(source, model)
        try:
            reader = peek(copy)
            reader.one("SELECT count(*) FROM sqlite_schema")
        except FastestError:
            continue
        try:
            return _take_over(reader, db)
        finally:
            reader.close()
    return Salvaged({}, list(TABLES))


def _as_it_is(source: Path, _model: Path) -> Path:
    """A copy to read: reading may write to the log, and the damaged file is evidence."""
    copy = source.with_name("reading.db")
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        if (part := source.with_name(source.name + suffix)).exists():
            shutil.copyfile(part, copy.with_name(copy.name + suffix))
    return copy


def _with_header(source: Path, model: Path) -> Path:
    copy = _as_it_is(source, model)
    with copy.open("r+b") as file:
        header = bytearray(model.open("rb").read(HEADER_BYTES))
        header[28:32] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
        header[32:40] = bytes(8)  # no free pages that anybody should trust
        file.write(header)
    return copy


def _take_over(reader: Reader, db: Database) -> Salvaged:
    rows: dict[str, int] = {}
    torn: list[str] = []
    for table, key in TABLES.items():
        columns = _columns(reader, db, table)
        found = _Rows(reader, table, key, [name for name, _, _ in columns])
        checked = (row for row in found if _fits(columns, row) and _is_true(table, dict(zip(found.names, row, strict=True))))
        rows[table] = _insert(db, table, found.names, checked) if columns else 0
        if found.is_torn or not columns:
            torn.append(table)
    for table, count in db.write_now(_drop_what_lies).items():
        rows[table] -= count
    return Salvaged(rows, torn)


def _columns(reader: Reader, db: Database, table: str) -> list[tuple[str, type, bool]]:
    """Name, type and "may be null" of those columns that both have. An older store has fewer."""
    try:
        there = {row[0] for row in reader.execute("SELECT name FROM pragma_table_info($1)", (table,))}
    except StoreDamaged:
        return []
    ours = db.read().execute('SELECT name, type, "notnull", pk FROM pragma_table_info($1)', (table,))
    return [(name, _KINDS[kind], not notnull and not pk) for name, kind, notnull, pk in ours if name in there]


class _Rows:
    """A table's readable rows: from its beginning, and past damage from its end."""

    def __init__(self, reader: Reader, table: str, key: str, names: list[str]) -> None:
        self.names = names
        self.is_torn = False
        self._reader = reader
        self._table = table
        self._keys = key.split(", ")

    def __iter__(self) -> Iterator[Row]:
        places = [self.names.index(name) for name in self._keys]
        seen: set[Row] = set()
        for order in ("", " DESC"):
            try:
                for row in self._read(order):
                    key = tuple(row[at] for at in places)
                    if key in seen:
                        return
                    seen.add(key)
                    yield row
            except StoreDamaged:
                self.is_torn = True
            else:
                return

    def _read(self, order: str) -> Iterator[Row]:
        names = ", ".join(f'"{name}"' for name in self.names)
        table, keys = self._table, ", ".join(key + order for key in self._keys)
        return self._reader.execute(f"SELECT {names} FROM {table} NOT INDEXED ORDER BY {keys}")


def _fits(columns: list[tuple[str, type, bool]], row: Row) -> bool:
    """Every value is of its column's type: a flipped bit in a row's head makes another type of it."""
    return all(
        (value is None and may_be_null) or isinstance(value, kind) for value, (_, kind, may_be_null) in zip(row, columns, strict=True)
    )


def _is_true(table: str, row: dict[str, Any]) -> bool:
    match table:
        case "blobs":
            return row["data"] is not None and len(row["data"]) == row["size"] and digest_of(row["data"]) == row["hash"]
        case "nodes":
            try:
                return bool(check_node_row(row["hash"], row["data"]))
            except BlobDamaged:
                return False
    return all(len(value) == 32 for name, value in row.items() if name.endswith("_root") and value is not None)


def _insert(db: Database, table: str, names: list[str], rows: Iterator[Row]) -> int:
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
    count = 0
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        count += db.write_now(lambda tx, batch=batch: sum(_inserted(tx, sql, row) for row in batch))  # type: ignore[misc]
    return count


def _inserted(tx: Tx, sql: str, row: Row) -> bool:
    try:
        for _ in tx.execute(sql, row):
            pass
    except Conflicting:  # it is there, or names a workspace that could not be read
        return False
    return True


def _drop_what_lies(tx: Tx) -> dict[str, int]:
    """Snapshots whose ids do not verify, and records that cannot be understood; how many of each."""
    dropped = {"snapshots": 0, "conflicts": 0}
    for (identity,) in list(tx.execute("SELECT id FROM snapshots")):
        found = snapshots.find_snapshot(tx, identity)
        try:
            if found is not None:
                snapshots.check_snapshot(found[0])
        except InvalidValue:
            tx.execute("DELETE FROM snapshots WHERE id = $1", (identity,))
            dropped["snapshots"] += 1
    for (identity,) in list(tx.execute("SELECT id FROM conflicts")):
        try:
            conflicts.get_conflict(tx, identity)
        except msgspec.MsgspecError:
            tx.execute("DELETE FROM conflicts WHERE id = $1", (identity,))
            dropped["conflicts"] += 1
    return dropped


def told(salvaged: Salvaged, names: Iterable[str]) -> str:
    """`3 snapshots, 2 conflicts`: for people."""
    return ", ".join(f"{salvaged.rows.get(name, 0)} {name}" for name in names)
