"""The schema: components with their histories of migrations, and how an older file is brought up to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from store.database.connection import create_private, damaged, sync_folder
from store.errors import NewerStore

_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"


class Migration(NamedTuple):
    """One step of a component's schema; a component's numbers are consecutive from 1."""

    number: int
    sql: str


class Component(NamedTuple):
    """A set of tables with one owner and one history of migrations."""

    name: str
    migrations: tuple[Migration, ...]


def check_pages(connection: apsw.Connection) -> None:
    """Raises StoreDamaged when some page is not what SQLite writes."""
    for (line,) in connection.execute("PRAGMA quick_check(1)"):
        if line != "ok":
            raise damaged(str(line).splitlines()[-1])


def migrate(path: Path, connection: apsw.Connection, components: Sequence[Component]) -> None:
    """All components to their newest version, in one transaction, after a copy. Raises NewerStore, StoreDamaged."""
    found = _found(connection)
    known = {component.name: len(component.migrations) for component in components}
    refuse_newer(path.name, found, known)
    _check_tables(connection, components, found)
    pending = [component for component in components if found.get(component.name, 0) < known[component.name]]
    if any(component.name in found for component in pending):
        check_pages(connection)
        _copy(path, connection)
    with connection:
        for component in pending:
            _upgrade(connection, component, found.get(component.name, 0))


def refuse_newer(what: str, found: Mapping[str, int], known: Mapping[str, int]) -> None:
    """Raises NewerStore where a component that was found is ahead of what this program knows."""
    for name, version in found.items():
        # Tables of an owner we do not know may hold references we would not see: as newer as a higher number.
        if version > known.get(name, 0):
            raise NewerStore(
                f"{what} was written by a newer Fastest: its {name} are at {version}, this one knows {known.get(name, 0)}",
                "Update Fastest; nothing was changed.",
            )


def drop_copy(path: Path) -> None:
    """The upgraded file has served a whole run: the copy from before it is needed no more."""
    _copy_of(path).unlink(missing_ok=True)


def _found(connection: apsw.Connection) -> dict[str, int]:
    try:
        connection.execute(_VERSIONS)
        return dict(connection.execute("SELECT component, version FROM schema_versions"))
    except (apsw.SQLError, UnicodeDecodeError) as error:
        raise damaged(str(error)) from error


def _check_tables(connection: apsw.Connection, components: Sequence[Component], found: dict[str, int]) -> None:
    """The tables are those that the migrations make; else a statement of ours would be called wrong where the file is."""
    model = apsw.Connection(":memory:")
    try:
        for component in components:
            for migration in component.migrations[: found.get(component.name, 0)]:
                model.execute(migration.sql).fetchall()
        expected, there = (set(each.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")) for each in (model, connection))
    except UnicodeDecodeError as error:
        raise damaged(str(error)) from error
    finally:
        model.close()
    if missing := expected - there:
        raise damaged(f"{sorted(str(row[1]) for row in missing)[0]} is not as it was made")


def _upgrade(connection: apsw.Connection, component: Component, version: int) -> None:
    if [migration.number for migration in component.migrations] != list(range(1, len(component.migrations) + 1)):
        raise AssertionError(f"the migrations of {component.name} are not numbered from 1")
    for migration in component.migrations[version:]:
        connection.execute(migration.sql).fetchall()
    connection.execute(
        "INSERT INTO schema_versions VALUES ($1, $2) ON CONFLICT(component) DO UPDATE SET version = excluded.version",
        (component.name, len(component.migrations)),
    )


def _copy_of(path: Path) -> Path:
    return path.with_name(path.name + ".before-upgrade")


def _copy(path: Path, connection: apsw.Connection) -> None:
    """`<name>.before-upgrade`: the file as it was, whole or not there."""
    unfinished = path.with_name(path.name + ".copying")
    unfinished.unlink(missing_ok=True)
    copy_pages(connection, unfinished)
    unfinished.replace(_copy_of(path))
    sync_folder(path.parent)


def copy_pages(connection: apsw.Connection, target: Path) -> None:
    """One state of a database as a new file, durable on return; whoever writes to it meanwhile goes on."""
    create_private(target)
    copy = apsw.Connection(str(target))
    with copy.backup("main", connection, "main") as backup:
        while not backup.done:
            backup.step()
    copy.close()
