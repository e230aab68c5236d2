from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import apsw
import pytest

from store.database import BATCH_WORKS, Component, Database, Migration, Tx, drop_copy, peek
from store.errors import Conflicting, NewerStore, NoSpace, StoreDamaged, Unwritable
from tests.waiting import wait_until

NOTES = Component("notes", (Migration(1, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"),))
NOTES_2 = Component("notes", (*NOTES.migrations, Migration(2, "ALTER TABLE notes ADD COLUMN tag TEXT; UPDATE notes SET tag = 'old'")))


@pytest.fixture(params=[True, False], ids=["threaded", "inline"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "store.db", [NOTES], threaded=request.param)
    yield database
    database.close()


def texts(db: Database) -> list[str]:
    return [text for (text,) in db.read().execute("SELECT text FROM notes ORDER BY id")]


def keep(tx: Tx, text: str) -> str:
    tx.execute("INSERT INTO notes (text) VALUES ($1)", (text,))
    return text


def keep_and_count(tx: Tx, text: str) -> object:
    keep(tx, text)
    row = tx.one("SELECT count(*) FROM notes")
    return row and row[0]


def test_a_write_is_read_by_every_thread(db: Database) -> None:
    assert db.write_now(lambda tx: keep(tx, "one")) == "one"
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.extend(texts(db)))
    thread.start()
    thread.join()
    assert seen == texts(db) == ["one"]


def test_settings_hold_on_both_sides(db: Database, tmp_path: Path) -> None:
    def settings(tx: Tx) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [row[0] for name in names for row in [tx.one(f"PRAGMA {name}")] if row]

    assert db.write_now(settings) == ["wal", 2, 1, 5000]
    with pytest.raises(Unwritable):
        db.read().execute("INSERT INTO notes (text) VALUES ('x')")
    for file in tmp_path.glob("store.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_failed_work_undoes_only_itself(db: Database) -> None:
    def fail(tx: Tx) -> None:
        keep(tx, "gone")
        raise ValueError("no")

    futures: list[Future[object]] = [db.write(lambda tx: keep(tx, "a")), db.write(fail), db.write(lambda tx: keep(tx, "b"))]
    assert isinstance(futures[1].exception(), ValueError)
    assert futures[0].result() == "a"
    assert futures[2].result() == "b"
    assert texts(db) == ["a", "b"]


def test_a_taken_name_is_conflicting(db: Database) -> None:
    db.write_now(lambda tx: keep(tx, "a"))
    with pytest.raises(Conflicting):
        db.write_now(lambda tx: keep(tx, "a"))


def test_wrong_sql_stays_our_own_mistake(db: Database) -> None:
    with pytest.raises(apsw.SQLError):
        db.write_now(lambda tx: tx.execute("INSERT INTO nothing VALUES (1)"))


def test_a_work_that_writes_through_the_database_is_refused(db: Database) -> None:
    with pytest.raises(AssertionError):
        db.write_now(lambda tx: db.write(lambda inner: None))


def test_works_come_in_the_order_they_were_given_whether_waited_for_or_not(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "store.db", [NOTES])
    for number in range(200):
        unawaited = [db.write(partial(keep, text=f"{number} {part}")) for part in range(number % 3)]
        db.write_now(partial(keep, text=f"{number} last"))
        assert all(future.done() for future in unawaited)
    assert texts(db) == [f"{number} {part}" for number in range(200) for part in (*range(number % 3), "last")]
    db.close()


def test_a_queued_work_waits_for_one_that_runs_in_its_callers_thread(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "store.db", [NOTES])
    started, go = threading.Event(), threading.Event()

    def wait(tx: Tx) -> str:
        started.set()
        go.wait(5)
        return keep(tx, "first")

    waiting = threading.Thread(target=db.write_now, args=(wait,))
    waiting.start()
    started.wait(5)
    queued = db.write(lambda tx: keep(tx, "second"))
    wait_until(db._queue.empty, 5, "the writer has taken it")
    go.set()
    assert queued.result(5) == "second"
    waiting.join()
    assert texts(db) == ["first", "second"]
    db.close()


def test_a_work_may_read_what_was_committed_before(db: Database) -> None:
    db.write_now(lambda tx: keep(tx, "a"))
    assert db.write_now(lambda tx: keep(tx, "b") and texts(db)) == ["a"]


def test_execute_many_gives_rows_in_order(db: Database) -> None:
    db.write_now(lambda tx: list(tx.execute_many("INSERT INTO notes (text) VALUES ($1)", [(t,) for t in "abc"])))
    found = db.read().execute_many("SELECT id FROM notes WHERE text = $1", [("c",), ("x",), ("a",)])
    assert list(found) == [(3,), (1,)]


def test_many_works_share_a_transaction(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "store.db", [NOTES])
    started, go = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        started.set()
        go.wait(5)

    first = db.write(wait)
    started.wait(5)
    # While the first work runs, these queue up; the second batch takes BATCH_WORKS of them, the third the rest.
    futures = [db.write(partial(keep_and_count, text=str(n))) for n in range(BATCH_WORKS + 1)]
    go.set()
    first.result()
    assert [future.result() for future in futures] == [n + 1 for n in range(BATCH_WORKS + 1)]
    db.close()


def test_a_full_disk_fails_every_work_of_the_batch_and_the_next_succeeds(db: Database) -> None:
    pages = db.write_now(lambda tx: tx.one("PRAGMA page_count"))
    assert pages
    db.write_now(lambda tx: list(tx.execute(f"PRAGMA max_page_count = {pages[0] + 2}")))
    with pytest.raises(NoSpace):
        db.write_now(lambda tx: keep(tx, "x" * 100_000))
    db.write_now(lambda tx: list(tx.execute("PRAGMA max_page_count = 1000000")))
    db.write_now(lambda tx: keep(tx, "small"))
    assert texts(db) == ["small"]


def test_close_finishes_what_is_queued_and_folds_the_log(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "store.db", [NOTES])
    futures = [db.write(partial(keep, text=str(n))) for n in range(100)]
    db.close()
    assert [future.result(0) for future in futures] == [str(n) for n in range(100)]
    assert [file.name for file in tmp_path.glob("store.db*")] == ["store.db"]
    with pytest.raises(Unwritable):
        db.write(lambda tx: None)
    with pytest.raises(Unwritable):
        db.read()
    db.close()


def test_an_older_file_is_copied_then_migrated(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    db = Database.open(path, [NOTES])
    db.write_now(lambda tx: keep(tx, "a"))
    db.close()
    db = Database.open(path, [NOTES_2])
    assert db.read().one("SELECT text, tag FROM notes") == ("a", "old")
    db.close()
    copy = Database.open(tmp_path / "store.db.before-upgrade", [NOTES])
    assert texts(copy) == ["a"]
    copy.close()


def test_the_copy_is_of_the_file_before_any_component_moved(tmp_path: Path) -> None:
    """All components in one transaction: a failure in the second leaves the first, and the next try copies what was there before."""
    path = tmp_path / "store.db"
    tags = Component("tags", (Migration(1, "CREATE TABLE tags (id INTEGER PRIMARY KEY)"),))
    broken = Component("tags", (*tags.migrations, Migration(2, "CREATE TABLE tags (again)")))
    Database.open(path, [NOTES, tags]).close()
    before = schema_of(path)
    for _ in range(2):
        with pytest.raises(apsw.SQLError):
            Database.open(path, [NOTES_2, broken])
        assert schema_of(path) == schema_of(path.with_name("store.db.before-upgrade")) == before


def schema_of(path: Path) -> list[object]:
    reader = peek(path)
    try:
        return [*reader.execute("SELECT sql FROM sqlite_schema ORDER BY name"), *reader.execute("SELECT * FROM schema_versions")]
    finally:
        reader.close()


def test_the_copy_goes_after_a_run_that_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Database.open(path, [NOTES]).close()
    Database.open(path, [NOTES_2]).close()
    assert path.with_name("store.db.before-upgrade").exists()
    drop_copy(path)
    drop_copy(path)
    assert not path.with_name("store.db.before-upgrade").exists()


def test_tables_that_are_not_what_the_migrations_make_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    db = Database.open(path, [NOTES])
    db.write_now(lambda tx: list(tx.execute("ALTER TABLE notes RENAME COLUMN text TO texu")))
    db.close()
    with pytest.raises(StoreDamaged, match="notes"):
        Database.open(path, [NOTES])


def test_text_that_is_no_text_is_damage_and_no_mistake_of_ours(db: Database) -> None:
    db.write_now(lambda tx: list(tx.execute("INSERT INTO notes (text) VALUES (CAST(x'ff61' AS TEXT))")))
    with pytest.raises(StoreDamaged):
        db.read().one("SELECT text FROM notes")
    with pytest.raises(StoreDamaged):
        texts(db)


def test_a_torn_page_is_found_when_the_file_is_doubted(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    db = Database.open(path, [NOTES])
    db.write_now(lambda tx: [keep(tx, "x" * 3000 + str(number)) for number in range(20)])
    db.close()
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xaa" * 4096)
    Database.open(path, [NOTES]).close()
    with pytest.raises(StoreDamaged, match="page"):
        Database.open(path, [NOTES], doubted=True)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    Database.open(tmp_path / "store.db", [NOTES_2]).close()
    with pytest.raises(NewerStore):
        Database.open(tmp_path / "store.db", [NOTES])
    with pytest.raises(NewerStore):
        Database.open(tmp_path / "store.db", [Component("others", ())])


def test_a_failed_migration_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Database.open(path, [NOTES]).close()
    broken = Component("notes", (*NOTES.migrations, Migration(2, "CREATE TABLE more (x); CREATE TABLE notes (y)")))
    with pytest.raises(apsw.SQLError):
        Database.open(path, [broken])
    db = Database.open(path, [NOTES])
    assert db.read().one("SELECT 1 FROM sqlite_master WHERE name = 'more'") is None
    db.close()


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreDamaged):
        Database.open(tmp_path / "store.db", [NOTES])


def test_a_missing_folder_is_unwritable(tmp_path: Path) -> None:
    with pytest.raises(Unwritable):
        Database.open(tmp_path / "none" / "store.db", [NOTES])


def test_a_reader_sees_the_state_at_its_statement(db: Database) -> None:
    db.write_now(lambda tx: list(tx.execute_many("INSERT INTO notes (text) VALUES ($1)", [("a",), ("b",)])))
    rows = db.read().execute("SELECT text FROM notes ORDER BY id")
    assert next(rows) == ("a",)
    db.write_now(lambda tx: keep(tx, "c"))
    assert list(rows) == [("b",)]
    assert texts(db) == ["a", "b", "c"]
