from __future__ import annotations

import subprocess
from pathlib import Path

from daemon.git import GitFolder, global_excludes


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def of(folder: Path) -> GitFolder:
    return GitFolder(bytes(folder), {"HOME": str(folder / "nowhere")})


def test_a_folder_without_git_says_nothing(tmp_path: Path) -> None:
    assert (of(tmp_path).head(), of(tmp_path).is_at_work(), of(tmp_path).excludes()) == ("", False, (b"", b""))


def test_head_moves_with_a_commit_and_with_a_switch(tmp_path: Path) -> None:
    git(tmp_path, "init")
    heads = [of(tmp_path).head()]
    git(tmp_path, "commit", "--allow-empty", "-m", "one")
    heads.append(of(tmp_path).head())
    git(tmp_path, "switch", "-c", "other")
    heads.append(of(tmp_path).head())
    assert len(set(heads)) == 3


def test_a_held_index_and_a_rebase_are_git_at_work(tmp_path: Path) -> None:
    git(tmp_path, "init")
    lock = tmp_path / ".git" / "index.lock"
    lock.touch()
    assert of(tmp_path).is_at_work()
    lock.unlink()
    assert not of(tmp_path).is_at_work()
    (tmp_path / ".git" / "rebase-merge").mkdir()
    assert of(tmp_path).is_at_work()


def test_a_linked_worktree_is_followed(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init")
    git(main, "commit", "--allow-empty", "-m", "one")
    git(main, "worktree", "add", str(linked), "-b", "side")
    (main / ".git" / "info").mkdir(exist_ok=True)
    (main / ".git" / "info" / "exclude").write_bytes(b"*.tmp\n")
    assert "side" in of(linked).head()
    assert of(linked).excludes()[1] == b"*.tmp\n"


def test_the_global_excludes_file_is_found_where_git_looks(tmp_path: Path) -> None:
    (tmp_path / ".config" / "git").mkdir(parents=True)
    (tmp_path / ".config" / "git" / "ignore").write_bytes(b"*.a\n")
    assert global_excludes({"HOME": str(tmp_path)}) == b"*.a\n"
    (tmp_path / "mine").write_bytes(b"*.b\n")
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = x\n[core]\n\texcludesFile = ~/mine\n")
    assert global_excludes({"HOME": str(tmp_path)}) == b"*.b\n"
