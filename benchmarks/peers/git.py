"""git, with its defaults but no background packing (`gc.auto 0`), its folder beside the tree instead of in it."""

from __future__ import annotations

from pathlib import Path

from tests.lab.process import Lab, Result

IDENTITY = {
    "GIT_AUTHOR_NAME": "A Bench", "GIT_AUTHOR_EMAIL": "bench@example.invalid", "GIT_COMMITTER_NAME": "A Bench",
    "GIT_COMMITTER_EMAIL": "bench@example.invalid", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


class Git:
    """One repository over a tree."""

    def __init__(self, lab: Lab, tree: Path, name: str) -> None:
        self.lab = lab
        self.tree = tree
        self.folder = lab.base / f"{name}.git"
        own = {"GIT_DIR": str(self.folder), "GIT_WORK_TREE": str(tree), "HOME": str(lab.base)}
        self.env = lab.environment("git", {**IDENTITY, **own})
        self.run("init", "-q")
        self.run("config", "gc.auto", "0")

    def run(self, *args: str) -> Result:
        """`git ARGS`, which has to succeed."""
        done = self.lab.run(["git", *args], self.env, cwd=self.tree, timeout_s=900)
        assert done.code == 0, str(done)
        return done

    def commit_all(self) -> tuple[float, float]:
        """`git add -A` and `git commit`: wall and CPU seconds of both."""
        both = (self.run("add", "-A"), self.run("commit", "-q", "-m", "all"))
        return sum(done.seconds for done in both), sum(done.cpu_seconds for done in both)
