"""A restored database begins a new epoch; fsck sees what is missing."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloud.app import wall_ms
from cloud.database import drive
from cloud.database.embedded import EmbeddedDatabase
from cloud.database.schema import epoch_of
from cloud.objects.embedded import EmbeddedObjects
from cloud.operate.fsck import find_problems
from store.types import digest_of
from tests.clouds import in_loop, opened, serving


def epoch_at(folder: Path) -> str:
    with opened(folder) as db:
        return drive(epoch_of(db.read()))


async def problems(db: EmbeddedDatabase, folder: Path) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        objects = EmbeddedObjects(db, folder, pool)
        try:
            return [problem async for problem in find_problems(db, objects)]
        finally:
            await objects.close()


def test_the_epoch_outlives_a_restart_and_no_restore(tmp_path: Path) -> None:
    epoch = epoch_at(tmp_path)
    assert len(epoch) == 32 and epoch_at(tmp_path) == epoch
    shutil.copy(tmp_path / "cloud.db", tmp_path / "backup")
    (tmp_path / "backup").rename(tmp_path / "cloud.db")
    renewed = epoch_at(tmp_path)
    assert renewed != epoch and epoch_at(tmp_path) == renewed
    assert epoch_at(tmp_path.parent) != epoch


@in_loop
async def test_fsck_finds_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    async with serving(folder) as served:
        line = await served.user().line()
        await line.push({"a": b"one", "b": b"two"}, message="m")
        await line.push({"a": b"three"})
        root = line.head.root
        assert await problems(served.db, folder) == []
    wounds = {
        "UPDATE workspaces SET version = version + 1": "its head is not its newest version",
        f"UPDATE workspaces SET current_manifest_hash = '{'0' * 64}'": "its head is not its newest version",
        "DELETE FROM owned_blobs WHERE size = 3": "not owned with its size",
        "DELETE FROM owned_nodes": "not owned",
        f"DELETE FROM blobs WHERE hash = x'{digest_of(b'one').hex()}'": "owned, and not here",
        f"DELETE FROM nodes WHERE hash = x'{root}'": f"manifest {root}",
        "UPDATE blobs SET data = x'00' WHERE data IS NOT NULL": digest_of(b"one").hex(),
        "UPDATE projects SET last_snapshot_id = 'snap-x'": "snapshot snap-x",
    }
    for at, (wound, sign) in enumerate(wounds.items()):
        hurt = tmp_path / f"hurt{at}"
        shutil.copytree(folder, hurt)
        with opened(hurt) as db:
            db.write_now(lambda tx, wound=wound: tx.run(wound))  # type: ignore[misc]
            found = await problems(db, hurt)
        assert any(sign in problem for problem in found), (wound, found)


def test_two_cloud_folders_never_share_an_epoch(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert epoch_at(tmp_path / "one") != epoch_at(tmp_path / "two") and wall_ms() > 0
