"""Noticing that a start follows a bad end, and bringing a store back out of its pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.mend.folders import read_folders
from daemon.mend.repair import check_index, forget_base, rebuild_manifest, take_from_folder
from daemon.mend.rescue import COMPONENTS, examine_store, open_store, rescue
from daemon.mend.starts import CRASHES, CRASHES_FILE, FAST_SECONDS, FATAL_FILE, LOCK_FILE, Crashes, hold_lock
from store import history, snapshots, workspaces
from store.database import Database
from store.errors import AlreadyRunning, BlobMissing, NotFound, StoreDamaged
from store.index import make_record
from store.types import File, digest_of
from tests.damage import CHANGED, TEXTS, Patient, places_of, revive
from tests.two_replicas import MemoryCloud, rel


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    made = Patient(tmp_path / "patient", MemoryCloud())
    yield made
    made.close()


# --- starts -------------------------------------------------------------------------------------------------------------------------


def test_an_end_without_a_goodbye_is_noticed_once(tmp_path: Path) -> None:
    with hold_lock(tmp_path) as left:
        assert not left
    with hold_lock(tmp_path) as left:
        assert not left
    with pytest.raises(KeyError), hold_lock(tmp_path):
        raise KeyError
    with hold_lock(tmp_path) as left:
        assert left
    with hold_lock(tmp_path) as left:
        assert not left


def test_one_holds_the_lock(tmp_path: Path) -> None:
    with hold_lock(tmp_path), pytest.raises(AlreadyRunning, match=str(os.getpid())), hold_lock(tmp_path):
        pass


def crash(state: Path) -> None:
    with pytest.raises(ZeroDivisionError), Crashes(state).watch(state):
        raise ZeroDivisionError


def test_only_crashes_in_a_row_count(tmp_path: Path) -> None:
    for _ in range(CRASHES - 1):
        crash(tmp_path)
    assert Crashes(tmp_path).loop is None
    with Crashes(tmp_path).watch(tmp_path):
        pass
    for _ in range(CRASHES - 1):
        crash(tmp_path)
    assert Crashes(tmp_path).loop is None
    with pytest.raises(NotFound), Crashes(tmp_path).watch(tmp_path):
        raise NotFound("a refusal that says what is wrong is no crash")
    assert Crashes(tmp_path).loop is None
    crash(tmp_path)
    assert Crashes(tmp_path).loop is not None
    Crashes(tmp_path).forget()
    assert Crashes(tmp_path).loop is None


@pytest.mark.parametrize(("lived", "counted"), [(FAST_SECONDS - 1, 1), (FAST_SECONDS + 1, 0)])
def test_the_trace_of_a_fatal_signal_counts_when_it_came_soon(tmp_path: Path, lived: float, counted: int) -> None:
    (tmp_path / LOCK_FILE).write_text("7")
    (tmp_path / FATAL_FILE).write_text("Fatal Python error: Segmentation fault")
    os.utime(tmp_path / LOCK_FILE, (1000, 1000))
    os.utime(tmp_path / FATAL_FILE, (1000 + lived, 1000 + lived))
    with hold_lock(tmp_path):
        pass
    crashes = tmp_path / CRASHES_FILE
    assert (crashes.stat().st_size if crashes.exists() else 0) == counted


# --- a database that is gone ----------------------------------------------------------------------------------------------------------


def test_a_store_where_nothing_was_kept_is_made(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    open_store(places_of(tmp_path), doubted=True).close()
    examine_store(places_of(tmp_path))


@pytest.mark.parametrize("how", ["gone", "empty", "blank"])
def test_a_database_that_is_gone_is_not_taken_for_a_beginning(patient: Patient, tmp_path: Path, how: str) -> None:
    patient.close()
    folder = tmp_path / "copy"
    patient.copy_to(folder)
    (folder / "store.db").unlink()
    if how == "empty":
        (folder / "store.db").touch()
    elif how == "blank":
        Database.open(folder / "store.db", COMPONENTS).close()
    with pytest.raises(StoreDamaged, match="gone") as told:
        open_store(places_of(folder), doubted=False)
    assert "fst fsck --repair" in told.value.hint


def test_a_rescue_takes_over_what_is_true_and_forgets_what_was_agreed(patient: Patient, tmp_path: Path) -> None:
    snapshot = patient.snapshots()[0]
    sequence = patient.replica.row.sequence
    patient.close()
    folder = tmp_path / "copy"
    patient.copy_to(folder)
    lie = Database.open(folder / "store.db", COMPONENTS)
    lie.write_now(lambda tx: list(tx.execute("UPDATE snapshots SET message = 'other' WHERE id <> $1", (snapshot.id,))))
    lie.write_now(lambda tx: list(tx.execute("UPDATE blobs SET data = x'00' WHERE data IS NOT NULL")))
    lie.close()
    with (folder / "store.db").open("r+b") as file:
        file.write(b"not a database")
    said = rescue(places_of(folder))
    assert "1 snapshots" in said[1]
    db = open_store(places_of(folder), doubted=True)
    revived = revive(patient, db, folder)
    assert [one.id for one in revived.snapshots()] == [snapshot.id]
    assert revived.kept(TEXTS["large.txt"]), "its segment has it"
    assert not revived.kept(CHANGED["a.txt"]), "what is not its digest's is left behind"
    assert (revived.replica.row.agreed_version, revived.replica.row.epoch) == (0, "")
    assert revived.replica.row.sequence > sequence == history.list_log(db.read(), revived.replica.id, newest=1)[0].sequence
    revived.look()
    assert revived.kept(CHANGED["a.txt"]), "the folder has it"
    db.close()


def test_a_rescue_that_was_cut_off_goes_on_with_the_same_pieces(patient: Patient, tmp_path: Path) -> None:
    patient.close()
    folder = tmp_path / "copy"
    patient.copy_to(folder)
    (folder / "damaged-1").mkdir()
    (folder / "store.db").rename(folder / "damaged-1/store.db")
    (folder / "store.db.rescued").write_bytes(b"half")
    assert "2 snapshots" in rescue(places_of(folder))[1]
    (folder / "store.db").unlink()
    assert "0 snapshots" in rescue(places_of(folder))[1], "the pieces of a rescue that is done are left alone"
    assert sorted(entry.name for entry in folder.glob("damaged-*")) == ["damaged-1", "damaged-2"]


def test_the_list_of_folders_is_believed_before_the_damaged_rows(patient: Patient, tmp_path: Path) -> None:
    patient.close()
    folder = tmp_path / "copy"
    patient.copy_to(folder)
    lie = Database.open(folder / "store.db", COMPONENTS)
    lie.write_now(lambda tx: list(tx.execute("UPDATE replicas SET root = x'2f746d70'")))
    lie.close()
    rescue(places_of(folder))
    db = open_store(places_of(folder), doubted=False)
    (row,) = workspaces.list_replicas(db.read())
    assert row.root == bytes(patient.root)
    db.close()
    (folder / "state/folders.json").write_bytes(b"{")
    assert read_folders(folder / "state") is None


# --- repairs ------------------------------------------------------------------------------------------------------------------------


def drop(patient: Patient, table: str) -> None:
    patient.db.write_now(lambda tx: list(tx.execute(f"DELETE FROM {table}")))
    patient.blobs.release_memory()


def test_the_index_makes_a_lost_manifest_again(patient: Patient) -> None:
    drop(patient, "nodes")
    with pytest.raises(BlobMissing):
        patient.blobs.get_node(patient.replica.row.full_root)
    rebuild_manifest(patient.replica)
    assert check_index(patient.replica, repair=False)


def test_an_index_that_lies_is_made_of_the_manifest_again(patient: Patient) -> None:
    wrong = File(digest_of(b"other"), 5, False)
    patient.replica.commit(
        changes=(), seen={rel("a.txt"): make_record(wrong, None), rel("ghost"): make_record(wrong, None)}, contents=(), actor="test"
    )
    assert not check_index(patient.replica, repair=False)
    assert not check_index(patient.replica, repair=True)
    assert check_index(patient.replica, repair=False)
    root = patient.replica.row.full_root
    patient.look()
    assert patient.replica.row.full_root == root
    rebuild_manifest(patient.replica)


def test_contents_come_back_out_of_the_folder_only_when_they_are_the_same(patient: Patient) -> None:
    drop(patient, "blobs")
    (patient.root / "deep/b.txt").write_text("beta\n" * 299 + "bet4\n")
    take_from_folder(patient.replica, set(patient.contents))
    for path, text in patient.truth.items():
        assert patient.kept(text) == (path != "deep/b.txt"), path
    assert not patient.kept(TEXTS["a.txt"]), "an older text is in no folder"


def test_without_a_base_nothing_is_deleted_and_nothing_is_lost(patient: Patient) -> None:
    forget_base(patient.replica)
    (patient.root / "deep/er/c.txt").unlink()
    patient.write("mine.txt", "mine")
    before = patient.tree()
    patient.sync()
    assert patient.tree() == before | {"deep/er/c.txt": "c"}
    assert snapshots.list_snapshots(patient.db.read(), patient.replica.row.workspace_id, newest=9)
