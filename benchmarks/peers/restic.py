"""restic with its defaults (it encrypts and compresses, fsyncs its packs); its repository is made before the clock starts."""

from __future__ import annotations

from pathlib import Path

from tests.lab.process import Lab


class Restic:
    """One repository."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.folder = lab.base / f"{name}.restic"
        cache = str(lab.base / f"{name}.cache")
        settings = {"RESTIC_REPOSITORY": str(self.folder), "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": cache}
        self.env = lab.environment("restic", {**settings, "HOME": str(lab.base)})
        self._run("init", "--repository-version", "2")

    def backup(self, tree: Path) -> tuple[float, float]:
        """`restic backup TREE`: wall and CPU seconds."""
        return self._run("backup", "--quiet", str(tree))

    def _run(self, *args: str) -> tuple[float, float]:
        done = self.lab.run(["restic", *args], self.env, cwd=self.lab.base, timeout_s=900)
        assert done.code == 0, str(done)
        return done.seconds, done.cpu_seconds
