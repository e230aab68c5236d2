"""Scan and apply over the real store: what was found in one folder comes out in another."""

from __future__ import annotations

import os
import time
from pathlib import Path

from store.atomic import Folder
from store.blobs import BLOBS, BlobStore
from store.database import Database
from store.index import INDEX, StatIndex
from store.types import digest_of
from sync.apply import apply_plan
from sync.core.plan import Action
from sync.rules import IgnoreSource
from sync.scan import Scanner
from tests.trees import HOUR_NS, read_tree, write_tree


def test_a_folder_goes_through_the_store_into_another(tmp_path: Path) -> None:
    db = Database.open(tmp_path / "db", [BLOBS, INDEX], threaded=False)
    blobs = BlobStore(db, tmp_path / "segments")
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    write_tree(here, {b"d%d/\xff%d" % (number % 7, number): b"data %d" % number for number in range(300)})
    write_tree(here, {b"large": os.urandom(9 * 1024 * 1024), b"middle": os.urandom(100_000), b"empty": b""})
    (here / "middle").chmod(0o755)
    with Folder.open_root(here) as source, Folder.open_root(there) as target:
        index = StatIndex()
        found = Scanner(index, IgnoreSource(), blobs, lambda: time.time_ns() + HOUR_NS).scan(source)
        db.write_now(lambda tx: blobs.put_inline(tx, found.contents))
        db.write_now(lambda tx: StatIndex.store(tx, "replica", found.seen))
        assert StatIndex.load(db.read(), "replica").get(b"large") == found.seen[found.changes[-2].path]
        steps = [Action(change.path, None, change.new) for change in found.changes]
        applied = apply_plan(steps, target, blobs, StatIndex(), keep=digest_of)
        assert (len(applied.done), applied.problems, applied.stale) == (len(steps), {}, [])
    assert read_tree(there) == read_tree(here)
    blobs.close()
    db.close()
